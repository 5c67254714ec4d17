//! An app that keeps its users: where its login is, what it wants, and how its answer is read.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::{ServerUrl, UpstreamTls};

/// `login.upstream`.
#[derive(Clone, PartialEq, Debug)]
pub struct UpstreamLogin {
    /// The servers of `upstream`, or that of `url`.
    pub servers: Vec<ServerUrl>,
    /// The upstream, if one is named or there is only one: the app that the kept session is presented to.
    pub upstream: Option<String>,
    /// How an `https` server is verified: as its upstream says, or by `ca_file`.
    pub tls: Option<UpstreamTls>,
    /// `path`, or that of `url`, with a query if there is one.
    pub path: String,
    /// `headers`: sent with each request to the app's login.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `form`, `json` or `basic`.
    pub sends: Sends,
    /// `csrf`.
    pub csrf: Option<Csrf>,
    /// `success`. Something is in it.
    pub success: Success,
    /// `subject`. Default: the user name that was typed.
    pub subject: Subject,
    /// `roles`. Default: none.
    pub roles: Roles,
    /// `userinfo`.
    pub userinfo: Option<Userinfo>,
    /// `keep_session`: the cookies that are kept. Default: none. If there are any, `upstream` is known.
    pub keep_session: Vec<String>,
    /// `logout`. Only with `keep_session`.
    pub logout: Option<UpstreamLogout>,
    /// How long connecting may take: as the upstream says.
    pub connect_timeout: Duration,
    /// `timeout`: all requests of one login together. Default 10 s.
    pub timeout: Duration,
}

/// How the app takes user name and password.
#[derive(Clone, PartialEq, Debug)]
pub enum Sends {
    /// `form`.
    Form {
        /// `username`: the name of its field. Default `username`.
        username: String,
        /// `password`: the name of its field. Default `password`.
        password: String,
        /// `extra`: more fields.
        extra: Vec<(String, String)>,
    },
    /// `json`.
    Json {
        /// `username`: the name of its member. Default `username`.
        username: String,
        /// `password`: the name of its member. Default `password`.
        password: String,
        /// `extra`: more members.
        extra: Vec<(String, Value)>,
    },
    /// `basic: true`.
    Basic,
}

/// A token in a hidden field of a page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Csrf {
    /// `from`: the page. Default: the path of the login.
    pub from: String,
    /// `field`.
    pub field: String,
}

/// What makes an answer a success: all that is there.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Success {
    /// `status`: any of these.
    pub status: Vec<u16>,
    /// `redirect`: path and query; with `*` at the end: what begins so.
    pub redirect: Option<String>,
    /// `cookie`.
    pub cookie: Option<String>,
    /// `json`: where, and what is there (none: anything but `null` and `false`).
    pub json: Option<(String, Option<Value>)>,
}

/// Where an answer says something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// `json`: a JSON pointer (RFC 6901).
    Json(String),
    /// `header`.
    Header(HeaderName),
}

/// Who it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// `typed`.
    Typed,
    /// Whom the app names.
    Told(Source),
}

/// What they may be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Roles {
    /// A list: the same for everybody.
    Fixed(Vec<String>),
    /// What the app says.
    Told {
        /// Where.
        from: Source,
        /// `map`: the app's words, and our roles for them.
        map: Option<Vec<(String, String)>>,
    },
}

/// A request that follows the login.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Userinfo {
    /// `path`.
    pub path: String,
    /// `token`: where the login's answer holds a bearer token.
    pub token: Option<String>,
}

/// A request that ends the app's own session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpstreamLogout {
    /// `method`. Default POST.
    pub method: Method,
    /// `path`.
    pub path: String,
    /// `csrf`.
    pub csrf: Option<Csrf>,
}

/// How many logins may be under way at the app.
pub const UPSTREAM_LOGINS_AT_A_TIME: usize = 32;

/// The system's authorities, or those of a file.
pub(in crate::config) fn tls_by(ca_file: Option<PathBuf>) -> UpstreamTls {
    UpstreamTls { ca_file, server_name: None, certificate: None }
}
