//! How Redis is reached, and what can be wrong with that before the first connection.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redis::{
    Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError, RedisResult, TlsCertificates,
};
use secrecy::{ExposeSecret, SecretString};

use super::cluster::Cluster;
use super::dialer::Address;
use super::sentinels::Sentinels;

/// How to reach Redis.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://[user[:password]@]host[:port][/database]`, or `rediss://` for TLS. With `sentinels` or `cluster`, host and
    /// port are those that they name.
    pub url: String,
    /// Who knows where the primary is, if that can change.
    pub sentinels: Option<SentinelOptions>,
    /// Nodes of a cluster, as `redis://host[:port]` or `rediss://host[:port]`; the others are learned from them. Empty: it is
    /// not a cluster.
    pub cluster: Vec<String>,
    /// The user, in place of the one in the URL.
    pub username: Option<String>,
    /// The password, in place of the one in the URL.
    pub password: Option<Password>,
    /// What every key begins with.
    pub key_prefix: String,
    /// The certificates (PEM) that Redis's own has to descend from, in place of those of the system.
    pub ca_file: Option<PathBuf>,
    /// What callers allow a call: the deadline of [`crate::store::Sessions`].
    pub deadline: Duration,
}

/// How to reach the sentinels.
#[derive(Clone, Debug)]
pub struct SentinelOptions {
    /// `redis://host[:port]` or `rediss://host[:port]`, each of them: most have to answer.
    pub urls: Vec<String>,
    /// The name under which they watch the primary.
    pub master_name: String,
    /// Their user.
    pub username: Option<String>,
    /// Their password.
    pub password: Option<Password>,
}

/// Where a password comes from.
#[derive(Clone, Debug)]
pub enum Password {
    /// This is it.
    Fixed(SecretString),
    /// It is what the file says when a connection is made, without the end of the line: it can change while we run.
    File(PathBuf),
}

impl Password {
    /// The password as it is now. May wait for the disk.
    fn now(&self) -> RedisResult<SecretString> {
        let path = match self {
            Password::Fixed(password) => return Ok(password.clone()),
            Password::File(path) => path,
        };
        let wrong =
            |why: String| RedisError::from((ErrorKind::Io, "the password file", format!("{}: {why}", path.display())));
        let text = SecretString::from(std::fs::read_to_string(path).map_err(|why| wrong(why.to_string()))?);
        match text.expose_secret().trim_end_matches(['\r', '\n']) {
            "" => Err(wrong("it is empty".to_owned())),
            password => Ok(SecretString::from(password)),
        }
    }
}

impl RedisOptions {
    /// `url`, and for the rest what is usual.
    pub fn new(url: impl Into<String>) -> RedisOptions {
        RedisOptions {
            url: url.into(),
            sentinels: None,
            cluster: Vec::new(),
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
        self.access_to(&self.url, self.username.as_deref(), self.password.as_ref())
    }

    /// What it takes to ask the sentinels, if there are any.
    pub(super) fn sentinels(&self) -> Result<Option<Sentinels>, RedisOptionsError> {
        let Some(SentinelOptions { urls, master_name, username, password }) = &self.sentinels else { return Ok(None) };
        let accesses = urls.iter().map(|url| self.access_to(url, username.as_deref(), password.as_ref()));
        Ok(Some(Sentinels::new(accesses.collect::<Result<_, _>>()?, master_name.clone())))
    }

    /// What it takes to ask the nodes of the cluster, if it is one.
    pub(super) fn cluster(&self) -> Result<Option<Arc<Cluster>>, RedisOptionsError> {
        if self.cluster.is_empty() {
            return Ok(None);
        }
        let access = self.access()?;
        if access.info.redis_settings().db() != 0 {
            return Err(RedisOptionsError::ClusterDatabase);
        }
        let seed = |url: &String| match self.access_to(url, None, None)?.info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => Ok((host.clone(), *port)),
            other => Err(RedisOptionsError::Url(format!("{other} is no node of a cluster"))),
        };
        let seeds = self.cluster.iter().map(seed).collect::<Result<_, _>>()?;
        Ok(Some(Cluster::new(seeds, access)))
    }

    fn access_to(
        &self,
        url: &str,
        username: Option<&str>,
        password: Option<&Password>,
    ) -> Result<Access, RedisOptionsError> {
        let url_error = |error: redis::RedisError| RedisOptionsError::Url(error.to_string());
        let info = url.into_connection_info().map_err(url_error)?;
        let mut settings = info.redis_settings().clone();
        if let Some(username) = username {
            settings = settings.set_username(username);
        }
        let info = info.set_redis_settings(settings);
        let access = Access { ca: self.ca(&info)?, info, password: password.cloned() };
        access.client_with(None).map_err(url_error)?;
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
    password: Option<Password>,
}

impl Access {
    /// The same, at another host and port.
    pub(super) fn at(&self, (host, port): Address) -> Access {
        let addr = match self.info.addr().clone() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        Access { info: self.info.clone().set_addr(addr), ..self.clone() }
    }

    /// Host and port, to be told.
    pub(super) fn address(&self) -> String {
        self.info.addr().to_string()
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.info.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// A client that has not connected yet, with the password as it is now.
    pub(super) async fn client(&self) -> RedisResult<Client> {
        let access = self.clone();
        let made = tokio::task::spawn_blocking(move || {
            let password = access.password.as_ref().map(Password::now).transpose()?;
            access.client_with(password.as_ref())
        });
        made.await.map_err(|error| RedisError::from(std::io::Error::other(error)))?
    }

    fn client_with(&self, password: Option<&SecretString>) -> RedisResult<Client> {
        let mut settings = self.info.redis_settings().clone();
        if let Some(password) = password {
            settings = settings.set_password(password.expose_secret());
        }
        let info = self.info.clone().set_redis_settings(settings);
        if !self.is_tls() {
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
            .field("sentinels", &self.sentinels)
            .field("cluster", &self.cluster.len())
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
    /// A database is given for a cluster.
    #[error("a Redis Cluster has no databases but 0: write the URL without one")]
    ClusterDatabase,
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
