//! Tests of the room: what they share.

mod access;
mod forgeries;
mod key_set;
mod refresh;

use std::time::Duration;

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
