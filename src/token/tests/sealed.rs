//! Sealed texts: who can open them.

use proptest::prelude::*;

use super::{keys_for, session};
use crate::session::SessionId;
use crate::token::{Algorithm, KeySet};

const TEXT: &str = "sessionid=0123456789abcdef";

/// Keys whose MAC keys are made of these letters; the first is active.
fn keys(letters: &[&str]) -> KeySet {
    let signing = r#"{"kty":"OKP","use":"sig","alg":"EdDSA","status":"active","crv":"Ed25519",
        "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let mac = letters.iter().enumerate().map(|(place, letter)| {
        let status = if place == 0 { "active" } else { "retired" };
        format!(r#"{{"kty":"oct","use":"refresh","status":"{status}","k":"{}A"}}"#, letter.repeat(42))
    });
    let all: Vec<String> = std::iter::once(signing.to_owned()).chain(mac).collect();
    KeySet::from_jwk_set(&format!(r#"{{"keys":[{}]}}"#, all.join(","))).unwrap()
}

#[test]
fn opens_for_its_session_and_no_other() {
    let keys = keys_for(Algorithm::EdDsa);
    let session = session(&keys).id;
    let sealed = keys.seal(&session, TEXT, [1; 12]).unwrap();
    assert_eq!(keys.open(&session, &sealed).as_deref(), Some(TEXT));
    assert_eq!(keys.open(&SessionId::new("demo", [8; 15]), &sealed), None);
    assert!(!sealed.contains("session"));
    assert_ne!(keys.seal(&session, TEXT, [2; 12]).unwrap(), sealed, "the nonce counts");
}

#[test]
fn opens_as_long_as_its_key_is_in_the_set() {
    let session = SessionId::new("demo", [9; 15]);
    let sealed = keys(&["M"]).seal(&session, TEXT, [1; 12]).unwrap();
    assert_eq!(keys(&["N", "M"]).open(&session, &sealed).as_deref(), Some(TEXT));
    assert_eq!(keys(&["N"]).open(&session, &sealed), None);
}

proptest! {
    #[test]
    fn what_was_changed_does_not_open(at in 0_usize..72, bit in 0_u8..6) {
        let keys = keys(&["M"]);
        let session = SessionId::new("demo", [9; 15]);
        let mut sealed = keys.seal(&session, TEXT, [1; 12]).unwrap().into_bytes();
        prop_assert_eq!(sealed.len(), 72);
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let digit = ALPHABET.iter().position(|&letter| letter == sealed[at]).unwrap();
        sealed[at] = ALPHABET[digit ^ (1 << bit)];
        prop_assert_eq!(keys.open(&session, std::str::from_utf8(&sealed).unwrap()), None);
    }

    #[test]
    fn junk_does_not_open(junk in "[A-Za-z0-9_-]{0,100}|\\PC{0,20}") {
        prop_assert_eq!(keys(&["M"]).open(&SessionId::new("demo", [9; 15]), &junk), None);
    }
}
