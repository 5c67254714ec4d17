//! The table of the contract's section 4, row by row, from the cookie to the cookie.

use http::HeaderMap;
use http::header::COOKIE;

use super::house::{Client, GRACE_S, House, SESSION_S, keys};
use super::rig::Fault;
use crate::gate::Endpoint;
use crate::login::LoginError;
use crate::session::{EndReason, Session};

/// Refreshes, and keeps the cookie.
async fn refreshed(house: &House, client: &mut Client) -> String {
    let answer = house.refresh(client).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(house.verify(answer.access_token()).is_ok());
    client.keep(&answer);
    answer.cookie().to_owned()
}

/// What the counter heard last.
fn outcome(house: &House) -> String {
    house.heard.drain().pop().unwrap().replace("refresh ", "")
}

#[tokio::test]
async fn the_current_token_rotates_and_within_the_grace_is_kept() {
    let house = House::new();
    let (mut client, login) = house.logged_in("demo").await;
    let first = client.cookie.clone().unwrap();
    house.pass(600);

    let answer = house.refresh(&client).await;
    assert_eq!(outcome(&house), "rotated");
    assert_eq!(answer.body["token_type"], "Bearer");
    assert_eq!(answer.body["expires_in"], 900);
    assert_eq!(answer.body["session_expires_in"], SESSION_S - 600);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(answer.headers["set-cookie"].ends_with(&format!("; Path=/; Max-Age={}", SESSION_S - 600)));
    assert_ne!(answer.cookie(), first);
    assert_ne!(answer.access_token(), login.access_token());
    client.keep(&answer);
    assert_eq!(house.token_of(&client).generation, 1);

    house.pass(GRACE_S - 1);
    let kept = house.refresh(&client).await;
    assert_eq!(outcome(&house), "kept");
    assert_eq!(kept.cookie(), answer.cookie(), "the same token, byte for byte");
    assert_ne!(kept.access_token(), answer.access_token());
    assert!(house.record_of(&client).await.used);

    house.pass(1);
    let second = refreshed(&house, &mut client).await;
    assert_eq!(outcome(&house), "rotated");
    assert_ne!(second, answer.cookie());
}

#[tokio::test]
async fn the_previous_token_yields_its_successor_byte_for_byte_while_the_grace_is_open() {
    let house = House::new();
    let other_proxy = house.second_proxy();
    let (client, _) = house.logged_in("demo").await;
    let successor = refreshed(&house, &mut client.clone()).await;
    for second in 0..3 {
        for (proxy, tab) in [(&house, &client), (&other_proxy, &client), (&other_proxy, &client.thief())] {
            let answer = proxy.refresh(tab).await;
            assert_eq!(outcome(proxy), "retried", "{second}");
            assert_eq!(answer.cookie(), successor);
        }
        house.pass(GRACE_S / 3 - 1);
    }
    assert_eq!(house.record_of(&client).await.generation, 1);
}

#[tokio::test]
async fn a_lost_reply_is_made_up_for_an_hour_later() {
    let house = House::new();
    let (client, _) = house.logged_in("demo").await;
    let successor = refreshed(&house, &mut client.clone()).await;
    house.pass(3600);

    let answer = house.refresh(&client).await;
    assert_eq!(answer.cookie(), successor);
    let heard = house.heard.drain();
    assert!(heard[heard.len() - 2].starts_with("audit refreshed_late"), "{heard:?}");
    assert_eq!(heard[heard.len() - 1], "refresh retried_late");

    house.pass(GRACE_S - 1);
    assert_eq!(house.refresh(&client.thief()).await.cookie(), successor);
    assert_eq!(outcome(&house), "retried", "the grace is open again");
    house.pass(1);
    assert_eq!(house.refresh(&client).await.cookie(), successor);
    assert_eq!(outcome(&house), "retried_late");
}

/// The session is over: for the thief, for the owner, and for the access tokens.
async fn assert_reused(house: &House, thief: &Client, owner: &Client, access_token: &str) {
    house.refresh(thief).await.invalid_grant("token_reused");
    let heard = house.heard.drain();
    assert!(heard[heard.len() - 2].starts_with("audit token_reused"), "{heard:?}");
    assert_eq!(heard[heard.len() - 1], "refresh token_reused");
    assert_eq!(house.record_of(owner).await.ended.unwrap().reason, EndReason::Reuse);
    house.refresh(owner).await.invalid_grant("session_ended");
    house.refresh(thief).await.invalid_grant("session_ended");
    assert!(house.verify(access_token).is_err());
}

