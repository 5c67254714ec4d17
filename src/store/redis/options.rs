//! How Redis is reached, and what can be wrong with that before the first connection.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisResult, TlsCertificates};
use secrecy::{ExposeSecret, SecretString};

/// How to reach Redis.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://[user[:password]@]host[:port][/database]`, or `rediss://` for TLS.
    pub url: String,
    /// The user, in place of the one in the URL.
    pub username: Option<String>,
    /// The password, in place of the one in the URL.
    pub password: Option<SecretString>,
    /// What every key begins with.
    pub key_prefix: String,
    /// The certificates (PEM) that Redis's own has to descend from, in place of those of the system.
    pub ca_file: Option<PathBuf>,
    /// What callers allow a call: the deadline of [`crate::store::Sessions`].
    pub deadline: Duration,
}

impl RedisOptions {
    /// `url`, and for the rest what is usual.
    pub fn new(url: impl Into<String>) -> RedisOptions {
        RedisOptions {
            url: url.into(),
            username: None,
            password: None,
            key_prefix: "portcullis:".to_owned(),
            ca_file: None,
            deadline: Duration::from_secs(1),
        }
    }

    /// What it takes to connect.
    pub(super) fn access(&self) -> Result<Access, RedisOptionsError> {
        // In a cluster they would say which slot a key is in, which is ours to say.
        if self.key_prefix.contains(['{', '}']) {
            return Err(RedisOptionsError::KeyPrefix);
        }
        let url_error = |error: redis::RedisError| RedisOptionsError::Url(error.to_string());
        let info = self.url.as_str().into_connection_info().map_err(url_error)?;
        let mut settings = info.redis_settings().clone();
        if let Some(username) = &self.username {
            settings = settings.set_username(username);
        }
        let info = info.set_redis_settings(settings);
        let access = Access { ca: self.ca(&info)?, info, password: self.password.clone() };
        access.client().map_err(url_error)?;
        Ok(access)
    }

    fn ca(&self, info: &ConnectionInfo) -> Result<Option<Vec<u8>>, RedisOptionsError> {
        let Some(path) = &self.ca_file else { return Ok(None) };
        if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return Err(RedisOptionsError::CaWithoutTls);
        }
        let wrong = |detail: String| RedisOptionsError::CaFile { path: path.clone(), detail };
        let pem = std::fs::read(path).map_err(|source| wrong(source.to_string()))?;
        if !pem.windows(27).any(|bytes| bytes == b"-----BEGIN CERTIFICATE-----") {
            return Err(wrong("there is no certificate in it (PEM, `-----BEGIN CERTIFICATE-----`)".to_owned()));
        }
        Ok(Some(pem))
    }
}

/// An address, and what is said and believed there.
#[derive(Clone)]
pub(super) struct Access {
    info: ConnectionInfo,
    /// The certificates to trust, in place of the system's.
    ca: Option<Vec<u8>>,
    password: Option<SecretString>,
}

impl Access {
    /// A client that has not connected yet.
    pub(super) fn client(&self) -> RedisResult<Client> {
        let mut settings = self.info.redis_settings().clone();
        if let Some(password) = &self.password {
            settings = settings.set_password(password.expose_secret());
        }
        let info = self.info.clone().set_redis_settings(settings);
        if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return Client::open(info);
        }
        // It is an error that somebody has been here before, and that is fine.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: self.ca.clone() })
    }
}

impl fmt::Debug for RedisOptions {
    /// Without the URL: it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("username", &self.username)
            .field("key_prefix", &self.key_prefix)
            .field("ca_file", &self.ca_file)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// What is wrong with how Redis is to be reached.
#[derive(Debug, thiserror::Error)]
pub enum RedisOptionsError {
    /// The URL cannot be used.
    #[error("the URL of Redis cannot be used ({0}): write redis://host:6379/0, or rediss://host:6379/0 for TLS")]
    Url(String),
    /// The prefix has braces in it.
    #[error("a Redis key prefix must not contain `{{` or `}}`: write portcullis:")]
    KeyPrefix,
    /// A CA file is given, and the URL says no TLS.
    #[error("a CA file is given for Redis, but its URL begins with redis://, which is not encrypted: write rediss://")]
    CaWithoutTls,
    /// The CA file cannot be used.
    #[error("the CA file of Redis, {path}: {detail}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}
