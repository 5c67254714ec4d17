//! Fuzz targets of what an app answers.

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use super::jar::Jar;
use super::page;

/// A token that is found stands in the page, as far as character references go.
pub(in crate::login) fn page(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(value) = page::field(text, "csrf")
        && !text.contains('&')
    {
        assert!(text.contains(&*value));
    }
}

/// What is sent back to the app is one line of pairs, each of which it has set.
pub(in crate::login) fn jar(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|&byte| byte == b'\n').take(50) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(SET_COOKIE, value);
        }
    }
    let mut jar = Jar::default();
    jar.take(&headers);
    if let Some(field) = jar.field(None) {
        assert!(HeaderValue::try_from(&field).is_ok());
        let again = Jar::of(&field);
        assert_eq!(again.field(None), Some(field));
    }
}
