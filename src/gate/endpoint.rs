//! Our own endpoints: a closed list.

use http::{HeaderValue, Method};

/// An endpoint of ours on the public listener.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Endpoint {
    /// Name and password for tokens.
    Login,
    /// The refresh cookie for the next one and an access token.
    Refresh,
    /// Ends a session.
    Logout,
    /// Ends all sessions of the subject.
    LogoutAll,
    /// Who am I, and until when?
    Userinfo,
    /// The public keys (RFC 7517 section 5).
    Jwks,
}

impl Endpoint {
    /// All of them.
    pub const ALL: &[Endpoint] = &[
        Endpoint::Login,
        Endpoint::Refresh,
        Endpoint::Logout,
        Endpoint::LogoutAll,
        Endpoint::Userinfo,
        Endpoint::Jwks,
    ];

    /// Its name in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Endpoint::Login => "login",
            Endpoint::Refresh => "refresh",
            Endpoint::Logout => "logout",
            Endpoint::LogoutAll => "logout_all",
            Endpoint::Userinfo => "userinfo",
            Endpoint::Jwks => "jwks",
        }
    }

    /// Whether it changes state: then it takes POST only, and never from another site.
    pub const fn changes_state(self) -> bool {
        match self {
            Endpoint::Login | Endpoint::Refresh | Endpoint::Logout | Endpoint::LogoutAll => true,
            Endpoint::Userinfo | Endpoint::Jwks => false,
        }
    }

    /// Does it take `method`?
    pub fn allows(self, method: &Method) -> bool {
        match self.changes_state() {
            true => method == Method::POST,
            false => method == Method::GET || method == Method::HEAD,
        }
    }

    /// The methods that it takes, for `Allow`.
    pub const fn allow(self) -> HeaderValue {
        match self.changes_state() {
            true => HeaderValue::from_static("POST"),
            false => HeaderValue::from_static("GET, HEAD"),
        }
    }
}
