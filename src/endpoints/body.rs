//! Reads named members from the body of a request: JSON or a form, each member once and as text.
//!
//! Whoever asks names the members, and gets so many places to look at, whatever was sent. Other members are ignored (RFC 6749
//! section 3.2). What must never happen in here: a value in an error or in a `Debug`.

use std::fmt;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use secrecy::SecretString;
use serde::Deserializer as _;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};

use super::Request;
use crate::gate::Reason;

/// The largest body that an endpoint takes, in bytes.
pub const BODY_BYTES_MAX: usize = 16 * 1024;

/// The values of the members called `names`, in the same order; none for one that is not there.
///
/// Refused: [`Reason::BodyTooLarge`]; [`Reason::MediaTypeUnsupported`] if the body is neither JSON nor a form;
/// [`Reason::BodyMalformed`] if it is not what it says, or if one of these members is there twice, empty, or no text.
pub(super) fn members<const N: usize>(
    request: &Request<'_>,
    names: [&str; N],
) -> Result<[Option<SecretString>; N], Reason> {
    if request.body.len() > BODY_BYTES_MAX {
        return Err(Reason::BodyTooLarge);
    }
    let values = match media_type(request.headers).ok_or(Reason::MediaTypeUnsupported)? {
        MediaType::Json => from_json(&request.body, names),
        MediaType::Form => from_form(&request.body, names),
    };
    values.ok_or(Reason::BodyMalformed)
}

enum MediaType {
    Json,
    Form,
}

/// The one media type of the body, whatever its parameters: both types are UTF-8 by definition.
fn media_type(headers: &HeaderMap) -> Option<MediaType> {
    let mut values = headers.get_all(CONTENT_TYPE).into_iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let essence = value.to_str().ok()?.split(';').next()?.trim_ascii();
    if essence.eq_ignore_ascii_case("application/json") {
        Some(MediaType::Json)
    } else if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Some(MediaType::Form)
    } else {
        None
    }
}

fn from_json<const N: usize>(body: &[u8], names: [&str; N]) -> Option<[Option<SecretString>; N]> {
    let mut body = serde_json::Deserializer::from_slice(body);
    let values = body.deserialize_map(Members(names)).ok()?;
    body.end().ok()?;
    Some(values)
}

fn from_form<const N: usize>(body: &[u8], names: [&str; N]) -> Option<[Option<SecretString>; N]> {
    let mut values = [const { None }; N];
    for (name, value) in form_urlencoded::parse(body) {
        let Some(at) = names.iter().position(|own| *own == name) else { continue };
        // Bytes that are not UTF-8 become U+FFFD: many passwords would be one.
        if values[at].is_some() || value.is_empty() || value.contains('\u{fffd}') {
            return None;
        }
        values[at] = Some(SecretString::from(value.into_owned()));
    }
    Some(values)
}

