//! What is kept of a session.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{GRACE_MAX, SessionId};
use crate::time::Timestamp;

/// The `kid` of a key: a thumbprint of the key (RFC 7638), so equal ids mean equal keys.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub Box<str>);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for KeyId {
    fn from(text: &str) -> KeyId {
        KeyId(text.into())
    }
}

/// What the client that asked for a rotation looked like: a keyed hash of its address prefix and user agent.
/// It is compared, never read back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientMark(pub [u8; 16]);

impl fmt::Debug for ClientMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientMark({})", URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl Serialize for ClientMark {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for ClientMark {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<ClientMark, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 16];
        match URL_SAFE_NO_PAD.decode_slice(&text, &mut bytes) {
            Ok(16) => Ok(ClientMark(bytes)),
            _ => Err(serde::de::Error::custom("not a client mark: expected 16 bytes of base64url")),
        }
    }
}

/// The rotation that made the current generation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Rotation {
    /// When its grace opened.
    pub at: Timestamp,
    /// Who asked for it.
    pub client: ClientMark,
}

/// Why a session ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// `/logout`.
    Logout,
    /// `/logout/all`, from this session or another one of the subject.
    LogoutAll,
    /// An operator ended it.
    Revoked,
    /// A refresh token came back that had long been rotated: a stolen token is about.
    Reuse,
    /// The subject may no longer log in.
    SubjectRemoved,
}

/// That a session has ended, since when and why. Nothing ever overwrites it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Ending {
    /// When it ended.
    pub at: Timestamp,
    /// Why it ended.
    pub reason: EndReason,
}

/// What was told at login and cannot be asked again. It never changes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ToldAtLogin {
    /// The subject's roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// The subject's scopes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// The app's own session, sealed: only a key set that knows our MAC keys opens it, and only for this session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_session: Option<String>,
}

/// One refresh-token family. Copies of it form a lattice: see [`super::merge`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Session {
    /// Its id: the `sid` claim.
    pub id: SessionId,
    /// Whose session it is: the `sub` claim.
    pub subject: String,
    /// When the subject logged in.
    pub created_at: Timestamp,
    /// The absolute end. No refresh moves it.
    pub ends_at: Timestamp,
    /// How often it has rotated: 0 at login. Claim `gen`.
    pub generation: u32,
    /// The MAC key that the refresh token of the current generation is made with.
    pub mac_key: KeyId,
    /// The rotation that made the current generation; none at generation 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// A refresh token or an access token of the current generation has been seen: its holder has it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub used: bool,
    /// Set once the session has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ending>,
    /// What was told at login, if whoever told it cannot be asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Arc<ToldAtLogin>>,
}

impl Session {
    /// A session as it begins at login, at generation 0.
    pub fn begin(id: SessionId, subject: &str, now: Timestamp, ends_at: Timestamp, mac_key: KeyId) -> Session {
        Session {
            id,
            subject: subject.to_owned(),
            created_at: now,
            ends_at,
            generation: 0,
            mac_key,
            rotation: None,
            used: false,
            ended: None,
            told: None,
        }
    }

    /// Neither ended nor past its absolute end.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.ended.is_none() && now < self.ends_at
    }

    /// Until when access tokens of the session have to be refused; none if it has not ended. `tail` is how long after its
    /// end one could be alive, if all clocks went right.
    ///
    /// They do not: a clock that leaps back between a refresh and the logout reckons the end to be before tokens that are
    /// alive again when it leaps ahead. So what the record says of the last refresh counts as well: no access token was
    /// issued after the last grace had closed.
    pub fn revoked_until(&self, tail: Duration) -> Option<Timestamp> {
        let ending = self.ended?;
        let refreshed = self.rotation.map_or(self.created_at, |rotation| rotation.at.plus(GRACE_MAX));
        Some(ending.at.max(self.created_at).max(refreshed).plus(tail))
    }

    /// The same session, ended. A session that has ended already keeps its first ending.
    #[must_use]
    pub fn end(&self, at: Timestamp, reason: EndReason) -> Session {
        Session { ended: self.ended.or(Some(Ending { at, reason })), ..self.clone() }
    }
}
