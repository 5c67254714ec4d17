//! `/logout/all`: all sessions of the subject or a 503, and only for the holder of a living cookie.

use std::sync::Arc;

use super::house::{Client, GRACE_S, House, SESSION_S};
use super::rig::Fault;
use crate::gate::Endpoint::{Logout, LogoutAll};
use crate::session::{EndReason, Session, SessionId};

#[tokio::test]
async fn all_sessions_of_the_subject_end_and_nobody_elses() {
    let house = House::new();
    let (own, login) = house.logged_in("demo").await;
    let (phone, phone_login) = house.logged_in("demo").await;
    let (tablet, _) = house.logged_in("demo").await;
    let (root, root_login) = house.logged_in("root").await;
    house.post(Logout, &tablet).await.logged_out();
    house.heard.drain();

    house.post(LogoutAll, &own).await.logged_out();
    let heard = house.heard.drain();
    assert!(heard[0].starts_with("audit logged_out_all"), "{heard:?}");
    assert_eq!(heard[1..], ["logout ended_all"]);
    for (client, login) in [(&own, &login), (&phone, &phone_login)] {
        assert_eq!(house.record_of(client).await.ended.unwrap().reason, EndReason::LogoutAll);
        house.refresh(client).await.invalid_grant("session_ended");
        assert!(house.verify(login.access_token()).is_err());
    }
    assert_eq!(house.record_of(&tablet).await.ended.unwrap().reason, EndReason::Logout, "the first ending stays");
    assert_eq!(house.refresh(&root).await.status, 200);
    assert!(house.verify(root_login.access_token()).is_ok());

    house.post(LogoutAll, &own).await.logged_out();
    assert_eq!(house.heard.drain().last().unwrap(), "logout already_ended");
}

#[tokio::test]
async fn an_access_token_or_a_dead_cookie_is_not_enough() {
    let house = House::new();
    let (client, login) = house.logged_in("demo").await;
    let (other, _) = house.logged_in("demo").await;
    let nobody = Client::at("192.0.2.8");
    house.with_bearer(LogoutAll, &nobody, login.access_token()).await.invalid_grant("token_missing");
    house.post(LogoutAll, &nobody.holding("nonsense")).await.invalid_grant("token_malformed");
    house.post(LogoutAll, &nobody.holding(&"A".repeat(124))).await.invalid_grant("token_malformed");
    house.post(LogoutAll, &House::new().logged_in("demo").await.0).await.invalid_grant("session_unknown");

    for reason in [EndReason::Logout, EndReason::Revoked, EndReason::Reuse, EndReason::SubjectRemoved] {
        let (ended, _) = house.logged_in("demo").await;
        house.overwrite(&house.record_of(&ended).await.end(house.now(), reason)).await;
        house.post(LogoutAll, &ended).await.invalid_grant("session_ended");
    }

    // One that was ended elsewhere, and a store that has forgotten it.
    let (forgotten, _) = house.logged_in("demo").await;
    let id = house.token_of(&forgotten).session;
    house.mirror.revocations.insert(id, house.now().plus(std::time::Duration::from_secs(900)));
    house.post(LogoutAll, &forgotten).await.invalid_grant("session_ended");

    for client in [&client, &other] {
        assert!(house.record_of(client).await.ended.is_none());
    }
    let session = house.record_of(&client).await;
    house.overwrite(&Session { ends_at: house.now(), ..session.clone() }).await;
    house.post(LogoutAll, &client).await.invalid_grant("token_expired");
    house.overwrite(&session).await;
    house.pass(SESSION_S + 1);
    house.post(LogoutAll, &client).await.invalid_grant("token_expired");
}

#[tokio::test]
async fn the_previous_generation_will_do_and_an_older_one_is_reuse() {
    let house = House::new();
    let (mut client, _) = house.logged_in("demo").await;
    let (other, _) = house.logged_in("demo").await;
    let oldest = client.clone();
    let answer = house.refresh(&client).await;
    client.keep(&answer);
    let previous = client.clone();
    house.pass(GRACE_S);
    let answer = house.refresh(&client).await;
    client.keep(&answer);
    house.heard.drain();

    house.post(LogoutAll, &oldest).await.invalid_grant("token_reused");
    let heard = house.heard.drain();
    assert!(heard[0].starts_with("audit token_reused"), "{heard:?}");
    assert_eq!(house.record_of(&client).await.ended.unwrap().reason, EndReason::Reuse);
    assert!(house.record_of(&other).await.ended.is_none(), "only the session that it belongs to");
    house.post(LogoutAll, &previous).await.invalid_grant("session_ended");

    let before = other.clone();
    assert_eq!(house.refresh(&other).await.status, 200);
    house.pass(GRACE_S);
    house.post(LogoutAll, &before).await.logged_out();
}

