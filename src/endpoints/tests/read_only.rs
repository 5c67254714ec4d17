//! `/userinfo` and the key set; and that nothing secret shows where it must not.

use super::house::{Client, House, SESSION_S, keys};
use crate::endpoints::{LoginOutcome, LogoutOutcome, RefreshOutcome, Request};
use crate::gate::Endpoint::{Jwks, Logout, Refresh, Userinfo};

#[tokio::test]
async fn userinfo_says_who_the_bearer_is_and_for_how_long() {
    let house = House::new();
    house.users.roles.lock().unwrap().extend(["admin".to_owned(), "ops".to_owned()]);
    let (client, login) = house.logged_in("demo").await;
    house.pass(100);
    let nobody = Client::at("192.0.2.8");
    let answer = house.with_bearer(Userinfo, &nobody, login.access_token()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let left = answer.body["expires_in"].as_u64().unwrap();
    assert!((799..=800).contains(&left), "{left}");
    assert_eq!(answer.body["session_expires_in"], SESSION_S - 100);
    assert_eq!(answer.body["sub"], "demo");
    assert_eq!(answer.body["sid"], house.token_of(&client).session.to_string());
    assert_eq!(answer.body["roles"], serde_json::json!(["admin", "ops"]));
    assert_eq!(answer.body["scope"], "read write");

    house.post(Userinfo, &client).await.refused(401, "token_missing");
    house.with_bearer(Userinfo, &client, "nonsense").await.refused(401, "token_malformed");
    house.post(Logout, &client).await.logged_out();
    let answer = house.with_bearer(Userinfo, &nobody, login.access_token()).await;
    answer.refused(401, "session_ended");
    assert!(answer.headers["www-authenticate"].contains(r#"reason="session_ended""#));
}

#[tokio::test]
async fn the_key_set_is_public_and_holds_public_keys_only() {
    let mut house = House::new();
    house.endpoints.keys = keys(&["N", "M"]);
    let answer = house.post(Jwks, &Client::at("192.0.2.8")).await;
    assert_eq!((answer.status, &*answer.headers["content-type"]), (200, "application/jwk-set+json"));
    assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    let listed = answer.body["keys"].as_array().unwrap();
    assert_eq!(listed.len(), 1, "the MAC keys are nobody's business");
    assert_eq!(listed[0]["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    for private in ["d", "k", "p", "q"] {
        assert!(listed[0].get(private).is_none());
    }
}

#[tokio::test]
async fn no_secret_is_in_a_debug_text_or_an_event() {
    let house = House::new();
    let (client, _) = house.logged_in("demo").await;
    let headers = client.headers();
    let request = Request {
        query: b"",
        headers: &headers,
        body: "".into(),
        address: client.address,
        sender: client.sender,
        identity: None,
        bearer_refused: None,
    };
    let reply = house.endpoints.serve(Refresh, request).await;
    let shown = format!("{reply:?}");
    house.log_in(&client, "demo", "s3cret-password").await;
    house.refresh(&client.thief()).await;
    house.post(Logout, &client).await;
    let heard = house.heard.drain().join("\n");

    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    let cookies = reply.headers.iter().find(|(name, _)| name == "set-cookie").unwrap().1.to_str().unwrap();
    let successor = cookies.trim_start_matches("__Host-refresh=").split(';').next().unwrap();
    for secret in
        [body["access_token"].as_str().unwrap(), successor, client.cookie.as_deref().unwrap(), "s3cret-password"]
    {
        assert!(!shown.contains(secret) && !heard.contains(secret), "{secret}");
    }
}

#[test]
fn outcomes_have_names_of_their_own() {
    fn check(names: Vec<&str>) {
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), names.len(), "{names:?}");
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
    }
    check(LoginOutcome::NAMES.to_vec());
    check(RefreshOutcome::NAMES.to_vec());
    check(LogoutOutcome::NAMES.to_vec());
}
