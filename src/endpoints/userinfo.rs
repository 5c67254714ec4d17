//! `/userinfo`: who the bearer of an access token is, and for how long. Names as in the token and in token responses.

use http::StatusCode;
use serde::Serialize;

use super::{Endpoints, Request};
use crate::gate::{Reason, Reply};

#[derive(Serialize)]
struct Userinfo<'a> {
    sub: &'a str,
    sid: String,
    roles: &'a [Box<str>],
    /// The scopes, joined by spaces (RFC 8693 section 4.2).
    scope: String,
    /// Seconds until the access token expires.
    expires_in: u64,
    /// Seconds until the session ends, whatever is refreshed.
    session_expires_in: u64,
}

impl Endpoints {
    pub(super) fn userinfo(&self, request: &Request<'_>) -> Reply {
        let Some(identity) = request.identity else {
            return Reply::refusal(request.bearer_refused.unwrap_or(Reason::TokenMissing));
        };
        let now = self.now();
        let userinfo = Userinfo {
            sub: identity.subject(),
            sid: identity.session.to_string(),
            roles: &identity.rights().roles,
            scope: identity.rights().scopes.join(" "),
            expires_in: identity.expires_at.since(now).as_secs(),
            session_expires_in: identity.session_ends_at().since(now).as_secs(),
        };
        Reply::json(StatusCode::OK, &userinfo)
    }
}
