//! Header fields that are edited on their way to the app, cheaply.
//!
//! Beside the values Pingora keeps a second map, for the case that names came in, and it parses each name that is put in. That
//! costs most of what writing our fields costs. So the head is taken apart, its fields are edited, and it is put together
//! again without that map: HTTP/1 apps then get names in lower case, as they get them from every browser that speaks HTTP/2.
//! Who asks for an upgrade keeps the case: browsers ask over HTTP/1 only, and old WebSocket servers look for
//! `Sec-WebSocket-Key` as it is spelled.
//!
//! What must never happen in here: a target is forwarded that is not byte for byte the one that was judged.

use std::mem::replace;

use http::header::UPGRADE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use pingora::http::RequestHeader;

/// So many are written at most.
const OURS_MAX: usize = 10;

/// Header fields, with or without the case of their names.
pub(super) trait Fields {
    /// All of them.
    fn all(&self) -> &HeaderMap;
    /// Puts one in the place of all of that name.
    fn put(&mut self, name: HeaderName, value: HeaderValue) -> pingora::Result<()>;
    /// Removes all of that name.
    fn clear(&mut self, name: &HeaderName);
}

impl Fields for HeaderMap {
    fn all(&self) -> &HeaderMap {
        self
    }

    fn put(&mut self, name: HeaderName, value: HeaderValue) -> pingora::Result<()> {
        self.try_insert(name, value).map_err(internal)?;
        Ok(())
    }

    fn clear(&mut self, name: &HeaderName) {
        self.remove(name);
    }
}

impl Fields for RequestHeader {
    fn all(&self) -> &HeaderMap {
        &self.headers
    }

    fn put(&mut self, name: HeaderName, value: HeaderValue) -> pingora::Result<()> {
        self.insert_header(name, value)
    }

    fn clear(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }
}

/// What is done to the fields of a request.
pub(super) trait Edit {
    /// Does it.
    fn edit(&self, fields: &mut impl Fields) -> pingora::Result<()>;
}

/// Edits the fields of `request`. If that fails, what is left of it must not be forwarded.
pub(super) fn edit(request: &mut RequestHeader, edit: &impl Edit) -> pingora::Result<()> {
    if request.headers.contains_key(UPGRADE) {
        return edit.edit(request);
    }
    // What `Parts` have no place for.
    let ends_with_head = request.send_end_stream();
    let in_uri = request.uri.path_and_query().is_some_and(|target| target.as_str().as_bytes() == request.raw_path());
    let target = (!in_uri).then(|| request.raw_path().to_vec());

    let empty = RequestHeader::from(Request::new(()).into_parts().0);
    let mut parts = Parts::from(replace(request, empty));
    parts.headers.try_reserve(OURS_MAX).map_err(internal)?;
    edit.edit(&mut parts.headers)?;
    *request = RequestHeader::from(parts);
    if let Some(target) = target {
        request.set_raw_path(&target)?;
    }
    if let Some(ends_with_head) = ends_with_head {
        request.set_send_end_stream(ends_with_head);
    }
    Ok(())
}

/// An error of ours.
pub(super) fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Box<pingora::Error> {
    pingora::Error::because(pingora::ErrorType::InternalError, "while a header for the upstream was made", error)
}

#[cfg(test)]
mod tests {
    use http::Version;
    use http::header::{ACCEPT, HOST};

    use super::*;

    struct SetsHost;

    impl Edit for SetsHost {
        fn edit(&self, fields: &mut impl Fields) -> pingora::Result<()> {
            fields.clear(&ACCEPT);
            fields.put(HOST, HeaderValue::from_static("app"))
        }
    }

    fn request(target: &[u8]) -> RequestHeader {
        let mut request = RequestHeader::build("POST", target, None).unwrap();
        for (name, value) in [("hOSt", "client"), ("ACCEPT", "a"), ("aCCept", "b"), ("X-Other", "c"), ("X-Other", "d")]
        {
            request.append_header(name, value).unwrap();
        }
        request
    }

    #[test]
    fn the_target_stays_byte_for_byte_what_it_was() {
        for target in [
            &b"/"[..],
            b"/a?b=c&d",
            b"/a%2fb//c/../d",
            b"*",
            b"/\xff\xfe?\x80",
            b"http://other.example/a?b",
            b"http://other.example",
            b"?a",
        ] {
            let mut edited = request(target);
            let before = edited.clone();
            edit(&mut edited, &SetsHost).unwrap();
            assert_eq!(edited.raw_path(), before.raw_path(), "{target:?}");
            assert_eq!(edited.raw_path_is_utf8(), before.raw_path_is_utf8(), "{target:?}");
            assert_eq!((&edited.method, edited.version), (&before.method, before.version));
        }
    }

    #[test]
    fn fields_are_edited_whatever_the_case_of_their_names() {
        for upgrade in [false, true] {
            let mut edited = request(b"/");
            if upgrade {
                edited.insert_header("Upgrade", "websocket").unwrap();
            }
            edit(&mut edited, &SetsHost).unwrap();
            let mut wire = Vec::new();
            edited.header_to_h1_wire(&mut wire);
            let wire = String::from_utf8(wire).unwrap();
            let other = if upgrade { "X-Other" } else { "x-other" };
            assert!(wire.contains(&format!("{other}: c\r\n{other}: d\r\n")), "{wire}");
            assert_eq!(wire.to_lowercase().matches("host: ").count(), 1, "{wire}");
            assert!(wire.contains("Host: app\r\n") && !wire.to_lowercase().contains("accept"), "{wire}");
        }
    }

    #[test]
    fn how_a_stream_ends_is_kept() {
        for ends_with_head in [false, true] {
            let mut edited = request(b"/");
            edited.set_version(Version::HTTP_2);
            edited.set_send_end_stream(ends_with_head);
            edit(&mut edited, &SetsHost).unwrap();
            assert_eq!(edited.send_end_stream(), Some(ends_with_head));
        }
    }
}
