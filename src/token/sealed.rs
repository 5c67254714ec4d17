//! Text that only we can read, bound to one session: AES-256-GCM under keys that come from the MAC keys.
//!
//! What must never happen in here: one nonce is used twice under a key; a text opens for another session than its own; the
//! same key makes MACs and encrypts.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::KeySet;
use super::key_set::MacKey;
use crate::session::SessionId;

/// Keeps these keys apart from everything else that is made of a MAC key. The byte at the end is the block's number in
/// HKDF-Expand (RFC 5869 section 2.3): the MAC key is as random as a key that was extracted, and 32 bytes are one block.
const LABEL: &[u8] = b"portcullis sealed text v1\0\x01";

impl KeySet {
    /// Seals a text for a session, with the active key. `nonce` must be random. None if the cryptographic library fails.
    ///
    /// A nonce of 96 random bits is good for 2^32 texts under a key: one is used at a login.
    pub fn seal(&self, session: &SessionId, text: &str, nonce: [u8; NONCE_LEN]) -> Option<String> {
        let key = sealing_key(self.mac_key(self.mac_key_id())?)?;
        let mut sealed = text.as_bytes().to_vec();
        let aad = Aad::from(session.to_string());
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    /// Opens what was sealed for this session, with whichever key fits. None if none does.
    pub fn open(&self, session: &SessionId, sealed: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        self.mac_keys().find_map(|key| {
            let mut text = sealed.to_vec();
            let aad = Aad::from(session.to_string());
            let length =
                sealing_key(key)?.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut text).ok()?.len();
            text.truncate(length);
            String::from_utf8(text).ok()
        })
    }
}

fn sealing_key(key: &MacKey) -> Option<LessSafeKey> {
    let derived = hmac::sign(&key.key, LABEL);
    UnboundKey::new(&AES_256_GCM, derived.as_ref()).ok().map(LessSafeKey::new)
}
