//! What is said of a Redis that would lose logouts, and of one that cannot be used at all.

use std::sync::{Arc, Mutex};

use portcullis::store::StoreError;
use portcullis::store::redis::{Password, RedisOptions};
use tracing_subscriber::fmt::MakeWriter;

use crate::redis_server::cluster::RedisCluster;
use crate::redis_server::{Options, RedisServer};
use crate::support::{
    cluster_options, new_id, open_epoch, open_epochs, redis_options, redis_proxy, redis_proxy_with, until, within,
};

/// What this thread logs while the guard lives.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn listen() -> (Log, tracing::subscriber::DefaultGuard) {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// How many lines have all of `parts`.
    fn count(&self, parts: &[&str]) -> usize {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    }

    async fn hears(&self, parts: &[&str]) {
        until(&format!("{parts:?} is logged"), async || self.count(parts) > 0).await;
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Log;
    fn make_writer(&self) -> Log {
        self.clone()
    }
}

fn with(more: &[&str]) -> Options {
    Options { more: more.iter().map(|line| (*line).to_owned()).collect(), ..Options::default() }
}

// On one thread, which is the one that is listened to.
#[tokio::test]
async fn settings_that_lose_logouts_are_told_once_for_each_start_of_redis() {
    let (log, _guard) = Log::listen();
    let mut server =
        RedisServer::start_with(with(&["maxmemory 100mb", "maxmemory-policy allkeys-lru", "appendonly no"]));
    open_epoch(&server);
    let proxy = redis_proxy(&server);
    log.hears(&["WARN", "allkeys-lru", "`maxmemory-policy noeviction`"]).await;
    log.hears(&["WARN", "`appendonly yes`"]).await;

    until("it has read the store", async || proxy.age().is_some()).await;
    let _: i64 = server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    proxy.begin("demo").await;
    assert_eq!(log.count(&["allkeys-lru"]), 1, "the same server is not told of again");
    server.kill();
    server.start_again();
    until("it is another start", async || log.count(&["allkeys-lru"]) == 2).await;
}

#[tokio::test]
async fn nothing_is_said_of_a_redis_that_keeps_everything() {
    let (log, _guard) = Log::listen();
    let server = RedisServer::start_with(Options { durable: true, ..Options::default() });
    open_epoch(&server);
    let proxy = redis_proxy(&server);
    until("it has read the store", async || proxy.age().is_some()).await;
    // The last thing that is asked of a new server.
    let asked = || -> bool {
        let stats: String = server.command(&["INFO", "commandstats"]);
        let calls = stats.split("cmdstat_config|get:calls=").nth(1).and_then(|rest| rest.split(',').next());
        calls.is_some_and(|calls| calls.parse::<u32>().unwrap() >= 2)
    };
    until("the settings were looked at", async || asked()).await;
    assert_eq!(log.count(&["set `"]) + log.count(&["see to it"]), 0);
}

#[tokio::test]
async fn a_redis_that_shows_nothing_is_used_and_said_to_show_nothing() {
    let (log, _guard) = Log::listen();
    let server = RedisServer::start_with(Options {
        user: Some(("gate".to_owned(), "horse".to_owned())),
        more: vec!["user shy on >horse ~* &* +@all -info -config".to_owned()],
        ..Options::default()
    });
    open_epoch(&server);
    let shy = RedisOptions {
        username: Some("shy".to_owned()),
        password: Some(Password::Fixed("horse".into())),
        ..redis_options(&server)
    };
    let proxy = redis_proxy_with(&shy);
    for unseen in ["evicts keys", "anything on disk", "its replicas"] {
        log.hears(&["INFO", "does not show", unseen]).await;
    }
    until("it has read the store", async || proxy.age().is_some()).await;
    let session = proxy.begin("demo").await;
    proxy.end(&session.id).await.unwrap();
}

#[tokio::test]
async fn a_replica_is_not_used_and_its_primary_is_named() {
    let (log, _guard) = Log::listen();
    let primary = RedisServer::start();
    open_epoch(&primary);
    let replica = RedisServer::start_with(Options { replica_of: Some(primary.port()), ..Options::default() });
    let linked = || replica.command::<String>(&["INFO", "replication"]).contains("master_link_status:up");
    until("it has what the primary has", async || linked()).await;
    let proxy = redis_proxy(&replica);
    let named = format!("127.0.0.1:{}", primary.port());
    log.hears(&["WARN", "replica", &named]).await;
    assert_eq!(proxy.age(), None);
    match proxy.sessions.get(&new_id("demo")).await {
        Err(StoreError::Unavailable(_)) => {}
        other => panic!("{other:?}"),
    }
    // Made a primary, it is used at once.
    let _: () = replica.command(&["REPLICAOF", "NO", "ONE"]);
    within(std::time::Duration::from_secs(2), "it is used", async || proxy.age().is_some()).await;
    proxy.begin("demo").await;
}

#[tokio::test]
async fn a_node_of_a_cluster_is_not_taken_for_a_server_with_all_keys() {
    let (log, _guard) = Log::listen();
    let node = RedisServer::start_with(Options { cluster_node_timeout: Some(15_000), ..Options::default() });
    let proxy = redis_proxy(&node);
    log.hears(&["WARN", "node of a cluster", "write its nodes as `cluster`"]).await;
    assert!(proxy.sessions.get(&new_id("demo")).await.is_err());
    assert_eq!(proxy.age(), None);
}

#[tokio::test]
async fn a_server_is_not_taken_for_a_cluster() {
    let (log, _guard) = Log::listen();
    let server = RedisServer::start();
    let proxy = redis_proxy_with(&RedisOptions { cluster: vec![server.url()], ..redis_options(&server) });
    log.hears(&["WARN", "cluster support disabled"]).await;
    assert!(proxy.sessions.get(&new_id("demo")).await.is_err());
    assert_eq!(proxy.age(), None);
}

#[tokio::test]
async fn each_node_of_a_cluster_is_looked_at_once() {
    let (log, _guard) = Log::listen();
    let options = Options { cluster_node_timeout: Some(15_000), ..Options::default() };
    let cluster = RedisCluster::start(false, &options);
    let prefix = cluster_options(&cluster).key_prefix;
    open_epochs(&cluster, &prefix);
    let proxy = redis_proxy_with(&cluster_options(&cluster));
    for node in &cluster.nodes {
        let here = format!("127.0.0.1:{}", node.port());
        log.hears(&["WARN", "`appendonly yes`", &here]).await;
        log.hears(&["INFO", "no replica", &here]).await;
        log.hears(&["INFO", "`cluster-require-full-coverage no`", &here]).await;
    }
    until("all partitions have been read", async || proxy.age().is_some()).await;
    assert_eq!(log.count(&["no replica"]), 3);
}
