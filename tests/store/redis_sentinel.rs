//! Redis with a replica and three sentinels, all of them real: whatever becomes of the primary, no acknowledged logout is
//! forgotten, a primary of the past is not believed, and all goes on by itself.
//!
//! How long each failover took is printed (`--nocapture`).

use std::time::{Duration, Instant};

use portcullis::session::{Session, SessionId};
use portcullis::store::redis::{RedisOptions, SentinelOptions};

use crate::redis_server::{Options, RedisServer};
use crate::support::{Proxy, copying_proxy_with, open_epoch, redis_options, redis_proxy_with, until, within};

/// Noticing (0.5 s), voting and promoting is up to the sentinels, on a machine that is busy.
const FAILOVER: Duration = Duration::from_secs(30);

struct Deployment {
    /// The first is the primary at the beginning.
    servers: [RedisServer; 2],
    sentinels: [RedisServer; 3],
}

impl Deployment {
    async fn start() -> Deployment {
        let first = RedisServer::start_with(Options { durable: true, ..Options::default() });
        open_epoch(&first);
        let copy = Options { durable: true, replica_of: Some(first.port()), ..Options::default() };
        let second = RedisServer::start_with(copy);
        let sentinel = || RedisServer::start_with(Options { sentinel_of: Some(first.port()), ..Options::default() });
        let sentinels = [sentinel(), sentinel(), sentinel()];
        let ready = |sentinel: &RedisServer| {
            let fields: Vec<String> = sentinel.command(&["SENTINEL", "MASTER", "mymaster"]);
            let field = |name: &str| fields.chunks(2).find(|pair| pair[0] == name).map(|pair| pair[1].clone());
            field("num-other-sentinels").as_deref() == Some("2") && field("num-slaves").as_deref() == Some("1")
        };
        within(FAILOVER, "the sentinels know one another and the replica", async || sentinels.iter().all(ready)).await;
        let deployment = Deployment { servers: [first, second], sentinels };
        let linked = || deployment.replication(0).contains("state=online");
        until("the replica follows", async || linked()).await;
        deployment
    }

    fn proxy(&self) -> Proxy {
        redis_proxy_with(&self.options())
    }

    fn options(&self) -> RedisOptions {
        RedisOptions {
            // Nobody is there.
            url: "redis://named-by-sentinels:1/0".to_owned(),
            sentinels: Some(SentinelOptions {
                urls: self.sentinels.iter().map(RedisServer::url).collect(),
                master_name: "mymaster".to_owned(),
                username: None,
                password: None,
            }),
            ..redis_options(&self.servers[0])
        }
    }

    /// Nothing if it does not answer: who is demoted closes all connections.
    fn replication(&self, server: usize) -> String {
        self.servers[server].try_command(&["INFO", "replication"]).unwrap_or_default()
    }

    fn is_primary(&self, server: usize) -> bool {
        self.replication(server).contains("role:master")
    }
}

/// As fresh as in good times: two ticks of the follower, and what a busy machine adds.
fn is_fresh(proxy: &Proxy) -> bool {
    proxy.age().is_some_and(|age| age < Duration::from_secs(4))
}

/// Whether the session was found ended; none if nobody can tell.
async fn has_ended(proxy: &Proxy, id: &SessionId) -> Option<bool> {
    proxy.sessions.get(id).await.ok().map(|stored| stored.is_none_or(|stored| stored.session.ended.is_some()))
}

