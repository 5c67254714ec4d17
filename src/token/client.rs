//! What a client looks like, as a keyed hash: to tell a late retry from a thief.

use std::net::IpAddr;

use aws_lc_rs::hmac::Context;

use super::KeySet;
use crate::session::{ClientMark, KeyId};

/// Keeps marks apart from everything else that is made with the same key.
const DOMAIN: &[u8] = b"portcullis client mark v1\0";

impl KeySet {
    /// The mark of a client under `key`: HMAC-SHA-256 over its address prefix and user agent, cut to 16 bytes. None if
    /// the key is not known here.
    ///
    /// The prefix is what a client keeps while it moves within its network: /24 of IPv4 (also when mapped into
    /// IPv6), /56 of IPv6.
    pub fn client_mark(&self, key: &KeyId, address: IpAddr, user_agent: &[u8]) -> Option<ClientMark> {
        let mut mac = Context::with_key(&self.mac_key(key)?.key);
        mac.update(DOMAIN);
        match address.to_canonical() {
            IpAddr::V4(address) => {
                mac.update(&[4]);
                mac.update(&address.octets()[..3]);
            }
            IpAddr::V6(address) => {
                mac.update(&[6]);
                mac.update(&address.octets()[..7]);
            }
        }
        mac.update(user_agent);
        mac.sign().as_ref().first_chunk().copied().map(ClientMark)
    }
}
