//! Who a request speaks for, once its token has been verified.
//!
//! What must never happen in here: a claim reaches a header in a form that an app could read as something else.

use http::HeaderValue;

use super::Reason;
use crate::session::SessionId;
use crate::time::Timestamp;
use crate::token::AccessClaims;

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
    /// The cookies of the app's own session, as they stand in a `Cookie` field.
    pub app_session: Option<HeaderValue>,
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

/// No identity header is longer than this.
const HEADER_BYTES_MAX: usize = 8 * 1024;

impl Identity {
    /// Makes verified claims ready. A claim that cannot stand in a header unmistakably makes the token invalid: control
    /// characters, blanks at the ends (receivers trim them), a comma in a role (receivers split there), or too much.
    pub fn from_claims(claims: AccessClaims) -> Result<Identity, Reason> {
        let scopes: Vec<String> = claims
            .scope
            .as_deref()
            .unwrap_or_default()
            .split(' ')
            .filter(|scope| !scope.is_empty())
            .map(str::to_owned)
            .collect();
        let is_list_item = |item: &String| !item.is_empty() && !item.contains(',') && item.trim() == item;
        if !claims.roles.iter().all(is_list_item) {
            return Err(Reason::TokenInvalid);
        }
        let list = |items: &[String], separator: &str| match items.is_empty() {
            true => Ok(None),
            false => header_value(&items.join(separator)).map(Some),
        };
        let headers = IdentityHeaders {
            subject: header_value(&claims.sub)?,
            roles: list(&claims.roles, ",")?,
            scopes: list(&scopes, " ")?,
            session: header_value(&claims.sid.to_string())?,
        };
        Ok(Identity {
            subject: claims.sub.into(),
            roles: claims.roles.into_iter().map(Into::into).collect(),
            scopes: scopes.into_iter().map(Into::into).collect(),
            session: claims.sid,
            generation: claims.generation,
            expires_at: Timestamp::from_secs(claims.exp),
            session_ends_at: Timestamp::from_secs(claims.session_exp),
            headers,
            app_session: None,
        })
    }

    /// With the app's own session, which was sealed in the token.
    #[must_use]
    pub fn with_app_session(self, cookies: &str) -> Identity {
        let mut cookies = HeaderValue::from_bytes(cookies.as_bytes()).ok();
        if let Some(cookies) = &mut cookies {
            cookies.set_sensitive(true);
        }
        Identity { app_session: cookies, ..self }
    }
}

/// The text as a header value: UTF-8 as it is (RFC 9110 section 5.5, `obs-text`), since that is what apps store.
fn header_value(text: &str) -> Result<HeaderValue, Reason> {
    let plain =
        !text.is_empty() && text.len() <= HEADER_BYTES_MAX && text.trim() == text && !text.contains(char::is_control);
    let value = plain.then(|| HeaderValue::from_bytes(text.as_bytes()).ok()).flatten();
    value.ok_or(Reason::TokenInvalid)
}
