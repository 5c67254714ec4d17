//! Refresh tokens: one text each, and no other.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::*;
use crate::session::KeyId;

fn token() -> (KeySet, RefreshToken, String) {
    let keys = keys_for(Algorithm::EdDsa);
    let token = RefreshToken::of(&session(&keys));
    let text = token.encode(&keys).unwrap();
    (keys, token, text)
}

#[test]
fn says_what_it_was_made_of() {
    let (keys, token, text) = token();
    assert_eq!(token.generation, 3);
    assert_eq!(token.ends_at, NOW.plus(30 * DAY));
    assert_eq!(RefreshToken::verify(&keys, &text, NOW), Ok(token));
    assert_eq!(text.len(), 124);
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "fit for a cookie");
}

/// The format, byte for byte: a proxy of another version must derive the same text. The expected text was computed
/// apart from this code, with Python's `hashlib` and `hmac`.
#[test]
fn is_the_same_text_everywhere() {
    let (.., text) = token();
    let expected = "AUwJCQkJCQkJCQkJCQkJCQkAAAADAAAAAGtxXwCIhUt7gmqs8B-rq9hLcEZ1tA\
                    vCnsYBy6FtMW-gl1TOKRXwIbcYZuFgrFd5urEW-P8_nb8mf-TBBq5qw3Rf2Kj1";
    assert_eq!(text, expected);
}

#[test]
fn a_flipped_bit_or_a_missing_end_is_refused() {
    let (keys, _, text) = token();
    let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut forged = bytes.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let expected = if bit < 8 { RefreshTokenError::Malformed } else { RefreshTokenError::Invalid };
        assert_eq!(RefreshToken::verify(&keys, &URL_SAFE_NO_PAD.encode(&forged), NOW), Err(expected), "bit {bit}");
    }
    for length in 0..text.len() {
        assert_eq!(RefreshToken::verify(&keys, &text[..length], NOW), Err(RefreshTokenError::Malformed));
    }
    for other in
        [format!("{text}="), format!("{text}A"), format!(" {text}"), format!("{}+", &text[..123]), text.repeat(9)]
    {
        assert_eq!(RefreshToken::verify(&keys, &other, NOW), Err(RefreshTokenError::Malformed), "{other}");
    }
}

#[test]
fn ends_with_the_session_to_the_second() {
    let (keys, token, text) = token();
    let just_before = Timestamp::from_millis(token.ends_at.as_millis() - 1);
    assert!(RefreshToken::verify(&keys, &text, just_before).is_ok());
    assert_eq!(RefreshToken::verify(&keys, &text, token.ends_at), Err(RefreshTokenError::Expired));
    assert_eq!(RefreshToken::verify(&keys, &text, Timestamp::from_millis(u64::MAX)), Err(RefreshTokenError::Expired));
}

#[test]
fn the_end_of_a_session_is_rounded_down() {
    let (keys, ..) = token();
    let session = Session { ends_at: Timestamp::from_millis(1_900_000_000_999), ..session(&keys) };
    let text = RefreshToken::of(&session).encode(&keys).unwrap();
    let verified = RefreshToken::verify(&keys, &text, NOW).unwrap();
    assert_eq!(verified, RefreshToken::of(&session));
    assert!(verified.ends_at <= session.ends_at);
}

#[test]
fn the_keys_may_be_rotated_beneath_it() {
    let (keys, token, text) = token();
    let signing = || jwk("EdDSA", "active");
    let rotated = key_set(&[signing(), jwk("refresh_2", "active"), jwk("refresh", "retired")]).unwrap();
    assert_ne!(rotated.mac_key_id(), keys.mac_key_id());
    assert_eq!(RefreshToken::verify(&rotated, &text, NOW).as_ref(), Ok(&token));
    assert_eq!(token.encode(&rotated).as_ref(), Some(&text), "the record names the key: the text stays the same");

    let removed = key_set(&[signing(), jwk("refresh_2", "active")]).unwrap();
    assert_eq!(RefreshToken::verify(&removed, &text, NOW), Err(RefreshTokenError::Invalid));
    assert_eq!(token.encode(&removed), None);
}

#[test]
fn a_signing_key_makes_no_refresh_tokens() {
    let keys = keys_for(Algorithm::Hs256);
    let forged = RefreshToken { key: keys.signing_key_id().clone(), ..RefreshToken::of(&session(&keys)) };
    assert_eq!(forged.encode(&keys), None);
}

#[test]
fn a_client_is_known_by_its_network_and_its_agent() {
    let keys = key_set(&[jwk("EdDSA", "active"), jwk("refresh", "active"), jwk("refresh_2", "next")]).unwrap();
    let active = keys.mac_key_id();
    let mark = |address: &str, agent: &str| keys.client_mark(active, address.parse().unwrap(), agent.as_bytes());
    let home = mark("192.0.2.1", "Firefox");
    assert!(home.is_some());
    for same in ["192.0.2.255", "::ffff:192.0.2.9"] {
        assert_eq!(mark(same, "Firefox"), home, "{same}");
    }
    for other in ["192.0.3.1", "::192.0.2.1", "2001:db8::1"] {
        assert_ne!(mark(other, "Firefox"), home, "{other}");
    }
    assert_ne!(mark("192.0.2.1", "Firefo"), home);
    assert_ne!(mark("192.0.2.1", ""), home);

    let home = mark("2001:db8:0:ff00::1", "x");
    assert_eq!(mark("2001:db8:0:ffff:1:2:3:4", "x"), home, "the same /56");
    assert_ne!(mark("2001:db8:0:fe00::1", "x"), home, "the next one");

    let other_key = keys.key_ids().find(|id| *id != active && *id != keys.signing_key_id()).unwrap();
    let address = "192.0.2.1".parse().unwrap();
    assert_ne!(keys.client_mark(other_key, address, b"x"), keys.client_mark(active, address, b"x"));
    assert_eq!(keys.client_mark(&KeyId::from("unknown"), address, b"x"), None);
    assert_eq!(keys.client_mark(keys.signing_key_id(), address, b"x"), None);
}

proptest! {
    #[test]
    fn reads_back_what_was_written(session in any::<[u8; 16]>(), generation in any::<u32>(), ends_at_s in 1_800_000_001..u64::MAX / 1000) {
        let (keys, ..) = token();
        let ends_at = Timestamp::from_secs(ends_at_s);
        let token = RefreshToken { session: SessionId::from_bytes(session), generation, ends_at, key: keys.mac_key_id().clone() };
        let text = token.encode(&keys).unwrap();
        prop_assert_eq!(text.len(), 124);
        prop_assert_eq!(RefreshToken::verify(&keys, &text, NOW), Ok(token));
    }
}
