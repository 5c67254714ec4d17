//! What an upstream is made from: plain data, and what can be wrong with it.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::ServerName;

use super::ejection::Ejection;

/// A group of servers that are equals, and how they are spoken to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpstreamSpec {
    /// The configured name.
    pub name: String,
    /// The servers. A name that resolves to several addresses counts as that many servers.
    pub servers: Vec<ServerSpec>,
    /// Which server is next.
    pub balance: Balance,
    /// How servers are asked whether they work. Without it, a server is taken for up until a connection to it fails.
    pub health_check: Option<HealthCheckSpec>,
    /// When a server gets no requests for a while because those that it got failed; none for never.
    pub ejection: Option<Ejection>,
    /// How many other attempts a request has, where that is safe; at most [`RETRIES_MAX`].
    pub retries: usize,
    /// Requests under way at a time, WebSockets included; none for no bound.
    pub requests_max: Option<usize>,
    /// How long a connection may take, TLS included.
    pub connect_timeout: Duration,
    /// The longest silence of a server in the middle of a response; none for no limit.
    pub read_timeout: Option<Duration>,
    /// The longest time a server may leave a piece of a request unread.
    pub write_timeout: Duration,
    /// How long a connection is kept for the next request, if not for as long as the server keeps it.
    pub idle_timeout: Option<Duration>,
    /// The name that the servers' certificates must have. By default, each server's own host.
    pub server_name: Option<String>,
    /// The certificates (PEM) that the servers' certificates must descend from. By default, the system's.
    pub ca_file: Option<PathBuf>,
    /// What we show to servers that ask who connects.
    pub client_certificate: Option<ClientCertificate>,
    /// Speak HTTP/2: negotiated with TLS, with prior knowledge without.
    pub http2: bool,
}

/// The most that [`UpstreamSpec::retries`] can be.
pub const RETRIES_MAX: usize = 5;

/// A certificate of ours, for servers that ask for one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientCertificate {
    /// The chain in PEM, with the leaf first.
    pub certificate: PathBuf,
    /// The private key in PEM.
    pub key: PathBuf,
}

/// One server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerSpec {
    /// A name or an address; an IPv6 address may be in brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Speak TLS.
    pub tls: bool,
}

/// Which server is next.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way.
    LeastBusy,
}

/// How servers are asked whether they work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthCheckSpec {
    /// `GET` this path; 2xx and 3xx mean that the server works. Without a path, a TCP connection is enough.
    pub path: Option<String>,
    /// The time between two checks of a server.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// What is wrong with an [`UpstreamSpec`].
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No servers.
    #[error("upstream `{0}` has no servers: write at least one, such as `servers: [http://10.0.0.5:8080]`")]
    NoServers(String),
    /// A server without a host.
    #[error("a server of upstream `{0}` has no host: write `http://HOST:PORT`")]
    NoHost(String),
    /// A TLS server whose certificate could not be verified.
    #[error(
        "upstream `{upstream}`: `{name}` cannot be the name in a certificate; set `server_name` to the one that is"
    )]
    ServerName {
        /// The upstream.
        upstream: String,
        /// The unusable name.
        name: String,
    },
    /// Settings for TLS where nothing speaks TLS, which hints at an `http` that was meant to be `https`.
    #[error(
        "upstream `{0}` has settings for TLS, but none of its servers is `https`: write `https://...`, or remove what is under `tls`"
    )]
    TlsUnused(String),
    /// The CA file cannot be used.
    #[error("upstream `{upstream}`: ca_file {}: {why}", path.display())]
    CaFile {
        /// The upstream.
        upstream: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The client certificate cannot be used.
    #[error("upstream `{upstream}`: tls: {}: {why}", path.display())]
    ClientCertificate {
        /// The upstream.
        upstream: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The health check cannot be made.
    #[error("upstream `{upstream}`: health_check: {why}")]
    HealthCheck {
        /// The upstream.
        upstream: String,
        /// What to write instead.
        why: &'static str,
    },
}

impl UpstreamSpec {
    pub(super) fn check(&self) -> Result<(), UpstreamError> {
        let name = || self.name.clone();
        if self.servers.is_empty() {
            return Err(UpstreamError::NoServers(name()));
        }
        if self.servers.iter().any(|server| server.bare_host().is_empty()) {
            return Err(UpstreamError::NoHost(name()));
        }
        for server in self.servers.iter().filter(|server| server.tls) {
            let expected = self.certificate_name(server);
            // Pingora verifies nothing when the name is empty.
            if ServerName::try_from(expected).is_err() {
                return Err(UpstreamError::ServerName { upstream: name(), name: expected.to_owned() });
            }
        }
        let tls_settings = self.server_name.is_some() || self.ca_file.is_some() || self.client_certificate.is_some();
        if tls_settings && !self.servers.iter().any(|server| server.tls) {
            return Err(UpstreamError::TlsUnused(name()));
        }
        self.health_check
            .as_ref()
            .map_or(Ok(()), |check| check.check().map_err(|why| UpstreamError::HealthCheck { upstream: name(), why }))
    }

    /// The name that the certificate of `server` must have.
    pub(super) fn certificate_name<'a>(&'a self, server: &'a ServerSpec) -> &'a str {
        self.server_name.as_deref().unwrap_or(server.bare_host())
    }
}

impl HealthCheckSpec {
    fn check(&self) -> Result<(), &'static str> {
        let is_path = |path: &str| path.starts_with('/') && path.parse::<http::Uri>().is_ok();
        if self.interval.is_zero() || self.timeout.is_zero() {
            return Err("`interval` and `timeout` must be longer than 0, such as `5s` and `2s`");
        }
        if self.path.as_deref().is_some_and(|path| !is_path(path)) {
            return Err("`path` must be a path of a URL, such as `/healthz`");
        }
        Ok(())
    }
}

impl ServerSpec {
    /// The host without the brackets of an IPv6 address.
    pub(super) fn bare_host(&self) -> &str {
        let inner = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        inner.unwrap_or(&self.host)
    }

    /// The address, if the host is one.
    pub(super) fn literal(&self) -> Option<IpAddr> {
        self.bare_host().parse().ok()
    }

    /// The host as in a URL.
    fn url_host(&self) -> Cow<'_, str> {
        match self.literal() {
            Some(IpAddr::V6(address)) => format!("[{address}]").into(),
            _ => self.host.as_str().into(),
        }
    }

    /// The field `Host` for a request that is not a client's: `name`, or the server's own.
    pub(super) fn host_field(&self, name: Option<&str>) -> String {
        let host = name.map_or(self.url_host(), Cow::Borrowed);
        match (self.tls, self.port) {
            (false, 80) | (true, 443) => host.into_owned(),
            (_, port) => format!("{host}:{port}"),
        }
    }
}

/// As in a configuration, and in the label `server`: `https://HOST:PORT`.
impl fmt::Display for ServerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.url_host(), self.port)
    }
}
