//! Who a request speaks for, once its token has been verified.

use http::HeaderValue;

use crate::session::SessionId;
use crate::time::Timestamp;

/// A verified access token, made ready for the request path: nothing is parsed or built from it again.
#[derive(Debug)]
pub struct Identity {
    /// Claim `sub`.
    pub subject: Box<str>,
    /// Claim `roles`.
    pub roles: Box<[Box<str>]>,
    /// Claim `scope` (RFC 8693 section 4.2), split at its spaces.
    pub scopes: Box<[Box<str>]>,
    /// Claim `sid`.
    pub session: SessionId,
    /// Claim `gen`.
    pub generation: u32,
    /// Claim `exp`.
    pub expires_at: Timestamp,
    /// When the session ends, whatever is refreshed. Claim `session_exp`.
    pub session_ends_at: Timestamp,
    /// The values of the identity headers, as they go to the upstream.
    pub headers: IdentityHeaders,
}

/// What the upstream is told, ready as header values.
#[derive(Clone, Debug)]
pub struct IdentityHeaders {
    /// The subject.
    pub subject: HeaderValue,
    /// The roles, joined by commas; none if there are no roles.
    pub roles: Option<HeaderValue>,
    /// The scopes, joined by spaces; none if there are no scopes.
    pub scopes: Option<HeaderValue>,
    /// The session's id.
    pub session: HeaderValue,
}
