//! The claims of an access token: owned, as they are written; and borrowed from a token, as they are read.
//!
//! What must never happen in here: a claim is read more leniently than it is written.

use std::borrow::Cow;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize};

use crate::session::SessionId;

/// The claims of an access token (RFC 9068 section 2.2). Once verified they are known to be ours, and are still data
/// that somebody typed: whoever puts them into a header has to look at them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AccessClaims {
    /// Who issued it.
    pub iss: String,
    /// Whom it is for.
    pub aud: String,
    /// Whom it speaks for: 1 to 1024 bytes.
    pub sub: String,
    /// The session it belongs to.
    pub sid: SessionId,
    /// The session's generation that it was issued with: claim `gen`, which is a reserved word in Rust.
    #[serde(rename = "gen")]
    pub generation: u32,
    /// The token's own id.
    pub jti: String,
    /// When the session was read that it was issued from: seconds since the epoch.
    pub iat: u64,
    /// When it expires: seconds since the epoch.
    pub exp: u64,
    /// The subject's roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// The scopes, joined by spaces (RFC 8693 section 4.2).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub scope: Option<String>,
    /// When the session ends, whatever is refreshed: seconds since the epoch.
    pub session_exp: u64,
    /// The app's own session, sealed: see [`KeySet::open`]. Only we can read it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub app_session: Option<String>,
}

/// The same claims, borrowed from a token that has been verified: nothing is copied but what JSON has escaped.
#[derive(Debug, Deserialize)]
pub struct ClaimsRef<'a> {
    /// See [`AccessClaims::iss`].
    #[serde(borrow)]
    pub iss: Cow<'a, str>,
    /// See [`AccessClaims::aud`].
    #[serde(borrow)]
    pub aud: Cow<'a, str>,
    /// See [`AccessClaims::sub`].
    #[serde(borrow)]
    pub sub: Cow<'a, str>,
    /// See [`AccessClaims::sid`].
    pub sid: SessionId,
    /// See [`AccessClaims::generation`].
    #[serde(rename = "gen")]
    pub generation: u32,
    /// See [`AccessClaims::jti`].
    #[serde(borrow)]
    pub jti: Cow<'a, str>,
    /// See [`AccessClaims::iat`].
    pub iat: u64,
    /// See [`AccessClaims::exp`].
    pub exp: u64,
    /// See [`AccessClaims::roles`].
    #[serde(borrow, default)]
    pub roles: Vec<Text<'a>>,
    /// See [`AccessClaims::scope`].
    #[serde(borrow, default, deserialize_with = "not_null")]
    pub scope: Option<Text<'a>>,
    /// See [`AccessClaims::session_exp`].
    pub session_exp: u64,
    /// See [`AccessClaims::app_session`].
    #[serde(borrow, default, deserialize_with = "not_null")]
    pub app_session: Option<Text<'a>>,
    /// We never write it; a token that has it must be past it (RFC 7519 section 4.1.5).
    #[serde(default, deserialize_with = "not_null")]
    pub nbf: Option<u64>,
}

/// A text that stands in the token, or was unescaped.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl ClaimsRef<'_> {
    /// Copied out of the token.
    pub fn into_owned(self) -> AccessClaims {
        let owned = |text: Text<'_>| text.0.into_owned();
        AccessClaims {
            iss: self.iss.into_owned(),
            aud: self.aud.into_owned(),
            sub: self.sub.into_owned(),
            sid: self.sid,
            generation: self.generation,
            jti: self.jti.into_owned(),
            iat: self.iat,
            exp: self.exp,
            roles: self.roles.into_iter().map(owned).collect(),
            scope: self.scope.map(owned),
            session_exp: self.session_exp,
            app_session: self.app_session.map(owned),
        }
    }
}

impl AccessClaims {
    /// The same, borrowed.
    pub fn as_ref(&self) -> ClaimsRef<'_> {
        let text = |text| Text(Cow::Borrowed(text));
        ClaimsRef {
            iss: Cow::Borrowed(&self.iss),
            aud: Cow::Borrowed(&self.aud),
            sub: Cow::Borrowed(&self.sub),
            sid: self.sid,
            generation: self.generation,
            jti: Cow::Borrowed(&self.jti),
            iat: self.iat,
            exp: self.exp,
            roles: self.roles.iter().map(|role| text(role.as_str())).collect(),
            scope: self.scope.as_deref().map(text),
            session_exp: self.session_exp,
            app_session: self.app_session.as_deref().map(text),
            nbf: None,
        }
    }
}

/// A claim may be absent; when it is there, `null` is a wrong type like any other.
fn not_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
