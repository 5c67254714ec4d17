//! Refresh tokens: opaque to clients, and a pure function of what they say, so that every proxy derives the same text.
//!
//! 93 bytes, written as 124 characters of base64url (no character is only partly used, so one token has one text):
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version: 1 |
//! | 16 | session |
//! | 4 | generation, big-endian |
//! | 8 | the session's absolute end, seconds since the epoch, big-endian |
//! | 32 | the MAC key's thumbprint |
//! | 32 | HMAC-SHA-256 over a domain and all of the above |
//!
//! The MAC is not cut short: a cookie does not notice 16 bytes, and nobody has to argue.
//! What must never happen in here: a token that fails its MAC is told apart by time, or says anything to the caller.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::KeySet;
use crate::session::{KeyId, Session, SessionId};
use crate::time::Timestamp;

/// A refresh token, as it is before encoding or after verification.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefreshToken {
    /// The session it belongs to.
    pub session: SessionId,
    /// The session's generation that it stands for.
    pub generation: u32,
    /// The session's absolute end, in whole seconds.
    pub ends_at: Timestamp,
    /// The key of its MAC.
    pub key: KeyId,
}

/// Why a refresh token is refused, before any store is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RefreshTokenError {
    /// Not the shape of a refresh token.
    #[error("not the shape of a refresh token")]
    Malformed,
    /// The MAC is wrong, or made with a key that is not known here.
    #[error("the refresh token was not made with a key of this set")]
    Invalid,
    /// It is ours, and its session is past its absolute end.
    #[error("the refresh token has expired")]
    Expired,
}

const VERSION: u8 = 1;
const BODY_BYTES: usize = 1 + 16 + 4 + 8 + 32;
const TOKEN_BYTES: usize = BODY_BYTES + 32;
const TEXT_BYTES: usize = TOKEN_BYTES / 3 * 4;

/// Keeps refresh tokens apart from everything else that is made with the same key.
const DOMAIN: &[u8] = b"portcullis refresh token v1\0";

impl RefreshToken {
    /// The token of the session's current generation.
    pub fn of(session: &Session) -> RefreshToken {
        RefreshToken {
            session: session.id,
            generation: session.generation,
            ends_at: Timestamp::from_secs(session.ends_at.as_secs()),
            key: session.mac_key.clone(),
        }
    }

    /// Its text. None if its key is not known here.
    pub fn encode(&self, keys: &KeySet) -> Option<String> {
        let key = keys.mac_key(&self.key)?;
        let mut token = Vec::with_capacity(TOKEN_BYTES);
        token.push(VERSION);
        token.extend_from_slice(self.session.as_bytes());
        token.extend_from_slice(&self.generation.to_be_bytes());
        token.extend_from_slice(&self.ends_at.as_secs().to_be_bytes());
        token.extend_from_slice(&key.thumbprint);
        let mac = hmac::sign(&key.key, &authenticated(&token));
        token.extend_from_slice(mac.as_ref());
        Some(URL_SAFE_NO_PAD.encode(token))
    }

    /// Reads and verifies a token. No clock skew is granted: the end is days away and the same on every proxy.
    ///
    /// # Errors
    /// See [`RefreshTokenError`]. The shape is judged first, then the MAC, and only then is anything believed.
    pub fn verify(keys: &KeySet, text: &str, now: Timestamp) -> Result<RefreshToken, RefreshTokenError> {
        if text.len() != TEXT_BYTES {
            return Err(RefreshTokenError::Malformed);
        }
        let mut token = [0; TOKEN_BYTES];
        URL_SAFE_NO_PAD.decode_slice(text, &mut token).map_err(|_| RefreshTokenError::Malformed)?;
        let (body, mac) = token.split_at(BODY_BYTES);
        let fields = Fields::of(body).ok_or(RefreshTokenError::Malformed)?;

        let key = keys.mac_key_by_thumbprint(&fields.key).ok_or(RefreshTokenError::Invalid)?;
        hmac::verify(&key.key, &authenticated(body), mac).map_err(|_| RefreshTokenError::Invalid)?;

        let ends_at = Timestamp::from_secs(fields.ends_at_s);
        if now >= ends_at {
            return Err(RefreshTokenError::Expired);
        }
        let session = SessionId::from_bytes(fields.session);
        Ok(RefreshToken { session, generation: fields.generation, ends_at, key: key.id.clone() })
    }
}

fn authenticated(body: &[u8]) -> Vec<u8> {
    [DOMAIN, body].concat()
}

struct Fields {
    session: [u8; 16],
    generation: u32,
    ends_at_s: u64,
    key: [u8; 32],
}

impl Fields {
    fn of(body: &[u8]) -> Option<Fields> {
        let (&[version], body) = body.split_first_chunk()?;
        let (&session, body) = body.split_first_chunk()?;
        let (&generation, body) = body.split_first_chunk()?;
        let (&ends_at, body) = body.split_first_chunk()?;
        let key = body.try_into().ok()?;
        let fields =
            Fields { session, generation: u32::from_be_bytes(generation), ends_at_s: u64::from_be_bytes(ends_at), key };
        (version == VERSION).then_some(fields)
    }
}
