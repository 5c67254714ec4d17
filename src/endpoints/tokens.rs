//! The tokens that `/login` and `/refresh` answer.

use aws_lc_rs::rand;
use http::StatusCode;
use http::header::SET_COOKIE;
use serde::Serialize;

use super::refused::Refused;
use super::{Endpoints, Transport};
use crate::gate::{Reason, Reply};
use crate::login::Principal;
use crate::session::Session;
use crate::time::Timestamp;
use crate::token::{AccessGrant, IssueError, RefreshToken, issue_access_token};

/// The body of a token response (RFC 6749 section 5.1).
#[derive(Serialize)]
struct Tokens<'a> {
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

impl Endpoints {
    /// The answer that holds the tokens of the session's current generation. Made before the session is committed, so
    /// that a fault in here changes nothing, and sent only afterwards. `now` is when the session was read.
    pub(super) fn tokens(
        &self,
        session: &Session,
        principal: &Principal,
        transport: Transport,
        now: Timestamp,
    ) -> Result<Reply, Refused> {
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

        let session_left = session.ends_at.since(now);
        let tokens = Tokens {
            access_token: &access_token,
            token_type: "Bearer",
            expires_in: self.access.lifetime.min(session_left).as_secs(),
            session_expires_in: session_left.as_secs(),
            refresh_token: (transport == Transport::Body).then_some(&*refresh_token),
        };
        let reply = Reply::json(StatusCode::OK, &tokens);
        Ok(match transport {
            Transport::Cookie => reply.with(SET_COOKIE, self.cookie.set(&refresh_token, session_left)),
            Transport::Body => reply,
        })
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
