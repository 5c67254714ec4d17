//! Redis loses its memory, or comes back with an older one; the proxies have copies, and nobody notices but for a wait.

use std::time::{Duration, Instant};

use portcullis::session::{Outcome, Refusal, Session, SessionId};
use portcullis::store::embedded::{Embedded, EmbeddedError};
use portcullis::store::redis::Copies;
use portcullis::store::{Backend, Committed, Mirror, StoreError};
use portcullis::time::Timestamp;
use tempfile::TempDir;

use crate::redis_server::{Options, RedisServer};
use crate::support::{ACCESS_TAIL, Proxy, begin, copying_proxy, open_epoch, redis_proxy, until, within};

pub async fn server_and_proxies<const N: usize>() -> (RedisServer, [TempDir; N], [Proxy; N]) {
    let server = RedisServer::start();
    open_epoch(&server);
    let folders = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let proxies = folders.each_ref().map(|folder| copying_proxy(&server, folder.path()));
    until("all have read the store", async || proxies.iter().all(|proxy| proxy.age().is_some())).await;
    (server, folders, proxies)
}

fn flush(server: &RedisServer) {
    let _: () = server.command(&["FLUSHALL"]);
}

/// Refreshes, and waits for as long as the store says that it does not know.
pub async fn refresh(proxy: &Proxy, id: &SessionId, generation: u32) -> Outcome {
    let began = Instant::now();
    loop {
        match proxy.refresh(id, generation, 1).await {
            Ok((outcome, _)) => return outcome,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(15), "still {error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What the store says, once it says anything.
pub async fn known(proxy: &Proxy, id: &SessionId) -> Option<Session> {
    let mut known = None;
    until("the store answers", async || match proxy.sessions.get(id).await {
        Ok(stored) => {
            known = stored.map(|stored| stored.session);
            true
        }
        Err(_) => false,
    })
    .await;
    known
}

pub fn rotated_to(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::Rotated { write } => write.generation,
        other => panic!("{other:?}"),
    }
}

pub fn is_refused(outcome: &Outcome) -> bool {
    *outcome == Outcome::Refused(Refusal::Ended)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_store_logs_nobody_out_and_raises_nobody_from_the_dead() {
    let (server, _folders, [here, there]) = server_and_proxies().await;
    let mut living = Vec::new();
    let mut ended = Vec::new();
    for number in 0..60 {
        // Each proxy knows what the other one does not.
        let (first, second) = if number % 2 == 0 { (&here, &there) } else { (&there, &here) };
        let session = first.begin(&format!("user{number}")).await;
        assert_eq!(rotated_to(refresh(first, &session.id, 0).await), 1);
        living.push(session.id);
        let session = first.begin(&format!("user{number}")).await;
        second.end(&session.id).await.unwrap();
        ended.push(session.id);
    }
    flush(&server);

    for id in &living {
        let current = refresh(&there, id, 1).await;
        // Within the grace of its rotation the same token again: the record is whole.
        assert!(matches!(current, Outcome::Kept { .. }), "{current:?}");
    }
    for proxy in [&here, &there] {
        for id in &ended {
            let outcome = refresh(proxy, id, 0).await;
            assert!(is_refused(&outcome), "{outcome:?}");
        }
    }
    for (number, id) in living.iter().enumerate() {
        let subject = format!("user{number}");
        assert_eq!(here.sessions.sessions_of(&subject).await.unwrap(), [*id], "{subject}");
    }
    // Also one that has no copies of its own finds them ended: it is the records that were healed.
    let new = redis_proxy(&server);
    until("it has read the store", async || new.age().is_some()).await;
    for id in &ended {
        assert!(new.sessions.get(id).await.unwrap().unwrap().session.ended.is_some());
        assert!(new.lists(id));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_is_gone_is_not_waited_for_and_takes_no_logout_with_it() {
    let (server, folders, [here, there]) = server_and_proxies().await;
    let [kept, ended] = [there.begin("demo").await, there.begin("demo").await];
    assert_eq!(rotated_to(refresh(&here, &kept.id, 0).await), 1);
    there.end(&ended.id).await.unwrap();
    until("the other proxy has heard of the logout", async || here.lists(&ended.id)).await;

    flush(&server);
    until("the loss is noticed", async || matches!(here.sessions.get(&kept.id).await, Err(StoreError::Amnesia))).await;
    // It dies while the others wait for it; and what the one that is left remembers is what its file holds.
    drop(there);
    drop(here);
    let here = copying_proxy(&server, folders[0].path());
    assert!(here.lists(&ended.id), "listed before Redis has been asked");
    assert_eq!(here.age(), None, "but that says nothing about how fresh it is");
    assert!(matches!(refresh(&here, &kept.id, 1).await, Outcome::Kept { .. }));
    assert!(is_refused(&refresh(&here, &ended.id, 0).await));
}

/// Another proxy has the only copy, and is a little later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_unknown_before_others_had_the_time_to_give_back() {
    let mut server = RedisServer::start_with(Options { durable: true, ..Options::default() });
    open_epoch(&server);
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (redis_proxy(&server), copying_proxy(&server, folder.path()));
    until("both have read the store", async || here.age().is_some() && there.age().is_some()).await;
    let (session, unknown) = (there.begin("demo").await, crate::support::new_id("demo"));
    until("it is sure of what it reads", async || here.sessions.is_absent(&unknown).await.is_ok()).await;
    drop(there);

    let key = format!("portcullis:{{{:02}}}:s:{}", session.id.partition(), session.id);
    let _: i64 = server.command(&["DEL", &key]);
    server.kill();
    server.start_again();
    let back_at = Instant::now();
    until("it can be read again", async || here.sessions.get(&session.id).await.is_ok()).await;
    let refused = here.sessions.is_absent(&session.id).await;
    assert!(matches!(refused, Err(StoreError::Unsure(_))), "{refused:?}");
    let _there = copying_proxy(&server, folder.path());
    let is_absent = loop {
        match here.sessions.is_absent(&session.id).await {
            Ok(is_absent) => break is_absent,
            Err(StoreError::Unsure(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(!is_absent && back_at.elapsed() >= Duration::from_secs(3), "{is_absent} after {:?}", back_at.elapsed());
    assert!(here.sessions.get(&session.id).await.unwrap().is_some());
}

/// The stream says that a session has ended, its record is lost, and the copy of it lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_stream_calls_ended_is_not_given_back_alive() {
    let (server, [folder], [here]) = server_and_proxies().await;
    let session = here.begin("demo").await;
    // The copy is written in the background; a logout waits for it.
    let other = here.begin("demo").await;
    here.end(&other.id).await.unwrap();
    drop(here);
    let there = redis_proxy(&server);
    until("it has read the store", async || there.age().is_some()).await;
    there.end(&session.id).await.unwrap();
    let key = format!("portcullis:{{{:02}}}:s:{}", session.id.partition(), session.id);
    let _: i64 = server.command(&["DEL", &key]);

    let here = copying_proxy(&server, folder.path());
    until("it has compared", async || here.age().is_some()).await;
    let record: String = server.command(&["GET", &key]);
    assert!(record.contains("\"ended\""), "{record}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_redis_dropped_alone_is_given_back_when_it_is_asked_for() {
    let (server, _folders, [here]) = server_and_proxies().await;
    let session = here.begin("demo").await;
    assert_eq!(rotated_to(refresh(&here, &session.id, 0).await), 1);
    let ended = here.begin("demo").await;
    here.end(&ended.id).await.unwrap();
    until("both are copied", async || {
        for id in [&session.id, &ended.id] {
            let key = format!("portcullis:{{{:02}}}:s:{id}", id.partition());
            let _: i64 = server.command(&["DEL", &key]);
        }
        let found = here.sessions.get(&session.id).await.unwrap();
        found.is_some_and(|stored| stored.session.generation == 1)
    })
    .await;
    assert!(here.sessions.get(&ended.id).await.unwrap().unwrap().session.ended.is_some());
    assert_eq!(here.sessions.sessions_of("demo").await.unwrap(), [session.id]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_older_than_the_store_changes_nothing() {
    let (server, _folders, [here, there]) = server_and_proxies().await;
    let session = here.begin("demo").await;
    assert_eq!(rotated_to(refresh(&there, &session.id, 0).await), 1);
    assert_eq!(here.sessions.get(&session.id).await.unwrap().unwrap().session.generation, 1);
    there.end(&session.id).await.unwrap();
    assert!(here.sessions.get(&session.id).await.unwrap().unwrap().session.ended.is_some());
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_in_use_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copies.redb");
    let open = || Copies::open(&path, std::sync::Arc::new(Mirror::new()), ACCESS_TAIL);
    let _first = open().unwrap();
    let refused = open().map(drop);
    assert!(matches!(refused, Err(EmbeddedError::InUse { .. })), "{refused:?}");
}

/// 100,000 copies, all of which the store has lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_copy_is_given_back_whole_before_the_store_opens() {
    const SESSIONS: usize = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let mut begun = Vec::new();
    {
        // The files of both stores are of one format.
        let path = folder.path().join("copies.redb");
        let file = Embedded::open(&path, std::sync::Arc::new(Mirror::new()), ACCESS_TAIL).unwrap();
        for chunk in 0..SESSIONS / 1000 {
            let ends_at = Timestamp::now().plus(Duration::from_secs(3600));
            let sessions: Vec<Session> =
                (0..1000).map(|number| begin(&format!("user{}", chunk * 1000 + number), ends_at)).collect();
            for committed in futures::future::join_all(sessions.iter().map(|session| file.commit(None, session))).await
            {
                assert_eq!(committed.unwrap(), Committed::Yes);
            }
            begun.extend(sessions.into_iter().map(|session| session.id));
        }
    }
    let server = RedisServer::start();
    open_epoch(&server);
    let records = || -> usize { server.command(&["EVAL", "return #redis.call('KEYS', '*:s:*')", "0"]) };
    let began = Instant::now();
    let here = copying_proxy(&server, folder.path());
    within(Duration::from_secs(120), "the proxy has compared", async || here.age().is_some()).await;
    println!("a start: {SESSIONS} sessions were given back in {:?}", began.elapsed());
    assert_eq!(records(), SESSIONS, "all are back before anything is served");

    let began = Instant::now();
    flush(&server);
    until("the loss is noticed", async || matches!(here.sessions.get(&begun[0]).await, Err(StoreError::Amnesia))).await;
    within(Duration::from_secs(120), "the store is open again", async || here.age().is_some()).await;
    println!("a loss: {SESSIONS} sessions were given back in {:?}, the lease of 3 s included", began.elapsed());
    assert_eq!(records(), SESSIONS);
    for id in begun.iter().step_by(997) {
        assert!(here.sessions.get(id).await.unwrap().is_some());
    }
}
