//! The cases that hold for every backend.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use portcullis::session::{EndReason, Outcome, Refusal, Session};
use portcullis::store::{Committed, Cursor, StoreError};
use portcullis::time::Timestamp;

use crate::support::{Rig, begin, new_id, until};

pub async fn a_session_is_read_as_it_was_committed(rig: Rig) {
    let session = rig.a.begin("demo").await;
    let stored = rig.b.sessions.get(&session.id).await.unwrap().unwrap();
    assert_eq!(stored.session, session);
    assert!(rig.a.sessions.get(&new_id("demo")).await.unwrap().is_none());
}

pub async fn a_commit_needs_the_exact_record(rig: Rig) {
    let session = rig.a.begin("demo").await;
    let first = rig.a.sessions.get(&session.id).await.unwrap().unwrap();

    // There is a record where none was expected.
    assert_eq!(rig.b.sessions.commit(None, &session).await.unwrap(), Committed::Conflict);

    // The same generation, yet not the same record.
    let used = Session { used: true, ..session.clone() };
    assert_eq!(rig.b.sessions.commit(Some(&first), &used).await.unwrap(), Committed::Yes);
    let rotated = Session { generation: 1, ..session.clone() };
    assert_eq!(rig.a.sessions.commit(Some(&first), &rotated).await.unwrap(), Committed::Conflict);

    // There is no record where one was expected.
    let other = Session { id: new_id("demo"), ..session };
    assert_eq!(rig.a.sessions.commit(Some(&first), &other).await.unwrap(), Committed::Conflict);
}

pub async fn a_conflict_changes_nothing(rig: Rig) {
    let session = rig.a.begin("demo").await;
    let ended = Session { generation: 7, ..session.end(Timestamp::now(), EndReason::Logout) };
    assert_eq!(rig.a.sessions.commit(None, &ended).await.unwrap(), Committed::Conflict);

    assert_eq!(rig.a.sessions.get(&session.id).await.unwrap().unwrap().session, session);
    assert_eq!(rig.a.sessions.sessions_of("demo").await.unwrap(), [session.id]);
    assert!(!rig.a.lists(&session.id), "nothing was published");
}

