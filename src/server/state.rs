//! What outlives a configuration: sessions, counted logins, metrics. And the keys, which are read from where it says.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::compile::login_limits;
use super::error::StartError;
use super::handover::Keeps;
use crate::config::{self, Config, RedisPrimary, StoreKind};
use crate::keys;
use crate::login::Lasting;
use crate::store::embedded::Embedded;
use crate::store::memory::Memory;
use crate::store::redis::{Copies, FAILOVER_NOTICE, Password, Redis, RedisOptions, SentinelOptions};
use crate::store::{Backend, Mirror, Movable, Observe, Sessions, UsedMarks, UsedMarksWriter};
use crate::telemetry::{Logs, Metrics};
use crate::token::{Algorithm, KeySet};

/// What a process has, whatever is configured anew.
pub(super) struct State {
    pub(super) mirror: Arc<Mirror>,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) logs: Logs,
    pub(super) logins: Lasting,
    pub(super) used: UsedMarks,
    /// A random number that names this process.
    pub(super) process: u64,
}

/// What there is one of in a process, and moves to where it is needed.
pub(super) struct Single {
    pub(super) used: UsedMarksWriter,
    /// What a process that takes the place of this one needs to have; none if it would not find the sessions anyhow.
    pub(super) keeps: Option<Keeps>,
}

/// The file in which this process keeps sessions, and which no other process can have at the same time.
pub(super) fn file(config: &Config) -> Option<PathBuf> {
    match &config.store.kind {
        StoreKind::Memory => None,
        StoreKind::Embedded { path } => Some(path.clone()),
        StoreKind::Redis(_) => Some(config.data_dir.join("copies.redb")),
    }
}

/// Opens it all.
pub(super) fn open(config: &Config, logs: Logs) -> Result<(State, Single), StartError> {
    open_with(config, logs, true)
}

/// The same without the file that another process has: to see whether the rest is good.
pub(super) fn rehearse(config: &Config) -> Result<(State, Single), StartError> {
    open_with(config, Logs::default(), false)
}

fn open_with(config: &Config, logs: Logs, with_file: bool) -> Result<(State, Single), StartError> {
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"))?);
    let observe: Arc<dyn Observe> = Arc::clone(&metrics) as Arc<dyn Observe>;
    let mirror = Arc::new(Mirror::new());
    mirror.revocations.limit(config.revocation.max_entries);
    let access_tail = access_tail(config);
    let mut keeps = None;
    let backend: Arc<dyn Backend> = match &config.store.kind {
        StoreKind::Memory => Arc::new(Memory::new(Arc::clone(&mirror))),
        StoreKind::Embedded { .. } if !with_file => Arc::new(Memory::new(Arc::clone(&mirror))),
        StoreKind::Embedded { path } => {
            make_folder(path.parent().unwrap_or(Path::new(".")))?;
            let store = Embedded::open(path, Arc::clone(&mirror), access_tail)?;
            let store = Arc::new(Movable::new(store, Arc::clone(&mirror)));
            keeps = Some(Keeps::Embedded(Arc::clone(&store), path.clone()));
            store
        }
        StoreKind::Redis(redis) => {
            let options = redis_options(redis, config.store.deadline);
            let redis = Redis::new(&options, Arc::clone(&mirror), access_tail, Arc::clone(&observe))?;
            make_folder(&config.data_dir)?;
            if with_file {
                let path = config.data_dir.join("copies.redb");
                let copies = Copies::open(&path, Arc::clone(&mirror), access_tail)?;
                keeps = Some(Keeps::Copies(copies.file(), path));
                Arc::new(redis.with_copies(copies))
            } else {
                Arc::new(redis)
            }
        }
    };
    let sessions =
        Sessions::new(Arc::clone(&backend), Arc::clone(&mirror), config.store.deadline, access_tail, observe);
    metrics.read_mirror(Arc::clone(&mirror));
    metrics.read_logs(logs.clone())?;
    if !matches!(config.store.kind, StoreKind::Redis(_)) {
        metrics.store_opened(true);
    }
    let mut process = [0; 8];
    aws_lc_rs::rand::fill(&mut process).map_err(|_| StartError::Randomness)?;
    let process = u64::from_le_bytes(process);
    let logins = Lasting::new(login_limits(&config.login).throttle).ok_or(StartError::Randomness)?;
    let (used, writer) = UsedMarks::new(matches!(config.store.kind, StoreKind::Redis(_)));
    let state = State { mirror, backend, sessions: Arc::new(sessions), metrics, logs, logins, used, process };
    Ok((state, Single { used: writer, keeps }))
}

