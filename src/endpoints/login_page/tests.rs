//! The page as a whole: what is in it, what never is, and what is said of a bad template.

use super::*;

fn page(change: impl FnOnce(&mut LoginPageOptions)) -> Result<LoginPage, LoginPageError> {
    let mut options = LoginPageOptions { login_path: "/login".to_owned(), ..LoginPageOptions::default() };
    change(&mut options);
    LoginPage::new(options)
}

fn html(reply: &Reply) -> String {
    String::from_utf8(reply.body.to_vec()).unwrap()
}

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    let mut fields = reply.headers.iter().filter(|(own, _)| own == name);
    let (field, None) = (fields.next(), fields.next()) else { panic!("{name} is there twice: {reply:?}") };
    field.map(|(_, value)| value.to_str().unwrap())
}

/// Everything that can be shown, with its status.
fn all(page: &LoginPage) -> Vec<Reply> {
    let mut replies: Vec<Reply> = [None]
        .into_iter()
        .chain(Problem::ALL.map(Some))
        .map(|problem| page.render(&Shown { return_to: "/a", username: "demo", problem }, "N0nce"))
        .collect();
    replies.push(page.refused(Reply::invalid_grant(Reason::CredentialsWrong), "/a", "demo", "N0nce"));
    replies.push(page.not_saved(Reason::TokenExpired, "N0nce"));
    replies.push(page.not_logged_out(Reply::refusal(Reason::StoreUnavailable), "N0nce"));
    replies
}

#[test]
fn every_page_keeps_to_itself() {
    let logo = Some(("image/svg+xml", b"<svg/>".to_vec()));
    let branded = page(|options| {
        options.title = Some("Tools & Toys".to_owned());
        options.text = Some("Ask <Bob>.".to_owned());
        options.logo = logo;
        options.stylesheet = Some(("brand.css".to_owned(), ":root { --accent: #b00; } a > b {}".to_owned()));
    });
    let elsewhere = page(|options| options.url = Some("https://app.example.com/sign-in".to_owned())).unwrap();
    for page in [page(|_| {}).unwrap(), branded.unwrap()] {
        for reply in all(&page) {
            let html = html(&reply);
            assert_eq!(header(&reply, "content-type"), Some("text/html; charset=utf-8"));
            assert_eq!(header(&reply, "cache-control"), Some("no-store"));
            assert_eq!(header(&reply, "x-content-type-options"), Some("nosniff"));
            assert_eq!(header(&reply, "x-frame-options"), Some("DENY"));
            assert_eq!(header(&reply, "referrer-policy"), Some("same-origin"));
            assert_eq!(header(&reply, "cross-origin-opener-policy"), Some("same-origin"));
            assert_eq!(
                header(&reply, "content-security-policy"),
                Some(
                    "default-src 'none'; style-src 'nonce-N0nce'; img-src data:; form-action 'self'; base-uri 'none'; \
                     frame-ancestors 'none'"
                )
            );
            assert_eq!(html.matches("<style nonce=\"N0nce\">").count(), 1, "{html}");
            for never in ["<script", "javascript:", " style=", " onclick", "src=\"http", "@import", "url("] {
                assert!(!html.contains(never), "{never}: {html}");
            }
            for always in
                ["<!doctype html>\n<html lang=\"en\">", "<meta name=\"viewport\"", "<title>", "<h1>", "<main>"]
            {
                assert!(html.contains(always), "{always}: {html}");
            }
            assert_eq!(html.matches("autofocus").count(), usize::from(!html.contains("still logged in")), "{html}");
        }
    }
    let lost = elsewhere.not_saved(Reason::TokenMissing, "N0nce");
    assert!(html(&lost).contains("href=\"https:&#x2f;&#x2f;app.example.com&#x2f;sign-in\""), "{}", html(&lost));
}

