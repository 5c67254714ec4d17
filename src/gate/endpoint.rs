//! The endpoints that the proxy serves itself: names and methods. What they do lives in the room `endpoints`.

use http::{HeaderValue, Method};

/// One of our own endpoints (contract, section 2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Endpoint {
    /// Trades a user name and a password for tokens.
    Login,
    /// The page where people log in: at the path of the login, for browsers that come by GET.
    LoginPage,
    /// Trades the refresh token in the cookie for new tokens.
    Refresh,
    /// Ends one session.
    Logout,
    /// Ends all sessions of the subject.
    LogoutAll,
    /// Trades an access token for a ticket: for one request that cannot carry a header.
    Ticket,
    /// Says who the bearer of an access token is.
    Userinfo,
    /// The public keys, as a JWK set (RFC 7517 section 5).
    Jwks,
}

impl Endpoint {
    /// All of them: what metrics are made of at start.
    pub const ALL: &[Endpoint] = &[
        Endpoint::Login,
        Endpoint::LoginPage,
        Endpoint::Refresh,
        Endpoint::Logout,
        Endpoint::LogoutAll,
        Endpoint::Ticket,
        Endpoint::Userinfo,
        Endpoint::Jwks,
    ];

    /// Its name in configuration, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Endpoint::Login => "login",
            Endpoint::LoginPage => "login_page",
            Endpoint::Refresh => "refresh",
            Endpoint::Logout => "logout",
            Endpoint::LogoutAll => "logout_all",
            Endpoint::Ticket => "ticket",
            Endpoint::Userinfo => "userinfo",
            Endpoint::Jwks => "jwks",
        }
    }

    /// It changes something, so it takes POST only, and never from another site.
    pub const fn changes_state(self) -> bool {
        match self {
            Endpoint::Login | Endpoint::Refresh | Endpoint::Logout | Endpoint::LogoutAll | Endpoint::Ticket => true,
            Endpoint::LoginPage | Endpoint::Userinfo | Endpoint::Jwks => false,
        }
    }

    /// Is it served for `method`? Anything else is answered with 405 and [`Endpoint::allow`].
    pub fn allows(self, method: &Method) -> bool {
        if self.changes_state() { method == Method::POST } else { method == Method::GET || method == Method::HEAD }
    }

    /// The `Allow` field of a 405 (RFC 9110 section 10.2.1).
    pub const fn allow(self) -> HeaderValue {
        HeaderValue::from_static(if self.changes_state() { "POST" } else { "GET, HEAD" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_safe_method_changes_state_and_allow_tells_the_truth() {
        let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "post", "Post"];
        for &endpoint in Endpoint::ALL {
            let allow = endpoint.allow();
            let listed: Vec<&str> = allow.to_str().unwrap().split(", ").collect();
            for method in methods {
                let allowed = endpoint.allows(&method.parse().unwrap());
                assert_eq!(allowed, listed.contains(&method), "{endpoint:?} {method}");
                assert!(!(allowed && endpoint.changes_state() && method != "POST"), "{endpoint:?} {method}");
            }
        }
    }

    #[test]
    fn names_are_unique_and_fit_for_labels() {
        let mut names: Vec<_> = Endpoint::ALL.iter().map(|endpoint| endpoint.as_str()).collect();
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 8);
    }
}
