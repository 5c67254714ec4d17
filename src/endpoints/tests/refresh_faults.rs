//! Refreshes that race, and refreshes whose store fails at any step.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::house::{Client, GRACE_S, House};
use super::rig::Fault;
use crate::gate::Endpoint;
use crate::session::{EndReason, Session};

/// A client whose next refresh rotates, and how many requests to the store that takes.
async fn ready(house: &House) -> (Client, usize) {
    let (client, _) = house.logged_in("demo").await;
    house.store.heal();
    (client, 2)
}

#[tokio::test]
async fn a_store_that_fails_changes_nothing_and_the_next_try_succeeds() {
    let house = House::new();
    for at in 0..2 {
        let (client, steps) = ready(&house).await;
        assert!(at < steps);
        let before = house.record_of(&client).await;
        house.store.script(move |step| if step == at { Fault::Fail } else { Fault::None });
        house.refresh(&client).await.refused(503, "store_unavailable");
        assert_eq!(house.record_of(&client).await, before);
        house.store.heal();
        assert_eq!(house.refresh(&client).await.status, 200);
        assert_eq!(house.store.steps(), steps);
    }
}

/// A primary that was demoted can still be read, and takes no writes. What it says may be out of date.
#[tokio::test]
async fn nothing_is_answered_from_a_store_that_takes_no_writes() {
    for answer in ["refresh retried", "refresh kept"] {
        let house = House::new();
        let (old, _) = ready(&house).await;
        let mut new = old.clone();
        new.keep(&house.refresh(&new).await);
        house.refresh(&new).await;
        let tab = if answer == "refresh retried" { &old } else { &new };
        let before = house.record_of(tab).await;

        house.store.script(|step| if step == 1 { Fault::Fail } else { Fault::None });
        house.refresh(tab).await.refused(503, "store_unavailable");
        house.store.heal();
        house.heard.drain();
        assert_eq!(house.refresh(tab).await.cookie(), new.cookie.as_deref().unwrap());
        assert_eq!(house.heard.outcomes(), [answer]);
        assert_eq!(house.record_of(tab).await, before, "nothing had to be changed");

        // Nor from one that has moved on since it was read.
        let now = house.now();
        house.store.script(move |step| match step {
            1 => Fault::Meanwhile(Box::new(move |session: &Session| session.end(now, EndReason::Logout))),
            _ => Fault::None,
        });
        house.refresh(tab).await.invalid_grant("session_ended");
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_made_up_for() {
    let house = House::new();
    let (client, _) = ready(&house).await;
    house.store.script(|step| if step == 1 { Fault::LoseReply } else { Fault::None });
    house.refresh(&client).await.refused(503, "store_unavailable");
    house.store.heal();
    house.heard.drain();
    let answer = house.refresh(&client).await;
    assert_eq!(house.heard.outcomes(), ["refresh retried"]);
    assert_eq!(house.token_of(&client.holding(answer.cookie())).generation, 1);

    house.pass(3600);
    assert_eq!(house.refresh(&client).await.cookie(), answer.cookie(), "however late");
}

#[tokio::test]
async fn reuse_that_cannot_be_recorded_is_503_and_still_reuse_afterwards() {
    let house = House::new();
    let (client, _) = ready(&house).await;
    house.refresh(&client).await;
    house.pass(GRACE_S);
    house.store.script(|step| if step == 1 { Fault::Fail } else { Fault::None });
    house.refresh(&client.thief()).await.refused(503, "store_unavailable");
    assert!(house.record_of(&client).await.ended.is_none());
    house.store.heal();
    house.refresh(&client.thief()).await.invalid_grant("token_reused");
}

#[tokio::test]
async fn a_logout_between_read_and_write_wins() {
    let house = House::new();
    let (client, _) = ready(&house).await;
    let now = house.now();
    house.store.script(move |step| match step {
        1 => Fault::Meanwhile(Box::new(move |session: &Session| session.end(now, EndReason::Logout))),
        _ => Fault::None,
    });
    house.refresh(&client).await.invalid_grant("session_ended");
    assert_eq!(house.store.steps(), 3);
    assert_eq!(house.record_of(&client).await.ended.unwrap().reason, EndReason::Logout);
}

#[tokio::test]
async fn a_rotation_between_read_and_write_is_joined() {
    let house = House::new();
    let (client, _) = ready(&house).await;
    // What another proxy would have answered.
    let rival = House::new();
    rival.overwrite(&house.record_of(&client).await).await;
    rival.clock().store(house.now().as_millis(), Ordering::SeqCst);
    let won = rival.refresh(&client).await;
    let record = rival.record_of(&client).await;
    house.store.script(move |step| match step {
        1 => Fault::Meanwhile(Box::new({
            let record = record.clone();
            move |_| record
        })),
        _ => Fault::None,
    });
    house.heard.drain();
    assert_eq!(house.refresh(&client).await.cookie(), won.cookie());
    assert_eq!(house.heard.outcomes(), ["refresh retried"]);
}

#[tokio::test]
async fn races_that_never_end_are_given_up() {
    let house = House::new();
    let (client, _) = ready(&house).await;
    house.store.script(move |step| match step % 2 {
        1 => Fault::Meanwhile(Box::new(|session: &Session| Session { used: !session.used, ..session.clone() })),
        _ => Fault::None,
    });
    house.refresh(&client).await.refused(503, "overloaded");
    assert_eq!(house.store.steps(), 2 * super::super::ATTEMPTS);
    let record = house.record_of(&client).await;
    assert_eq!((record.generation, record.ended), (0, None));
}

#[tokio::test]
async fn an_access_token_counts_from_the_reading_of_the_session() {
    let house = House::new();
    let (client, _) = ready(&house).await;
    let read_at = house.now().as_secs();
    let clock = house.clock();
    house.store.script(move |_| {
        clock.fetch_add(20_000, Ordering::SeqCst);
        Fault::None
    });
    let answer = house.refresh(&client).await;
    let claims = house.claims(answer.access_token()).unwrap();
    assert_eq!((claims.iat, claims.exp), (read_at, read_at + 900));
}

/// 200 tabs and a lost reply or two, over two proxies: one cookie for all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_refreshes_make_one_successor() {
    let first = Arc::new(House::new());
    let second = Arc::new(first.second_proxy());
    let (client, _) = ready(&first).await;
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let house = Arc::clone(if number % 2 == 0 { &first } else { &second });
            let client = client.clone();
            tokio::spawn(async move { house.refresh(&client).await })
        })
        .collect();
    let mut successors = BTreeSet::new();
    for task in tasks {
        let answer = task.await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        successors.insert(answer.cookie().to_owned());
    }
    assert_eq!(successors.len(), 1);
    let heard = [first.heard.drain(), second.heard.drain()].concat();
    assert_eq!(heard.iter().filter(|line| *line == "refresh rotated").count(), 1);
    let record = first.record_of(&client).await;
    assert_eq!((record.generation, record.ended), (1, None));
}

/// Whatever comes first, a 204 is final, and a refresh that was answered before it belongs to a session that is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_that_races_refreshes_is_final() {
    for _ in 0..100 {
        let first = Arc::new(House::new());
        let second = Arc::new(first.second_proxy());
        let (client, _) = ready(&first).await;
        let refreshes: Vec<_> = (0..4)
            .map(|number| {
                let house = Arc::clone(if number % 2 == 0 { &first } else { &second });
                let client = client.clone();
                tokio::spawn(async move { house.refresh(&client).await })
            })
            .collect();
        second.post(Endpoint::Logout, &client).await.logged_out();
        for refresh in refreshes {
            let answer = refresh.await.unwrap();
            match answer.status {
                200 => {
                    assert!(second.verify(answer.access_token()).is_err());
                    first.refresh(&client.holding(answer.cookie())).await.invalid_grant("session_ended");
                }
                _ => answer.invalid_grant("session_ended"),
            }
        }
        assert_eq!(first.record_of(&client).await.ended.unwrap().reason, EndReason::Logout);
    }
}