#[tokio::test]
async fn the_previous_token_from_another_client_after_the_grace_ends_the_session() {
    let house = House::new();
    let (mut client, _) = house.logged_in("demo").await;
    let thief = client.thief();
    let answer = house.refresh(&client).await;
    client.keep(&answer);
    house.pass(GRACE_S);
    assert_reused(&house, &thief, &client, answer.access_token()).await;
}

#[tokio::test]
async fn the_previous_token_after_its_successor_was_used_ends_the_session() {
    let house = House::new();
    let (mut client, _) = house.logged_in("demo").await;
    let before = client.clone();
    refreshed(&house, &mut client).await;
    let answer = house.refresh(&client).await;
    assert_eq!(outcome(&house), "kept");
    house.pass(GRACE_S);
    assert_reused(&house, &before, &client, answer.access_token()).await;
}

#[tokio::test]
async fn an_older_token_ends_the_session_even_within_the_grace() {
    let house = House::new();
    let (mut client, _) = house.logged_in("demo").await;
    let oldest = client.clone();
    refreshed(&house, &mut client).await;
    house.pass(GRACE_S);
    let answer = house.refresh(&client).await;
    client.keep(&answer);
    assert_reused(&house, &oldest, &client, answer.access_token()).await;
}

#[tokio::test]
async fn a_store_that_was_rolled_back_catches_up_and_raises_nobody() {
    let house = House::new();
    let (mut client, _) = house.logged_in("demo").await;
    let old = house.record_of(&client).await;
    for _ in 0..3 {
        refreshed(&house, &mut client).await;
        house.pass(GRACE_S);
    }
    house.overwrite(&old).await;
    assert_eq!(
        house.refresh(&client).await.cookie(),
        client.cookie.as_deref().unwrap(),
        "the client keeps what it has"
    );
    assert_eq!(outcome(&house), "kept");
    let record = house.record_of(&client).await;
    assert_eq!((record.generation, record.used), (3, true));
    house.pass(GRACE_S);
    refreshed(&house, &mut client).await;
    assert_eq!(outcome(&house), "rotated");
    assert_eq!(house.token_of(&client).generation, 4);

    // And one that was logged out before the store forgot it.
    let (client, _) = house.logged_in("demo").await;
    let live = house.record_of(&client).await;
    house.post(Endpoint::Logout, &client).await.logged_out();
    let forgetful = House::new();
    forgetful.mirror.revocations.insert(live.id, house.now().plus(std::time::Duration::from_secs(900)));
    forgetful.overwrite(&live).await;
    forgetful.refresh(&client).await.invalid_grant("session_ended");
}

/// A failover has lost a rotation that was made with another key than this proxy's. Each of three tabs has another idea of how far
/// the session is, and none of them is a thief.
#[tokio::test]
async fn after_a_lost_rotation_tabs_are_never_two_behind() {
    let mut other_key = House::new();
    other_key.endpoints.keys = keys(&["N", "M"]);
    let (client, _) = other_key.logged_in("demo").await;
    let old = other_key.record_of(&client).await;
    let mut first = client.clone();
    first.keep(&other_key.refresh(&first).await);

    let mut house = House::new();
    house.endpoints.keys = keys(&["M", "N"]);
    house.overwrite(&old).await;
    house.pass(GRACE_S / 2);
    for tab in [&first, &client, &first, &client] {
        let answer = house.refresh(tab).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.cookie(), first.cookie.as_deref().unwrap(), "made with the key that it was made with");
        house.pass(GRACE_S / 5);
    }
    assert_eq!(house.record_of(&client).await.generation, 1);
}

#[tokio::test]
async fn without_a_record_the_session_is_unknown_and_after_an_amnesia_nobody_can_tell() {
    let house = House::new();
    let (client, _) = House::new().logged_in("demo").await;
    house.refresh(&client).await.invalid_grant("session_unknown");
    house.store.script(|_| Fault::Amnesia);
    house.refresh(&client).await.refused(503, "store_unavailable");
}

