//! The apps behind the proxy.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One app: servers that answer alike.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upstream {
    /// Its name: the label of metrics.
    pub name: String,
    /// `servers`. At least one, all with the same scheme.
    pub servers: Vec<ServerUrl>,
    /// `balance`. Default round robin.
    pub balance: Balance,
    /// `health_check`. None: a server counts as up until connecting fails.
    pub health_check: Option<HealthCheck>,
    /// `ejection`. None: `none` is written. Default five failures in a row, 10 s.
    pub ejection: Option<Ejection>,
    /// `retries`: how many other attempts a request has, where that is safe. Default 1.
    pub retries: usize,
    /// `requests`: how many are under way at a time. None: no bound.
    pub requests_max: Option<usize>,
    /// `connect_timeout`: TCP and TLS together. Default 5 s.
    pub connect_timeout: Duration,
    /// `read_timeout`: until the first byte of the answer, and between two reads of it. Default 60 s.
    pub read_timeout: Duration,
    /// `write_timeout`: how long a server may leave a piece of a request unread. Default `read_timeout`.
    pub write_timeout: Duration,
    /// `idle_timeout`: how long a connection is kept for the next request. Default: as long as the server keeps it.
    pub idle_timeout: Option<Duration>,
    /// `tls`. There exactly if the servers are `https`. It cannot be told not to verify.
    pub tls: Option<UpstreamTls>,
    /// `protocol`. Default HTTP/1.1.
    pub protocol: Protocol,
}

/// One server: `http://HOST[:PORT]` or `https://HOST[:PORT]`. No path: what was judged is what is forwarded.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ServerUrl {
    /// Whether the scheme is `https`.
    pub tls: bool,
    /// The host in lower case: a name, or an IP address (IPv6 without brackets).
    pub host: String,
    /// The port, the scheme's own if none was written.
    pub port: u16,
}

impl ServerUrl {
    /// The address, if the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// `HOST:PORT` as in an authority, for `Host` and for labels; IPv6 in brackets.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

/// Which server comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Balance {
    /// `round_robin`.
    RoundRobin,
    /// `least_busy`: the one with the fewest requests under way.
    LeastBusy,
}

/// How it is found out that a server works: GET `path` answers 2xx.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthCheck {
    /// `path`, with a query if it needs one.
    pub path: String,
    /// `interval`. Default 5 s.
    pub interval: Duration,
    /// `timeout`: shorter than `interval`. Default 2 s.
    pub timeout: Duration,
}

/// When a server gets no requests for a while because those that it got failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ejection {
    /// `failures` in a row. Default 5.
    pub failures: u32,
    /// `for`: how long, the first time. Default 10 s.
    pub time: Duration,
    /// `status`: answers that are failures, too. Default none.
    pub statuses: Vec<u16>,
}

/// How an `https` server is verified, and what it is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpstreamTls {
    /// `ca_file`: PEM; the only authorities to trust, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// `server_name`: whom the certificate must name (and SNI asks for). None: each server's host, which then is a name.
    pub server_name: Option<String>,
    /// `certificate` and `key`: PEM, shown to servers that ask who connects.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// What is spoken with the upstream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// `http1`: HTTP/1.1.
    Http1,
    /// `http2`: HTTP/2, over TLS by ALPN, else with prior knowledge. gRPC needs it.
    Http2,
}
