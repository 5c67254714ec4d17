//! What a verified token is remembered by: 16 bytes in place of its text, which has six hundred and up to 8 KiB.
//!
//! Two tokens must never be taken for one another, by chance or on purpose. So the 16 bytes are a GMAC (NIST SP 800-38D) of the
//! whole token, under a key that this process has made up and that never leaves it. For any two texts of up to 8 KiB that are
//! chosen without the key, the chance that they have the same one is at most 514 in 2^128. Nothing is told of it but whether a
//! token was let in: among 2^16 remembered tokens, 2^64 forged ones have a chance of less than 2^-38 to meet one. Without a secret
//! key this would not do: then texts could be searched for at home.
//!
//! The nonce is always the same. That would be fatal where the results are shown or where something is encrypted; here they are
//! compared, and stay.
//!
//! What must never happen in here: a result is logged or shown; a part of the token is left out.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;

use crate::gate::Remembered;

/// Makes the keys of one cache.
pub(super) struct TokenKeys(Option<LessSafeKey>);

impl TokenKeys {
    /// With a secret of its own.
    pub(super) fn new() -> TokenKeys {
        let mut secret = [0; 16];
        let filled = rand::fill(&mut secret).ok();
        TokenKeys(filled.and_then(|()| UnboundKey::new(&AES_128_GCM, &secret).ok()).map(LessSafeKey::new))
    }

    /// The token's key. None if the cryptographic library fails: then nothing can be remembered, and each token is verified.
    // Inlined, the library knows how long a tag is, and clears no room for longer ones.
    #[inline]
    pub(super) fn key_of(&self, token: &[u8]) -> Option<Remembered> {
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let tag = self.0.as_ref()?.seal_in_place_separate_tag(nonce, Aad::from(token), &mut []).ok()?;
        Some(Remembered(tag.as_ref().try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_bit_and_the_length_count() {
        let keys = TokenKeys::new();
        let token = "eyJhbGciOiJFZERTQSJ9.".repeat(30);
        let mut seen = HashSet::from([keys.key_of(token.as_bytes()).unwrap().0]);
        for place in 0..token.len() {
            for bit in 0..7 {
                let mut other = token.clone().into_bytes();
                other[place] ^= 1 << bit;
                assert!(seen.insert(keys.key_of(&other).unwrap().0), "bit {bit} of {place}");
            }
            assert!(seen.insert(keys.key_of(&token.as_bytes()[..place]).unwrap().0), "the first {place} bytes");
        }
        assert!(!seen.insert(keys.key_of(token.as_bytes()).unwrap().0), "one token has one key");
    }

    #[test]
    fn each_cache_has_a_secret_of_its_own() {
        assert_ne!(TokenKeys::new().key_of(b"a.b.c"), TokenKeys::new().key_of(b"a.b.c"));
    }
}
