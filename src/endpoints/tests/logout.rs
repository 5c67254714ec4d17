//! `/logout`: what it ends, and when it may say so.

use http::HeaderMap;
use http::header::COOKIE;

use super::house::{Client, GRACE_S, House, SESSION_S};
use super::rig::Fault;
use crate::gate::Endpoint::{self, Logout};
use crate::session::{EndReason, Session};

#[tokio::test]
async fn a_logout_ends_the_session_for_refresh_and_access_tokens_and_can_be_repeated() {
    let house = House::new();
    let (client, login) = house.logged_in("demo").await;
    let (other, other_login) = house.logged_in("demo").await;
    house.heard.drain();

    house.post(Logout, &client).await.logged_out();
    let heard = house.heard.drain();
    assert!(heard[0].starts_with("audit logged_out LoggedOut { subject: Some(\"demo\")"), "{heard:?}");
    assert_eq!(heard[1..], ["logout ended"]);
    assert!(house.verify(login.access_token()).is_err());
    house.refresh(&client).await.invalid_grant("session_ended");
    let heard = house.heard.drain();
    assert!(heard[0].starts_with("audit refresh_refused") && heard[0].contains("SessionEnded"), "{heard:?}");

    let ended = house.record_of(&client).await;
    assert_eq!(ended.ended.unwrap().reason, EndReason::Logout);
    house.pass(10);
    house.heard.drain();
    house.post(Logout, &client).await.logged_out();
    assert_eq!(house.heard.drain(), ["logout already_ended"]);
    assert_eq!(house.record_of(&client).await, ended);

    assert!(house.verify(other_login.access_token()).is_ok());
    assert_eq!(house.refresh(&other).await.status, 200, "other sessions live on");
}

#[tokio::test]
async fn any_generation_of_the_cookie_will_do() {
    let house = House::new();
    let (mut client, _) = house.logged_in("demo").await;
    let oldest = client.clone();
    for _ in 0..3 {
        let answer = house.refresh(&client).await;
        client.keep(&answer);
        house.pass(GRACE_S);
    }
    house.post(Logout, &oldest).await.logged_out();
    assert_eq!(house.record_of(&client).await.ended.unwrap().reason, EndReason::Logout);
    house.refresh(&oldest).await.invalid_grant("session_ended");
}

#[tokio::test]
async fn without_a_cookie_the_bearer_names_the_session_and_a_cookie_wins() {
    let house = House::new();
    let nobody = Client::at("192.0.2.8");
    let (client, login) = house.logged_in("demo").await;
    house.with_bearer(Logout, &nobody, login.access_token()).await.logged_out();
    assert!(house.record_of(&client).await.ended.is_some());
    house.heard.drain();
    house.with_bearer(Logout, &nobody, login.access_token()).await.logged_out();
    assert_eq!(house.heard.drain(), ["logout already_ended"], "a bearer that has ended is no reason for a 401");

    let (one, _) = house.logged_in("demo").await;
    let (two, two_login) = house.logged_in("demo").await;
    house.with_bearer(Logout, &one, two_login.access_token()).await.logged_out();
    assert!(house.record_of(&one).await.ended.is_some());
    assert!(house.record_of(&two).await.ended.is_none());
}

