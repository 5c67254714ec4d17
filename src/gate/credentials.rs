//! Finding the access token in a request (RFC 6750 section 2.1), and never two.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Reason;
use super::head::RequestHead;
use super::known::{Known, Repeated};

/// What stands in the place of a bearer token. Whether it can be one is not known until it is asked for its text: of one that was
/// verified before it need not be asked again, and tokens are long.
#[derive(Clone, Copy)]
pub struct Bearer<'a>(&'a [u8]);

impl<'a> Bearer<'a> {
    /// Its bytes, whatever they are.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The token. Refused: a list of several, and what is no `b64token` (RFC 6750 section 2.1).
    pub fn text(self) -> Result<&'a str, Reason> {
        if self.0.contains(&b',') {
            return Err(Reason::CredentialsAmbiguous);
        }
        // All bytes at once, not up to the first bad one: so it is done many at a time.
        let is_token = !self.0.is_empty() && self.0.iter().fold(true, |all, &byte| all & is_token_byte(byte));
        match std::str::from_utf8(self.0) {
            Ok(token) if is_token => Ok(token),
            _ => Err(Reason::TokenMalformed),
        }
    }
}

/// The bearer token that the header `name` carries. None if there is none: no field, or one of another scheme.
///
/// A header of its own, other than `Authorization`, may hold the bare token. Two fields are refused.
pub fn bearer<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<Bearer<'a>>, Reason> {
    let mut fields = headers.get_all(name).iter();
    let field = fields.next();
    in_field(if fields.next().is_none() { Ok(field) } else { Err(Repeated) }, name)
}

/// The same of a head that was read.
pub(super) fn bearer_of<'a>(head: &RequestHead<'a>, name: &HeaderName) -> Result<Option<Bearer<'a>>, Reason> {
    if *name == AUTHORIZATION {
        in_field(head.known.only(Known::Authorization), name)
    } else {
        bearer(head.headers, name)
    }
}

fn in_field<'a>(
    field: Result<Option<&'a HeaderValue>, Repeated>,
    name: &HeaderName,
) -> Result<Option<Bearer<'a>>, Reason> {
    let Some(field) = field.map_err(|Repeated| Reason::CredentialsAmbiguous)? else { return Ok(None) };
    let field = field.as_bytes();
    let token = match field.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii_start(),
        _ if field.trim_ascii().eq_ignore_ascii_case(b"bearer") => b"",
        _ if name == AUTHORIZATION => return without_bearer(field),
        _ => field,
    };
    Ok(Some(Bearer(token)))
}

/// A field of another scheme is not for us, unless a bearer token hides in it.
fn without_bearer(field: &[u8]) -> Result<Option<Bearer<'static>>, Reason> {
    let hides_bearer = field
        .windows(7)
        .any(|window| window.eq_ignore_ascii_case(b"bearer ") || window.eq_ignore_ascii_case(b"bearer\t"));
    if hides_bearer { Err(Reason::CredentialsAmbiguous) } else { Ok(None) }
}

/// `b64token` of RFC 6750 section 2.1.
fn is_token_byte(byte: u8) -> bool {
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    // `-`, `.`, `/` and the digits stand side by side.
    let is_digit_or_near = byte.wrapping_sub(b'-') <= b'9' - b'-';
    is_letter | is_digit_or_near | (byte == b'_') | (byte == b'~') | (byte == b'+') | (byte == b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, fields: &[&str]) -> Result<Option<String>, Reason> {
        let name: HeaderName = name.parse().unwrap();
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(&name, HeaderValue::from_bytes(field.as_bytes()).unwrap());
        }
        let token = bearer(&headers, &name)?.map(Bearer::text).transpose()?;
        Ok(token.map(str::to_owned))
    }

    #[test]
    fn token_bytes_are_those_of_the_rfc() {
        for byte in 0..=u8::MAX {
            let allowed = byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
            assert_eq!(is_token_byte(byte), allowed, "{byte}");
        }
    }

    #[test]
    fn one_bearer_token_is_found() {
        for field in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c"] {
            assert_eq!(read("authorization", &[field]), Ok(Some("a.b.c".into())), "{field:?}");
        }
        assert_eq!(read("x-access-token", &["a.b.c"]), Ok(Some("a.b.c".into())));
        assert_eq!(read("x-access-token", &["Bearer a.b.c"]), Ok(Some("a.b.c".into())));
    }

    #[test]
    fn other_schemes_are_not_ours() {
        for field in ["Basic ZGVtbzpkZW1v", "Digest username=\"x\"", "Bearerx a.b.c", ""] {
            assert_eq!(read("authorization", &[field]), Ok(None), "{field:?}");
        }
        assert_eq!(read("authorization", &[]), Ok(None));
    }

    #[test]
    fn two_credentials_are_never_one() {
        for fields in [
            &["Bearer a.b.c", "Bearer a.b.c"][..],
            &["Bearer a.b.c", "Basic ZGVtbzpkZW1v"],
            &["Bearer a.b.c, Bearer d.e.f"],
            &["Basic ZGVtbzpkZW1v, Bearer d.e.f"],
        ] {
            assert_eq!(read("authorization", fields), Err(Reason::CredentialsAmbiguous), "{fields:?}");
        }
    }

    #[test]
    fn a_bearer_field_without_a_token_is_malformed() {
        for field in
            ["Bearer", "Bearer ", "Bearer a b", "Bearer a\tb", "Bearer \"a\"", "Bearer \u{fc}", "Bearer\ta.b.c x"]
        {
            assert!(!matches!(read("authorization", &[field]), Ok(Some(_))), "{field:?}");
        }
    }
}
