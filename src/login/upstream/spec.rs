//! What an app's own login looks like: where it is, what it wants, and how its answer is read.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use serde_json::Value;

/// An app's own login.
#[derive(Clone, Debug)]
pub struct UpstreamSpec {
    /// Where the app is. The first that takes a connection is asked; at least one.
    pub servers: Vec<ServerSpec>,
    /// The only authorities to trust, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Path and query of the login.
    pub path: String,
    /// Sent with every request of ours.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How it takes the credentials.
    pub sends: Sends,
    /// Where the token comes from that a form wants back.
    pub csrf: Option<Csrf>,
    /// What makes an answer a success. All that is there must hold, and something must be there.
    pub success: Success,
    /// Who it is.
    pub subject: Subject,
    /// What they may be.
    pub roles: Roles,
    /// Where subject and roles are read, if not in the login's own answer.
    pub userinfo: Option<Userinfo>,
    /// The app's cookies that are kept for the user.
    pub kept_cookies: Vec<String>,
    /// How the app is told that a session is over.
    pub logout: Option<Logout>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long all requests of one login may take together.
    pub timeout: Duration,
    /// How many logins may be under way at the app. As many again and 64 may wait.
    pub at_a_time: usize,
}

/// One server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerSpec {
    /// A name, or an address (IPv6 without brackets).
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whom its certificate must name. None: plain http.
    pub tls_name: Option<String>,
}

/// How the app takes user name and password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sends {
    /// POST of a form, urlencoded.
    Form {
        /// The field for the user name.
        username: String,
        /// The field for the password.
        password: String,
        /// More fields, as they are.
        extra: Vec<(String, String)>,
    },
    /// POST of a JSON object.
    Json {
        /// The member for the user name.
        username: String,
        /// The member for the password.
        password: String,
        /// More members, as they are.
        extra: Vec<(String, Value)>,
    },
    /// GET with `Authorization: Basic` (RFC 7617).
    Basic,
}

/// A token in a hidden field of a page, which has to be sent back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Csrf {
    /// Path and query of the page.
    pub from: String,
    /// The name of the field.
    pub field: String,
}

/// What makes an answer a success.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Success {
    /// One of these statuses.
    pub status: Vec<u16>,
    /// A redirect to here: path and query, exactly; with `*` at its end, everything that begins so.
    pub redirect: Option<String>,
    /// This cookie is set, to something.
    pub cookie: Option<String>,
    /// The body says so.
    pub json: Option<JsonIs>,
}

/// A value within a JSON document.
#[derive(Clone, PartialEq, Debug)]
pub struct JsonIs {
    /// Where (RFC 6901).
    pub pointer: String,
    /// What is there. None: anything but nothing, `null` and `false`.
    pub equals: Option<Value>,
}

/// Where an answer says something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// In its body, there (RFC 6901).
    Json(String),
    /// In this header field.
    Header(HeaderName),
}

/// Who it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Subject {
    /// Whose name was typed.
    #[default]
    Typed,
    /// Whom the app names.
    Told(Source),
}

/// What they may be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Roles {
    /// The same for everybody.
    Fixed(Vec<String>),
    /// What the app says: a text, a list, a number or a boolean; in a header joined by commas.
    Told {
        /// Where.
        from: Source,
        /// The app's word, and the role that it stands for. None: the app's words are the roles. Otherwise words that are not
        /// here stand for nothing.
        map: Option<Vec<(String, String)>>,
    },
}

impl Default for Roles {
    fn default() -> Roles {
        Roles::Fixed(Vec::new())
    }
}

/// A request that follows the login, with the cookies that it set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Userinfo {
    /// Path and query.
    pub path: String,
    /// Where the login's answer holds a bearer token to come with (RFC 6901).
    pub token: Option<String>,
}

/// A request that ends the app's own session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logout {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Where the token comes from that it wants.
    pub csrf: Option<Csrf>,
}
