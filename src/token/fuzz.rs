//! Fuzz targets of tokens: what nobody signed does not verify, and what somebody signed may say anything.

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto;

use super::{AccessGrant, AccessPolicy, KeySet, RefreshToken, issue_access_token, verify_access_token};
use crate::fuzz::Target;
use crate::session::{Session, SessionId};
use crate::time::Timestamp;

pub(crate) const TARGETS: &[Target] =
    &[("access_token", access_token), ("claims", claims), ("refresh_token", refresh_token), ("key_set", key_set)];

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// HMAC keys: the fuzzer shall not spend its time on curves.
static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let secret = |byte: u8| URL_SAFE_NO_PAD.encode([byte; 32]);
    let set = format!(
        r#"{{"keys":[{{"kty":"oct","use":"sig","alg":"HS256","status":"active","k":"{}"}},{{"kty":"oct","use":"refresh","status":"active","k":"{}"}}]}}"#,
        secret(1),
        secret(2)
    );
    KeySet::from_jwk_set(&set).expect("a key set")
});
static POLICY: LazyLock<AccessPolicy> = LazyLock::new(|| AccessPolicy {
    issuer: "i".to_owned(),
    audience: "a".to_owned(),
    lifetime: Duration::from_secs(900),
    skew: Duration::from_secs(5),
});
static SESSION: LazyLock<Session> = LazyLock::new(|| {
    let id = SessionId::new("demo", [9; 15]);
    Session::begin(id, "demo", NOW, NOW.plus(Duration::from_secs(86400)), KEYS.mac_key_id().clone())
});
/// The only access token that was ever signed.
static ACCESS: LazyLock<String> = LazyLock::new(|| {
    let grant = AccessGrant { session: &SESSION, roles: &[], scopes: &[], now: NOW, jti: [7; 16] };
    issue_access_token(&KEYS, &POLICY, &grant).expect("a token")
});
static REFRESH: LazyLock<String> =
    LazyLock::new(|| RefreshToken::of(&SESSION).encode(&KEYS).expect("its key is known"));

/// A text to try: the bytes themselves, or edits of the true token (a place, how many bytes go, what comes).
fn attempt(bytes: &[u8], token: &str) -> Option<String> {
    let Some(edits) = bytes.strip_prefix(b"!") else { return std::str::from_utf8(bytes).ok().map(str::to_owned) };
    let mut text = token.as_bytes().to_vec();
    for edit in edits.chunks(4) {
        let &[high, low, count, byte] = edit else { break };
        let at = usize::from(u16::from_be_bytes([high, low])) % (text.len() + 1);
        let end = (at + usize::from(count % 4)).min(text.len());
        text.splice(at..end, (byte != 0).then_some(byte));
    }
    String::from_utf8(text).ok()
}

fn access_token(bytes: &[u8]) {
    let Some(text) = attempt(bytes, &ACCESS) else { return };
    let verified = verify_access_token(&KEYS, &POLICY, &text, NOW);
    // Also: there is one way only to write a token.
    assert_eq!(verified.is_ok(), text == *ACCESS, "{text}");
}

fn refresh_token(bytes: &[u8]) {
    let Some(text) = attempt(bytes, &REFRESH) else { return };
    let verified = RefreshToken::verify(&KEYS, &text, NOW);
    assert_eq!(verified.is_ok(), text == *REFRESH, "{text}");
}

/// Claims are signed by us whatever they say, so that the reader of claims is reached.
fn claims(claims: &[u8]) {
    let key = KEYS.active_signing_key();
    let header = format!(r#"{{"typ":"at+jwt","alg":"HS256","kid":"{}"}}"#, key.id);
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let Ok(signature) = crypto::sign(message.as_bytes(), &key.encoding, key.algorithm.for_crypto()) else { return };
    if let Ok(claims) = verify_access_token(&KEYS, &POLICY, &format!("{message}.{signature}"), NOW) {
        assert_eq!((&*claims.iss, &*claims.aud), ("i", "a"));
        assert!(!claims.sub.is_empty());
        assert!(claims.exp > NOW.as_secs() - 5 && claims.iat <= NOW.as_secs() + 5 && claims.exp - claims.iat <= 900);
    }
}

/// A key set that is accepted can sign what it verifies.
fn key_set(json: &[u8]) {
    let Ok(json) = std::str::from_utf8(json) else { return };
    let Ok(keys) = KeySet::from_jwk_set(json) else { return };
    let grant = AccessGrant { session: &SESSION, roles: &[], scopes: &[], now: NOW, jti: [7; 16] };
    if let Ok(token) = issue_access_token(&keys, &POLICY, &grant) {
        assert!(verify_access_token(&keys, &POLICY, &token, NOW).is_ok());
    }
    let public = keys.public_jwk_set().to_string();
    assert!(!public.contains("\"d\"") && !public.contains("\"k\""), "a private member is published");
}