/// Reads an object, and nothing that could stand for one.
struct Members<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Members<'_, N> {
    type Value = [Option<SecretString>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut values = [const { None }; N];
        while let Some(name) = object.next_key::<String>()? {
            let Some(at) = self.0.iter().position(|own| *own == name) else {
                object.next_value::<IgnoredAny>()?;
                continue;
            };
            let value: String = object.next_value()?;
            if values[at].is_some() || value.is_empty() {
                return Err(A::Error::custom("a member that is there twice, or empty"));
            }
            values[at] = Some(SecretString::from(value));
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use bytes::Bytes;
    use http::HeaderValue;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::gate::Sender;

    const JSON: &[&str] = &["application/json"];
    const FORM: &[&str] = &["application/x-www-form-urlencoded"];

    /// The members `a` and `b`.
    fn read(types: &[&str], body: impl Into<Bytes>) -> Result<[Option<String>; 2], Reason> {
        let mut headers = HeaderMap::new();
        for value in types {
            headers.append(CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
        }
        let request = Request {
            query: b"",
            headers: &headers,
            body: body.into(),
            address: IpAddr::from(Ipv4Addr::LOCALHOST),
            sender: Sender::Program,
            identity: None,
            bearer_refused: None,
        };
        let values = members(&request, ["a", "b"])?;
        assert!(!format!("{values:?}").contains("s3cret"), "{values:?}");
        Ok(values.map(|value| value.map(|value| value.expose_secret().to_owned())))
    }

    fn some(a: &str, b: &str) -> Result<[Option<String>; 2], Reason> {
        Ok([Some(a.to_owned()), Some(b.to_owned())])
    }

    #[test]
    fn both_types_say_the_same() {
        let both = some("demo", "s3cret +&=é");
        for body in [
            r#"{"a":"demo","b":"s3cret +&=é"}"#,
            "\n {\"b\":\"s3cret +&=\\u00e9\",\"c\":true,\"\\u0061\":\"demo\",\"more\":[{\"a\":1}],\"c\":null}\n",
        ] {
            assert_eq!(read(JSON, body), both, "{body}");
            assert_eq!(read(&["Application/JSON; charset=utf-8"], body), both, "{body}");
        }
        for body in ["a=demo&b=s3cret+%2B%26%3D%C3%A9", "c=1&b=s3cret%20%2B%26=é&d&%61=demo&c=2&"] {
            assert_eq!(read(FORM, body), both, "{body}");
            assert_eq!(read(&["APPLICATION/x-www-form-urlencoded ;charset=UTF-8"], body), both, "{body}");
        }
    }

    #[test]
    fn a_member_that_is_not_there_is_none() {
        for (types, body) in [(JSON, r#"{"b":"x"}"#), (FORM, "b=x"), (JSON, r#"{"A":"y","b":"x","a ":"z"}"#)] {
            assert_eq!(read(types, body), Ok([None, Some("x".to_owned())]), "{body}");
        }
        for (types, body) in [(JSON, "{}"), (FORM, ""), (FORM, r#"{"a":"x","b":"y"}"#), (FORM, "A=x&B=y")] {
            assert_eq!(read(types, body), Ok([None, None]), "{body}");
        }
    }

    #[test]
    fn anything_but_text_that_is_there_once_is_malformed() {
        for body in [
            "",
            " ",
            "null",
            "[]",
            r#""a""#,
            r#"["x","y"]"#,
            r#"[{"a":"x"}]"#,
            r#"{"a":""}"#,
            r#"{"a":null}"#,
            r#"{"a":1}"#,
            r#"{"a":["x"]}"#,
            r#"{"a":{"a":"x"}}"#,
            r#"{"a":"x","b":"y","b":"y"}"#,
            r#"{"a":"x","\u0061":"z"}"#,
            r#"{"a":"x"} {}"#,
            r#"{"a":"x""#,
            r#"{"a":"x",}"#,
            r#"{'a':'x'}"#,
            r#"{"a":"\ud800"}"#,
            "\u{feff}{}",
            "a=x&b=y",
        ] {
            assert_eq!(read(JSON, body), Err(Reason::BodyMalformed), "{body}");
        }
        let deep = format!(r#"{{"a":"x","c":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000));
        assert_eq!(read(JSON, deep), Ok([Some("x".to_owned()), None]), "passed over without a stack");
        assert_eq!(read(JSON, &b"{\"a\":\"\xff\"}"[..]), Err(Reason::BodyMalformed));
        for body in ["a=", "a", "a=x&a=x", "a=x&%61=y", "a=%FF", "a=&a=x"] {
            assert_eq!(read(FORM, body), Err(Reason::BodyMalformed), "{body}");
        }
    }

    #[test]
    fn other_types_and_larger_bodies_are_refused_as_such() {
        let body = r#"{"a":"x","b":"y"}"#;
        for types in [
            &[][..],
            &[""],
            &["text/plain"],
            &["text/json"],
            &["application/jsonp"],
            &["multipart/form-data; boundary=x"],
            &["application/json, text/plain"],
            &["application/json", "application/json"],
            &["application/json", "application/x-www-form-urlencoded"],
        ] {
            assert_eq!(read(types, body), Err(Reason::MediaTypeUnsupported), "{types:?}");
        }
        let fits = format!("{body}{}", " ".repeat(BODY_BYTES_MAX - body.len()));
        assert_eq!(read(JSON, fits.clone()), some("x", "y"));
        assert_eq!(read(JSON, format!("{fits} ")), Err(Reason::BodyTooLarge));
    }
}