/// Logs sessions out and others in until it has worked, and says how long that took.
async fn back_in_service(what: &str, proxies: &[&Proxy], session: &Session, since: Instant) {
    for proxy in proxies {
        within(FAILOVER, "logouts work", async || proxy.end(&session.id).await.is_ok()).await;
    }
    let logouts = since.elapsed();
    let fresh = |proxy: &&Proxy| proxy.age().is_some_and(|age| age < Duration::from_millis(1500));
    within(FAILOVER, "the news is fresh", async || proxies.iter().all(fresh)).await;
    println!("{what}: logouts again after {logouts:?}, fresh again after {:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_was_asked_for_loses_no_logout() {
    let redis = Deployment::start().await;
    let [one, other] = [redis.proxy(), redis.proxy()];
    until("both are open", async || one.age().is_some() && other.age().is_some()).await;
    let [ended, living, later] = [one.begin("demo").await, one.begin("demo").await, one.begin("demo").await];
    one.end(&ended.id).await.unwrap();

    let began = Instant::now();
    let _: () = redis.sentinels[0].command(&["SENTINEL", "FAILOVER", "mymaster"]);
    within(FAILOVER, "the other is the primary", async || redis.is_primary(1)).await;
    back_in_service("a failover that was asked for", &[&one, &other], &later, began).await;
    within(FAILOVER, "the first follows it", async || redis.replication(1).contains("state=online")).await;
    assert!(!redis.is_primary(0));
    for proxy in [&one, &other] {
        within(FAILOVER, "it is told how it is", async || has_ended(proxy, &later.id).await == Some(true)).await;
    }
    for proxy in [&one, &other] {
        assert_eq!(has_ended(proxy, &ended.id).await, Some(true));
        assert_eq!(has_ended(proxy, &living.id).await, Some(false));
        assert!(proxy.lists(&ended.id));
    }
    // Heard of as ever.
    one.end(&living.id).await.unwrap();
    until("the other hears of it", async || other.lists(&living.id)).await;
}

/// A write has not reached the replica that takes over, and left no trace in the streams either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failover_lost_is_given_back() {
    let mut redis = Deployment::start().await;
    let folder = tempfile::tempdir().unwrap();
    let [one, other] = [copying_proxy_with(&redis.options(), folder.path()), redis.proxy()];
    until("both are open", async || one.age().is_some() && other.age().is_some()).await;
    let [session, later] = [one.begin("demo").await, one.begin("demo").await];
    let key = format!("portcullis:{{{:02}}}:s:{}", session.id.partition(), session.id);
    let _: i64 = redis.servers[0].command(&["DEL", &key]);
    let there = || redis.servers[1].try_command::<i64>(&["EXISTS", &key]) == Ok(1);
    until("the replica has not got it", async || !there()).await;

    let began = Instant::now();
    redis.servers[0].kill();
    let there = || redis.servers[1].try_command::<i64>(&["EXISTS", &key]) == Ok(1);
    within(FAILOVER, "it is back, and nobody has asked for it", async || there()).await;
    assert!(redis.is_primary(1));
    println!("given back {:?} after the primary was killed", began.elapsed());
    back_in_service("a failover that lost a write", &[&one, &other], &later, began).await;
    assert_eq!(has_ended(&other, &session.id).await, Some(false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_killed_is_replaced_and_not_used_when_it_comes_back() {
    let mut redis = Deployment::start().await;
    let [one, other] = [redis.proxy(), redis.proxy()];
    until("both are open", async || one.age().is_some() && other.age().is_some()).await;
    let [ended, later] = [one.begin("demo").await, one.begin("demo").await];
    one.end(&ended.id).await.unwrap();

    let began = Instant::now();
    redis.servers[0].kill();
    back_in_service("a primary that was killed", &[&one, &other], &later, began).await;
    assert!(redis.is_primary(1));
    assert_eq!(has_ended(&other, &ended.id).await, Some(true));

    // It comes back as it was started, a primary; until the sentinels have told it otherwise.
    let before = one.begin("demo").await;
    redis.servers[0].start_again();
    let newer = one.begin("demo").await;
    one.end(&newer.id).await.unwrap();
    let mut seen_as_primary = 0;
    within(FAILOVER, "it has become a replica", async || {
        // All the while everything is as the primary has it.
        assert_eq!(has_ended(&one, &newer.id).await, Some(true));
        assert_eq!(has_ended(&other, &before.id).await, Some(false));
        assert!(is_fresh(&one) && is_fresh(&other), "{:?} {:?}", one.age(), other.age());
        seen_as_primary += usize::from(redis.is_primary(0));
        redis.replication(1).contains("state=online") && redis.replication(0).contains("role:slave")
    })
    .await;
    println!("the old primary was seen {seen_as_primary} times calling itself one");
    one.end(&before.id).await.unwrap();
    until("the other hears of it", async || other.lists(&before.id)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_of_the_past_that_wakes_up_is_not_believed() {
    let redis = Deployment::start().await;
    let [one, other] = [redis.proxy(), redis.proxy()];
    until("both are open", async || one.age().is_some() && other.age().is_some()).await;
    let [session, later, last] = [one.begin("demo").await, one.begin("demo").await, one.begin("demo").await];

    let began = Instant::now();
    redis.servers[0].pause();
    within(FAILOVER, "the other is the primary", async || redis.is_primary(1)).await;
    back_in_service("a primary that hung", &[&one, &other], &later, began).await;
    one.end(&session.id).await.unwrap();
    until("the other hears of it", async || other.lists(&session.id)).await;

    redis.servers[0].resume();
    let stream = format!("portcullis:{{{:02}}}:revocations", session.id.partition());
    let written = || -> Option<i64> { redis.servers[0].try_command(&["XLEN", &stream]).ok() };
    let at_first = written();
    within(FAILOVER, "it has become a replica", async || {
        for proxy in [&one, &other] {
            assert_eq!(has_ended(proxy, &session.id).await, Some(true));
        }
        assert!(is_fresh(&one) && is_fresh(&other), "{:?} {:?}", one.age(), other.age());
        // Nobody gives it a heartbeat while it takes itself for the primary.
        let (before, now) = (redis.is_primary(0), written());
        let is_primary = redis.is_primary(0);
        assert!(!before || !is_primary || now == at_first, "{at_first:?} {now:?}");
        redis.replication(0).contains("role:slave")
    })
    .await;
    one.end(&last.id).await.unwrap();
    until("the other hears of it", async || other.lists(&last.id)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_most_of_the_sentinels_nothing_is_believed_for_long() {
    let redis = Deployment::start().await;
    let proxy = redis.proxy();
    until("it is open", async || proxy.age().is_some()).await;
    let session = proxy.begin("demo").await;

    // One may be down.
    redis.sentinels[0].pause();
    let began = Instant::now();
    until("it was fresh ever since", async || {
        assert!(is_fresh(&proxy), "{:?}", proxy.age());
        began.elapsed() > Duration::from_secs(6)
    })
    .await;
    proxy.end(&session.id).await.unwrap();

    // Two may not: the primary could be another one, and nobody here would know. (It goes on calling itself one.)
    redis.sentinels[1].pause();
    let gone = Instant::now();
    within(FAILOVER, "logins are refused", async || {
        let id = crate::support::new_id("demo");
        proxy.sessions.get(&id).await.is_err()
    })
    .await;
    println!("refused {:?} after most sentinels were gone", gone.elapsed());
    let age = proxy.age().unwrap();
    assert!(redis.is_primary(0));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(proxy.age().unwrap() > age + Duration::from_secs(1), "its knowledge ages");

    let began = Instant::now();
    redis.sentinels[0].resume();
    redis.sentinels[1].resume();
    let session = begin_when_possible(&proxy).await;
    back_in_service("sentinels that were gone", &[&proxy], &session, began).await;
}

/// Logs somebody in as soon as that works.
async fn begin_when_possible(proxy: &Proxy) -> Session {
    use portcullis::store::Committed;
    use portcullis::time::Timestamp;
    let session = crate::support::begin("demo", Timestamp::now().plus(Duration::from_secs(3600)));
    within(FAILOVER, "logins work", async || matches!(proxy.sessions.commit(None, &session).await, Ok(Committed::Yes)))
        .await;
    session
}
