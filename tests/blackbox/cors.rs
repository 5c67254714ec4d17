//! Scripts of other origins: answered by the proxy where it is told to, left to the app where it is not.

use reqwest::Method;

use crate::harness::{ALICE, Answer, Browser, EchoBackend, Portcullis, Script, client};

const FRIEND: &str = "https://app.example.com";

async fn app() -> EchoBackend {
    EchoBackend::answering(|_| {
        let own =
            [("Access-Control-Allow-Origin", "*"), ("Access-Control-Allow-Credentials", "false"), ("Vary", "Accept")];
        Script::answer(200, &own, "the app itself")
    })
    .await
}

async fn gate(app: &EchoBackend) -> Portcullis {
    Portcullis::start(&format!(
        "upstream: {}\npublic: [/public]\ncors: {{ allow_origins: [\"{FRIEND}\"] }}\n",
        app.url()
    ))
    .await
}

fn preflight(gate: &Portcullis, path: &str, origin: &str) -> reqwest::RequestBuilder {
    client()
        .request(Method::OPTIONS, gate.url(path))
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization")
}

#[tokio::test]
async fn a_preflight_of_a_configured_origin_is_answered_by_the_proxy() {
    let app = app().await;
    let gate = gate(&app).await;
    for path in ["/", "/refresh", "/login", "/public"] {
        let answer = Answer::to(preflight(&gate, path, FRIEND)).await;
        assert!(answer.status == 204 || answer.status == 200, "{path}: {answer:#?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(FRIEND), "{path}");
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{path}");
        let list = |name: &str| answer.header(name).unwrap_or_default().to_ascii_lowercase();
        assert!(list("access-control-allow-methods").contains("post"), "{path}: {answer:#?}");
        assert!(list("access-control-allow-headers").contains("authorization"), "{path}: {answer:#?}");
        assert!(list("vary").contains("origin"), "{path}: {answer:#?}");
    }
    assert!(app.take().is_empty());
}

#[tokio::test]
async fn other_origins_are_promised_nothing() {
    let app = app().await;
    let gate = gate(&app).await;
    for origin in [
        "https://evil.example",
        "null",
        "http://app.example.com",
        "https://app.example.com:444",
        "https://app.example.com.evil.example",
    ] {
        let answer = Answer::to(preflight(&gate, "/", origin)).await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
        let answer = Answer::to(client().get(gate.url("/")).header("Origin", origin)).await.expect(401);
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
    }
    assert!(app.take().is_empty(), "an unanswered preflight is no way to a protected app");
}

#[tokio::test]
async fn every_answer_to_a_configured_origin_can_be_read_by_it() {
    let app = app().await;
    let gate = gate(&app).await;
    let alice = Browser::logged_in(&gate, &ALICE).await;
    let refused = Answer::to(client().get(gate.url("/")).header("Origin", FRIEND)).await.expect(401);
    let refreshed = Answer::to(alice.request(Method::POST, "/refresh").header("Origin", FRIEND)).await.expect(200);
    let passed = Answer::to(alice.with_token(Method::GET, "/").header("Origin", FRIEND)).await.expect(200);
    for answer in [&refused, &refreshed, &passed] {
        let all: Vec<_> = answer.headers.get_all("access-control-allow-origin").iter().collect();
        assert_eq!(all, [FRIEND], "exactly one, and the app's own is removed: {answer:#?}");
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        let exposed = answer.header("access-control-expose-headers").unwrap_or_default().to_ascii_lowercase();
        assert!(exposed.contains("www-authenticate") && exposed.contains("retry-after"), "{answer:#?}");
        let vary: Vec<_> = answer.headers.get_all("vary").iter().filter_map(|line| line.to_str().ok()).collect();
        assert!(vary.join(",").to_ascii_lowercase().contains("origin"), "{answer:#?}");
    }
    assert_eq!(passed.text(), "the app itself");
}

#[tokio::test]
async fn without_cors_in_the_configuration_it_is_the_apps_own_affair() {
    let app = app().await;
    let gate = Portcullis::start(&format!("upstream: {}\npublic: [/public]\n", app.url())).await;
    let answer = Answer::to(preflight(&gate, "/public", FRIEND)).await.expect(200);
    assert_eq!((answer.header("access-control-allow-origin"), answer.text().as_str()), (Some("*"), "the app itself"));
    assert_eq!(app.take_one().method, "OPTIONS");
    Answer::to(preflight(&gate, "/", FRIEND)).await.expect(401);
    assert!(app.take().is_empty());
}
