//! The name of a session, and which partition of the store it lives in.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Sessions and revocation streams are split into this many partitions, each with everything that one
/// commit touches (in a Redis Cluster: one slot). All proxies must agree on it, so it is a constant.
pub const PARTITIONS: usize = 16;

/// So long is the text of a session's id.
pub const SESSION_ID_TEXT_BYTES: usize = 22;

/// A session's id: the `sid` claim. 16 bytes, written as 22 characters of unpadded base64url.
///
/// The first byte is derived from the subject, the other 15 are random. All sessions of a subject
/// therefore share a partition, and the list of them can be kept in the same atomic step as the sessions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// A new id for a session of `subject`. `random` must come from a cryptographic source.
    pub fn new(subject: &str, random: [u8; 15]) -> SessionId {
        let mut bytes = [0; 16];
        bytes[0] = subject_byte(subject);
        bytes[1..].copy_from_slice(&random);
        SessionId(bytes)
    }

    /// From its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> SessionId {
        SessionId(bytes)
    }

    /// Its 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Its text, which is ASCII.
    pub fn text(&self) -> [u8; SESSION_ID_TEXT_BYTES] {
        let mut text = [0; SESSION_ID_TEXT_BYTES];
        // It has room for exactly these.
        let _ = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text);
        text
    }

    /// From its text. Only the canonical spelling is accepted, so that one id has one text.
    pub fn parse(text: &str) -> Result<SessionId, ParseSessionIdError> {
        let mut bytes = [0; 16];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(16) => Ok(SessionId(bytes)),
            _ => Err(ParseSessionIdError),
        }
    }

    /// The partition it lives in: `0..PARTITIONS`.
    pub const fn partition(&self) -> usize {
        self.0[0] as usize % PARTITIONS
    }

    /// The partition in which all sessions of `subject` live.
    pub fn partition_of_subject(subject: &str) -> usize {
        subject_byte(subject) as usize % PARTITIONS
    }
}

/// FNV-1a folded to one byte: it only spreads subjects over partitions, nothing secret rests on it.
fn subject_byte(subject: &str) -> u8 {
    let hash = subject
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash.to_le_bytes().into_iter().fold(0, |folded, byte| folded ^ byte)
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// The text is not a session id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a session id: expected 22 characters of base64url")]
pub struct ParseSessionIdError;

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SessionId, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = SessionId;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a session id: 22 characters of base64url")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<SessionId, E> {
                SessionId::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_are_the_same_id() {
        let id = SessionId::new("demo", [7; 15]);
        assert_eq!(SessionId::parse(&id.to_string()), Ok(id));
        assert_eq!(id.to_string().len(), 22);
    }

    #[test]
    fn a_second_spelling_of_an_id_is_refused() {
        let text = SessionId::from_bytes([0; 16]).to_string();
        for other in ["", "AAAA", &text[..21], &format!("{text}A"), &format!("{text}=="), &format!("{}B", &text[..21])]
        {
            assert_eq!(SessionId::parse(other), Err(ParseSessionIdError), "{other:?}");
        }
    }

    #[test]
    fn sessions_of_one_subject_share_a_partition() {
        for subject in ["demo", "root", "", "ünïcode"] {
            for random in [[0; 15], [255; 15]] {
                assert_eq!(SessionId::new(subject, random).partition(), SessionId::partition_of_subject(subject));
            }
        }
    }

    #[test]
    fn subjects_spread_over_all_partitions() {
        let mut seen = [0; PARTITIONS];
        for number in 0..1600 {
            seen[SessionId::partition_of_subject(&format!("user{number}"))] += 1;
        }
        assert!(seen.iter().all(|&count| count > 50), "{seen:?}");
    }
}
