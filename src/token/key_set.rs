//! The keys of one private JWK set, judged and ready.
//!
//! What must never happen in here: a key signs before its time, or verifies under an algorithm that is not its own;
//! a secret is shown.

use std::collections::HashSet;
use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

use super::jwk::{Algorithm, KeyStatus, KeyUse, PrivateJwk, PrivateJwkSet};
use super::material::{Judged, Material, VerifyingKey};
use crate::session::KeyId;

/// The signing keys and the refresh MAC keys, from one private JWK set. One of each is active and makes new tokens;
/// all of them verify.
pub struct KeySet {
    // The active key is the first of each.
    signing: Vec<SigningKey>,
    mac: Vec<MacKey>,
}

/// A key that signs or verifies access tokens, with the one algorithm it may be used with.
pub(super) struct SigningKey {
    pub id: KeyId,
    pub algorithm: Algorithm,
    pub encoding: EncodingKey,
    pub verifying: VerifyingKey,
    public: Option<Value>,
}

/// A key that makes the MACs of refresh tokens and the marks of clients.
pub(super) struct MacKey {
    pub id: KeyId,
    pub thumbprint: [u8; 32],
    pub key: Box<hmac::Key>,
}

impl KeySet {
    /// Reads and judges a private JWK set.
    ///
    /// # Errors
    /// Whatever is wrong with any of the keys: a set is good as a whole or not at all.
    pub fn from_jwk_set(json: &str) -> Result<KeySet, KeySetError> {
        let set: PrivateJwkSet = serde_json::from_str(json)?;
        KeySet::from_jwks(&set.keys)
    }

    /// The same from keys that have been parsed already.
    ///
    /// # Errors
    /// As [`KeySet::from_jwk_set`].
    pub fn from_jwks(jwks: &[PrivateJwk]) -> Result<KeySet, KeySetError> {
        let mut ids = HashSet::new();
        let (mut signing, mut mac) = (Vec::new(), Vec::new());
        for (index, jwk) in jwks.iter().enumerate() {
            let name = KeyName { index, kid: jwk.kid.clone() };
            let (id, judged) = identify(jwk, &name)?;
            if !ids.insert(id.clone()) {
                return Err(KeySetError::Duplicate(name));
            }
            match judged.material {
                Material::Signing { algorithm, encoding, verifying, public } => {
                    signing.push((jwk.status, SigningKey { id, algorithm, encoding, verifying, public }));
                }
                Material::Mac(key) => mac.push((jwk.status, MacKey { id, thumbprint: judged.thumbprint, key })),
            }
        }
        Ok(KeySet { signing: active_first(signing, KeyUse::Sig)?, mac: active_first(mac, KeyUse::Refresh)? })
    }

    /// The public JWK set (RFC 7517 section 5) for those who verify access tokens themselves: next, active and retired
    /// keys, public members only. HMAC keys have no public half and are not in it.
    pub fn public_jwk_set(&self) -> Value {
        let keys: Vec<Value> = self.signing.iter().filter_map(SigningKey::public_jwk).collect();
        json!({ "keys": keys })
    }

    /// The key that signs new access tokens.
    pub fn signing_key_id(&self) -> &KeyId {
        &self.signing[0].id
    }

    /// The key that makes new refresh tokens.
    pub fn mac_key_id(&self) -> &KeyId {
        &self.mac[0].id
    }

    /// All keys that this set can verify with: what proxies compare before they trust each other's tokens.
    pub fn key_ids(&self) -> impl Iterator<Item = &KeyId> {
        self.signing.iter().map(|key| &key.id).chain(self.mac.iter().map(|key| &key.id))
    }

    pub(super) fn active_signing_key(&self) -> &SigningKey {
        &self.signing[0]
    }

    pub(super) fn signing_key(&self, kid: &str) -> Option<&SigningKey> {
        self.signing.iter().find(|key| &*key.id.0 == kid)
    }

    pub(super) fn mac_key(&self, id: &KeyId) -> Option<&MacKey> {
        self.mac.iter().find(|key| key.id == *id)
    }

    pub(super) fn mac_keys(&self) -> impl Iterator<Item = &MacKey> {
        self.mac.iter()
    }