pub async fn two_hundred_rotations_at_once_make_one_successor(rig: Rig) {
    let session = rig.a.begin("demo").await;
    let barrier = Arc::new(tokio::sync::Barrier::new(200));
    let mut refreshes = tokio::task::JoinSet::new();
    for number in 0..200 {
        let proxy = Arc::clone(if number % 2 == 0 { &rig.a } else { &rig.b });
        let barrier = Arc::clone(&barrier);
        refreshes.spawn(async move {
            barrier.wait().await;
            // Two hundred at once can be too many for the deadline: the client would ask again, too.
            for _ in 0..20 {
                if let Ok(answer) = proxy.refresh(&session.id, 0, number as u8).await {
                    return answer;
                }
            }
            panic!("no answer")
        });
    }
    let mut successors = 0;
    while let Some(answer) = refreshes.join_next().await {
        match answer.unwrap() {
            (Outcome::Rotated { .. }, true) => successors += 1,
            (Outcome::Retried { late: false, .. }, false) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(successors, 1);
    let stored = rig.a.sessions.get(&session.id).await.unwrap().unwrap().session;
    assert_eq!((stored.generation, stored.ended), (1, None));
}

pub async fn a_logout_between_read_and_write_wins(rig: Rig) {
    let session = rig.a.begin("demo").await;
    let read = rig.a.sessions.get(&session.id).await.unwrap().unwrap();
    rig.b.end(&session.id).await.unwrap();

    let rotated = Session { generation: 1, ..session.clone() };
    assert_eq!(rig.a.sessions.commit(Some(&read), &rotated).await.unwrap(), Committed::Conflict);
    let (outcome, _) = rig.a.refresh(&session.id, 0, 1).await.unwrap();
    assert_eq!(outcome, Outcome::Refused(Refusal::Ended));
}

pub async fn nothing_overwrites_ended(rig: Rig) {
    let session = rig.a.begin("demo").await;
    rig.a.end(&session.id).await.unwrap();
    let ended = rig.a.sessions.get(&session.id).await.unwrap().unwrap();

    let later = Timestamp::now().plus(Duration::from_secs(60));
    let revived = Session { ended: None, generation: 9, ..ended.session.clone() };
    let ended_again = revived.end(later, EndReason::Reuse);
    for next in [session.clone(), revived, ended_again] {
        assert_eq!(rig.a.sessions.commit(Some(&ended), &next).await.unwrap(), Committed::Conflict, "{next:?}");
    }
    assert_eq!(rig.b.sessions.commit(None, &session).await.unwrap(), Committed::Conflict);
    assert_eq!(rig.b.sessions.get(&session.id).await.unwrap().unwrap().record, ended.record);
}

/// A logout that was not acknowledged (no replica had it, say) is asked for again, and has to be able to succeed.
pub async fn an_ended_session_can_be_committed_again_as_it_is(rig: Rig) {
    let session = rig.a.begin("demo").await;
    rig.a.end(&session.id).await.unwrap();
    let ended = rig.a.sessions.get(&session.id).await.unwrap().unwrap();
    assert_eq!(rig.b.sessions.commit(Some(&ended), &ended.session).await.unwrap(), Committed::Yes);
    assert_eq!(rig.b.sessions.get(&session.id).await.unwrap().unwrap().record, ended.record);
}

/// What is answered without a change is committed all the same: the `Yes` says that it is still so.
pub async fn a_living_session_can_be_committed_as_it_is(rig: Rig) {
    let session = rig.a.begin("demo").await;
    let stored = rig.a.sessions.get(&session.id).await.unwrap().unwrap();
    assert_eq!(rig.b.sessions.commit(Some(&stored), &session).await.unwrap(), Committed::Yes);
    assert_eq!(rig.b.sessions.get(&session.id).await.unwrap().unwrap().record, stored.record);
    assert_eq!(rig.a.sessions.sessions_of("demo").await.unwrap(), [session.id]);
    rig.b.end(&session.id).await.unwrap();
    assert_eq!(rig.a.sessions.commit(Some(&stored), &session).await.unwrap(), Committed::Conflict);
}

/// In the end. Before that, somebody may have had no time to give it back.
pub async fn what_is_not_there_is_known_to_be_absent(rig: Rig) {
    let (session, absent) = (rig.a.begin("demo").await, new_id("demo"));
    until("it is known", async || match rig.b.sessions.is_absent(&absent).await {
        Ok(is_absent) => {
            assert!(is_absent);
            true
        }
        Err(StoreError::Unsure(id)) => {
            assert_eq!(id, absent);
            false
        }
        Err(error) => panic!("{error}"),
    })
    .await;
    assert!(rig.b.sessions.get(&absent).await.unwrap().is_none());
    assert_eq!(rig.a.sessions.get(&session.id).await.unwrap().unwrap().session, session);
}

/// Whoever reads that it has ended need not wait for the news.
pub async fn reading_that_a_session_has_ended_lists_it(rig: Rig) {
    let session = rig.a.begin("demo").await;
    rig.a.end(&session.id).await.unwrap();
    assert!(rig.b.sessions.get(&session.id).await.unwrap().unwrap().session.ended.is_some());
    assert!(rig.b.lists(&session.id));
}

pub async fn a_subject_s_living_sessions_are_listed(rig: Rig) {
    let [first, second, third] = [rig.a.begin("demo").await, rig.b.begin("demo").await, rig.a.begin("demo").await];
    let listed = async || BTreeSet::from_iter(rig.b.sessions.sessions_of("demo").await.unwrap());
    assert_eq!(listed().await, BTreeSet::from([first.id, second.id, third.id]));

    // A rotation does not list it twice, and an end takes it off.
    rig.a.refresh(&first.id, 0, 1).await.unwrap();
    rig.a.end(&second.id).await.unwrap();
    assert_eq!(listed().await, BTreeSet::from([first.id, third.id]));

    // One that is past its end is not listed, though it has not been ended.
    let brief = begin("demo", Timestamp::now().plus(Duration::from_millis(300)));
    assert_eq!(rig.a.sessions.commit(None, &brief).await.unwrap(), Committed::Yes);
    until("the session past its end is not listed", async || !listed().await.contains(&brief.id)).await;
    assert_eq!(listed().await, BTreeSet::from([first.id, third.id]));
}

pub async fn a_change_is_decided_on_what_is_there(rig: Rig) {
    let session = rig.a.begin("demo").await;
    let end = |known: Option<&Session>| Some(known?.end(Timestamp::now(), EndReason::Revoked));
    let unknown = rig.a.sessions.change(&new_id("demo"), end).await.unwrap();
    assert!(unknown.is_none(), "what is not there is not made up: {unknown:?}");

    // Eight at once: one of them ends it, and all find it ended.
    let mut changes = tokio::task::JoinSet::new();
    for number in 0..8 {
        let proxy = Arc::clone(if number % 2 == 0 { &rig.a } else { &rig.b });
        changes.spawn(async move { proxy.sessions.change(&session.id, end).await.unwrap().unwrap() });
    }
    let changed = changes.join_all().await;
    assert_eq!(changed.iter().filter(|changed| changed.has_ended()).count(), 1, "{changed:?}");
    assert!(changed.iter().all(|change| change.after.ended == changed[0].after.ended), "{changed:?}");
    until("it is listed", async || rig.a.lists(&session.id) && rig.b.lists(&session.id)).await;
}

pub async fn everybody_s_sessions_are_on_the_pages(rig: Rig) {
    let mut expected = BTreeSet::new();
    // More than fit on a page, over all partitions.
    for number in 0..600 {
        expected.insert(rig.a.begin(&format!("user{number}")).await.id);
    }
    let ended = rig.a.begin("demo").await.id;
    rig.b.end(&ended).await.unwrap();
    expected.insert(ended);

    let (mut found, mut pages, mut next) = (BTreeSet::new(), 0, None);
    loop {
        let page = rig.b.sessions.list(next.as_ref()).await.unwrap();
        assert!(page.sessions.len() < 600, "a page has an end: {}", page.sessions.len());
        assert!(page.sessions.iter().all(|session| session.ended.is_some() == (session.id == ended)));
        found.extend(page.sessions.into_iter().map(|session| session.id));
        pages += 1;
        // What an operator is shown goes out as text and comes back.
        next = page.next.map(|next| Cursor::from_text(&next.to_string()));
        if next.is_none() {
            break;
        }
    }
    assert!(pages > 1);
    assert_eq!(found, expected);

    let unknown = rig.a.sessions.list(Some(&Cursor::from_text("nowhere"))).await;
    assert!(matches!(unknown, Err(StoreError::CursorUnknown)), "{unknown:?}");
}

pub async fn subjects_are_not_mistaken_for_one_another(rig: Rig) {
    let subjects = ["demo", "demo2", "dem", "", "Demo", "de:mo", "{demo}", "d\u{e9}mo", "demo\0", "demo\n", "*"];
    let mut sessions = Vec::new();
    for subject in subjects {
        sessions.push(rig.a.begin(subject).await);
    }
    for session in sessions {
        assert_eq!(rig.b.sessions.sessions_of(&session.subject).await.unwrap(), [session.id], "{:?}", session.subject);
    }
}

pub async fn expired_sessions_disappear(rig: Rig) {
    let living = rig.a.begin("demo").await;
    let long_gone = begin("demo", Timestamp::now().minus(Duration::from_secs(3600)));
    let ended =
        begin("demo", Timestamp::now().minus(Duration::from_secs(3600))).end(Timestamp::now(), EndReason::Logout);
    for session in [&long_gone, &ended] {
        assert_eq!(rig.a.sessions.commit(None, session).await.unwrap(), Committed::Yes);
    }
    for session in [&long_gone, &ended] {
        until("the store has forgotten it", async || rig.b.sessions.get(&session.id).await.unwrap().is_none()).await;
    }
    assert!(rig.b.sessions.get(&living.id).await.unwrap().is_some());
}

pub async fn a_logout_is_listed_by_every_proxy(rig: Rig) {
    let [ended, living] = [rig.a.begin("demo").await, rig.a.begin("demo").await];
    rig.a.end(&ended.id).await.unwrap();
    assert!(rig.a.lists(&ended.id), "where it was acknowledged it holds already");
    until("the logout is listed at the other proxy", async || rig.b.lists(&ended.id)).await;
    assert!(!rig.a.lists(&living.id) && !rig.b.lists(&living.id));
}

pub async fn the_mirror_is_fresh_and_stays_fresh(rig: Rig) {
    let young = |age: Option<Duration>| age.is_some_and(|age| age < Duration::from_secs(5));
    until("the mirror is fresh", async || young(rig.b.age())).await;
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(young(rig.a.age()) && young(rig.b.age()), "{:?} {:?}", rig.a.age(), rig.b.age());
    }
}

pub async fn a_commit_whose_caller_is_gone_is_whole_or_not_at_all(rig: Rig) {
    for patience_us in [0, 50, 100, 200, 500, 1_000, 3_000, 10_000] {
        let session = rig.a.begin("demo").await;
        let stored = rig.a.sessions.get(&session.id).await.unwrap().unwrap();
        let next = session.end(Timestamp::now(), EndReason::Logout);
        let commit = rig.a.sessions.commit(Some(&stored), &next);
        drop(tokio::time::timeout(Duration::from_micros(patience_us), commit).await);

        // Whatever became of it: asked again it succeeds, and then everything holds.
        rig.a.end(&session.id).await.unwrap();
        let ended = rig.b.sessions.get(&session.id).await.unwrap().unwrap().session;
        assert!(ended.ended.is_some());
        assert!(!rig.b.sessions.sessions_of("demo").await.unwrap().contains(&session.id));
        until("it is listed", async || rig.a.lists(&session.id) && rig.b.lists(&session.id)).await;
    }
}

pub async fn a_ticket_is_given_out_once(rig: Rig) {
    let ticket = new_id("demo");
    assert_eq!(rig.a.sessions.take_ticket(&ticket).await.unwrap(), None);
    rig.a.sessions.put_ticket(&ticket, "sealed".into(), Duration::from_secs(30)).await.unwrap();
    let taken = (rig.b.sessions.take_ticket(&ticket), rig.a.sessions.take_ticket(&ticket));
    let taken = tokio::join!(taken.0, taken.1);
    let mut taken = [taken.0.unwrap(), taken.1.unwrap()];
    taken.sort();
    assert_eq!(taken, [None, Some("sealed".into())]);
}
