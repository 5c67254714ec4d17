//! Tests of the room: what they share.

mod access;
mod forgeries;
mod key_set;
mod refresh;
mod rows;
mod sealed;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, crypto};
use serde_json::{Value, json};

use super::*;
use crate::session::{Session, SessionId};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A private JWK of `keys.json`, as a signing key of that algorithm or as a refresh key.
fn jwk(name: &str, status: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("keys.json")).unwrap();
    let mut jwk = all[name].clone();
    jwk["status"] = status.into();
    if name.starts_with("refresh") {
        jwk["use"] = "refresh".into();
    } else {
        jwk["use"] = "sig".into();
        jwk["alg"] = name.into();
    }
    jwk
}

fn key_set(jwks: &[Value]) -> Result<KeySet, KeySetError> {
    KeySet::from_jwk_set(&json!({ "keys": jwks }).to_string())
}

/// A set that signs with this algorithm.
fn keys_for(algorithm: Algorithm) -> KeySet {
    key_set(&[jwk(algorithm.as_str(), "active"), jwk("refresh", "active")]).unwrap()
}

fn policy() -> AccessPolicy {
    AccessPolicy {
        issuer: "https://auth.example.com".to_owned(),
        audience: "apps".to_owned(),
        lifetime: Duration::from_secs(900),
        skew: Duration::from_secs(5),
    }
}

fn session(keys: &KeySet) -> Session {
    let id = SessionId::new("demo", [9; 15]);
    Session { generation: 3, ..Session::begin(id, "demo", NOW, NOW.plus(30 * DAY), keys.mac_key_id().clone()) }
}

fn issue(keys: &KeySet, session: &Session, now: Timestamp) -> Result<String, IssueError> {
    let roles = ["admin".to_owned(), "ops".to_owned()];
    let scopes = ["read".to_owned(), "write".to_owned()];
    let grant = AccessGrant { session, roles: &roles, scopes: &scopes, now, jti: [7; 16] };
    issue_access_token(keys, &policy(), &grant)
}

/// Claims that are in order.
const CLAIMS: &str = r#"{"iss":"https://auth.example.com","aud":"apps","sub":"demo","sid":"AAAAAAAAAAAAAAAAAAAAAA","gen":0,"jti":"j","iat":1800000000,"exp":1800000900,"session_exp":1800009999}"#;

fn header(keys: &KeySet) -> String {
    let key = keys.active_signing_key();
    format!(r#"{{"typ":"at+jwt","alg":"{}","kid":"{}"}}"#, key.algorithm, key.id)
}

/// A token whose signature is good, whatever it says.
fn signed(keys: &KeySet, header: &str, claims: &str) -> String {
    let key = keys.active_signing_key();
    signed_with(&key.encoding, key.algorithm, header, claims)
}

fn signed_with(key: &EncodingKey, algorithm: Algorithm, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = crypto::sign(message.as_bytes(), key, algorithm.for_crypto()).unwrap();
    format!("{message}.{signature}")
}

fn verdict(keys: &KeySet, token: &str) -> Result<(), AccessTokenError> {
    verify_access_token(keys, &policy(), token, NOW).map(|_| ())
}

/// Every algorithm: a flaw of one verifier is not seen with another.
fn with_every_algorithm(check: impl Fn(&KeySet)) {
    Algorithm::ALL.into_iter().for_each(|algorithm| check(&keys_for(algorithm)));
}

fn parts(token: &str) -> (&str, &str, &str) {
    let mut parts = token.split('.');
    (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
}