/// Another proxy has a copy, and gives it back a moment later.
#[tokio::test]
async fn a_session_is_not_called_unknown_while_somebody_may_know_it() {
    let house = House::new();
    let (client, _) = house.logged_in("demo").await;
    let session = house.record_of(&client).await;
    let forgetful = House::new();
    forgetful.store.script(|step| if step == 1 { Fault::Unsure } else { Fault::None });
    for endpoint in [Endpoint::Refresh, Endpoint::LogoutAll] {
        forgetful.store.heal();
        forgetful.store.script(|step| if step == 1 { Fault::Unsure } else { Fault::None });
        forgetful.post(endpoint, &client).await.refused(503, "store_unavailable");
    }
    // It comes between the two questions.
    forgetful.store.script(move |step| if step == 1 { Fault::Begins(session.clone()) } else { Fault::None });
    assert_eq!(forgetful.refresh(&client).await.status, 200);
    assert_eq!(outcome(&forgetful), "rotated");
}

/// Who reads that a session has ended refuses its access tokens, whether or not the news has come.
#[tokio::test]
async fn a_refresh_that_finds_the_session_ended_ends_its_access_tokens_as_well() {
    let house = House::new();
    let other_proxy = house.second_proxy();
    let (client, login) = house.logged_in("demo").await;
    house.post(Endpoint::Logout, &client).await.logged_out();
    assert!(other_proxy.verify(login.access_token()).is_ok(), "it has not heard of it");
    other_proxy.refresh(&client).await.invalid_grant("session_ended");
    assert!(other_proxy.verify(login.access_token()).is_err());

    // Nobody has to remember what is over for long.
    house.pass(SESSION_S / 2);
    let late = house.second_proxy();
    late.refresh(&client).await.invalid_grant("session_ended");
}

#[tokio::test]
async fn past_its_absolute_end_a_session_is_over_whatever_was_refreshed() {
    let house = House::new();
    let (mut client, _) = house.logged_in("demo").await;
    house.pass(SESSION_S - 60);
    let answer = house.refresh(&client).await;
    assert_eq!((&answer.body["expires_in"], &answer.body["session_expires_in"]), (&60.into(), &60.into()));
    client.keep(&answer);
    house.pass(61);
    house.store.heal();
    house.refresh(&client).await.invalid_grant("token_expired");
    assert_eq!(house.store.steps(), 0, "the token itself says so");
    assert!(house.verify(answer.access_token()).is_ok(), "within the skew");
    house.pass(5);
    assert!(house.verify(answer.access_token()).is_err());
}

