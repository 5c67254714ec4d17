//! The tokens that `/login` and `/refresh` answer.

use std::time::Duration;

use aws_lc_rs::rand;
use http::header::SET_COOKIE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::refused::Refused;
use super::{Endpoints, Transport};
use crate::gate::{Reason, Reply};
use crate::login::Principal;
use crate::session::Session;
use crate::time::Timestamp;
use crate::token::{AccessGrant, IssueError, RefreshToken, issue_access_token};

/// The tokens of a session's current generation.
pub(super) struct Issued {
    access_token: String,
    refresh_token: String,
    /// Until the access token expires.
    expires_in: Duration,
    /// Until the session ends, whatever is refreshed.
    session_expires_in: Duration,
}

/// The body of a token response (RFC 6749 section 5.1).
#[derive(Serialize)]
struct TokenResponse<'a> {
    access_token: &'a str,
    token_type: &'a str,
    /// Seconds until the access token expires.
    expires_in: u64,
    /// Seconds until the session ends, whatever is refreshed.
    session_expires_in: u64,
    /// Only for whoever carries it in bodies: otherwise it is in the cookie alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
}

/// Browsers drop a cookie that is longer, its name and attributes aside (RFC 6265bis section 5.6), and say nothing.
const COOKIE_BYTES_MAX: usize = 3900;

impl Endpoints {
    /// Makes the tokens of the session's current generation: before the session is committed, so that a fault in here
    /// changes nothing, and sent only afterwards. `now` is when the session was read.
    pub(super) fn issue(&self, session: &Session, principal: &Principal, now: Timestamp) -> Result<Issued, Refused> {
        let (roles, scopes) = (&*principal.roles, &*principal.scopes);
        let grant = AccessGrant { session, roles, scopes, now, jti: random()? };
        let access_token = issue_access_token(&self.keys, &self.access, &grant).map_err(|error| match error {
            IssueError::SessionOver => Refused::grant(Reason::TokenExpired),
            IssueError::Subject | IssueError::TooLong | IssueError::Signature => {
                tracing::error!(%error, subject = ?session.subject, "no access token could be issued");
                Refused::request(Reason::Internal)
            }
        })?;
        let refresh_token = RefreshToken::of(session).encode(&self.keys).ok_or_else(|| key_unknown(session))?;
        let session_expires_in = session.ends_at.since(now);
        let expires_in = self.access.lifetime.min(session_expires_in);
        Ok(Issued { access_token, refresh_token, expires_in, session_expires_in })
    }

    /// The answer that holds the tokens.
    pub(super) fn token_response(&self, issued: &Issued, transport: Transport) -> Reply {
        let reply = Reply::json(
            StatusCode::OK,
            &TokenResponse {
                access_token: &issued.access_token,
                token_type: "Bearer",
                expires_in: issued.expires_in.as_secs(),
                session_expires_in: issued.session_expires_in.as_secs(),
                refresh_token: (transport == Transport::Body).then_some(&*issued.refresh_token),
            },
        );
        match transport {
            Transport::Cookie => {
                self.cookies(issued).into_iter().fold(reply, |reply, cookie| reply.with(SET_COOKIE, cookie))
            }
            Transport::Body => reply,
        }
    }

    /// The cookies that hold the tokens: the refresh token, and where pages are served, the access token.
    pub(super) fn cookies(&self, issued: &Issued) -> Vec<HeaderValue> {
        let mut cookies = vec![self.cookie.set(&issued.refresh_token, issued.session_expires_in)];
        if let Some(access) = &self.access_cookie {
            if issued.access_token.len() <= COOKIE_BYTES_MAX {
                cookies.push(access.set(&issued.access_token, issued.expires_in));
            } else {
                tracing::warn!(
                    bytes = issued.access_token.len(),
                    "an access token is too long for a cookie, so each of its user's requests for a page refreshes the \
                     session; give the user fewer roles"
                );
            }
        }
        cookies
    }
}

impl Issued {
    /// The access token alone.
    pub(super) fn into_access_token(self) -> String {
        self.access_token
    }
}

/// Random bytes from the system's cryptographic source.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Refused> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| {
        tracing::error!("the system has no random bytes");
        Refused::request(Reason::Internal)
    })?;
    Ok(bytes)
}

/// Another proxy made the current token with a key that this one does not have. It cannot be told what is right.
pub(super) fn key_unknown(session: &Session) -> Refused {
    tracing::error!(
        session = %session.id, key = %session.mac_key,
        "answered 503: the session's refresh token is made with a key that is not in this proxy's key file; \
         give all proxies the same keys, and new keys to all of them before one becomes active"
    );
    Refused::request(Reason::StoreUnavailable)
}
