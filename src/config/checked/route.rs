//! What is protected, how, and how the upstream is told who it is.

use std::fmt;

use http::{HeaderName, Method};

/// One rule: which requests, to which upstream, for whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// `name`: unique; the label of metrics and logs.
    pub name: String,
    /// `host`. None: every host.
    pub host: Option<HostPattern>,
    /// `path` or `path_prefix`. Default: the prefix `/`.
    pub path: PathPattern,
    /// `methods`. None: every method.
    pub methods: Option<Vec<Method>>,
    /// `upstream`: a name in [`super::Config::upstreams`].
    pub upstream: String,
    /// `auth`. Default required.
    pub auth: Auth,
    /// `roles`: one of these is enough. Empty: none is asked for. Only with [`Auth::Required`].
    pub roles_any: Vec<String>,
    /// `roles_all`: each of these is needed. Only with [`Auth::Required`].
    pub roles_all: Vec<String>,
    /// `scopes`: each of these is needed. Only with [`Auth::Required`].
    pub scopes_all: Vec<String>,
    /// `credentials`: where access tokens are taken from. Default: a header.
    pub credentials: Credentials,
    /// `keep_authorization`: our token goes on to the upstream. Default false.
    pub keep_authorization: bool,
    /// `token_header`: our token comes in this field instead of `Authorization`, as `Bearer TOKEN`, and the app's own
    /// `Authorization` passes. Never on a public route.
    pub token_header: Option<HeaderName>,
    /// `preserve_host`: the upstream sees the client's `Host`. Default true; false: the server's own.
    pub preserve_host: bool,
    /// `preserve_header_case`: names of fields are written as they came in, over HTTP/1. Default false.
    pub preserve_header_case: bool,
    /// `encoded_slashes`: `%2F` in a path is allowed and passes as it is. Default false: refused.
    pub encoded_slashes: bool,
}

impl Route {
    /// Does it take tickets?
    pub fn takes_tickets(&self) -> bool {
        self.credentials.ticket && self.auth != Auth::Public
    }

    /// Does it read access tokens from cookies?
    pub fn takes_cookies(&self) -> bool {
        self.credentials.cookie && self.auth != Auth::Public
    }
}

/// Whether a token is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Auth {
    /// `public`: no token is read.
    Public,
    /// `optional`: no token passes; a bad one is refused.
    Optional,
    /// `required`: a good token, or 401.
    Required,
}

/// Where access tokens are taken from. At least one is true.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// `header`: `Authorization`, or `token_header`.
    pub header: bool,
    /// `cookie`: for browsers that navigate.
    pub cookie: bool,
    /// `ticket`: in the query, for sockets and streams of events of browsers that hold bearer tokens.
    pub ticket: bool,
}

/// Which hosts a rule is for. In lower case, without a port.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum HostPattern {
    /// `app.example.com`.
    Exact(String),
    /// `*.example.com`, kept as `.example.com`: every host that ends so, at any depth; not `example.com` itself.
    Suffix(String),
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(host) => f.write_str(host),
            HostPattern::Suffix(suffix) => write!(f, "*{suffix}"),
        }
    }
}

/// Which paths a rule is for: byte for byte, case counts. It starts with `/` and has no `%`, no dot segment, no `//`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum PathPattern {
    /// `path`: this one only.
    Exact(String),
    /// `path_prefix`: this one and what is below it. The prefix ends at a segment: `/api` is for `/api` and `/api/x`, not for
    /// `/apix`. Written `/api/` it is not for `/api` itself.
    Prefix(String),
}

/// The fields that tell the upstream who it is. All of them are removed from what clients send, on every route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentityHeaders {
    /// `subject`: claim `sub`. Default `X-Auth-Subject`.
    pub subject: Option<HeaderName>,
    /// `roles`: claim `roles`, joined by commas. Default `X-Auth-Roles`.
    pub roles: Option<HeaderName>,
    /// `scopes`: claim `scope`, joined by spaces. Default `X-Auth-Scopes`.
    pub scopes: Option<HeaderName>,
    /// `session`: claim `sid`. Default `X-Auth-Session`.
    pub session: Option<HeaderName>,
}
