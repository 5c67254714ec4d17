//! Pages of other origins: which may call, and how.

use std::fmt;
use std::time::Duration;

use http::{HeaderName, Method};

/// Which other origins may call, with credentials.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cors {
    /// `allow_origins`. At least one.
    pub allow_origins: Vec<Origin>,
    /// What a preflight is answered.
    pub preflight: Preflight,
}

/// Native clients, which carry the refresh token in bodies, and without a cookie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NativeClients {
    /// `allow_origins`: the pages in their web views, as the header `Origin` has them, such as `capacitor://localhost`. None of
    /// them is in `origins` or `cors.allow_origins`. Default: none, so that only clients pass that are no pages.
    pub allow_origins: Vec<String>,
    /// What a preflight is answered.
    pub preflight: Preflight,
}

/// What a preflight is answered (Fetch standard, CORS protocol).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Preflight {
    /// `allow_methods`. Default: GET, HEAD, POST, PUT, PATCH, DELETE.
    pub allow_methods: Vec<Method>,
    /// `allow_headers`. Default: `authorization`, `content-type`.
    pub allow_headers: Vec<HeaderName>,
    /// `max_age`: how long a browser may keep the answer. Default 10 min.
    pub max_age: Duration,
}

/// An origin (RFC 6454): scheme, host, and the port if it is not the scheme's own. Prints as the header `Origin` has it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Origin {
    /// Whether the scheme is `https`; `http` otherwise.
    pub https: bool,
    /// The host in lower case; an IPv6 address in brackets.
    pub host: String,
    /// The port, the scheme's own if none was written.
    pub port: u16,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, own_port) = if self.https { ("https", 443) } else { ("http", 80) };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == own_port { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}