/// How long after a session's end an access token of it could be accepted: its lifetime; clocks that are apart on the
/// proxy that made it and on the one that judges it; and the time that an ending takes to reach the store, within which
/// another proxy may still read the session as alive; and the same if that proxy has not heard of a failover.
pub(super) fn access_tail(config: &Config) -> Duration {
    let failover = match &config.store.kind {
        StoreKind::Redis(redis) if !matches!(redis.primary, RedisPrimary::At(_)) => FAILOVER_NOTICE,
        _ => Duration::ZERO,
    };
    config.access_token.lifetime + 2 * config.access_token.skew + 2 * config.store.deadline + failover
}

/// The keys. They are made only at the first start; those that are in use stay the same, as long as the file holds them.
pub(super) fn open_keys(config: &Config, in_use: Option<&Arc<KeySet>>) -> Result<Arc<KeySet>, StartError> {
    let algorithm = algorithm(config.keys.algorithm);
    let keys = match (keys_file(config), in_use) {
        (None, Some(in_use)) => return Ok(Arc::clone(in_use)),
        (None, None) => keys::ephemeral(algorithm)?,
        (Some(file), None) if config.keys.file.is_none() => {
            make_folder(&config.data_dir)?;
            keys::load_or_create(&file, algorithm)?
        }
        (Some(file), _) => keys::load(&file)?,
    };
    Ok(match in_use {
        Some(in_use) if **in_use == keys => Arc::clone(in_use),
        _ => Arc::new(keys),
    })
}

/// Where the keys are; none if they go with the process.
pub(super) fn keys_file(config: &Config) -> Option<PathBuf> {
    match config.store.kind {
        StoreKind::Memory => None,
        StoreKind::Embedded { .. } | StoreKind::Redis(_) => {
            Some(config.keys.file.clone().unwrap_or_else(|| config.data_dir.join("keys.jwks")))
        }
    }
}

fn algorithm(algorithm: config::Algorithm) -> Algorithm {
    match algorithm {
        config::Algorithm::EdDsa => Algorithm::EdDsa,
        config::Algorithm::Es256 => Algorithm::Es256,
        config::Algorithm::Rs256 => Algorithm::Rs256,
        config::Algorithm::Hs256 => Algorithm::Hs256,
    }
}

/// The folder for what only we may read.
fn make_folder(path: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StartError::DataDir { path: path.to_owned(), source })
}

pub(super) fn redis_options(redis: &config::Redis, deadline: Duration) -> RedisOptions {
    // The database and TLS count where others name the host.
    let url = if redis.tls { "rediss://named-by-others/0" } else { "redis://named-by-others/0" };
    let (url, sentinels, cluster) = match &redis.primary {
        RedisPrimary::At(url) => (url.as_str(), None, Vec::new()),
        RedisPrimary::OfCluster(nodes) => (url, None, nodes.clone()),
        RedisPrimary::NamedBy(sentinels) => {
            let sentinels = SentinelOptions {
                urls: sentinels.urls.clone(),
                master_name: sentinels.master_name.clone(),
                username: sentinels.username.clone(),
                password: sentinels.password.as_ref().map(redis_password),
            };
            (url, Some(sentinels), Vec::new())
        }
    };
    RedisOptions {
        sentinels,
        cluster,
        username: redis.username.clone(),
        password: redis.password.as_ref().map(redis_password),
        key_prefix: redis.key_prefix.clone(),
        ca_file: redis.ca_file.clone(),
        deadline,
        ..RedisOptions::new(url)
    }
}

fn redis_password(password: &config::RedisPassword) -> Password {
    match password {
        config::RedisPassword::Fixed(password) => Password::Fixed(password.clone()),
        config::RedisPassword::File(path) => Password::File(path.clone()),
    }
}
