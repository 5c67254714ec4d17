//! Identity headers at the upstream are exactly ours, however the client spells them (invariant 6).

use serde::Deserialize;

use crate::harness::{
    ALICE, Answer, BOSS, Browser, DEMO, EchoBackend, Portcullis, Recorded, Script, anon, client, raw,
};

#[derive(Deserialize)]
struct Case {
    name: String,
    fields: Vec<(String, String)>,
}

const FIELDS: [&str; 4] = ["x-auth-subject", "x-auth-roles", "x-auth-scopes", "x-auth-session"];

async fn gate(app: &EchoBackend) -> Portcullis {
    Portcullis::start(&format!(
        "upstreams: {{ app: {{ servers: [\"{}\"] }} }}\n\
         routes:\n  \
           - {{ name: app, upstream: app }}\n  \
           - {{ name: public, path_prefix: /public, upstream: app, auth: public }}\n  \
           - {{ name: optional, path_prefix: /optional, upstream: app, auth: optional }}\n",
        app.url()
    ))
    .await
}

/// The values of all fields that a lenient backend reads as `name`.
fn read_leniently<'a>(request: &'a Recorded, name: &str) -> Vec<&'a str> {
    let fold = |name: &str| {
        name.chars()
            .map(|mark| if mark.is_ascii_alphanumeric() { mark.to_ascii_lowercase() } else { '-' })
            .collect::<String>()
    };
    request.headers.iter().filter(|(own, _)| fold(own.trim()) == name).map(|(_, value)| value.as_str()).collect()
}

#[tokio::test]
async fn no_spelling_of_an_identity_header_reaches_the_upstream_or_removes_ours() {
    let cases: Vec<Case> =
        serde_yaml::from_str(include_str!("../cases/identity_headers.yaml")).expect("the cases are YAML");
    let app = EchoBackend::start().await;
    let gate = gate(&app).await;
    let alice = Browser::logged_in(&gate, &ALICE).await;

    for Case { name, fields } in cases {
        let sent: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        for protected in [true, false] {
            let request = if protected {
                format!("GET /x HTTP/1.1\r\nHost: a\r\n{sent}Authorization: Bearer {}\r\n\r\n", alice.token())
            } else {
                format!("GET /public HTTP/1.1\r\nHost: a\r\n{sent}\r\n")
            };
            let answer = raw(gate.listen, request).await.unwrap_or_else(|| panic!("{name}: no answer"));
            if answer.status == 400 {
                assert!(app.take().is_empty(), "{name}: refused, and sent on all the same");
                continue;
            }
            assert_eq!(answer.status, 200, "{name}: {}", answer.text());
            let seen = app.take_one();
            let [subject, roles, scopes, session] = FIELDS.map(|field| read_leniently(&seen, field));
            if protected {
                assert_eq!((subject, roles), (vec!["alice"], vec!["staff"]), "{name}: {:?}", seen.headers);
                assert!(session.len() == 1 && session[0].len() > 10, "{name}: {:?}", seen.headers);
            } else {
                assert_eq!([subject, roles, session], [const { Vec::<&str>::new() }; 3], "{name}: {:?}", seen.headers);
            }
            assert!(scopes.is_empty(), "{name}: {:?}", seen.headers);
            assert!(
                seen.all("cookie").iter().all(|line| !line.contains("__Host-refresh")),
                "{name}: {:?}",
                seen.headers
            );
        }
    }
}

#[tokio::test]
async fn fields_of_claims_that_are_absent_are_absent() {
    let app = EchoBackend::start().await;
    let gate = gate(&app).await;
    Browser::logged_in(&gate, &DEMO).await.get("/").await.expect(200);
    let seen = app.take_one();
    assert_eq!(seen.header("x-auth-subject"), Some("demo"));
    assert_eq!((seen.header("x-auth-roles"), seen.header("x-auth-scopes")), (None, None));

    Browser::logged_in(&gate, &BOSS).await.get("/").await.expect(200);
    assert_eq!(app.take_one().header("x-auth-roles"), Some("staff,admin"));
}

