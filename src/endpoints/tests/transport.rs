//! The refresh token in bodies: off unless switched on, never together with a cookie, and the same rules of rotation.

use http::HeaderMap;
use http::header::{CONTENT_TYPE, COOKIE};

use super::house::{Answer, Client, GRACE_S, House};
use crate::gate::Endpoint::{self, Login, Logout, LogoutAll, Refresh};
use crate::gate::Sender;
use crate::session::EndReason;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const LOGIN: &str = r#"{"username":"demo","password":"right","transport":"body"}"#;

fn house() -> House {
    let mut house = House::new();
    house.endpoints.body_transport = true;
    house
}

fn client(sender: Sender) -> Client {
    Client { sender, ..Client::at("192.0.2.7") }
}

fn carrying(token: &str) -> String {
    format!(r#"{{"refresh_token":"{token}"}}"#)
}

async fn send(house: &House, endpoint: Endpoint, client: &Client, media_type: &str, body: &str) -> Answer {
    let mut headers = client.headers();
    headers.insert(CONTENT_TYPE, media_type.parse().unwrap());
    house.ask(endpoint, client, &headers, body.to_owned(), None).await
}

async fn json(house: &House, endpoint: Endpoint, client: &Client, body: &str) -> Answer {
    send(house, endpoint, client, JSON, body).await
}

/// The token of an answer that has one in its body, and no cookie.
#[track_caller]
fn token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers.get("set-cookie"), None, "{answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.body.as_object().unwrap().len(), 5, "{answer:?}");
    answer.body["refresh_token"].as_str().unwrap().to_owned()
}

#[track_caller]
fn logged_out(answer: &Answer) {
    assert_eq!((answer.status, answer.headers.get("set-cookie")), (204, None), "{answer:?}");
}

fn as_cookie(token: &str) -> Client {
    client(Sender::Program).holding(token)
}

#[tokio::test]
async fn a_life_in_bodies_sees_no_cookie() {
    for sender in [Sender::Program, Sender::WebView] {
        let (house, phone) = (house(), client(sender));
        let first = token(&json(&house, Login, &phone, LOGIN).await);
        let heard = house.heard.drain();
        assert!(heard[0].starts_with("audit logged_in") && heard[0].contains("transport: Body"), "{heard:?}");

        let second = token(&json(&house, Refresh, &phone, &carrying(&first)).await);
        assert_ne!(second, first);
        let by_form = format!("grant_type=refresh_token&refresh_token={second}");
        let answer = send(&house, Refresh, &phone, FORM, &by_form).await;
        assert_eq!(token(&answer), second, "kept: the grace is open");
        assert!(house.verify(answer.access_token()).is_ok());
        assert_eq!(house.heard.outcomes(), ["refresh rotated", "refresh kept"]);

        logged_out(&json(&house, Logout, &phone, &carrying(&second)).await);
        let heard = house.heard.drain();
        assert!(heard[0].starts_with("audit logged_out") && heard[0].contains("transport: Some(Body)"), "{heard:?}");
        assert!(house.verify(answer.access_token()).is_err());
        json(&house, Refresh, &phone, &carrying(&second)).await.invalid_grant("session_ended");
        assert_eq!(house.record_of(&as_cookie(&second)).await.ended.unwrap().reason, EndReason::Logout);
    }
}

#[tokio::test]
async fn logout_all_takes_the_token_in_the_body_and_an_access_token_is_not_enough() {
    let (house, phone) = (house(), client(Sender::WebView));
    let login = json(&house, Login, &phone, LOGIN).await;
    let (other, other_login) = house.logged_in("demo").await;
    house.with_bearer(LogoutAll, &phone, login.access_token()).await.invalid_grant("token_missing");
    house.heard.drain();
    logged_out(&json(&house, LogoutAll, &phone, &carrying(&token(&login))).await);
    let heard = house.heard.drain();
    assert!(heard[0].starts_with("audit logged_out_all") && heard[0].contains("transport: Body"), "{heard:?}");
    assert!(house.verify(other_login.access_token()).is_err());
    assert_eq!(house.record_of(&other).await.ended.unwrap().reason, EndReason::LogoutAll);
}

