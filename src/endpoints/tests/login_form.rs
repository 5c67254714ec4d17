//! What a browser without scripts is answered by `/login` and `/logout`.

use http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use super::house::{Client, House};
use super::rig::Fault;
use crate::endpoints::{LoginPage, LoginPageOptions, Request};
use crate::gate::{Endpoint, Reply};
use crate::login::LoginError;

const FORM: &str = "application/x-www-form-urlencoded";

fn house() -> House {
    let mut house = House::new();
    let options = LoginPageOptions { login_path: "/login".to_owned(), ..LoginPageOptions::default() };
    house.endpoints.login_page = Some(LoginPage::new(options).unwrap());
    house
}

async fn ask(house: &House, endpoint: Endpoint, query: &str, headers: &HeaderMap, body: &str) -> Reply {
    let client = Client::at("192.0.2.7");
    let (query, body) = (query.as_bytes(), body.to_owned().into());
    let (address, sender) = (client.address, client.sender);
    let request = Request { query, headers, body, address, sender, identity: None, bearer_refused: None };
    house.endpoints.serve(endpoint, request).await
}

async fn post(house: &House, body: &str) -> Reply {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(FORM))]);
    ask(house, Endpoint::Login, "", &headers, body).await
}

fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.to_vec()).unwrap()
}

fn header(reply: &Reply, wanted: &http::HeaderName) -> Option<String> {
    let found = reply.headers.iter().find(|(name, _)| name == wanted);
    found.map(|(_, value)| value.to_str().unwrap().to_owned())
}

fn is_page(reply: &Reply) -> bool {
    header(reply, &CONTENT_TYPE).as_deref() == Some("text/html; charset=utf-8")
}

#[tokio::test]
async fn a_login_by_the_form_leads_back_with_the_cookie_and_without_a_body() {
    let house = house();
    for (return_to, to) in [("%2Fa%3Fb%3Dc", "/a?b=c"), ("", "/"), ("%2F%2Fevil.example", "/"), ("https:evil", "/")] {
        let reply = post(&house, &format!("username=demo&password=right&return_to={return_to}")).await;
        assert_eq!((reply.status.as_u16(), header(&reply, &LOCATION).as_deref()), (303, Some(to)));
        assert!(header(&reply, &SET_COOKIE).unwrap().starts_with("__Host-refresh="), "{reply:?}");
        assert!(reply.body.is_empty(), "an access token in a page is of no use");
        assert_eq!(house.heard.drain().last().unwrap(), "login succeeded");
    }
}

#[tokio::test]
async fn a_refused_form_is_the_page_again_with_the_name_and_the_status_of_the_api() {
    let house = house();
    let reply = post(&house, "username=demo%22%3E%3Cb%3E&password=wr0ng-secret&return_to=%2Fa").await;
    assert_eq!(reply.status, 400);
    assert!(is_page(&reply));
    let page = text(&reply);
    assert!(page.contains("value=\"demo&quot;&gt;&lt;b&gt;\"") && page.contains("value=\"&#x2f;a\""), "{page}");
    assert!(page.contains("The user name or the password is wrong.") && !page.contains("wr0ng-secret"), "{page}");
    assert_eq!(header(&reply, &SET_COOKIE), None);
    assert_eq!(house.heard.drain().last().unwrap(), "login credentials_wrong");

    for (body, status) in [
        ("username=demo&return_to=%2F", 400),
        ("username=demo&password=&return_to=%2F", 400),
        ("username=a&username=b&password=right&return_to=%2F", 400),
        ("return_to=%2F", 400),
    ] {
        let reply = post(&house, body).await;
        assert_eq!((reply.status.as_u16(), is_page(&reply)), (status, true), "{body}");
    }
    for (error, status, sentence) in [
        (LoginError::TooManyAttempts { retry_after_s: 37 }, 429, "Try again in 37 seconds."),
        (LoginError::Overloaded, 503, "not possible right now"),
        (LoginError::Unavailable("no file".to_owned()), 503, "not possible right now"),
    ] {
        *house.users.error.lock().unwrap() = Some(error);
        let reply = post(&house, "username=demo&password=right&return_to=%2F").await;
        assert_eq!(reply.status, status);
        assert!(text(&reply).contains(sentence) && header(&reply, &http::header::RETRY_AFTER).is_some());
    }
    *house.users.error.lock().unwrap() = None;
    house.store.script(|_| Fault::Fail);
    let reply = post(&house, "username=demo&password=right&return_to=%2F").await;
    assert_eq!((reply.status.as_u16(), is_page(&reply), header(&reply, &SET_COOKIE)), (503, true, None));
}

