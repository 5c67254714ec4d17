//! One key of the private JWK set (RFC 7517), as it is written in the file: members, not yet judged.
//!
//! What must never happen in here: a private member reaches a log or an error message.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A private JWK set.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivateJwkSet {
    /// The keys, in the order of the file.
    pub keys: Vec<PrivateJwk>,
}

/// A private JWK with the three members that are ours: `status`, `iat`, `retired_at`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivateJwk {
    /// `kty`: `OKP`, `EC`, `RSA` or `oct`.
    pub kty: String,
    /// `use`: `sig` or `refresh`.
    pub r#use: KeyUse,
    /// `alg`: required for signing keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<Algorithm>,
    /// `kid`: the key's thumbprint (RFC 7638); computed if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// Whether the key signs.
    pub status: KeyStatus,
    /// When the key was made: seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// When the key stopped signing: seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<u64>,
    /// `crv` (`OKP`, `EC`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// Public: `OKP`, `EC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// Public: `EC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// Public: `RSA` modulus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// Public: `RSA` exponent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
    /// Private: `OKP`, `EC`, `RSA`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub d: Option<SecretMember>,
    /// Private: `RSA`, first prime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<SecretMember>,
    /// Private: `RSA`, second prime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q: Option<SecretMember>,
    /// Private: `RSA`, `d mod (p - 1)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dp: Option<SecretMember>,
    /// Private: `RSA`, `d mod (q - 1)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dq: Option<SecretMember>,
    /// Private: `RSA`, `q^-1 mod p`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qi: Option<SecretMember>,
    /// Private: the whole of an `oct` key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k: Option<SecretMember>,
}

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyUse {
    /// Signs access tokens.
    #[default]
    Sig,
    /// Makes the MAC of refresh tokens.
    Refresh,
}

impl fmt::Display for KeyUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            KeyUse::Sig => "sig",
            KeyUse::Refresh => "refresh",
        })
    }
}

/// Where a key is in its life. All three verify; only the active one makes new tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyStatus {
    /// Verifies already, signs later: so that every proxy knows it before the first token of it is seen.
    Next,
    /// Signs.
    #[default]
    Active,
    /// Signed once, and still verifies.
    Retired,
}

impl fmt::Display for KeyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            KeyStatus::Next => "next",
            KeyStatus::Active => "active",
            KeyStatus::Retired => "retired",
        })
    }
}

/// The algorithm of a signing key (RFC 7518 section 3.1, RFC 8037). It is a property of the key, never of a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Algorithm {
    /// Ed25519.
    #[default]
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// HMAC with SHA-256. Upstreams cannot verify it for themselves: there is no public half.
    #[serde(rename = "HS256")]
    Hs256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 4] = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256, Algorithm::Hs256];

    /// Its name in a JWK and in a token's header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Es256 => "ES256",
            Algorithm::Rs256 => "RS256",
            Algorithm::Hs256 => "HS256",
        }
    }

    pub(super) const fn for_crypto(self) -> jsonwebtoken::Algorithm {
        match self {
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Algorithm, UnknownAlgorithm> {
        let known = Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text));
        known.ok_or(UnknownAlgorithm)
    }
}

/// The text names no algorithm that we sign with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected EdDSA, ES256, RS256 or HS256")]
pub struct UnknownAlgorithm;

/// A private member of a JWK: base64url text that is wiped when dropped and never shown.
#[derive(Clone)]
pub struct SecretMember(SecretString);

impl SecretMember {
    /// The text itself.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for SecretMember {
    fn from(text: String) -> SecretMember {
        SecretMember(text.into())
    }
}

impl fmt::Debug for SecretMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Only for the key file: nothing else may write a private member anywhere.
impl Serialize for SecretMember {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for SecretMember {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SecretMember, D::Error> {
        // The message of a wrong type would quote the value: a number or a list of them could be the secret.
        let text =
            String::deserialize(deserializer).map_err(|_| serde::de::Error::custom("expected base64url text"))?;
        Ok(SecretMember::from(text))
    }
}
