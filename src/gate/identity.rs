//! Who a request speaks for, once its token has been verified.
//!
//! Tens of thousands of these are kept, so what is a token's own stands in one allocation beside the struct: the texts of
//! session and subject, of which the header values are parts. What tokens have in common is shared ([`Rights`]).
//!
//! What must never happen in here: a claim reaches a header in a form that an app could read as something else.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;

use super::{Reason, Rights};
use crate::session::{SESSION_ID_TEXT_BYTES, SessionId};
use crate::time::Timestamp;
use crate::token::{AccessClaims, ClaimsRef};

/// A verified access token, made ready for the request path: nothing is parsed or built from it again.
#[derive(Debug)]
pub struct Identity {
    /// Claim `sid`.
    pub session: SessionId,
    /// Claim `gen`.
    pub generation: u32,
    /// Claim `exp`.
    pub expires_at: Timestamp,
    /// By what it is remembered; zeros if it is not.
    pub remembered: Remembered,
    /// In seconds since the epoch.
    session_ends_s: u32,
    subject: HeaderValue,
    session_text: HeaderValue,
    rights: Arc<Rights>,
    app_session: Option<Box<HeaderValue>>,
}

/// The values of the identity headers, as they go to the upstream.
#[derive(Clone, Copy, Debug)]
pub struct IdentityHeaders<'a> {
    /// The subject.
    pub subject: &'a HeaderValue,
    /// The roles, joined by commas; none if there are no roles.
    pub roles: Option<&'a HeaderValue>,
    /// The scopes, joined by spaces; none if there are no scopes.
    pub scopes: Option<&'a HeaderValue>,
    /// The session's id.
    pub session: &'a HeaderValue,
}

/// What a token is remembered by, which is a secret.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Remembered(pub [u8; 16]);

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remembered")
    }
}

/// No identity header is longer than this.
const HEADER_BYTES_MAX: usize = 8 * 1024;

impl Identity {
    /// Makes verified claims ready. A claim that cannot stand in a header unmistakably makes the token invalid: control
    /// characters, blanks at the ends (receivers trim them), a comma in a role (receivers split there), or too much.
    pub fn from_claims(claims: &AccessClaims) -> Result<Identity, Reason> {
        let claims = claims.as_ref();
        Identity::with_rights(&claims, Arc::new(Rights::of(&claims)?))
    }

    /// The same, with rights that were made ready before. They must be those that the claims name.
    pub fn with_rights(claims: &ClaimsRef<'_>, rights: Arc<Rights>) -> Result<Identity, Reason> {
        let texts = own_texts(&claims.sid, &claims.sub);
        Ok(Identity {
            session: claims.sid,
            generation: claims.generation,
            expires_at: Timestamp::from_secs(claims.exp),
            session_ends_s: u32::try_from(claims.session_exp).unwrap_or(u32::MAX),
            remembered: Remembered::default(),
            subject: header_value(texts.slice(SESSION_ID_TEXT_BYTES..))?,
            session_text: header_value(texts.slice(..SESSION_ID_TEXT_BYTES))?,
            rights,
            app_session: None,
        })
    }

    /// With the app's own session, which was sealed in the token.
    #[must_use]
    pub fn with_app_session(self, cookies: &str) -> Identity {
        let mut cookies = HeaderValue::from_bytes(cookies.as_bytes()).ok().map(Box::new);
        if let Some(cookies) = &mut cookies {
            cookies.set_sensitive(true);
        }
        Identity { app_session: cookies, ..self }
    }

    /// Claim `sub`.
    pub fn subject(&self) -> &str {
        // It was made of a text.
        std::str::from_utf8(self.subject.as_bytes()).unwrap_or_default()
    }

    /// When the session ends, whatever is refreshed. Claim `session_exp`.
    pub fn session_ends_at(&self) -> Timestamp {
        Timestamp::from_secs(self.session_ends_s.into())
    }

    /// What the subject may do.
    pub fn rights(&self) -> &Arc<Rights> {
        &self.rights
    }

    /// What the upstream is told.
    pub fn headers(&self) -> IdentityHeaders<'_> {
        IdentityHeaders {
            subject: &self.subject,
            roles: self.rights.roles_value.as_ref(),
            scopes: self.rights.scopes_value.as_ref(),
            session: &self.session_text,
        }
    }

    /// The cookies of the app's own session, as they stand in a `Cookie` field.
    pub fn app_session(&self) -> Option<&HeaderValue> {
        self.app_session.as_deref()
    }

    /// Do both speak for the same user, in the same session?
    pub fn is_same_as(&self, other: &Identity) -> bool {
        (&self.subject, self.session) == (&other.subject, other.session)
    }
}

/// The texts of session and subject, one after the other. Where they are short, they stand in the allocation that counts who
/// holds them: that is one fewer, and its sizes are those that allocators have.
fn own_texts(session: &SessionId, subject: &str) -> Bytes {
    match SESSION_ID_TEXT_BYTES + subject.len() {
        0..=40 => inline::<40>(session, subject),
        41..=56 => inline::<56>(session, subject),
        57..=72 => inline::<72>(session, subject),
        73..=104 => inline::<104>(session, subject),
        _ => [&session.text()[..], subject.as_bytes()].concat().into(),
    }
}

fn inline<const N: usize>(session: &SessionId, subject: &str) -> Bytes {
    let mut texts = [0; N];
    let end = SESSION_ID_TEXT_BYTES + subject.len();
    texts[..SESSION_ID_TEXT_BYTES].copy_from_slice(&session.text());
    texts[SESSION_ID_TEXT_BYTES..end].copy_from_slice(subject.as_bytes());
    Bytes::from_owner(texts).slice(..end)
}

/// The text as a header value: UTF-8 as it is (RFC 9110 section 5.5, `obs-text`), since that is what apps store.
pub(super) fn header_value(text: Bytes) -> Result<HeaderValue, Reason> {
    let is_plain = |text: &str| {
        !text.is_empty() && text.len() <= HEADER_BYTES_MAX && text.trim() == text && !text.contains(char::is_control)
    };
    let plain = std::str::from_utf8(&text).is_ok_and(is_plain);
    let value = plain.then(|| HeaderValue::from_maybe_shared(text).ok()).flatten();
    value.ok_or(Reason::TokenInvalid)
}

#[cfg(test)]
mod tests;
