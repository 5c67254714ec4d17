//! What faces the client: listeners, own endpoints, cookie.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// One address where clients connect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// `address`.
    pub address: SocketAddr,
    /// `tls`: one, or a list of which the client's SNI chooses; the first is for whoever asks for none of their names. Empty:
    /// plain http.
    pub tls: Vec<Tls>,
    /// `h2c`: HTTP/2 without TLS (prior knowledge, RFC 9113 section 3.3) beside HTTP/1.1. Only without `tls`, where HTTP/2 is
    /// agreed on by ALPN. Default true.
    pub h2c: bool,
}

/// A certificate of a listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// `certificate`: PEM, the chain with the leaf first.
    pub certificate: PathBuf,
    /// `key`: PEM, the private key of the leaf.
    pub key: PathBuf,
}

/// The operator's doors: metrics, health, and sessions to be listed and revoked.
#[derive(Clone, Debug)]
pub struct Admin {
    /// `listen`: metrics and health, and with a token sessions. Default `127.0.0.1:9911`.
    pub listen: SocketAddr,
    /// `socket`: a Unix socket for all of it, where permissions are the authentication. Default `admin.sock` in `data_dir`;
    /// none: there is no socket.
    pub socket: Option<PathBuf>,
    /// The content of `token_file`: the bearer token that opens sessions on `listen`. None: they are not there.
    pub token: Option<SecretString>,
}

/// Where the proxy's own endpoints are. Paths are distinct and, as rules are, plain (no `%`, no dot segments).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoints {
    /// `host`: the only host that has them, in lower case, without a port. None: every host.
    pub host: Option<String>,
    /// `login`. Default `/login`.
    pub login: String,
    /// `refresh`. Default `/refresh`.
    pub refresh: String,
    /// `logout`. Default `/logout`.
    pub logout: String,
    /// `logout_all`. Default `/logout/all`.
    pub logout_all: String,
    /// `ticket`: there if some route takes tickets. Default `/ticket`.
    pub ticket: String,
    /// `userinfo`. Default `/userinfo`.
    pub userinfo: String,
    /// `jwks`: the public keys (RFC 7517 section 5). Default `/.well-known/jwks.json`.
    pub jwks: String,
}

/// The cookie that carries the refresh token. `HttpOnly` and `Path=/` always; never a `Domain`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cookie {
    /// `name`. Default `__Host-refresh`; the prefix is missing only when `secure` is false.
    pub name: String,
    /// The one that carries an access token, for routes with `credentials: [cookie]`. It is lax, or what `same_site` says if
    /// that is less strict.
    pub access_name: String,
    /// `same_site`. Default strict; lax when a route takes cookies, or a link from elsewhere would find nobody logged in.
    pub same_site: SameSite,
    /// Whether `Secure` is set: always, but for `development.insecure_cookies`.
    pub secure: bool,
}

/// The attribute `SameSite` of RFC 6265bis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SameSite {
    /// `strict`.
    Strict,
    /// `lax`.
    Lax,
    /// `none`.
    None,
}

impl SameSite {
    /// The attribute's value in `Set-Cookie`.
    pub const fn as_str(self) -> &'static str {
        match self {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        }
    }
}

/// What is only for a machine of one's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Development {
    /// `insecure_cookies`: the refresh cookie goes without `Secure` and without the prefix `__Host-`. Only when every listener
    /// is on loopback. Reported at start. Default false.
    pub insecure_cookies: bool,
}

/// How the process leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shutdown {
    /// `drain`: how long requests under way may take after SIGTERM. Default 30 s.
    pub drain: Duration,
}