#[tokio::test]
async fn up_to_the_last_millisecond_there_is_an_answer() {
    let house = House::new();
    let (client, _) = house.logged_in("demo").await;
    let end = house.record_of(&client).await.ends_at.as_millis();
    for left_ms in [1500, 1001, 1000, 999, 1] {
        house.clock().store(end - left_ms, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(house.refresh(&client).await.status, 200, "{left_ms}");
    }
    house.clock().store(end, std::sync::atomic::Ordering::SeqCst);
    house.refresh(&client).await.invalid_grant("token_expired");
}

#[tokio::test]
async fn roles_are_read_anew_and_a_removed_user_loses_the_session() {
    let house = House::new();
    let (mut client, login) = house.logged_in("demo").await;
    assert_eq!(house.claims(login.access_token()).unwrap().roles, [""; 0]);
    house.users.roles.lock().unwrap().push("admin".to_owned());
    let answer = house.refresh(&client).await;
    let claims = house.claims(answer.access_token()).unwrap();
    assert_eq!((claims.roles, claims.scope.as_deref()), (vec!["admin".to_owned()], Some("read write")));
    client.keep(&answer);

    house.users.removed.lock().unwrap().push("demo".to_owned());
    house.refresh(&client).await.invalid_grant("subject_removed");
    assert!(house.heard.drain().iter().any(|line| line.starts_with("audit subject_removed")));
    assert_eq!(house.record_of(&client).await.ended.unwrap().reason, EndReason::SubjectRemoved);
    assert!(house.verify(answer.access_token()).is_err());
    house.users.removed.lock().unwrap().clear();
    house.refresh(&client).await.invalid_grant("subject_removed");
}

#[tokio::test]
async fn while_it_cannot_be_told_who_may_log_in_nothing_changes() {
    let house = House::new();
    let (client, _) = house.logged_in("demo").await;
    let before = house.record_of(&client).await;
    for error in [LoginError::Unavailable("no file".to_owned()), LoginError::Overloaded] {
        *house.users.error.lock().unwrap() = Some(error);
        house.refresh(&client).await.refused(503, "login_unavailable");
    }
    assert_eq!(house.record_of(&client).await, before);
    *house.users.error.lock().unwrap() = None;
    assert_eq!(house.refresh(&client).await.status, 200);
}

#[tokio::test]
async fn a_new_mac_key_takes_over_with_the_next_rotation() {
    let mut house = House::new();
    let (client, _) = house.logged_in("demo").await;
    house.endpoints.keys = keys(&["N", "M"]);
    let successor = refreshed(&house, &mut client.clone()).await;
    assert_eq!(house.refresh(&client).await.cookie(), successor);
    let token = house.token_of(&client.holding(&successor));
    assert_eq!(&token.key, house.endpoints.keys.mac_key_id());
    house.pass(3600);
    house.endpoints.keys = keys(&["Q", "N", "M"]);
    assert_eq!(house.refresh(&client).await.cookie(), successor, "token and mark are under the record's key");
    assert_eq!(outcome(&house), "retried_late");

    // A proxy that has not got the new key yet: it can read the old cookie, and must not guess.
    let record = house.record_of(&client).await;
    house.endpoints.keys = keys(&["M"]);
    house.refresh(&client).await.refused(503, "store_unavailable");
    assert_eq!(house.record_of(&client).await, record);
}

#[tokio::test]
async fn a_cookie_that_does_not_verify_costs_nothing() {
    let house = House::new();
    let (client, _) = house.logged_in("demo").await;
    let good = client.cookie.clone().unwrap();
    house.store.heal();

    let forged = format!("{}{}", &good[..good.len() - 1], if good.ends_with('A') { 'B' } else { 'A' });
    let mut foreign = House::new();
    foreign.endpoints.keys = keys(&["N"]);
    let foreign = foreign.logged_in("demo").await.0.cookie.unwrap();
    let large = "A".repeat(20_000);
    let quoted = format!("\"{good}\"");
    let cases = [
        (vec![], 400, "token_missing"),
        (vec![format!("__host-refresh={good}")], 400, "token_missing"),
        (vec!["__Host-refresh=".to_owned()], 400, "token_malformed"),
        (vec![format!("__Host-refresh={quoted}")], 400, "token_malformed"),
        (vec![format!("__Host-refresh={good}=")], 400, "token_malformed"),
        (vec![format!("__Host-refresh={large}")], 400, "token_malformed"),
        (vec![format!("__Host-refresh={forged}")], 400, "token_invalid"),
        (vec![format!("__Host-refresh={foreign}")], 400, "token_invalid"),
        (vec![format!("__Host-refresh={good}; __Host-refresh={forged}")], 400, "credentials_ambiguous"),
        (vec![format!("__Host-refresh={good}"), format!("__Host-refresh={forged}")], 400, "credentials_ambiguous"),
    ];
    for (lines, status, reason) in cases {
        let mut headers = HeaderMap::new();
        for line in &lines {
            headers.append(COOKIE, line.parse().unwrap());
        }
        let answer = house.send(Endpoint::Refresh, &client, &headers, None).await;
        answer.refused(status, reason);
        let error = if reason == "credentials_ambiguous" { "invalid_request" } else { "invalid_grant" };
        assert_eq!(answer.body["error"], error, "{lines:?}");
    }
    assert_eq!(house.store.steps(), 0);

    // And one that does, among others, in crumbs.
    let mut headers = HeaderMap::new();
    for crumb in ["a=1", "__host-refresh=x", &format!("__Host-refresh={good}"), &format!("b={large}")] {
        headers.append(COOKIE, crumb.parse().unwrap());
    }
    assert_eq!(house.send(Endpoint::Refresh, &client, &headers, None).await.status, 200);
}

#[tokio::test]
async fn a_record_that_ended_for_any_reason_refuses() {
    for reason in [EndReason::Logout, EndReason::LogoutAll, EndReason::Revoked, EndReason::Reuse] {
        let house = House::new();
        let (client, _) = house.logged_in("demo").await;
        let session: Session = house.record_of(&client).await.end(house.now(), reason);
        house.overwrite(&session).await;
        house.refresh(&client).await.invalid_grant("session_ended");
        assert_eq!(house.record_of(&client).await, session, "and is not touched");
    }
}