#[tokio::test]
async fn a_bearer_that_does_not_verify_is_never_a_204() {
    let house = House::new();
    let (client, login) = house.logged_in("demo").await;
    let mut nobody = Client::at("192.0.2.8");
    for cookie in [None, Some("nonsense".to_owned())] {
        nobody.cookie = cookie;
        house.with_bearer(Logout, &nobody, "nonsense").await.refused(401, "token_malformed");
        let forged = format!("{}AAAA", &login.access_token()[..login.access_token().len() - 4]);
        house.with_bearer(Logout, &nobody, &forged).await.refused(401, "token_invalid");
    }
    house.pass(1000);
    let answer = house.with_bearer(Logout, &nobody, login.access_token()).await;
    answer.refused(401, "token_expired");
    assert!(answer.headers["www-authenticate"].starts_with(r#"Bearer realm="portcullis", error="invalid_token""#));
    assert!(house.record_of(&client).await.ended.is_none());

    house.with_bearer(Logout, &client, login.access_token()).await.logged_out();
    assert!(house.record_of(&client).await.ended.is_some(), "the cookie wins");
}

#[tokio::test]
async fn what_names_no_session_is_a_204_and_costs_nothing() {
    let house = House::new();
    let (client, login) = house.logged_in("demo").await;
    let nobody = Client::at("192.0.2.8");
    house.store.heal();
    house.heard.drain();
    for client in [&nobody, &nobody.holding("nonsense"), &nobody.holding(&"A".repeat(124))] {
        house.post(Logout, client).await.logged_out();
    }
    let mut two = HeaderMap::new();
    two.insert(COOKIE, "__Host-refresh=a; __Host-refresh=b".parse().unwrap());
    house.send(Logout, &nobody, &two, None).await.refused(400, "credentials_ambiguous");
    assert_eq!(house.heard.drain().last().unwrap(), "logout credentials_ambiguous");

    house.pass(SESSION_S + 1);
    house.post(Logout, &client).await.logged_out();
    assert_eq!(house.heard.drain(), ["logout no_session"], "it is past its end");
    house.with_bearer(Logout, &client, login.access_token()).await.refused(401, "token_expired");
    assert_eq!(house.store.steps(), 0);
}

#[tokio::test]
async fn a_session_that_the_store_lost_is_ended_all_the_same() {
    for by_cookie in [true, false] {
        let house = House::new();
        let (client, login) = House::new().logged_in("demo").await;
        assert!(house.verify(login.access_token()).is_ok(), "its access token still lives");
        if by_cookie {
            house.post(Logout, &client).await.logged_out();
        } else {
            house.with_bearer(Logout, &Client::at("192.0.2.8"), login.access_token()).await.logged_out();
        }
        assert!(house.verify(login.access_token()).is_err());
        house.second_proxy().refresh(&client).await.invalid_grant("session_ended");
        let record = house.record_of(&client).await;
        assert_eq!(record.ended.unwrap().reason, EndReason::Logout);
        assert_eq!(record.ends_at, house.token_of(&client).ends_at, "and is kept as long");
    }
}

#[tokio::test]
async fn a_logout_that_was_not_recorded_is_503_and_can_be_repeated() {
    let house = House::new();
    for fault in [|| Fault::Fail, || Fault::LoseReply, || Fault::Amnesia] {
        for at in 0..2 {
            let (client, login) = house.logged_in("demo").await;
            house.store.script(move |step| if step == at { fault() } else { Fault::None });
            house.post(Logout, &client).await.refused(503, "store_unavailable");
            house.with_bearer(Logout, &client, login.access_token()).await.logged_out();
            assert!(house.record_of(&client).await.ended.is_some());
        }
    }
}

#[tokio::test]
async fn races_are_run_again_and_given_up_in_the_end() {
    let house = House::new();
    let (client, _) = house.logged_in("demo").await;
    let touch = |session: &Session| Session { used: !session.used, ..session.clone() };
    house.store.script(move |step| if step % 2 == 1 { Fault::Meanwhile(Box::new(touch)) } else { Fault::None });
    house.post(Logout, &client).await.refused(503, "overloaded");
    house.store.script(move |step| if step == 1 { Fault::Meanwhile(Box::new(touch)) } else { Fault::None });
    house.post(Logout, &client).await.logged_out();
    assert_eq!(house.store.steps(), 4);

    // Somebody else ended it between our read and our write: that ending stays.
    let (client, _) = house.logged_in("demo").await;
    let now = house.now();
    house.store.script(move |step| match step {
        1 => Fault::Meanwhile(Box::new(move |session: &Session| session.end(now, EndReason::Revoked))),
        _ => Fault::None,
    });
    house.post(Endpoint::Logout, &client).await.logged_out();
    assert_eq!(house.record_of(&client).await.ended.unwrap().reason, EndReason::Revoked);
}