#[tokio::test]
async fn a_lost_reply_is_made_up_for_and_a_thief_is_noticed() {
    let (house, phone) = (house(), client(Sender::Program));
    let first = token(&json(&house, Login, &phone, LOGIN).await);
    let second = token(&json(&house, Refresh, &phone, &carrying(&first)).await);
    assert_eq!(token(&json(&house, Refresh, &phone, &carrying(&first)).await), second, "lost, and asked for again");
    house.pass(3600);
    assert_eq!(token(&json(&house, Refresh, &phone, &carrying(&first)).await), second, "an hour later");
    let heard = house.heard.drain();
    assert!(heard.iter().any(|line| line.starts_with("audit refreshed_late") && line.contains("transport: Body")));

    house.pass(GRACE_S);
    let third = token(&json(&house, Refresh, &phone, &carrying(&second)).await);
    json(&house, Refresh, &phone.thief(), &carrying(&first)).await.invalid_grant("token_reused");
    let heard = house.heard.drain();
    assert!(heard.iter().any(|line| line.starts_with("audit token_reused") && line.contains("transport: Body")));
    json(&house, Refresh, &phone, &carrying(&third)).await.invalid_grant("session_ended");
}

#[tokio::test]
async fn cookie_and_body_are_one_too_many_and_none_is_picked() {
    let house = house();
    let (browser, login) = house.logged_in("demo").await;
    let phone = client(Sender::Program);
    let own = token(&json(&house, Login, &phone, LOGIN).await);
    let same = browser.cookie.clone().unwrap();
    house.store.heal();
    house.heard.drain();
    for sender in [Sender::Program, Sender::WebView] {
        for cookie in [&same, &own, "nonsense", ""] {
            let mixed = Client { sender, ..phone.holding(cookie) };
            for endpoint in [Refresh, Logout, LogoutAll] {
                json(&house, endpoint, &mixed, &carrying(&own)).await.refused(400, "credentials_ambiguous");
                json(&house, endpoint, &mixed, &carrying("nonsense")).await.refused(400, "credentials_ambiguous");
            }
            json(&house, Login, &mixed, LOGIN).await.refused(400, "credentials_ambiguous");
        }
    }
    assert_eq!(house.store.steps(), 0, "and nothing was read or written");
    assert!(house.heard.drain().iter().all(|line| line.ends_with(" credentials_ambiguous")));
    assert!(house.verify(login.access_token()).is_ok());

    let mut two = HeaderMap::new();
    two.insert(COOKIE, "__Host-refresh=a; __Host-refresh=b".parse().unwrap());
    two.insert(CONTENT_TYPE, JSON.parse().unwrap());
    house.ask(Refresh, &phone, &two, carrying(&own), None).await.refused(400, "credentials_ambiguous");
}

#[tokio::test]
async fn it_is_off_by_default_and_says_so() {
    let house = House::new();
    let (browser, _) = house.logged_in("demo").await;
    let token = browser.cookie.clone().unwrap();
    house.store.heal();
    for sender in [Sender::Program, Sender::Page] {
        let nobody = client(sender);
        json(&house, Login, &nobody, LOGIN).await.refused(400, "transport_disabled");
        for endpoint in [Refresh, Logout, LogoutAll] {
            for client in [&nobody, &Client { sender, ..browser.clone() }] {
                json(&house, endpoint, client, &carrying(&token)).await.refused(400, "transport_disabled");
                let form = format!("refresh_token={token}");
                send(&house, endpoint, client, FORM, &form).await.refused(400, "transport_disabled");
            }
        }
    }
    assert_eq!(house.store.steps(), 0);
    assert_eq!(house.refresh(&browser).await.status, 200);
}

#[tokio::test]
async fn pages_have_the_cookie_and_web_views_the_body() {
    let house = house();
    let (browser, _) = house.logged_in("demo").await;
    let page = Client { sender: Sender::Page, ..browser.clone() };
    let script = client(Sender::Page);
    let token = browser.cookie.clone().unwrap();
    house.store.heal();
    // What a script in one of our pages would try.
    json(&house, Login, &script, LOGIN).await.refused(403, "transport_refused");
    for endpoint in [Refresh, Logout, LogoutAll] {
        let answer = json(&house, endpoint, &script, &carrying(&token)).await;
        answer.refused(403, "transport_refused");
        assert_eq!(answer.headers.get("www-authenticate"), None);
    }
    // A web view that forgot to ask, or that has a cookie.
    let view = Client { sender: Sender::WebView, ..browser.clone() };
    let login = r#"{"username":"demo","password":"right"}"#;
    json(&house, Login, &client(Sender::WebView), login).await.refused(403, "transport_refused");
    json(&house, Login, &view, login).await.refused(403, "transport_refused");
    for endpoint in [Refresh, Logout, LogoutAll] {
        house.post(endpoint, &view).await.refused(403, "transport_refused");
    }
    assert_eq!(house.store.steps(), 0);

    let nobody = client(Sender::WebView);
    house.post(Refresh, &nobody).await.invalid_grant("token_missing");
    json(&house, Refresh, &nobody, "{}").await.invalid_grant("token_missing");
    logged_out(&house.post(Logout, &nobody).await);
    assert_eq!(house.refresh(&page).await.status, 200);
}

