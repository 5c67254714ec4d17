//! What a commit asks of Redis: it has one core for everybody, so a rotation asks for no more than it needs. And the list of
//! a subject's sessions, which most commits leave as it is.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use portcullis::session::{EndReason, Outcome, SessionId};
use portcullis::store::Committed;
use portcullis::time::Timestamp;

use crate::redis_server::RedisServer;
use crate::support::{Proxy, begin, open_epoch, redis_proxy, until};

async fn opened() -> (RedisServer, Proxy) {
    let server = RedisServer::start();
    open_epoch(&server);
    let proxy = redis_proxy(&server);
    until("the proxy has read the store", async || proxy.age().is_some()).await;
    (server, proxy)
}

/// How often the server was given each of these commands, by scripts as well.
fn calls(server: &RedisServer, commands: [&str; 5]) -> [u64; 5] {
    let stats: String = server.command(&["INFO", "commandstats"]);
    commands.map(|command| {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    })
}

#[tokio::test]
async fn a_rotation_is_one_read_one_write_and_a_look_at_the_list() {
    const ROTATIONS: u64 = 20;
    let (server, proxy) = opened().await;
    let mut sessions = Vec::new();
    for _ in 0..ROTATIONS {
        sessions.push(proxy.begin("demo").await.id);
    }
    // None of these does the follower use.
    let counted = ["mget", "zadd", "zremrangebyscore", "zrange", "pexpireat"];
    let before = calls(&server, counted);
    for id in &sessions {
        let (outcome, rotated) = proxy.refresh(id, 0, 1).await.unwrap();
        assert!(matches!(outcome, Outcome::Rotated { .. }) && rotated);
    }
    let after = calls(&server, counted);
    let made: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!(made, [ROTATIONS, ROTATIONS, 0, 0, 0], "{counted:?}");
}

/// How often the server has read from its connections.
fn reads(server: &RedisServer) -> u64 {
    let stats: String = server.command(&["INFO", "stats"]);
    let count = stats.lines().find_map(|line| line.strip_prefix("total_reads_processed:"));
    count.unwrap().trim().parse().unwrap()
}

// On one thread, so that all of them ask before anything is sent.
#[tokio::test]
async fn who_asks_at_the_same_moment_shares_a_write() {
    let (server, proxy) = opened().await;
    let proxy = Arc::new(proxy);
    let mut begun = Vec::new();
    for _ in 0..200 {
        begun.push(proxy.begin("demo").await.id);
    }
    let before = reads(&server);
    let refresh = |id: SessionId| {
        let proxy = Arc::clone(&proxy);
        tokio::spawn(async move { proxy.refresh(&id, 0, 1).await })
    };
    for refreshed in join_all(begun.into_iter().map(refresh)).await {
        let (outcome, rotated) = refreshed.unwrap().unwrap();
        assert!(matches!(outcome, Outcome::Rotated { .. }) && rotated);
    }
    let made = reads(&server) - before;
    assert!(made < 100, "400 commands took {made} reads");
}

#[tokio::test]
async fn who_gives_up_takes_nobody_along() {
    let (server, proxy) = opened().await;
    let [first, second] = [proxy.begin("demo").await.id, proxy.begin("demo").await.id];
    let before = calls(&server, ["mget"; 5])[0];
    let mut gives_up = Box::pin(proxy.sessions.get(&first));
    assert!(futures::poll!(&mut gives_up).is_pending(), "it was the first to ask");
    let stays = proxy.sessions.get(&second);
    let leaves = async { drop(gives_up) };
    let (stored, ()) = tokio::join!(stays, leaves);
    assert_eq!(stored.unwrap().unwrap().session.id, second);
    assert_eq!(calls(&server, ["mget"; 5])[0] - before, 1, "what nobody waits for is not asked");
}

fn list_of(id: &SessionId) -> String {
    format!("portcullis:{{{:02}}}:u:demo", id.partition())
}

/// When Redis forgets the list.
fn forgotten_at(server: &RedisServer, id: &SessionId) -> Timestamp {
    let at: i64 = server.command(&["PEXPIRETIME", &list_of(id)]);
    Timestamp::from_millis(u64::try_from(at).expect("it is there, and has an end"))
}

#[tokio::test]
async fn the_list_lasts_as_long_as_the_last_of_its_sessions() {
    let (server, proxy) = opened().await;
    let minute = Duration::from_secs(60);
    let now = Timestamp::now();
    let [short, long] = [10, 30].map(|minutes| begin("demo", now.plus(minute * minutes)));
    for session in [&short, &long] {
        assert_eq!(proxy.sessions.commit(None, session).await.unwrap(), Committed::Yes);
        assert_eq!(forgotten_at(&server, &session.id), session.ends_at.plus(minute));
    }
    for session in [&short, &long] {
        proxy.refresh(&session.id, 0, 1).await.unwrap();
        assert_eq!(forgotten_at(&server, &session.id), long.ends_at.plus(minute));
    }
    proxy.end(&long.id).await.unwrap();
    assert_eq!(forgotten_at(&server, &short.id), short.ends_at.plus(minute));
    proxy.sessions.end(&short.id, Timestamp::now, EndReason::Logout).await.unwrap();
    assert!(!server.command::<bool>(&["EXISTS", &list_of(&short.id)]), "an empty list is none");
}

/// An operator's mistake, or a Redis that evicts.
#[tokio::test]
async fn a_list_that_was_lost_is_made_again_by_the_next_rotation() {
    let (server, proxy) = opened().await;
    let session = proxy.begin("demo").await;
    let _: i64 = server.command(&["DEL", &list_of(&session.id)]);
    assert_eq!(proxy.sessions.sessions_of("demo").await.unwrap(), []);
    proxy.refresh(&session.id, 0, 1).await.unwrap();
    assert_eq!(proxy.sessions.sessions_of("demo").await.unwrap(), [session.id]);
    assert_eq!(forgotten_at(&server, &session.id), session.ends_at.plus(Duration::from_secs(60)));
}
