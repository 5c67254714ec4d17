//! What the decision is made by: plain data, compiled once from the configuration.

use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Method};

use super::cookies::CookieCredentials;
use super::endpoint::Endpoint;
use super::identity_headers::{IdentityHeaderNames, IdentityHeaderSpellings};
use super::origin::Origins;
use super::route::RouteTable;

/// Where our own endpoints are.
#[derive(Clone, Debug)]
pub struct EndpointTable {
    /// The only host that they are served on; none for all hosts.
    pub host: Option<String>,
    /// Their paths.
    pub paths: Vec<(Endpoint, String)>,
    /// Is the login page at the path of the login?
    pub login_page: bool,
}

impl EndpointTable {
    /// The endpoint at a host and a percent-decoded path.
    pub fn find(&self, host: &[u8], path: &[u8]) -> Option<Endpoint> {
        self.find_by(host, |own| own == path)
    }

    /// The endpoint there in the eyes of a reader that folds case.
    pub fn find_folded(&self, host: &[u8], path: &[u8]) -> Option<Endpoint> {
        self.find_by(host, |own| own.eq_ignore_ascii_case(path))
    }

    /// Which endpoint answers `method` at the path of `found`; else the `Allow` field of the 405.
    pub fn answering(&self, found: Endpoint, method: &Method) -> Result<Endpoint, HeaderValue> {
        if found.allows(method) {
            return Ok(found);
        }
        let has_page = self.login_page && found == Endpoint::Login;
        match (has_page, Endpoint::LoginPage.allows(method)) {
            (true, true) => Ok(Endpoint::LoginPage),
            (true, false) => Err(HeaderValue::from_static("GET, HEAD, POST")),
            (false, _) => Err(found.allow()),
        }
    }

    fn find_by(&self, host: &[u8], is_path: impl Fn(&[u8]) -> bool) -> Option<Endpoint> {
        if self.host.as_deref().is_some_and(|own| own.as_bytes() != host) {
            return None;
        }
        self.paths.iter().find(|(_, own)| is_path(own.as_bytes())).map(|(endpoint, _)| *endpoint)
    }
}

/// What holds on protected routes when revocations have not been heard of for too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WhenStale {
    /// 503.
    #[default]
    Deny,
    /// Known revocations hold, and the rest passes. Before the first load nothing passes all the same.
    Allow,
}

/// Everything that [`super::decide`] judges by.
pub struct Policy {
    /// The rules.
    pub routes: RouteTable,
    /// Our own endpoints. They come before the rules.
    pub endpoints: EndpointTable,
    /// Other sites.
    pub origins: Origins,
    /// The cookies that routes read; none if no route does.
    pub cookies: Option<CookieCredentials>,
    /// Under which names the upstream is told about the identity.
    pub identity_headers: IdentityHeaderNames,
    /// How clients may spell those names.
    pub identity_spellings: IdentityHeaderSpellings,
    /// What holds when revocations are stale.
    pub when_stale: WhenStale,
    /// How far clocks may be apart.
    pub skew: Duration,
}

/// The header in which our own endpoints take an access token.
pub const ENDPOINT_TOKEN_HEADER: HeaderName = AUTHORIZATION;