    pub(super) fn mac_key_by_thumbprint(&self, thumbprint: &[u8; 32]) -> Option<&MacKey> {
        self.mac.iter().find(|key| key.thumbprint == *thumbprint)
    }
}

/// The same keys, and the same of them active: an id is a thumbprint of the whole key.
impl PartialEq for KeySet {
    fn eq(&self, other: &KeySet) -> bool {
        let signing = |set: &KeySet| set.signing.iter().map(|key| (key.id.clone(), key.algorithm)).collect::<Vec<_>>();
        let mac = |set: &KeySet| set.mac.iter().map(|key| key.id.clone()).collect::<Vec<_>>();
        signing(self) == signing(other) && mac(self) == mac(other)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.key_ids()).finish()
    }
}

impl SigningKey {
    fn public_jwk(&self) -> Option<Value> {
        let mut jwk = self.public.clone()?;
        jwk["alg"] = self.algorithm.as_str().into();
        jwk["kid"] = (*self.id.0).into();
        jwk["use"] = "sig".into();
        Some(jwk)
    }
}

impl PrivateJwk {
    /// The key's thumbprint (RFC 7638), which is its `kid`.
    ///
    /// # Errors
    /// When the key cannot be used; `index` is its place in the set, for the message.
    pub fn key_id(&self, index: usize) -> Result<KeyId, KeySetError> {
        identify(self, &KeyName { index, kid: self.kid.clone() }).map(|(id, _)| id)
    }
}

/// Judges a key, and holds the `kid` it claims against its thumbprint.
fn identify(jwk: &PrivateJwk, name: &KeyName) -> Result<(KeyId, Judged), KeySetError> {
    let judged = jwk.judge().map_err(|fault| KeySetError::Key(name.clone(), fault))?;
    let id = KeyId(URL_SAFE_NO_PAD.encode(judged.thumbprint).into());
    match &jwk.kid {
        Some(kid) if **kid != *id.0 => Err(KeySetError::WrongKid { key: name.clone(), thumbprint: id }),
        _ => Ok((id, judged)),
    }
}

/// Puts the active key first. There must be exactly one.
fn active_first<K>(mut keys: Vec<(KeyStatus, K)>, of: KeyUse) -> Result<Vec<K>, KeySetError> {
    let active = keys.iter().filter(|(status, _)| *status == KeyStatus::Active).count();
    if active != 1 {
        return Err(KeySetError::NotOneActive { r#use: of, found: active });
    }
    keys.sort_by_key(|(status, _)| *status != KeyStatus::Active);
    Ok(keys.into_iter().map(|(_, key)| key).collect())
}

/// Which key of a set: its place, and its `kid` where it has one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyName {
    /// Its place in `keys`, from 0.
    pub index: usize,
    /// Its `kid`, as written.
    pub kid: Option<String>,
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kid {
            Some(kid) => write!(f, "keys[{}] (kid {kid:?})", self.index),
            None => write!(f, "keys[{}]", self.index),
        }
    }
}

/// What is wrong with a private JWK set, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// Not JSON, or not of the shape of a private JWK set.
    #[error("not a private JWK set: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A key cannot be used.
    #[error("{0}: {1}")]
    Key(KeyName, String),
    /// The `kid` does not belong to the key.
    #[error("{key}: its \"kid\" must be its thumbprint (RFC 7638), {thumbprint}; write that, or leave \"kid\" out")]
    WrongKid {
        /// The key.
        key: KeyName,
        /// What its `kid` must be.
        thumbprint: KeyId,
    },
    /// The same key is there twice.
    #[error("{0}: the same key is in the set twice; remove one of them (a MAC key must not be a signing key too)")]
    Duplicate(KeyName),
    /// Not exactly one active key of a use.
    #[error(
        "{found} keys have \"use\":\"{use}\" and \"status\":\"active\", and there must be exactly one: \
         make the others \"next\" or \"retired\", or run `portcullis keys rotate`"
    )]
    NotOneActive {
        /// Of which use.
        r#use: KeyUse,
        /// How many there are.
        found: usize,
    },
}
