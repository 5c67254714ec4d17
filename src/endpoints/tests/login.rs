//! `/login`: what begins a session, and what does not.

use std::collections::BTreeSet;

use super::house::{Client, House, SESSION_S};
use super::rig::Fault;
use crate::login::LoginError;

#[tokio::test]
async fn a_login_begins_a_session_and_answers_tokens() {
    let house = House::new();
    house.users.roles.lock().unwrap().push("admin".to_owned());
    let client = Client::at("192.0.2.7");
    let mut token_ids = BTreeSet::new();
    for (media_type, body) in [
        ("application/x-www-form-urlencoded", "username=Demo&password=right"),
        ("application/json; charset=utf-8", r#"{"username":"Demo","password":"right"}"#),
    ] {
        let answer = house.log_in_with(&client, media_type, body.to_owned()).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body["token_type"], "Bearer");
        assert_eq!(answer.body["expires_in"], 900);
        assert_eq!(answer.body["session_expires_in"], SESSION_S);
        assert_eq!(answer.body.as_object().unwrap().len(), 4, "the refresh token is in the cookie only");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["content-type"], "application/json");
        let attributes = format!("; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age={SESSION_S}");
        assert!(answer.headers["set-cookie"].ends_with(&attributes), "{answer:?}");

        let claims = house.claims(answer.access_token()).unwrap();
        assert!(token_ids.insert(claims.jti));
        assert_eq!((claims.sub.as_str(), claims.generation), ("demo", 0), "the subject is who the login says");
        assert_eq!((claims.roles, claims.scope.as_deref()), (vec!["admin".to_owned()], Some("read write")));
        let record = house.record(&claims.sid).await.unwrap().session;
        assert_eq!((record.subject.as_str(), record.created_at, record.ended), ("demo", house.now(), None));
        assert_eq!(record.ends_at.as_secs(), claims.session_exp);
        assert_eq!(record.ends_at.as_millis() % 1000, 0, "token, claim and record name the same end");

        let heard = house.heard.drain();
        assert!(heard[0].starts_with("audit logged_in LoggedIn { subject: \"demo\""), "{heard:?}");
        assert_eq!(heard[1..], ["login succeeded"]);
    }
}

#[tokio::test]
async fn a_login_takes_no_session_from_the_client_and_ends_none() {
    let house = House::new();
    let (client, first) = house.logged_in("demo").await;
    let mut ids = BTreeSet::from([house.token_of(&client).session]);
    for username in ["demo", "root"] {
        let answer = house.log_in(&client, username, "right").await;
        assert!(ids.insert(house.token_of(&client.holding(answer.cookie())).session), "an id of its own");
    }
    assert_eq!(house.log_in(&client.holding("nonsense"), "demo", "right").await.status, 200);
    assert!(house.verify(first.access_token()).is_ok());
    assert_eq!(house.refresh(&client).await.status, 200);
}

#[tokio::test]
async fn a_refused_login_says_why_and_leaves_no_session() {
    let house = House::new();
    let client = Client::at("192.0.2.7");
    house.log_in(&client, "demo", "wrong").await.invalid_grant("credentials_wrong");
    let heard = house.heard.drain();
    assert!(heard[0].starts_with("audit login_refused LoginRefused { account: Some(\"demo\")"), "{heard:?}");
    assert_eq!(heard[1..], ["login credentials_wrong"]);

    for (error, status, reason, retry_after) in [
        (LoginError::TooManyAttempts { retry_after_s: 37 }, 429, "too_many_attempts", "37"),
        (LoginError::Overloaded, 503, "overloaded", "1"),
        (LoginError::Unavailable("no file".to_owned()), 503, "login_unavailable", "1"),
    ] {
        *house.users.error.lock().unwrap() = Some(error);
        let answer = house.log_in(&client, "demo", "right").await;
        answer.refused(status, reason);
        assert_eq!(answer.headers["retry-after"], retry_after);
        assert_eq!(house.heard.drain().last().unwrap(), &format!("login {reason}"));
    }
    *house.users.error.lock().unwrap() = None;

    let form = "application/x-www-form-urlencoded";
    for body in [
        "username=demo",
        "password=right",
        "username=demo&password=",
        "username=&password=right",
        "username=demo&password=right&password=wrong",
        "Username=demo&Password=right",
    ] {
        house.log_in_with(&client, form, body.to_owned()).await.refused(400, "body_malformed");
    }
    house.log_in_with(&client, "text/plain", "username=demo".to_owned()).await.refused(415, "media_type_unsupported");
    house.log_in_with(&client, form, "x".repeat(16 * 1024 + 1)).await.refused(413, "body_too_large");
    let long = "x".repeat(2000);
    house.log_in(&client, &long, "right").await.refused(500, "internal");
    assert!(house.store.memory.is_empty());
}

#[tokio::test]
async fn without_the_store_nobody_gets_a_token() {
    let house = House::new();
    let client = Client::at("192.0.2.7");
    for fault in [|| Fault::Fail, || Fault::LoseReply, || Fault::Amnesia] {
        house.store.script(move |_| fault());
        house.log_in(&client, "demo", "right").await.refused(503, "store_unavailable");
        assert_eq!(house.store.steps(), 1);
        assert_eq!(house.heard.drain(), ["login store_unavailable"]);
    }
}
