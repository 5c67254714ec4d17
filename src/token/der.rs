//! The few bytes of DER (X.690) between a PKCS #8 document and the numbers of an RSA key.
//!
//! It reads what the cryptographic library wrote, never what came over the network.

/// The `RSAPrivateKey` (RFC 8017 appendix A.1.2) inside a PKCS #8 `PrivateKeyInfo` (RFC 5208 section 5).
pub(crate) fn rsa_private_key(pkcs8: &[u8]) -> Option<&[u8]> {
    let (info, _) = element(SEQUENCE, pkcs8)?;
    let (_version, info) = element(INTEGER, info)?;
    let (_algorithm, info) = element(SEQUENCE, info)?;
    let (key, _) = element(OCTET_STRING, info)?;
    Some(key)
}

/// `n, e, d, p, q, dp, dq, qi` of an `RSAPrivateKey`, without leading zeros.
pub(crate) fn rsa_numbers(rsa_private_key: &[u8]) -> Option<[&[u8]; 8]> {
    let (numbers, _) = element(SEQUENCE, rsa_private_key)?;
    let (_version, mut rest) = element(INTEGER, numbers)?;
    let mut found: [&[u8]; 8] = [&[]; 8];
    for number in &mut found {
        let (bytes, after) = element(INTEGER, rest)?;
        *number = bytes.strip_prefix(&[0]).unwrap_or(bytes);
        rest = after;
    }
    Some(found)
}

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// The content of the element at the start of `input`, which must have this tag, and what follows it.
fn element(tag: u8, input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = input.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => {
            let (bytes, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*bytes)), rest)
        }
        _ => return None,
    };
    if found == tag { rest.split_at_checked(length) } else { None }
}