#[tokio::test]
async fn a_fault_at_any_step_is_503_and_the_next_try_completes() {
    let steps = {
        let (house, own, _) = three_sessions().await;
        house.post(LogoutAll, &own).await.logged_out();
        house.store.steps()
    };
    assert!(steps > 6, "{steps}");
    for fault in [|| Fault::Fail, || Fault::LoseReply] {
        for at in 0..steps {
            let (house, own, others) = three_sessions().await;
            house.store.script(move |step| if step == at { fault() } else { Fault::None });
            house.post(LogoutAll, &own).await.refused(503, "store_unavailable");
            if house.record_of(&own).await.ended.is_some() {
                for other in &others {
                    assert!(house.record_of(other).await.ended.is_some(), "the one that asks ends last");
                }
            }
            house.store.heal();
            house.second_proxy().post(LogoutAll, &own).await.logged_out();
            for client in others.iter().chain([&own]) {
                assert_eq!(house.record_of(client).await.ended.unwrap().reason, EndReason::LogoutAll, "{at}");
            }
        }
    }
}

#[tokio::test]
async fn asked_again_the_ending_is_committed_again() {
    // The first try was a 503: it was written, but no replica had it.
    let (house, own, _) = three_sessions().await;
    house.post(LogoutAll, &own).await.logged_out();
    let last = house.store.steps() - 1;
    let (house, own, _) = three_sessions().await;
    house.store.script(move |step| if step == last { Fault::LoseReply } else { Fault::None });
    house.post(LogoutAll, &own).await.refused(503, "store_unavailable");
    assert!(house.record_of(&own).await.ended.is_some());

    let writes = house.store.commits();
    house.store.heal();
    house.post(LogoutAll, &own).await.logged_out();
    assert_eq!(house.store.commits(), writes + 1, "a 204 without a write proves nothing");
}

#[tokio::test]
async fn a_session_that_begins_meanwhile_ends_too_and_nobody_can_make_it_last_for_ever() {
    let (house, own, _) = three_sessions().await;
    let template = house.record_of(&own).await;
    let id = |number: usize| {
        let mut random = [0; 15];
        random[..8].copy_from_slice(&number.to_le_bytes());
        SessionId::new("demo", random)
    };
    let begins = move |number| Fault::Begins(Session { id: id(number), ..template.clone() });
    let once = begins.clone();
    house.store.script(move |step| if step == 3 { once(3) } else { Fault::None });
    house.post(LogoutAll, &own).await.logged_out();
    let begun = house.record(&id(3)).await.unwrap().session;
    assert_eq!(begun.ended.unwrap().reason, EndReason::LogoutAll);

    let (own, _) = house.logged_in("demo").await;
    house.store.script(move |step| if step % 2 == 1 { begins(100 + step) } else { Fault::None });
    house.post(LogoutAll, &own).await.refused(503, "overloaded");
}

async fn three_sessions() -> (House, Client, Vec<Client>) {
    let house = House::new();
    let (own, _) = house.logged_in("demo").await;
    let others = vec![house.logged_in("demo").await.0, house.logged_in("demo").await.0];
    house.store.heal();
    (house, own, others)
}

#[tokio::test]
async fn a_cookie_that_was_logged_out_with_all_has_no_power_over_later_sessions() {
    let (house, own, others) = three_sessions().await;
    // It began and did not finish: one that asks again from an ended session still gets a true answer.
    house.overwrite(&house.record_of(&own).await.end(house.now(), EndReason::LogoutAll)).await;
    house.pass(1);
    let (later, _) = house.logged_in("demo").await;
    house.post(LogoutAll, &own.thief()).await.logged_out();
    for other in &others {
        assert_eq!(house.record_of(other).await.ended.unwrap().reason, EndReason::LogoutAll);
    }
    assert!(house.record_of(&later).await.ended.is_none());
    assert_eq!(house.refresh(&later).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_log_out_all_at_once_and_refreshes_between_leave_nothing_alive() {
    for _ in 0..50 {
        let (house, own, others) = three_sessions().await;
        let house = Arc::new(house);
        let spawn = |endpoint, client: &Client| {
            let (house, client) = (Arc::clone(&house), client.clone());
            tokio::spawn(async move { house.post(endpoint, &client).await })
        };
        let refresh = crate::gate::Endpoint::Refresh;
        let refreshes = [spawn(refresh, &own), spawn(refresh, &others[0]), spawn(refresh, &others[1])];
        let logouts = [spawn(LogoutAll, &own), spawn(LogoutAll, &others[0])];
        for logout in logouts {
            logout.await.unwrap().logged_out();
        }
        for refresh in refreshes {
            let answer = refresh.await.unwrap();
            assert!(answer.status == 200 || answer.body["reason"] == "session_ended", "{answer:?}");
        }
        for client in others.iter().chain([&own]) {
            assert!(house.record_of(client).await.ended.is_some());
        }
    }
}