#[test]
fn what_is_branded_is_shown_and_escaped() {
    let page = page(|options| {
        options.title = Some("Tools & <Toys>".to_owned());
        options.text = Some("Ask \"Bob\".".to_owned());
        options.logo = Some(("image/png", vec![1, 2, 3]));
        options.stylesheet = Some(("brand.css".to_owned(), "a > b { content: \"x\" }".to_owned()));
    });
    let html = html(&page.unwrap().render(&Shown::default(), "N"));
    for part in [
        "<title>Tools &amp; &lt;Toys&gt;</title>",
        "<h1>Tools &amp; &lt;Toys&gt;</h1>",
        "Ask &quot;Bob&quot;.",
        "src=\"data:image&#x2f;png;base64,AQID\"",
        "a > b { content: \"x\" }</style>",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
}

#[test]
fn what_a_client_sends_is_text() {
    let page = page(|_| {}).unwrap();
    let evil = "\"><script>alert(1)</script>'&{{ 7*7 }}{% raw %}\u{202e}";
    let reply = page.refused(Reply::invalid_grant(Reason::CredentialsWrong), evil, evil, "N");
    let html = html(&reply);
    assert!(!html.contains("<script"), "{html}");
    assert!(
        html.contains("&quot;&gt;&lt;script&gt;alert(1)&lt;&#x2f;script&gt;&#x27;&amp;{{ 7*7 }}{% raw %}"),
        "{html}"
    );
    assert!(html.contains("name=\"return_to\" value=\"&#x2f;\""), "an address of no path is none: {html}");
    let html = super::tests::html(&page.render(&Shown { return_to: "/a?b=\"c\"&d='e'<f>", ..Shown::default() }, "N"));
    assert!(html.contains("value=\"&#x2f;a?b=&quot;c&quot;&amp;d=&#x27;e&#x27;&lt;f&gt;\""), "{html}");
}

#[test]
fn errors_are_announced_and_notes_are_not_errors() {
    let page = page(|_| {}).unwrap();
    for problem in Problem::ALL {
        let html = html(&page.render(&Shown { return_to: "/", username: "demo", problem: Some(problem) }, "N"));
        assert!(html.contains(&*problem.text()), "{html}");
        assert_eq!(html.contains("role=\"alert\""), problem.is_error(), "{html}");
        assert_eq!(html.contains("<title>Error: "), problem.is_error(), "{html}");
        let of_fields = matches!(problem, Problem::CredentialsWrong | Problem::Incomplete);
        assert_eq!(html.contains("aria-describedby=\"problem\""), of_fields, "{html}");
        let (name, password) = (html.find("id=\"username\"").unwrap(), html.find("id=\"password\"").unwrap());
        let focus = html.find("autofocus").unwrap();
        assert!(name < password && password < focus, "who has typed a name goes on with the password: {html}");
        assert!(!html[password..].contains("value="), "the password is never in the page: {html}");
    }
    let empty = html(&page.render(&Shown::default(), "N"));
    assert!(empty.find("autofocus").unwrap() < empty.find("id=\"password\"").unwrap(), "{empty}");
}

#[test]
fn statuses_are_those_of_the_api() {
    let page = page(|_| {}).unwrap();
    let refused = page.refused(Reply::refusal(Reason::TooManyAttempts).with_retry_after(37), "/", "demo", "N");
    assert_eq!((refused.status.as_u16(), header(&refused, "retry-after")), (429, Some("37")));
    assert!(html(&refused).contains("Try again in 37 seconds."));
    let lost = page.not_saved(Reason::TokenExpired, "N");
    assert_eq!(lost.status, 401);
    assert!(header(&lost, "www-authenticate").unwrap().starts_with("Bearer realm=\"portcullis\""));
    for part in ["Nothing was saved", "target=\"_blank\" rel=\"noopener\"", "href=\"&#x2f;login\"", "<title>Error: "] {
        assert!(html(&lost).contains(part), "{part}: {}", html(&lost));
    }
    assert_eq!(page.not_logged_out(Reply::refusal(Reason::StoreUnavailable), "N").status, 503);
}

#[test]
fn addresses_carry_the_way_back() {
    let own = page(|_| {}).unwrap();
    assert_eq!(own.address(None, None), "/login");
    assert_eq!(own.address(Some("/a?b=c&d"), None), "/login?return_to=%2Fa%3Fb%3Dc%26d");
    assert_eq!(own.address(Some("//evil.example"), None), "/login?return_to=%2F");
    assert_eq!(own.address(None, Some(Problem::LoggedOut)), "/login?logged_out");
    let elsewhere = page(|options| options.url = Some("https://x.example/in?lang=de".to_owned())).unwrap();
    assert_eq!(
        elsewhere.address(Some("/a"), Some(Problem::SessionEnded)),
        "https://x.example/in?lang=de&return_to=%2Fa&session_ended"
    );
    let refused = elsewhere.refused(Reply::invalid_grant(Reason::CredentialsWrong), "/a", "demo", "N");
    assert_eq!(refused.status, 303);
    assert_eq!(
        header(&refused, "location"),
        Some("https://x.example/in?lang=de&return_to=%2Fa&credentials_wrong"),
        "and nothing of the name"
    );
}

const OWN: &str = "<form action=\"{{ login_path }}\">{% if problem %}{{ problem.text }}{% endif %}<i>{{ username }}</i>\n\
                   <input name=\"return_to\" value=\"{{ return_to }}\"><input name=\"username\"><input name=\"password\">\n";

fn with_template(template: &str) -> Result<LoginPage, String> {
    page(|options| options.template = Some(("brand/login.html".to_owned(), template.to_owned())))
        .map_err(|error| error.to_string())
}

#[test]
fn a_template_of_ones_own_replaces_the_form_and_escapes_too() {
    let page = with_template(OWN).unwrap();
    let shown = Shown { return_to: "/a", username: "<b>", problem: Some(Problem::CredentialsWrong) };
    let reply = page.render(&shown, "N");
    assert!(html(&reply).contains("password is wrong.<i>&lt;b&gt;</i>"), "{}", html(&reply));
    assert!(header(&reply, "content-security-policy").is_some());
    assert!(html(&page.not_saved(Reason::TokenMissing, "N")).contains("Nothing was saved"), "that page stays ours");
}

#[test]
fn mistakes_in_a_template_are_found_at_start() {
    for (mistake, told) in [
        ("{% if %}", "brand/login.html:3: syntax error"),
        ("{{ usrname }}", "brand/login.html:3: undefined value"),
        ("{% if problem %}{{ problem.txt }}{% endif %}", "brand/login.html:3: undefined value"),
        (
            "{% if problem and problem.name == 'logged_out' %}{{ nme }}{% endif %}",
            "brand/login.html:3: undefined value",
        ),
        ("{{ username|safe }}", "brand/login.html:3: unknown filter"),
        ("{% include 'secret' %}", "brand/login.html:3: "),
        ("{{ username", "brand/login.html:3: syntax error"),
    ] {
        let error = with_template(&format!("{OWN}{mistake}\n")).err().unwrap_or_default();
        assert!(error.starts_with(told), "{mistake}: {error}");
    }
    let without = |part: &str| with_template(&OWN.replace(part, "")).err().unwrap_or_default();
    assert!(without("<input name=\"password\">").contains("the form has no field `password`"));
    assert!(without("{{ return_to }}").contains("the form does not use `{{ return_to }}`"));
    let late = with_template(&format!("{{% if not problem %}}{OWN}{{% endif %}}")).err().unwrap_or_default();
    assert!(late.contains("(when `problem.name` is `credentials_wrong`)"), "{late}");

    let css = Some(("brand.css".to_owned(), "a {}\n</STYLE><script>".to_owned()));
    let error = page(|options| options.stylesheet = css).err().map(|error| error.to_string());
    assert_eq!(error.as_deref(), Some("brand.css:2: `</style` would end it; remove that"));
}
