//! The login page, as a browser without scripts meets it.

use reqwest::Method;

use crate::harness::{ALICE, Answer, EchoBackend, Portcullis, client};

async fn gate(more: &str) -> Portcullis {
    let app = EchoBackend::start().await;
    Portcullis::start(&format!("upstream: {}\n{more}", app.url())).await
}

async fn send(gate: &Portcullis, fields: &[(&str, &str)], headers: &[(&'static str, &str)]) -> Answer {
    let mut request = client().post(gate.url("/login")).form(fields);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::to(request).await
}

#[track_caller]
fn assert_is_page(answer: &Answer) {
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{answer:#?}");
    let policy = answer.header("content-security-policy").expect("a policy");
    let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a nonce");
    assert!(nonce.len() >= 22, "{policy}");
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    assert!(policy.contains("form-action 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(answer.text().contains(&format!("<style nonce=\"{nonce}\">")), "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    // A form of a page without a referrer has `Origin: null`, which is refused.
    assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
    assert_eq!(answer.header("cross-origin-opener-policy"), Some("same-origin"));
    assert!(!answer.text().contains("<script"), "{}", answer.text());
}

#[tokio::test]
async fn the_page_is_there_and_logs_in() {
    let gate = gate("login_page: true\n").await;
    let page = Answer::to(client().get(gate.url("/login?return_to=%2Fa%3Fb%3D1%26c"))).await.expect(200);
    assert_is_page(&page);
    assert!(page.text().contains("name=\"return_to\" value=\"&#x2f;a?b=1&amp;c\""), "{}", page.text());
    let head = Answer::to(client().head(gate.url("/login"))).await.expect(200);
    assert!(head.body.is_empty() && head.header("content-length") != Some("0"), "{head:#?}");
    let other = Answer::to(client().request(Method::PUT, gate.url("/login"))).await.expect(405);
    assert_eq!(other.header("allow"), Some("GET, HEAD, POST"));

    // As Chromium sends it.
    let fields = [("return_to", "/a?b=1&c"), ("username", ALICE.name), ("password", ALICE.password)];
    let own = gate.url("");
    let from_here = [("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "navigate")];
    let answer = send(&gate, &fields, &from_here).await.expect(303);
    assert_eq!(answer.header("location"), Some("/a?b=1&c"));
    let cookie = answer.refresh_cookie().expect("a refresh cookie");
    assert!(answer.body.is_empty(), "{}", answer.text());
    for evil in ["//evil.example", "/\\evil.example", "https://evil.example", "/%2f/evil.example", "/\t/evil.example"] {
        let fields = [("return_to", evil), ("username", ALICE.name), ("password", ALICE.password)];
        assert_eq!(send(&gate, &fields, &from_here).await.expect(303).header("location"), Some("/"), "{evil}");
    }

    // A button that logs out.
    let logout = client().post(gate.url("/logout")).header("Cookie", format!("{}={}", cookie.name(), cookie.value()));
    let answer = Answer::to(logout.header("Accept", "text/html,*/*;q=0.8")).await.expect(303);
    assert_eq!(answer.header("location"), Some("/login?logged_out"));
    assert!(answer.refresh_cookie().is_some_and(|cookie| cookie.value().is_empty()));
    let page = Answer::to(client().get(gate.url("/login?logged_out"))).await.expect(200);
    assert!(page.text().contains("You are logged out."), "{}", page.text());
}

#[tokio::test]
async fn a_refused_login_is_the_page_again() {
    let gate = gate("login_page: true\nlogin: { attempts_per_account: 3, attempts_per_address: 1000 }\n").await;
    let name = "\"><script>alert(1)</script>";
    let evil = [("return_to", "/x\"><script>alert(2)</script>"), ("username", name), ("password", "s3cret-guess")];
    let answer = send(&gate, &evil, &[]).await.expect(400);
    assert_is_page(&answer);
    let text = answer.text();
    assert!(
        text.contains("&quot;&gt;&lt;script&gt;alert(1)&lt;&#x2f;script&gt;") && !text.contains("s3cret"),
        "{text}"
    );
    assert!(text.contains("<title>Error: ") && text.contains("role=\"alert\""), "{text}");
    assert!(answer.refresh_cookie().is_none());

    let guess = [("return_to", "/"), ("username", ALICE.name), ("password", "a guess")];
    for _ in 0..3 {
        assert_is_page(&send(&gate, &guess, &[]).await.expect(400));
    }
    let refused = send(&gate, &guess, &[]).await.expect(429);
    assert_is_page(&refused);
    let wait_s: u32 = refused.header("retry-after").and_then(|text| text.parse().ok()).expect("Retry-After in seconds");
    assert!(wait_s > 0 && refused.text().contains("Too many attempts to log in."), "{}", refused.text());
}

#[tokio::test]
async fn a_form_of_another_site_logs_nobody_in() {
    let gate = gate("login_page: true\n").await;
    let fields = [("return_to", "/"), ("username", ALICE.name), ("password", ALICE.password)];
    for headers in [
        &[("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")][..],
        &[("Origin", "https://evil.example")],
        &[("Origin", "null")],
    ] {
        let answer = send(&gate, &fields, headers).await.expect(403).because("cross_site");
        assert!(answer.refresh_cookie().is_none() && answer.header("location").is_none());
    }
}

#[tokio::test]
async fn nothing_changes_where_there_is_no_page() {
    let gate = gate("").await;
    let absent = Answer::to(client().get(gate.url("/login")).header("Accept", "text/html")).await.expect(405);
    assert_eq!(absent.header("allow"), Some("POST"));
    let fields = [("return_to", "/a"), ("username", ALICE.name), ("password", ALICE.password)];
    send(&gate, &fields, &[("Sec-Fetch-Mode", "navigate")]).await.expect(200).access_token();
    let logout = client().post(gate.url("/logout")).header("Sec-Fetch-Mode", "navigate");
    Answer::to(logout).await.expect(204);
}

#[tokio::test]
async fn a_page_of_the_apps_own_is_told_what_is_wrong() {
    let gate = gate("login_page: { url: /sign-in }\npublic: [/sign-in]\n").await;
    Answer::to(client().get(gate.url("/login"))).await.expect(405);
    let wrong = [("return_to", "/a"), ("username", ALICE.name), ("password", "wrong")];
    let answer = send(&gate, &wrong, &[]).await.expect(303);
    assert_eq!(answer.header("location"), Some("/sign-in?return_to=%2Fa&credentials_wrong"));
    let right = [("return_to", "/a"), ("username", ALICE.name), ("password", ALICE.password)];
    assert_eq!(send(&gate, &right, &[]).await.expect(303).header("location"), Some("/a"));
}

#[tokio::test]
async fn a_navigation_without_a_session_comes_back_to_where_it_wanted() {
    let gate = gate("credentials: [header, cookie]\n").await;
    let navigate = |method: Method, path: &str| {
        let request = client().request(method, gate.url(path));
        request.header("Sec-Fetch-Mode", "navigate").header("Sec-Fetch-Dest", "document")
    };
    let sent_away = Answer::to(navigate(Method::GET, "/reports?year=1&m=%C3%A4")).await.expect(303);
    let login = sent_away.header("location").expect("a location").to_owned();
    assert_eq!(login, "/login?return_to=%2Freports%3Fyear%3D1%26m%3D%25C3%25A4");
    assert_eq!(sent_away.header("cache-control"), Some("no-store"));
    let page = Answer::to(navigate(Method::GET, &login)).await.expect(200);
    assert_is_page(&page);
    assert!(page.text().contains("value=\"&#x2f;reports?year=1&amp;m=%C3%A4\""), "{}", page.text());
    let fields = [("return_to", "/reports?year=1&m=%C3%A4"), ("username", ALICE.name), ("password", ALICE.password)];
    let answer = send(&gate, &fields, &[]).await.expect(303);
    assert_eq!(answer.header("location"), Some("/reports?year=1&m=%C3%A4"));
    let cookies: Vec<&str> =
        answer.headers.get_all("set-cookie").iter().filter_map(|field| field.to_str().ok()).collect();
    let pairs: Vec<&str> = cookies.iter().filter_map(|field| field.split(';').next()).collect();
    assert_eq!(pairs.len(), 2, "an access cookie and a refresh cookie: {pairs:?}");
    let back = navigate(Method::GET, "/reports?year=1&m=%C3%A4").header("Cookie", pairs.join("; "));
    assert!(Answer::to(back).await.expect(200).text().contains("/reports?year=1&m=%C3%A4"));

    // A form that met no session went nowhere, and its sender is told so.
    let lost = Answer::to(navigate(Method::POST, "/reports").header("Origin", gate.url("")).body("text=long")).await;
    let lost = lost.expect(401);
    assert_is_page(&lost);
    assert!(lost.header("www-authenticate").is_some_and(|challenge| challenge.contains("portcullis")), "{lost:#?}");
    for part in ["Nothing was saved", "target=\"_blank\"", "reload"] {
        assert!(lost.text().contains(part), "{part}: {}", lost.text());
    }

    // Nobody else is sent anywhere.
    for (name, value) in [("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Mode", "no-cors"), ("Accept", "*/*")] {
        Answer::to(client().get(gate.url("/reports")).header(name, value)).await.expect(401).because("token_missing");
    }
}