#[tokio::test]
async fn two_ways_back_are_refused_before_a_password_is_tried() {
    let house = house();
    for twice in ["return_to=%2Fa&return_to=%2Fa", "return_to=%2Fa&return%5Fto=%2Fb"] {
        let reply = post(&house, &format!("username=demo&password=right&{twice}")).await;
        assert_eq!((reply.status.as_u16(), header(&reply, &SET_COOKIE)), (400, None));
        assert_eq!(house.heard.drain(), ["login body_malformed"]);
    }
    assert!(house.store.memory.is_empty());
}

#[tokio::test]
async fn the_api_stays_as_it_is() {
    let with_page = house();
    let client = Client::at("192.0.2.7");
    let json = r#"{"username":"demo","password":"right","return_to":"/a"}"#.to_owned();
    let answer = with_page.log_in_with(&client, "application/json", json.clone()).await;
    assert_eq!((answer.status, answer.body["token_type"].as_str()), (200, Some("Bearer")));
    assert_eq!(with_page.log_in(&client, "demo", "right").await.status, 200);
    with_page.log_in(&client, "demo", "wrong").await.invalid_grant("credentials_wrong");

    let without = House::new();
    let form = "username=demo&password=right&return_to=%2Fa&return_to=%2Fb".to_owned();
    let answer = without.log_in_with(&client, FORM, form).await;
    assert_eq!(answer.status, 200, "a member that nobody asks for is ignored");
    let reply = ask(&without, Endpoint::LoginPage, "", &HeaderMap::new(), "").await;
    assert_eq!(reply.status, 404);
}

#[tokio::test]
async fn the_page_takes_its_notes_and_the_way_back_from_the_query() {
    let house = house();
    let page = async |query: &str| text(&ask(&house, Endpoint::LoginPage, query, &HeaderMap::new(), "").await);
    assert!(page("return_to=%2Fa%26b").await.contains("value=\"&#x2f;a&amp;b\""));
    assert!(page("return_to=%2F%2Fevil.example").await.contains("value=\"&#x2f;\""));
    assert!(page("logged_out").await.contains("You are logged out."));
    assert!(page("session_ended&return_to=/x").await.contains("Your session has ended."));
    let plain = page("username=evil&credentials_wrong&problem=x&title=y").await;
    assert!(!plain.contains("evil") && !plain.contains("id=\"problem\""), "nothing else is taken: {plain}");
    assert_ne!(plain, page("").await, "a nonce of its own each time");
}

#[tokio::test]
async fn a_button_that_logs_out_leads_to_the_login_page() {
    let house = house();
    for endpoint in [Endpoint::Logout, Endpoint::LogoutAll] {
        let (client, first) = house.logged_in("demo").await;
        let mut headers = client.headers();
        headers.insert("sec-fetch-mode", HeaderValue::from_static("navigate"));
        house.store.script(|_| Fault::Fail);
        let reply = ask(&house, endpoint, "", &headers, "").await;
        assert_eq!((reply.status.as_u16(), is_page(&reply), header(&reply, &SET_COOKIE)), (503, true, None));
        assert!(text(&reply).contains("You are still logged in"));
        house.store.heal();
        let reply = ask(&house, endpoint, "", &headers, "").await;
        assert_eq!((reply.status.as_u16(), header(&reply, &LOCATION).as_deref()), (303, Some("/login?logged_out")));
        assert!(header(&reply, &SET_COOKIE).unwrap().contains("Max-Age=0"));
        assert!(house.verify(first.access_token()).is_err());
    }
    let (client, _) = house.logged_in("demo").await;
    house.post(Endpoint::Logout, &client).await.logged_out();
}
