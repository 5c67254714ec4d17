//! Login and userinfo: what comes of good and bad credentials.

use serde_json::json;

use crate::harness::{ALICE, Answer, BOSS, Browser, EchoBackend, Portcullis, anon, client};

async fn gate(more: &str) -> Portcullis {
    let app = EchoBackend::start().await;
    Portcullis::start(&format!("upstream: {}\n{more}", app.url())).await
}

async fn login(gate: &Portcullis, body: &serde_json::Value) -> Answer {
    Answer::to(client().post(gate.url("/login")).json(body)).await
}

#[tokio::test]
async fn json_and_form_log_in_alike() {
    let gate = gate("").await;
    let by_form = Browser::at(&gate).login(&ALICE).await.expect(200);
    let by_json = login(&gate, &json!({ "username": ALICE.name, "password": ALICE.password })).await.expect(200);
    for answer in [by_form, by_json] {
        let body = answer.json();
        assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(900)));
        assert_eq!(body["session_expires_in"], 30 * 24 * 3600);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let cookie = answer.refresh_cookie().expect("a refresh cookie");
        assert_eq!((cookie.name(), cookie.path(), cookie.domain()), ("__Host-refresh", Some("/"), None));
        assert_eq!((cookie.http_only(), cookie.secure()), (Some(true), Some(true)));
        assert_eq!(cookie.same_site(), Some(cookie::SameSite::Strict));
    }
}

#[tokio::test]
async fn an_unknown_user_and_a_wrong_password_get_the_same_answer() {
    let gate = gate("").await;
    let wrong = login(&gate, &json!({ "username": ALICE.name, "password": "wrong" })).await.expect(400);
    let unknown = login(&gate, &json!({ "username": "nobody", "password": "wrong" })).await.expect(400);
    assert_eq!(wrong.body, unknown.body);
    let names = |answer: &Answer| answer.headers.keys().map(|name| name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&wrong), names(&unknown));
    assert!(wrong.refresh_cookie().is_none());
    wrong.error("invalid_grant");
}

#[tokio::test]
async fn bodies_that_are_not_a_login_are_refused_as_what_they_are() {
    let gate = gate("").await;
    let post =
        |kind: &'static str, body: String| client().post(gate.url("/login")).header("Content-Type", kind).body(body);
    Answer::to(post("application/json", "{".into())).await.expect(400).because("body_malformed");
    Answer::to(post("application/json", "{\"username\":\"a\"}".into())).await.expect(400).because("body_malformed");
    Answer::to(post("text/plain", "username=a&password=b".into())).await.expect(415).because("media_type_unsupported");
    let large = format!("username=a&password={}", "b".repeat(200_000));
    Answer::to(post("application/x-www-form-urlencoded", large).header("Connection", "close"))
        .await
        .expect(413)
        .because("body_too_large");
}

#[tokio::test]
async fn guessing_is_slowed_down_for_the_guesser_and_others_still_log_in() {
    let gate = gate("login: { attempts_per_account: 3, attempts_per_address: 1000 }\n").await;
    let guess = json!({ "username": ALICE.name, "password": "a guess" });
    for _ in 0..3 {
        login(&gate, &guess).await.expect(400);
    }
    let refused = login(&gate, &guess).await.expect(429).because("too_many_attempts");
    let wait_s: u32 = refused.header("retry-after").and_then(|text| text.parse().ok()).expect("Retry-After in seconds");
    assert!(wait_s > 0);
    Browser::logged_in(&gate, &BOSS).await.get("/").await.expect(200);
}

#[tokio::test]
async fn userinfo_says_who_the_bearer_is() {
    let gate = gate("").await;
    anon(&gate, "/userinfo").await.expect(401).because("token_missing");
    let boss = Browser::logged_in(&gate, &BOSS).await;
    let text = boss.get("/userinfo").await.expect(200).text();
    for part in [BOSS.name, "admin", "staff"] {
        assert!(text.contains(&format!("\"{part}\"")), "{part} is missing: {text}");
    }
}

#[tokio::test]
async fn the_key_set_is_public_and_holds_nothing_private() {
    let gate = gate("").await;
    let answer = anon(&gate, "/.well-known/jwks.json").await.expect(200);
    let keys = answer.json()["keys"].as_array().expect("a JWK set").clone();
    assert!(!keys.is_empty());
    for key in keys {
        let members: Vec<&String> = key.as_object().expect("a JWK").keys().collect();
        assert!(
            !members.iter().any(|name| ["d", "k", "p", "q", "dp", "dq", "qi"].contains(&name.as_str())),
            "{members:?}"
        );
    }
}
