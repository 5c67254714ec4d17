//! The ways to run Portcullis, so that one story can be told over all of them.

use std::path::PathBuf;

use tempfile::TempDir;

use super::{Portcullis, RedisCluster, RedisOptions, RedisServer, new_keys};

/// How sessions are kept, and by how many proxies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setup {
    /// One proxy, nothing else.
    Embedded,
    /// One proxy on Redis.
    Redis,
    /// Two proxies on one Redis.
    TwoOnRedis,
    /// Two proxies on a Redis Cluster with replicas.
    TwoOnRedisCluster,
}

/// Proxies that share sessions, and what they share them through.
pub struct Cluster {
    /// The proxies, alike but for their addresses.
    pub gates: Vec<Portcullis>,
    /// The store that they share, if it is one Redis.
    pub redis: Option<RedisServer>,
    shared: TempDir,
    _redis_cluster: Option<RedisCluster>,
}

impl Cluster {
    /// Starts proxies with the same configuration; `config` says nothing about the store.
    pub async fn start(setup: Setup, config: &str) -> Cluster {
        Cluster::start_with(setup, config, &[]).await
    }

    /// The same with environment variables for the proxies.
    pub async fn start_with(setup: Setup, config: &str, environment: &[(&'static str, &'static str)]) -> Cluster {
        let shared = TempDir::new().expect("a temporary folder");
        let redis = matches!(setup, Setup::Redis | Setup::TwoOnRedis).then(|| RedisServer::start_with(durable()));
        let redis_cluster = (setup == Setup::TwoOnRedisCluster)
            .then(|| RedisCluster::start(true, &RedisOptions { cluster_node_timeout: Some(5000), ..durable() }));
        let proxies = if matches!(setup, Setup::Embedded | Setup::Redis) { 1 } else { 2 };
        let mut config = config.to_owned();
        let store = match (&redis, &redis_cluster) {
            (Some(redis), _) => Some(format!("url: \"{}\"", redis.url())),
            // One of them is enough to learn the others.
            (_, Some(cluster)) => Some(format!("cluster: [\"{}\"]", cluster.nodes[0].url())),
            (None, None) => None,
        };
        if let Some(store) = store {
            let keys = shared.path().join("keys.jwks");
            new_keys(&keys);
            config += &format!("\nkeys: {{ file: {} }}\nstore: {{ redis: {{ {store} }} }}\n", keys.display());
        }
        let mut gates = Vec::new();
        for _ in 0..proxies {
            gates.push(Portcullis::start_with(&config, environment).await);
        }
        Cluster { gates, redis, shared, _redis_cluster: redis_cluster }
    }

    /// The file with the keys that proxies on Redis share.
    pub fn keys(&self) -> PathBuf {
        self.shared.path().join("keys.jwks")
    }

    /// The first proxy.
    pub fn first(&self) -> &Portcullis {
        &self.gates[0]
    }

    /// The last proxy: with two of them another one than the first.
    pub fn last(&self) -> &Portcullis {
        &self.gates[self.gates.len() - 1]
    }
}

/// A Redis that keeps what it has acknowledged, as one that is to be relied on has to.
fn durable() -> RedisOptions {
    RedisOptions { durable: true, ..RedisOptions::default() }
}
