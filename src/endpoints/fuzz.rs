//! Fuzz targets of our endpoints: bodies, and where a login leads.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use super::{Request, body, login_page};
use crate::fuzz::Target;
use crate::gate::Sender;

pub(crate) const TARGETS: &[Target] = &[("body", members), ("destination", destination)];

/// A member that is read is not empty, and the body has it once.
fn members(bytes: &[u8]) {
    for (media_type, is_json) in [("application/json", true), ("application/x-www-form-urlencoded", false)] {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))]);
        let request = Request {
            query: b"",
            headers: &headers,
            body: Bytes::copy_from_slice(bytes),
            address: [127, 0, 0, 1].into(),
            sender: Sender::Program,
            identity: None,
            bearer_refused: None,
        };
        let Ok(values) = body::members(&request, ["username", "password"]) else { continue };
        for value in values.iter().flatten() {
            assert!(!secrecy::ExposeSecret::expose_secret(value).is_empty());
        }
        if is_json {
            // Members that nobody asks for are skipped, whatever number or text they are.
            let trimmed = bytes.trim_ascii();
            assert!(trimmed.starts_with(b"{") && trimmed.ends_with(b"}"));
        }
    }
}

/// A login leads to this origin and nowhere else, as browsers read it.
fn destination(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let to = login_page::destination::destination(text, "/login");
    let base = url::Url::parse("https://app.example.com/login").expect("a URL");
    let led = base.join(to).expect("it leads somewhere");
    assert_eq!(led.origin(), base.origin(), "{to}");
    assert_ne!(led.path(), "/login");
}
