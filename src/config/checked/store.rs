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
    /// `url` without user and password: `redis[s]://HOST:PORT/DATABASE`.
    pub url: String,
    /// Whether the scheme is `rediss`: TLS, always verified.
    pub tls: bool,
    /// The host; an IPv6 address without brackets.
    pub host: String,
    /// The port. Default 6379.
    pub port: u16,
    /// The database number. Default 0.
    pub database: u32,
    /// `username`, or the user in `url`.
    pub username: Option<String>,
    /// `password`, `password_env`, the content of `password_file`, or the password in `url`.
    pub password: Option<SecretString>,
    /// `key_prefix`: what every key begins with. Default `portcullis:`.
    pub key_prefix: String,
    /// `ca_file`: PEM; the only authorities to trust, in place of the system's.
    pub ca_file: Option<PathBuf>,
}
