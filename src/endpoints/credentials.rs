//! Reads user name and password from the body of a login: JSON or a form.
//!
//! Members that are not asked for are ignored (RFC 6749 section 3.2); the two that are must be there once, as text, and
//! not be empty (an empty password is an anonymous bind in LDAP). What must never happen in here: a password in an error.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use secrecy::SecretString;
use serde::Deserialize;

use super::Request;
use crate::gate::Reason;
use crate::login::Credentials;

/// The largest body of a login, in bytes.
pub const LOGIN_BODY_BYTES_MAX: usize = 16 * 1024;

enum MediaType {
    Json,
    Form,
}

/// The credentials in the request's body.
pub(super) fn read(request: &Request<'_>) -> Result<Credentials, Reason> {
    if request.body.len() > LOGIN_BODY_BYTES_MAX {
        return Err(Reason::BodyTooLarge);
    }
    let fields = match media_type(request.headers).ok_or(Reason::MediaTypeUnsupported)? {
        MediaType::Json => Fields::from_json(&request.body),
        MediaType::Form => Fields::from_form(&request.body),
    };
    match fields {
        Some(Fields { username, password }) if !username.is_empty() && !password.is_empty() => {
            Ok(Credentials { username, password: SecretString::from(password), address: request.address })
        }
        _ => Err(Reason::BodyMalformed),
    }
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

#[derive(Deserialize)]
struct Fields {
    username: String,
    password: String,
}

impl Fields {
    fn from_json(body: &[u8]) -> Option<Fields> {
        // An array would do for serde as well.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return None;
        }
        // Members that come twice are an error of serde.
        serde_json::from_slice(body).ok()
    }

    fn from_form(body: &[u8]) -> Option<Fields> {
        let (mut username, mut password) = (None, None);
        for (name, value) in form_urlencoded::parse(body) {
            let field = match &*name {
                "username" => &mut username,
                "password" => &mut password,
                _ => continue,
            };
            // Bytes that are not UTF-8 become U+FFFD: many passwords would be one.
            if field.is_some() || value.contains('\u{fffd}') {
                return None;
            }
            *field = Some(Cow::into_owned(value));
        }
        Some(Fields { username: username?, password: password? })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use bytes::Bytes;
    use http::HeaderValue;
    use secrecy::ExposeSecret;

    use super::*;

    const JSON: &[&str] = &["application/json"];
    const FORM: &[&str] = &["application/x-www-form-urlencoded"];

    fn read(types: &[&str], body: impl Into<Bytes>) -> Result<(String, String), Reason> {
        let mut headers = HeaderMap::new();
        for value in types {
            headers.append(CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
        }
        let address = IpAddr::from(Ipv4Addr::LOCALHOST);
        let request = Request { headers: &headers, body: body.into(), address, identity: None, bearer_refused: None };
        super::read(&request).map(|read| (read.username, read.password.expose_secret().to_owned()))
    }

    #[test]
    fn both_types_say_the_same() {
        let demo = Ok(("demo".to_owned(), "s3cret +&=é".to_owned()));
        for body in [
            r#"{"username":"demo","password":"s3cret +&=é"}"#,
            "\n {\"password\":\"s3cret +&=\\u00e9\",\"remember\":true,\"username\":\"demo\",\"more\":[{}]}\n",
        ] {
            assert_eq!(read(JSON, body), demo, "{body}");
            assert_eq!(read(&["Application/JSON; charset=utf-8"], body), demo, "{body}");
        }
        for body in [
            "username=demo&password=s3cret+%2B%26%3D%C3%A9",
            "remember=1&password=s3cret%20%2B%26=é&submit&username=demo&remember=2&",
        ] {
            assert_eq!(read(FORM, body), demo, "{body}");
            assert_eq!(read(&["APPLICATION/x-www-form-urlencoded ;charset=UTF-8"], body), demo, "{body}");
        }
    }

    #[test]
    fn anything_but_two_texts_is_malformed() {
        for body in [
            "",
            "{}",
            "null",
            "[]",
            r#"["demo","demo"]"#,
            r#"{"username":"demo"}"#,
            r#"{"password":"demo"}"#,
            r#"{"username":"demo","password":""}"#,
            r#"{"username":"","password":"demo"}"#,
            r#"{"username":"demo","password":null}"#,
            r#"{"username":"demo","password":1}"#,
            r#"{"username":["demo"],"password":"demo"}"#,
            r#"{"username":"demo","password":"demo","password":"demo"}"#,
            r#"{"username":"demo","username":"root","password":"demo"}"#,
            r#"{"username":"demo","password":"demo"} {}"#,
            r#"{"username":"demo","password":"demo""#,
            r#"{"username":"demo","password":"\ud800"}"#,
            "username=demo&password=demo",
        ] {
            assert_eq!(read(JSON, body), Err(Reason::BodyMalformed), "{body}");
        }
        let deep = format!(r#"{{"username":"demo","password":"demo","x":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000));
        let _no_stack_overflow = read(JSON, deep);
        assert_eq!(read(JSON, &b"{\"username\":\"demo\",\"password\":\"\xff\"}"[..]), Err(Reason::BodyMalformed));
        for body in [
            "",
            "username=demo",
            "password=demo",
            "username=demo&password=",
            "username=demo&password",
            "username=&password=demo",
            "username=demo&password=demo&password=demo",
            "username=demo&user%6eame=root&password=demo",
            "username=demo&password=%FF",
            "Username=demo&Password=demo",
            r#"{"username":"demo","password":"demo"}"#,
        ] {
            assert_eq!(read(FORM, body), Err(Reason::BodyMalformed), "{body}");
        }
    }

    #[test]
    fn other_types_and_larger_bodies_are_refused_as_such() {
        let body = r#"{"username":"demo","password":"demo"}"#;
        for types in [
            &[][..],
            &[""],
            &["text/plain"],
            &["text/json"],
            &["application/jsonp"],
            &["multipart/form-data; boundary=x"],
            &["application/json, text/plain"],
            &["application/json", "application/json"],
        ] {
            assert_eq!(read(types, body), Err(Reason::MediaTypeUnsupported), "{types:?}");
        }
        let fits = format!("{body}{}", " ".repeat(LOGIN_BODY_BYTES_MAX - body.len()));
        assert!(read(JSON, fits.clone()).is_ok());
        assert_eq!(read(JSON, format!("{fits} ")), Err(Reason::BodyTooLarge));
    }
}
