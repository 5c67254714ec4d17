//! Redis refuses, hangs, or holds what it should not: never a wrong answer, never a call that hangs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::session::EndReason;
use portcullis::store::{Committed, StoreError};
use portcullis::time::Timestamp;

use crate::redis_server::{Options, RedisServer};
use crate::support::{DEADLINE, Proxy, begin, open_epoch, redis_proxy, until, within};

/// How soon all is well again after a fault.
const RECOVERY: Duration = Duration::from_secs(2);

async fn server_and_proxy() -> (RedisServer, Proxy) {
    let server = RedisServer::start();
    open_epoch(&server);
    let proxy = redis_proxy(&server);
    until("it has read the store", async || proxy.age().is_some()).await;
    (server, proxy)
}

fn record_key(id: &portcullis::session::SessionId) -> String {
    format!("portcullis:{{{:02}}}:s:{id}", id.partition())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_cannot_be_read_is_corrupt_and_no_panic() {
    let (server, proxy) = server_and_proxy().await;
    let [session, other] = [proxy.begin("demo").await, proxy.begin("demo").await];
    let others = serde_json::to_string(&other).unwrap();
    for record in ["", "{", "null", "[]", "{\"id\":1}", &others] {
        let _: () = server.command(&["SET", &record_key(&session.id), record]);
        let stored = proxy.sessions.get(&session.id).await;
        assert!(matches!(stored, Err(StoreError::Corrupt(id, _)) if id == session.id), "{record:?}: {stored:?}");
    }
    let _: () = server.command(&["DEL", &record_key(&session.id)]);
    let _: () = server.command(&["RPUSH", &record_key(&session.id), "a list"]);
    // A key of another type is not there for MGET, and is not overwritten by a commit that expects nothing.
    let refused = proxy.sessions.commit(None, &session).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ending_that_cannot_be_published_is_not_recorded() {
    let (server, proxy) = server_and_proxy().await;
    let session = proxy.begin("demo").await;
    let stream = format!("portcullis:{{{:02}}}:revocations", session.id.partition());
    let _: () = server.command(&["SET", &stream, "no stream"]);
    let refused = proxy.end(&session.id).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let record: String = server.command(&["GET", &record_key(&session.id)]);
    assert_eq!(record, serde_json::to_string(&session).unwrap());

    let _: () = server.command(&["DEL", &stream]);
    within(RECOVERY, "the session can be ended", async || proxy.end(&session.id).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_outlives_the_deadline_and_nothing_is_left_hanging() {
    let (server, proxy) = server_and_proxy().await;
    let session = proxy.begin("demo").await;
    let proxy = Arc::new(proxy);
    server.pause();
    for _ in 0..2 {
        let began = Instant::now();
        let mut calls = tokio::task::JoinSet::new();
        for number in 0..60 {
            let (proxy, session) = (Arc::clone(&proxy), session.clone());
            calls.spawn(async move {
                match number % 3 {
                    0 => proxy.sessions.get(&session.id).await.map(drop),
                    1 => proxy.sessions.sessions_of("demo").await.map(drop),
                    _ => proxy.sessions.commit(None, &begin("demo", session.ends_at)).await.map(drop),
                }
            });
        }
        for result in calls.join_all().await {
            assert!(matches!(result, Err(StoreError::TimedOut(_) | StoreError::Unavailable(_))), "{result:?}");
        }
        assert!(began.elapsed() < DEADLINE + Duration::from_secs(1), "{:?}", began.elapsed());
    }
    server.resume();
    within(RECOVERY, "calls work again", async || proxy.sessions.get(&session.id).await.is_ok()).await;
    within(RECOVERY, "logouts work again", async || proxy.end(&session.id).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_is_over_when_redis_is_back() {
    let mut server = RedisServer::start_with(Options { durable: true, ..Options::default() });
    open_epoch(&server);
    let proxy = redis_proxy(&server);
    until("it has read the store", async || proxy.age().is_some()).await;
    let session = proxy.begin("demo").await;
    for _ in 0..2 {
        server.kill();
        let began = Instant::now();
        let refused = proxy.sessions.get(&session.id).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_) | StoreError::TimedOut(_))), "{refused:?}");
        assert!(began.elapsed() < DEADLINE + Duration::from_secs(1));
        server.start_again();
        within(RECOVERY, "calls work again", async || proxy.sessions.get(&session.id).await.is_ok()).await;
    }
    within(RECOVERY, "logouts work again", async || proxy.end(&session.id).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_were_closed_while_idle_are_not_noticed() {
    let (server, proxy) = server_and_proxy().await;
    let session = proxy.begin("demo").await;
    for _ in 0..5 {
        let _: i64 = server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        assert_eq!(proxy.sessions.get(&session.id).await.unwrap().unwrap().session, session);
    }
    let _: i64 = server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    proxy.end(&session.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_redis_has_forgotten_are_given_again() {
    let (server, proxy) = server_and_proxy().await;
    let other = redis_proxy(&server);
    until("it has read the store", async || other.age().is_some()).await;
    let session = proxy.begin("demo").await;
    let _: () = server.command(&["SCRIPT", "FLUSH"]);
    proxy.end(&session.id).await.unwrap();
    until("the logout is heard", async || other.lists(&session.id)).await;
    until("and it is fresh", async || other.age().is_some_and(|age| age < RECOVERY)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_full_changes_nothing() {
    let (server, proxy) = server_and_proxy().await;
    let session = proxy.begin("demo").await;
    let _: () = server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = proxy.end(&session.id).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("OOM")), "{refused:?}");
    assert_eq!(proxy.sessions.get(&session.id).await.unwrap().unwrap().session, session);
    let _: () = server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    proxy.end(&session.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_is_acknowledged_only_when_a_replica_has_it() {
    let (server, proxy) = server_and_proxy().await;
    let replica = RedisServer::start_with(Options { replica_of: Some(server.port()), ..Options::default() });
    let replicas = || -> i64 {
        let info: String = server.command(&["INFO", "replication"]);
        i64::from(info.contains("state=online"))
    };
    until("the replica follows", async || replicas() == 1).await;
    let [session, other] = [proxy.begin("demo").await, proxy.begin("demo").await];
    proxy.end(&session.id).await.unwrap();
    let copy: String = replica.command(&["GET", &record_key(&session.id)]);
    assert!(copy.contains("ended"), "{copy}");

    replica.pause();
    let stored = proxy.sessions.get(&other.id).await.unwrap().unwrap();
    let ended = stored.session.end(Timestamp::now(), EndReason::Logout);
    let refused = proxy.sessions.commit(Some(&stored), &ended).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("replica")), "{refused:?}");
    // It did happen here, and to ask again must not turn that into a success.
    let refused = proxy.end(&other.id).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("replica")), "{refused:?}");
    // What ends nothing waits for nobody.
    proxy.begin("demo").await;

    replica.resume();
    within(RECOVERY, "it is acknowledged", async || proxy.end(&other.id).await.is_ok()).await;
    let copy: String = replica.command(&["GET", &record_key(&other.id)]);
    assert!(copy.contains("ended"), "{copy}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_redis_has_ever_answered_nothing_is_known() {
    let mut server = RedisServer::start();
    open_epoch(&server);
    server.kill();
    let proxy = redis_proxy(&server);
    let session = begin("demo", Timestamp::now().plus(Duration::from_secs(60)));
    for _ in 0..3 {
        let refused = proxy.sessions.commit(None, &session).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
        assert_eq!(proxy.age(), None);
    }
    server.start_again();
    until("it works once Redis is there", async || {
        matches!(proxy.sessions.commit(None, &session).await, Ok(Committed::Yes))
    })
    .await;
}
