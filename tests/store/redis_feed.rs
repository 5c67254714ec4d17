//! How a proxy follows Redis: what it hears, and how fresh it says it is.

use std::time::Duration;

use portcullis::session::SessionId;
use portcullis::store::{Committed, StoreError};
use portcullis::time::Timestamp;

use crate::redis_server::RedisServer;
use crate::support::{begin, new_id, open_epoch, redis_options, redis_proxy, redis_proxy_whose_tokens_live, until};

fn stream_of(id: &SessionId) -> String {
    format!("portcullis:{{{:02}}}:revocations", id.partition())
}

/// The stream's last id.
fn last_id(server: &RedisServer, stream: &str) -> String {
    let last: Vec<(String, Vec<String>)> = server.command(&["XREVRANGE", stream, "+", "-", "COUNT", "1"]);
    last[0].0.clone()
}

/// Is the session's ending published in the stream?
fn publishes(server: &RedisServer, id: &SessionId) -> bool {
    let entries: Vec<(String, Vec<String>)> = server.command(&["XRANGE", &stream_of(id), "-", "+"]);
    entries.iter().any(|(_, fields)| fields.contains(&id.to_string()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_starts_later_knows_every_logout() {
    let server = RedisServer::start();
    open_epoch(&server);
    let early = redis_proxy(&server);
    until("it has read the store", async || early.age().is_some()).await;
    let mut ended = Vec::new();
    for number in 0..100 {
        let session = early.begin(&format!("user{number}")).await;
        early.end(&session.id).await.unwrap();
        ended.push(session.id);
    }
    let late = redis_proxy(&server);
    // The moment it says that it knows, it does.
    until("it has read the store", async || late.age().is_some()).await;
    assert!(ended.iter().all(|id| late.lists(id)));
    assert_eq!(late.observed.propagations.lock().unwrap().len(), 0, "what is loaded at the start has not travelled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_s_way_is_measured_at_the_other_proxy() {
    let server = RedisServer::start();
    open_epoch(&server);
    let [here, there] = [redis_proxy(&server), redis_proxy(&server)];
    until("both have read the store", async || here.age().is_some() && there.age().is_some()).await;
    let session = here.begin("demo").await;
    here.end(&session.id).await.unwrap();
    until("it is listed", async || there.lists(&session.id)).await;
    until("it was measured", async || there.observed.propagations.lock().unwrap().len() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn knowledge_ages_while_redis_is_silent_and_is_fresh_again_after() {
    let server = RedisServer::start();
    open_epoch(&server);
    let proxy = redis_proxy(&server);
    until("it has read the store", async || proxy.age().is_some()).await;
    let session = proxy.begin("demo").await;
    proxy.end(&session.id).await.unwrap();

    server.pause();
    until("its knowledge ages", async || proxy.age().is_some_and(|age| age > Duration::from_secs(4))).await;
    assert!(proxy.lists(&session.id), "what is known still holds");
    server.resume();
    until("it is fresh again", async || proxy.age().is_some_and(|age| age < Duration::from_secs(2))).await;
}

/// A primary that was demoted can still be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_no_primary_makes_nothing_fresh() {
    let server = RedisServer::start();
    open_epoch(&server);
    let proxy = redis_proxy(&server);
    until("it has read the store", async || proxy.age().is_some()).await;
    let session = proxy.begin("demo").await;
    let stored = proxy.sessions.get(&session.id).await.unwrap();

    let _: () = server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    until("its knowledge ages", async || proxy.age().is_some_and(|age| age > Duration::from_secs(4))).await;
    let next = session.end(Timestamp::now(), portcullis::session::EndReason::Logout);
    let refused = proxy.sessions.commit(stored.as_ref(), &next).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");

    let _: () = server.command(&["REPLICAOF", "NO", "ONE"]);
    until("it is fresh again", async || proxy.age().is_some_and(|age| age < Duration::from_secs(2))).await;
    assert_eq!(proxy.sessions.commit(stored.as_ref(), &next).await.unwrap(), Committed::Yes);
}

/// Nothing is answered on its word: neither that a session is as it was, nor that there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_takes_no_writes_proves_nothing() {
    let server = RedisServer::start();
    open_epoch(&server);
    let proxy = redis_proxy(&server);
    until("it has read the store", async || proxy.age().is_some()).await;
    let session = proxy.begin("demo").await;
    let stored = proxy.sessions.get(&session.id).await.unwrap();
    let absent = new_id("demo");
    until("it is sure", async || proxy.sessions.is_absent(&absent).await.is_ok_and(|is_absent| is_absent)).await;

    // It calls itself a primary all the while, and can be read.
    let _: () = server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert!(proxy.sessions.get(&session.id).await.unwrap().is_some());
    assert!(proxy.sessions.get(&absent).await.unwrap().is_none());
    let as_it_is = proxy.sessions.commit(stored.as_ref(), &session).await.map(drop);
    for refused in [as_it_is, proxy.sessions.is_absent(&absent).await.map(drop)] {
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    }

    let _: () = server.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    assert_eq!(proxy.sessions.commit(stored.as_ref(), &session).await.unwrap(), Committed::Yes);
    assert!(proxy.sessions.is_absent(&absent).await.unwrap());
    assert!(!proxy.sessions.is_absent(&session.id).await.unwrap(), "and that it is there is not overlooked");
    assert!(proxy.sessions.get(&session.id).await.unwrap().is_some(), "nor is it removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_are_shared_and_old_entries_leave_the_stream() {
    let server = RedisServer::start();
    open_epoch(&server);
    let stream = "portcullis:{03}:revocations";
    let mut connection = server.connection();
    let mut pipe = redis::pipe();
    for number in 1..=1000 {
        pipe.cmd("XADD").arg(stream).arg(format!("{number}-1")).arg("nonce").arg("long ago");
    }
    pipe.exec(&mut connection).unwrap();

    let proxies: Vec<_> = (0..4).map(|_| redis_proxy(&server)).collect();
    until("all have read the store", async || proxies.iter().all(|proxy| proxy.age().is_some())).await;
    let length = || server.command::<usize>(&["XLEN", stream]);
    until("the old entries are gone", async || length() < 300).await;
    assert!(length() >= 1);

    let before = length();
    let began = Timestamp::now();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let written = length() - before;
    // One each 800 ms at the most, whatever the number of proxies; and not none.
    let most = Timestamp::now().since(began).as_millis() as usize / 800 + 1;
    assert!((1..=most).contains(&written), "{written} heartbeats, {most} at most");
}

/// After a failover ids are used again: the id is the one read last, the entry is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_last_entry_was_replaced_is_read_again_from_the_beginning() {
    let server = RedisServer::start();
    open_epoch(&server);
    let proxy = redis_proxy(&server);
    until("it has read the store", async || proxy.age().is_some()).await;
    let session = proxy.begin("demo").await;
    proxy.end(&session.id).await.unwrap();
    let stream = stream_of(&session.id);
    assert!(publishes(&server, &session.id));

    // Another history of the same length, in which another session of the subject ended, before where this proxy reads on.
    let other = new_id("demo");
    let ended_at = Timestamp::now().as_millis().to_string();
    let last = last_id(&server, &stream);
    redis::pipe()
        .atomic()
        .cmd("DEL")
        .arg(&stream)
        .cmd("XADD")
        .arg(&stream)
        .arg("5-5")
        .arg(&["sid", &other.to_string(), "ended_at_ms", &ended_at, "nonce", "n"])
        .cmd("XADD")
        .arg(&stream)
        .arg(&last)
        .arg(&["nonce", "of another history"])
        .exec(&mut server.connection())
        .unwrap();

    until("what the other history published is listed", async || proxy.lists(&other)).await;
    assert!(proxy.lists(&session.id), "and what the first one published, still");
    until("which is in the stream again", async || publishes(&server, &session.id)).await;
    until("it is fresh again", async || proxy.age().is_some_and(|age| age < Duration::from_secs(2))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_rolled_back_is_told_which_sessions_have_ended() {
    let server = RedisServer::start();
    open_epoch(&server);
    let proxy = redis_proxy(&server);
    until("it has read the store", async || proxy.age().is_some()).await;
    let session = proxy.begin("demo").await;
    let living = proxy.sessions.get(&session.id).await.unwrap().unwrap();
    proxy.end(&session.id).await.unwrap();

    // As if Redis had come back with what it had saved before the logout.
    let key = format!("portcullis:{{{:02}}}:s:{}", session.id.partition(), session.id);
    redis::pipe()
        .atomic()
        .cmd("SET")
        .arg(&key)
        .arg(&living.record[..])
        .cmd("DEL")
        .arg(stream_of(&session.id))
        .exec(&mut server.connection())
        .unwrap();

    until("the session is ended again", async || {
        let stored = proxy.sessions.get(&session.id).await;
        matches!(stored, Ok(Some(stored)) if stored.session.ended.is_some())
    })
    .await;
    assert!(publishes(&server, &session.id));
    until("it is on no list", async || proxy.sessions.sessions_of("demo").await.is_ok_and(|list| list.is_empty()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_nobody_understands_stops_nothing() {
    let server = RedisServer::start();
    open_epoch(&server);
    let proxy = redis_proxy(&server);
    until("it has read the store", async || proxy.age().is_some()).await;
    let session = begin("demo", Timestamp::now().plus(Duration::from_secs(60)));
    assert_eq!(proxy.sessions.commit(None, &session).await.unwrap(), Committed::Yes);
    let _: String = server.command(&["XADD", &stream_of(&session.id), "*", "sid", "\u{fffd}", "x", "y"]);
    let other = redis_proxy(&server);
    proxy.end(&session.id).await.unwrap();
    until("the logout after it is listed", async || other.age().is_some() && other.lists(&session.id)).await;
}

/// While a new configuration rolls from proxy to proxy, they disagree on how long access tokens live.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_with_short_lived_tokens_forgets_nothing_that_others_need() {
    let server = RedisServer::start();
    open_epoch(&server);
    let long = redis_proxy(&server);
    until("it has read the store", async || long.age().is_some()).await;
    drop(long);

    // Enough for Redis to give some of them up: it trims whole blocks.
    let now_ms = Timestamp::now().as_millis();
    let ended: Vec<SessionId> = (0..300).map(|_| new_id("demo")).collect();
    let stream = stream_of(&ended[0]);
    let mut pipe = redis::pipe();
    pipe.atomic().cmd("DEL").arg(&stream);
    for (number, id) in ended.iter().enumerate() {
        let ended_at = (now_ms - 600_000).to_string();
        pipe.cmd("XADD").arg(&stream).arg(format!("{ended_at}-{number}"));
        pipe.arg(&["sid", &id.to_string(), "ended_at_ms", &ended_at, "nonce", "n"]);
    }
    pipe.exec(&mut server.connection()).unwrap();

    let short = redis_proxy_whose_tokens_live(&redis_options(&server), Duration::from_secs(60));
    let newest = || last_id(&server, &stream);
    until("it has read the store", async || short.age().is_some()).await;
    for _ in 0..2 {
        let before = newest();
        until("it has written a heartbeat more", async || newest() != before).await;
    }
    assert!(ended.iter().all(|id| publishes(&server, id)), "a revocation of ten minutes ago is gone");
    let late = redis_proxy(&server);
    until("it has read the store", async || late.age().is_some()).await;
    assert!(ended.iter().all(|id| late.lists(id)), "access tokens of sessions that have ended are accepted again");
}
