//! Where sessions are kept.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// Where sessions are kept, and how long a call to it may take.
#[derive(Clone, Debug)]
pub struct Store {
    /// `store: embedded | memory | redis://…`, or the key under `store`.
    pub kind: StoreKind,
    /// `deadline`: the longest that one call may take. Default 2 s.
    pub deadline: Duration,
}

/// Which store.
#[derive(Clone, Debug)]
pub enum StoreKind {
    /// `memory`: gone with the process, and so are its keys.
    Memory,
    /// `embedded`: one file on this machine, one proxy.
    Embedded {
        /// `path`: the database file. Default `sessions.redb` in `data_dir`.
        path: PathBuf,
    },
    /// `redis`: shared by several proxies. Boxed: it is much larger than the others.
    Redis(Box<Redis>),
}

/// How Redis (or Valkey) is reached.
#[derive(Clone, Debug)]
pub struct Redis {
    /// Where the primary is.
    pub primary: RedisPrimary,
    /// Whether the scheme is `rediss`: TLS, always verified.
    pub tls: bool,
    /// `username`, or the user in `url`.
    pub username: Option<String>,
    /// `password`, `password_env`, `password_file`, or the password in `url`.
    pub password: Option<RedisPassword>,
    /// `key_prefix`: what every key begins with. Default `portcullis:`.
    pub key_prefix: String,
    /// `ca_file`: PEM; the only authorities to trust, in place of the system's.
    pub ca_file: Option<PathBuf>,
}

/// Where the primary is.
#[derive(Clone, Debug)]
pub enum RedisPrimary {
    /// `url` without user and password: `redis[s]://HOST:PORT/DATABASE`, by default port 6379 and database 0.
    At(String),
    /// `sentinels`: where they say, at each connection.
    NamedBy(RedisSentinels),
    /// `cluster`: one for each part of the keys. Some of the nodes, each `redis[s]://HOST:PORT`, by default port 6379; the
    /// others are learned from them. All with TLS or none.
    OfCluster(Vec<String>),
}

/// The sentinels that watch the primary.
#[derive(Clone, Debug)]
pub struct RedisSentinels {
    /// `sentinels`, each `redis[s]://HOST:PORT`, by default port 26379. All with TLS, as then is the primary, or none.
    pub urls: Vec<String>,
    /// `master_name`: how they call the primary that they watch.
    pub master_name: String,
    /// `sentinel_username`.
    pub username: Option<String>,
    /// `sentinel_password`, `sentinel_password_env` or `sentinel_password_file`.
    pub password: Option<RedisPassword>,
}

/// Where a password for Redis comes from.
#[derive(Clone, Debug)]
pub enum RedisPassword {
    /// It was found when the configuration was read.
    Fixed(SecretString),
    /// `password_file`: read anew for each connection, so that it can change without a restart.
    File(PathBuf),
}
