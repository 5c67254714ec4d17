//! The three parts of a signed token (RFC 7515 section 7.1), and the first of them: its header.
//!
//! Nothing here is verified yet: every byte is the client's. What must never happen in here: work in proportion to
//! junk; one token has two readings.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::KeySet;
use super::claims::Text;

/// No access token of ours is longer, and none that is longer is looked at.
pub const ACCESS_TOKEN_BYTES_MAX: usize = 8 * 1024;

/// A token that was taken apart and not looked into.
pub(super) struct Parts<'a> {
    /// What the signature is over: header, dot, claims.
    pub signed: &'a str,
    pub header: &'a str,
    pub claims: &'a str,
    pub signature: &'a str,
}

impl<'a> Parts<'a> {
    /// Exactly three parts, none of them empty: five would be encrypted (RFC 7516), an empty third one unsigned.
    pub fn of(token: &'a str) -> Option<Parts<'a>> {
        if token.len() > ACCESS_TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let ours = [header, claims, signature].iter().all(|part| !part.is_empty() && !part.contains('.'));
        ours.then_some(Parts { signed, header, claims, signature })
    }

    /// Decodes all three in `buffer`, whatever stood there. None if header or claims are no objects.
    pub fn decode<'b>(&self, buffer: &'b mut Vec<u8>) -> Option<Decoded<'b>> {
        buffer.clear();
        // At once for the three of them, and each is rounded up.
        buffer.reserve(self.signed.len() + self.signature.len());
        let mut part = |part: &str| {
            URL_SAFE_NO_PAD.decode_vec(part, buffer).ok()?;
            Some(buffer.len())
        };
        let header_end = part(self.header)?;
        let claims_end = part(self.claims)?;
        let signature_is_good = part(self.signature).is_some();
        let (header, rest) = buffer.split_at(header_end);
        let (claims, signature) = rest.split_at(claims_end - header_end);
        let are_objects = [header, claims].iter().all(|json| json.first() == Some(&b'{'));
        are_objects.then_some(Decoded { header, claims, signature: signature_is_good.then_some(signature) })
    }
}

/// The bytes of a token's parts.
pub(super) struct Decoded<'a> {
    pub header: &'a [u8],
    pub claims: &'a [u8],
    /// None if it is no base64url.
    pub signature: Option<&'a [u8]>,
}

/// The members of a header that mean something to us. A member that is there twice is an error of the parser, and so is
/// one of the wrong type; what is not named here is ignored (RFC 7515 section 4).
#[derive(Deserialize)]
pub(super) struct Header<'a> {
    #[serde(borrow)]
    pub alg: Cow<'a, str>,
    #[serde(borrow)]
    pub kid: Option<Text<'a>>,
    #[serde(borrow)]
    pub typ: Option<Text<'a>>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
    #[serde(default, deserialize_with = "present")]
    b64: bool,
    #[serde(default, deserialize_with = "present")]
    jku: bool,
    #[serde(default, deserialize_with = "present")]
    jwk: bool,
    #[serde(default, deserialize_with = "present")]
    x5u: bool,
    #[serde(default, deserialize_with = "present")]
    x5c: bool,
}

impl Header<'_> {
    /// It asks for something that we do not do: an extension, an unencoded payload, a key that the token brings along.
    pub fn asks_for_more(&self) -> bool {
        self.crit || self.b64 || self.jku || self.jwk || self.x5u || self.x5c
    }

    /// It is the header of an access token (RFC 9068 section 2.1), and not of any other kind of JWT.
    pub fn is_access_token(&self) -> bool {
        // RFC 7515 section 4.1.9: a media type, of which "application/" can be left out; these ignore case.
        let typ = self.typ.as_deref().unwrap_or_default();
        typ.eq_ignore_ascii_case("at+jwt") || typ.eq_ignore_ascii_case("application/at+jwt")
    }
}

/// Whatever the value is: the member is there.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// Decodes a part that is to be a JSON object. Only the canonical spelling is accepted: no padding, no stray bits at the
/// end. And only an object: `serde` would also take an array for a struct, as its fields in their order.
pub(super) fn decode_object(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok().filter(|json| json.first() == Some(&b'{'))
}

impl KeySet {
    /// A cheap look: has this text the shape of a JWT whose `kid` is one of ours? It proves nothing about the token. It is
    /// how our own token is told from the app's on routes where neither is verified.
    pub fn names_key_of_ours(&self, jwt: &str) -> bool {
        let header = Parts::of(jwt).and_then(|parts| decode_object(parts.header));
        let Some(header) = header else { return false };
        let header: Option<Header<'_>> = serde_json::from_slice(&header).ok();
        header.and_then(|header| header.kid).is_some_and(|kid| self.signing_key(&kid).is_some())
    }
}