#[tokio::test]
async fn an_optional_route_tells_who_it_is_if_it_knows_and_refuses_a_bad_token() {
    let app = EchoBackend::start().await;
    let gate = gate(&app).await;
    anon(&gate, "/optional").await.expect(200);
    assert_eq!(app.take_one().header("x-auth-subject"), None);
    Browser::logged_in(&gate, &ALICE).await.get("/optional").await.expect(200);
    assert_eq!(app.take_one().header("x-auth-subject"), Some("alice"));
    Answer::to(client().get(gate.url("/optional")).bearer_auth("rubbish")).await.expect(401);
    assert!(app.take().is_empty());
}

#[tokio::test]
async fn our_token_and_cookie_stay_here_and_the_apps_own_pass() {
    let app = EchoBackend::start().await;
    let gate = gate(&app).await;
    let alice = Browser::logged_in(&gate, &ALICE).await;
    let cookies = format!("theme=dark; __Host-refresh={}; lang=en", alice.refresh_token());

    Answer::to(client().get(gate.url("/x")).bearer_auth(alice.token()).header("Cookie", &cookies)).await.expect(200);
    let seen = app.take_one();
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(seen.header("cookie"), Some("theme=dark; lang=en"));

    Answer::to(client().get(gate.url("/public")).basic_auth("app", Some("own")).header("Cookie", &cookies))
        .await
        .expect(200);
    let seen = app.take_one();
    assert!(seen.header("authorization").is_some_and(|value| value.starts_with("Basic ")), "{:?}", seen.headers);
    assert_eq!(seen.header("cookie"), Some("theme=dark; lang=en"));
}

#[tokio::test]
async fn an_upstream_cannot_set_our_cookie() {
    let app = EchoBackend::answering(|_| {
        let fields = [
            ("Set-Cookie", "__Host-refresh=theirs; Path=/; Secure"),
            ("Set-Cookie", "app=own; Path=/"),
            ("Set-Cookie", " __Host-refresh =theirs"),
        ];
        Script::answer(200, &fields, "hello")
    })
    .await;
    let gate = gate(&app).await;
    let answer = anon(&gate, "/public").await.expect(200);
    let set: Vec<_> = answer.headers.get_all("set-cookie").iter().map(|line| line.to_str().expect("ASCII")).collect();
    assert_eq!(set, ["app=own; Path=/"]);
}

#[tokio::test]
async fn an_upstreams_own_401_passes_unchanged_and_ours_names_our_realm() {
    let app =
        EchoBackend::answering(|_| Script::answer(401, &[("WWW-Authenticate", "Basic realm=\"app\"")], "app says no"))
            .await;
    let gate = gate(&app).await;
    let alice = Browser::logged_in(&gate, &ALICE).await;
    let theirs = alice.get("/").await.expect(401);
    assert_eq!(
        (theirs.header("www-authenticate"), theirs.text().as_str()),
        (Some("Basic realm=\"app\""), "app says no")
    );
    let ours = anon(&gate, "/").await.expect(401);
    assert_eq!(ours.header("www-authenticate"), Some("Bearer realm=\"portcullis\""));
}

#[tokio::test]
async fn what_clients_say_about_where_they_come_from_is_replaced() {
    let app = EchoBackend::start().await;
    let gate = gate(&app).await;
    let request = client()
        .get(gate.url("/public"))
        .header("X-Forwarded-For", "6.6.6.6")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "evil.example")
        .header("Forwarded", "for=6.6.6.6;host=evil.example;proto=https")
        .header("X-Original-URL", "/admin")
        .header("X-Rewrite-URL", "/admin")
        .header("X-Forwarded-Uri", "/admin")
        .header("X-Real-IP", "6.6.6.6");
    Answer::to(request).await.expect(200);
    let seen = app.take_one();
    let all = format!("{:?}", seen.headers);
    for part in ["6.6.6.6", "evil.example", "/admin"] {
        assert!(!all.contains(part), "{part} arrived: {all}");
    }
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("host"), Some(gate.listen.to_string().as_str()));
    assert!(seen.header("x-request-id").is_some_and(|id| id.len() >= 16), "{all}");
}