#[tokio::test]
async fn a_web_view_logs_out_by_its_access_token_too() {
    let (house, view) = (house(), client(Sender::WebView));
    let login = json(&house, Login, &view, LOGIN).await;
    house.heard.drain();
    logged_out(&house.with_bearer(Logout, &view, login.access_token()).await);
    let heard = house.heard.drain();
    assert!(heard[0].starts_with("audit logged_out") && heard[0].contains("transport: None"), "{heard:?}");
    json(&house, Refresh, &view, &carrying(&token(&login))).await.invalid_grant("session_ended");
}

#[tokio::test]
async fn a_refresh_by_cookie_never_answers_the_token_whatever_is_asked() {
    let house = house();
    let (browser, _) = house.logged_in("demo").await;
    for sender in [Sender::Program, Sender::Page] {
        let browser = Client { sender, ..browser.clone() };
        for body in ["", "{}", r#"{"transport":"body"}"#, r#"{"refresh_tokens":"x","nested":{"refresh_token":"x"}}"#] {
            let answer = json(&house, Refresh, &browser, body).await;
            assert_eq!((answer.status, answer.body.as_object().unwrap().len()), (200, 4), "{body}: {answer:?}");
            assert!(!answer.cookie().is_empty());
        }
    }
    let login = r#"{"username":"demo","password":"right","transport":"cookie"}"#;
    let answer = json(&house, Login, &browser, login).await;
    assert_eq!((answer.status, answer.body.as_object().unwrap().len()), (200, 4));
}

#[tokio::test]
async fn a_body_that_is_there_is_read_strictly_and_costs_the_store_nothing() {
    let house = house();
    let phone = client(Sender::Program);
    let (browser, _) = house.logged_in("demo").await;
    house.store.heal();
    for endpoint in [Refresh, Logout, LogoutAll] {
        for client in [&phone, &browser] {
            for body in [
                r#"{"refresh_token":null}"#,
                r#"{"refresh_token":""}"#,
                r#"{"refresh_token":["x"]}"#,
                r#"{"refresh_token":{"refresh_token":"x"}}"#,
                r#"{"refresh_token":"x","refresh_token":"x"}"#,
                r#"["x"]"#,
                "refresh_token=x",
                " ",
            ] {
                json(&house, endpoint, client, body).await.refused(400, "body_malformed");
            }
            send(&house, endpoint, client, "text/plain", "refresh_token=x")
                .await
                .refused(415, "media_type_unsupported");
            json(&house, endpoint, client, &" ".repeat(16 * 1024 + 1)).await.refused(413, "body_too_large");
        }
    }
    for transport in ["null", "\"\"", "\"Body\"", "\"bearer\"", "true", "\"body\",\"transport\":\"cookie\""] {
        let body = format!(r#"{{"username":"demo","password":"right","transport":{transport}}}"#);
        json(&house, Login, &phone, &body).await.refused(400, "body_malformed");
    }
    for bad in ["nonsense", &"A".repeat(124), &"A".repeat(4000)] {
        json(&house, Refresh, &phone, &carrying(bad)).await.invalid_grant("token_malformed");
        logged_out(&json(&house, Logout, &phone, &carrying(bad)).await);
    }
    assert_eq!(house.store.steps(), 0);
}

#[tokio::test]
async fn no_token_of_a_body_is_in_a_debug_text_or_an_event() {
    let (house, phone) = (house(), client(Sender::Program));
    let first = token(&json(&house, Login, &phone, LOGIN).await);
    let second = token(&json(&house, Refresh, &phone, &carrying(&first)).await);
    house.pass(GRACE_S);
    token(&json(&house, Refresh, &phone, &carrying(&second)).await);
    json(&house, Refresh, &phone.thief(), &carrying(&first)).await.invalid_grant("token_reused");
    let heard = house.heard.drain().join("\n");
    assert!(!heard.contains(&first) && !heard.contains(&second), "{heard}");
}
