//! Native clients without a cookie jar: the refresh token in bodies, and never beside a cookie (invariants 3, 4 and 9).

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::{ALICE, Answer, Browser, EchoBackend, Portcullis, Script, bearer, client, eventually, raw};

const VIEW: &str = "capacitor://localhost";
const FRIEND: &str = "https://friend.example";

async fn gate(more: &str) -> Portcullis {
    let app = EchoBackend::start().await;
    Portcullis::start(&format!("upstream: {}\npublic: [/public]\n{more}", app.url())).await
}

/// Switched on, for a web view too.
async fn open(more: &str) -> Portcullis {
    gate(&format!("native_clients: {{ allow_origins: [{VIEW}, http://localhost] }}\n{more}")).await
}

fn post(gate: &Portcullis, path: &str, body: &Value) -> RequestBuilder {
    client().post(gate.url(path)).header("User-Agent", "Phone/1.0").json(body)
}

fn by_body() -> Value {
    json!({ "username": ALICE.name, "password": ALICE.password, "transport": "body" })
}

fn carrying(token: &str) -> Value {
    json!({ "refresh_token": token })
}

/// The refresh token of an answer that has it in its body, and no cookie.
#[track_caller]
fn token(answer: &Answer) -> String {
    assert_eq!((answer.status, answer.header("set-cookie")), (200, None), "{answer:#?}\n{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.json()["refresh_token"].as_str().expect("a refresh token").to_owned()
}

async fn logged_in(gate: &Portcullis) -> (String, String) {
    let answer = Answer::to(post(gate, "/login", &by_body())).await;
    (token(&answer), answer.access_token())
}

async fn refresh(gate: &Portcullis, token: &str) -> Answer {
    Answer::to(post(gate, "/refresh", &carrying(token))).await
}

#[tokio::test]
async fn a_life_without_a_cookie() {
    let gate = open("").await;
    for everywhere in [false, true] {
        let (first, access) = logged_in(&gate).await;
        bearer(&gate, &access, "/").await.expect(200);
        let answer = refresh(&gate, &first).await;
        let second = token(&answer);
        assert_ne!(second, first);
        bearer(&gate, &answer.access_token(), "/").await.expect(200);

        let path = if everywhere { "/logout/all" } else { "/logout" };
        let answer = Answer::to(post(&gate, path, &carrying(&second))).await.expect(204);
        assert_eq!(answer.header("set-cookie"), None);
        bearer(&gate, &access, "/").await.expect(401).because("session_ended");
        refresh(&gate, &second).await.expect(400).because("session_ended").error("invalid_grant");
    }
}

#[tokio::test]
async fn off_it_is_refused_and_no_cookie_is_set_in_its_place() {
    let gate = gate("").await;
    let refused = Answer::to(post(&gate, "/login", &by_body())).await.expect(400).because("transport_disabled");
    assert_eq!(refused.header("set-cookie"), None);
    let alice = Browser::logged_in(&gate, &ALICE).await;
    let body = carrying(&alice.refresh_token());
    for path in ["/refresh", "/logout", "/logout/all"] {
        for request in [post(&gate, path, &body), alice.request(Method::POST, path).json(&body)] {
            let answer = Answer::to(request).await.expect(400).because("transport_disabled").error("invalid_request");
            assert_eq!(answer.header("set-cookie"), None);
        }
    }
    alice.get("/").await.expect(200);
    alice.second_tab().refresh().await.expect(200);
    let refused = Answer::to(post(&gate, "/refresh", &body).header("Origin", VIEW)).await.expect(403);
    assert_eq!((refused.because("cross_site").header("access-control-allow-origin")), None);
}

#[tokio::test]
async fn a_lost_reply_comes_again_and_a_thief_is_noticed() {
    let gate = open("rotation: { grace: 0s }\n").await;
    let (first, _) = logged_in(&gate).await;
    let lost = token(&refresh(&gate, &first).await);
    assert_eq!(token(&refresh(&gate, &first).await), lost, "byte for byte");
    let third = token(&refresh(&gate, &lost).await);
    let thief = client().post(gate.url("/refresh")).header("User-Agent", "Thief/6.66").json(&carrying(&first));
    Answer::to(thief).await.expect(400).because("token_reused");
    refresh(&gate, &third).await.expect(400).because("session_ended");
    let log = eventually("it is in the audit trail", async || {
        gate.log().lines().find(|line| line.contains("token_reused") && line.contains("audit")).map(str::to_owned)
    })
    .await;
    assert!(log.contains(r#""transport":"body""#), "{log}");
}

#[tokio::test]
async fn cookie_and_body_together_are_refused_and_change_nothing() {
    let gate = open("").await;
    let alice = Browser::logged_in(&gate, &ALICE).await;
    let (own, access) = logged_in(&gate).await;
    let refused = |request| async move {
        let answer = Answer::to(request).await.expect(400).because("credentials_ambiguous");
        assert_eq!(answer.header("set-cookie"), None);
    };
    for (path, body) in [
        ("/refresh", carrying(&own)),
        ("/refresh", carrying(&alice.refresh_token())),
        ("/refresh", carrying("nonsense")),
        ("/logout", carrying(&own)),
        ("/logout/all", carrying(&own)),
        ("/login", by_body()),
    ] {
        refused(alice.request(Method::POST, path).json(&body)).await;
        refused(alice.request(Method::POST, path).json(&body).header("Origin", VIEW)).await;
        refused(post(&gate, path, &body).header("Cookie", "a=1; __Host-refresh=")).await;
    }
    let form = alice.request(Method::POST, "/refresh").form(&[("refresh_token", own.as_str())]);
    refused(form).await;
    alice.get("/").await.expect(200);
    bearer(&gate, &access, "/").await.expect(200);
    alice.second_tab().refresh().await.expect(200);
    token(&refresh(&gate, &own).await);
}

#[tokio::test]
async fn a_refresh_by_cookie_never_answers_the_token() {
    let gate = open("").await;
    let mut alice = Browser::logged_in(&gate, &ALICE).await;
    for body in [json!({}), json!({ "transport": "body" }), json!({ "nested": { "refresh_token": "x" } })] {
        let answer = Answer::to(alice.request(Method::POST, "/refresh").json(&body)).await.expect(200);
        let cookie = answer.refresh_cookie().expect("a cookie");
        assert!(!answer.text().contains(cookie.value()) && !answer.text().contains("refresh_token"), "{body}");
    }
    alice.refresh().await.expect(200);
}

#[tokio::test]
async fn bodies_that_could_be_read_in_two_ways_are_refused() {
    let gate = open("").await;
    let (own, access) = logged_in(&gate).await;
    const JSON: &str = "Content-Type: application/json\r\n";
    const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
    let cases = [
        (JSON, format!(r#"{{"refresh_token":"{own}","refresh_token":"{own}"}}"#), 400, "body_malformed"),
        (JSON, format!(r#"{{"refresh_token":"{own}","refresh\u005ftoken":"x"}}"#), 400, "body_malformed"),
        (JSON, format!(r#"{{"refresh_token":["{own}"]}}"#), 400, "body_malformed"),
        (JSON, format!(r#"{{"refresh_token":{{"refresh_token":"{own}"}}}}"#), 400, "body_malformed"),
        (JSON, r#"{"refresh_token":null}"#.to_owned(), 400, "body_malformed"),
        (JSON, r#"{"refresh_token":1}"#.to_owned(), 400, "body_malformed"),
        (JSON, format!(r#"["{own}"]"#), 400, "body_malformed"),
        (JSON, format!(r#""{own}""#), 400, "body_malformed"),
        (JSON, format!("refresh_token={own}"), 400, "body_malformed"),
        (JSON, format!(r#"{{"x":{{"refresh_token":"{own}"}}}}"#), 400, "token_missing"),
        (JSON, format!(r#"{{"Refresh_Token":"{own}"}}"#), 400, "token_missing"),
        (JSON, format!(r#"{{"refresh_token":"{own} "}}"#), 400, "token_malformed"),
        (FORM, format!("refresh_token={own}&refresh_token={own}"), 400, "body_malformed"),
        (FORM, format!("refresh_token={own}&refresh%5Ftoken=x"), 400, "body_malformed"),
        (FORM, "refresh_token=".to_owned(), 400, "body_malformed"),
        (FORM, format!(r#"{{"refresh_token":"{own}"}}"#), 400, "token_missing"),
        (FORM, format!("x=1;refresh_token={own}"), 400, "token_missing"),
        ("", format!(r#"{{"refresh_token":"{own}"}}"#), 415, "media_type_unsupported"),
        ("Content-Type: text/plain\r\n", format!("refresh_token={own}"), 415, "media_type_unsupported"),
        (
            "Content-Type: application/json\r\nContent-Type: application/x-www-form-urlencoded\r\n",
            format!("refresh_token={own}"),
            415,
            "media_type_unsupported",
        ),
        (JSON, format!(r#"{{"refresh_token":"{own}","x":"{}"}}"#, "x".repeat(1 << 20)), 413, "body_too_large"),
        (JSON, String::new(), 400, "token_missing"),
    ];
    for (media_type, body, status, reason) in cases {
        let request = format!(
            "POST /refresh HTTP/1.1\r\nHost: {}\r\n{media_type}Content-Length: {}\r\n\r\n{body}",
            gate.listen,
            body.len()
        );
        let answer = raw(gate.listen, request).await.expect("an answer");
        let shown = &body[..body.len().min(300)];
        let told: Value = serde_json::from_slice(&answer.body).expect("a problem document");
        assert_eq!((answer.status, told["reason"].as_str()), (status, Some(reason)), "{media_type}{shown}");
        assert_eq!(answer.header("set-cookie"), None, "{media_type}{shown}");
    }
    let endless = format!(
        "POST /refresh HTTP/1.1\r\nHost: a\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n100000\r\n{}\r\n0\r\n\r\n",
        "x".repeat(1 << 20)
    );
    assert_eq!(raw(gate.listen, endless).await.expect("an answer").status, 413, "a length that nobody told");
    // In a query it is no credential (RFC 9700 section 4.3.2), and the token has survived all of this.
    Answer::to(client().post(gate.url(&format!("/refresh?refresh_token={own}"))))
        .await
        .expect(400)
        .because("token_missing");
    bearer(&gate, &access, "/").await.expect(200);
    token(&refresh(&gate, &own).await);
}

#[tokio::test]
async fn only_listed_web_views_carry_it_and_no_other_page() {
    let gate = open(&format!("cors: {{ allow_origins: [\"{FRIEND}\"] }}\ncookie: {{ same_site: none }}\n")).await;
    let (own, _) = logged_in(&gate).await;
    let ours = gate.url("");
    for (fields, status, reason) in [
        (&[("Origin", "ionic://localhost")][..], 403, "cross_site"),
        (&[("Origin", "https://localhost")], 403, "cross_site"),
        (&[("Origin", "capacitor://localhost.evil.example")], 403, "cross_site"),
        (&[("Origin", "null")], 403, "cross_site"),
        (&[("Sec-Fetch-Site", "cross-site")], 403, "cross_site"),
        (&[("Origin", VIEW), ("Origin", "https://evil.example")], 403, "cross_site"),
        (&[("Origin", &*ours)], 403, "transport_refused"),
        (&[("Origin", &*ours), ("Sec-Fetch-Site", "same-origin")], 403, "transport_refused"),
        (&[("Sec-Fetch-Site", "same-origin")], 403, "transport_refused"),
        (&[("Sec-Fetch-Site", "none")], 403, "transport_refused"),
        (&[("Origin", FRIEND), ("Sec-Fetch-Site", "cross-site")], 403, "transport_refused"),
    ] {
        let with_fields = |request| {
            fields.iter().fold(request, |request: RequestBuilder, (name, value)| request.header(*name, *value))
        };
        for (path, body) in [("/login", by_body()), ("/refresh", carrying(&own)), ("/logout", carrying(&own))] {
            let answer = Answer::to(with_fields(post(&gate, path, &body))).await.expect(status).because(reason);
            assert_eq!((answer.header("set-cookie"), answer.header("www-authenticate")), (None, None), "{fields:?}");
        }
    }
    // And with the cookie, as a browser would send it from a listed origin while `same_site` is `none`.
    let alice = Browser::logged_in(&gate, &ALICE).await;
    for path in ["/refresh", "/logout", "/logout/all"] {
        let answer = Answer::to(alice.request(Method::POST, path).header("Origin", VIEW)).await.expect(403);
        assert_eq!(answer.because("transport_refused").header("set-cookie"), None);
    }
    let login = json!({ "username": ALICE.name, "password": ALICE.password });
    let answer = Answer::to(post(&gate, "/login", &login).header("Origin", VIEW)).await.expect(403);
    assert_eq!(answer.because("transport_refused").header("set-cookie"), None);
    alice.get("/").await.expect(200);

    for fields in [&[("Origin", VIEW)][..], &[("Origin", "http://localhost"), ("Sec-Fetch-Site", "cross-site")], &[]] {
        let request = fields
            .iter()
            .fold(post(&gate, "/refresh", &carrying(&own)), |request, (name, value)| request.header(*name, *value));
        token(&Answer::to(request).await);
    }
}

#[tokio::test]
async fn a_web_view_may_read_every_answer_without_credentials() {
    let app = EchoBackend::answering(|_| {
        let own = [("Access-Control-Allow-Origin", "*"), ("Access-Control-Allow-Credentials", "true")];
        Script::answer(200, &own, "the app itself")
    })
    .await;
    let gate = Portcullis::start(&format!(
        "upstream: {}\npublic: [/public]\nnative_clients: {{ allow_origins: [{VIEW}], allow_headers: [authorization, x-own] }}\n",
        app.url()
    ))
    .await;
    let preflight = |path: &str, origin: &str| {
        let request = client().request(Method::OPTIONS, gate.url(path)).header("Origin", origin);
        request.header("Access-Control-Request-Method", "POST")
    };
    for path in ["/login", "/refresh", "/data", "/public"] {
        let answer = Answer::to(preflight(path, VIEW)).await.expect(204);
        assert_eq!(answer.header("access-control-allow-origin"), Some(VIEW), "{path}");
        assert_eq!(answer.header("access-control-allow-headers"), Some("authorization, x-own"), "{path}");
        assert!(answer.header("access-control-allow-methods").is_some_and(|methods| methods.contains("POST")));
        assert_eq!(answer.header("access-control-allow-credentials"), None, "{path}");
    }
    assert!(app.take().is_empty(), "no preflight of a web view reaches the app");

    let login = Answer::to(post(&gate, "/login", &by_body()).header("Origin", VIEW)).await;
    let own = token(&login);
    let get = |path: &str| client().get(gate.url(path)).header("Origin", VIEW);
    let answers = [
        login.clone(),
        Answer::to(post(&gate, "/refresh", &carrying(&own)).header("Origin", VIEW)).await.expect(200),
        Answer::to(post(&gate, "/refresh", &carrying("x")).header("Origin", VIEW)).await.expect(400),
        Answer::to(get("/data")).await.expect(401),
        Answer::to(get("/data").bearer_auth(login.access_token())).await.expect(200),
        Answer::to(get("/userinfo").bearer_auth(login.access_token())).await.expect(200),
        Answer::to(get("/public")).await.expect(200),
    ];
    for answer in &answers {
        let all: Vec<_> = answer.headers.get_all("access-control-allow-origin").iter().collect();
        assert_eq!(all, [VIEW], "{answer:#?}");
        assert_eq!(answer.header("access-control-allow-credentials"), None, "{answer:#?}");
        assert_eq!(answer.header("access-control-expose-headers"), Some("WWW-Authenticate, Retry-After"));
        assert_eq!(answer.header("vary"), Some("Origin"));
    }

    // For all others CORS stays the app's own affair, and caches are told that answers differ.
    for origin in [FRIEND, "ionic://localhost"] {
        let answer = Answer::to(client().get(gate.url("/public")).header("Origin", origin)).await.expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("vary"), Some("Origin"));
        Answer::to(preflight("/public", origin)).await.expect(200);
        let refused = Answer::to(preflight("/refresh", origin)).await.expect(405);
        assert_eq!(refused.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn no_token_is_left_behind() {
    let app = EchoBackend::start().await;
    let config = format!("upstream: {}\nnative_clients: {{}}\nrotation: {{ grace: 0s }}\n", app.url());
    let gate = Portcullis::start_with(&config, &[("RUST_LOG", "trace")]).await;
    let (first, access) = logged_in(&gate).await;
    bearer(&gate, &access, "/").await.expect(200);
    let second = token(&refresh(&gate, &first).await);
    let third = token(&refresh(&gate, &second).await);
    let mut pages = Vec::new();
    let twice = format!(r#"{{"refresh_token":"{third}","refresh_token":"x"}}"#);
    let request = client().post(gate.url("/refresh")).header("Content-Type", "application/json").body(twice);
    pages.push(Answer::to(request).await.expect(400).text());
    pages.push(Answer::to(post(&gate, "/refresh", &carrying(&format!("{third}x")))).await.expect(400).text());
    pages.push(Answer::to(post(&gate, "/refresh", &carrying(&first)).header("Origin", VIEW)).await.expect(403).text());
    let thief = client().post(gate.url("/refresh")).header("User-Agent", "Thief/6.66").json(&carrying(&first));
    pages.push(Answer::to(thief).await.expect(400).because("token_reused").text());

    eventually("the theft is logged", async || gate.log().contains("token_reused").then_some(())).await;
    let seen: String = app.seen().iter().map(|request| String::from_utf8_lossy(&request.raw).into_owned()).collect();
    for (place, text) in [
        ("a log", gate.log()),
        ("a metric", gate.metrics().await.text),
        ("an error", pages.concat()),
        ("the app", seen),
    ] {
        for secret in [&first, &second, &third, &access] {
            assert!(!text.contains(secret.as_str()), "{place} holds {secret}");
        }
    }
    let audit = gate.log();
    let login = audit.lines().find(|line| line.contains("\"logged_in\"")).expect("a login is in the audit trail");
    assert!(login.contains(r#""transport":"body""#), "{login}");
}
