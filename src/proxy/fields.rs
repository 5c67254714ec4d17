//! Header fields that are edited on their way to the app, cheaply.
//!
//! Beside the values Pingora keeps a second map, for the case that names came in, and it parses each name that is put in. That
//! costs most of what writing our fields costs, and both heads are cloned and dropped on their way. So the case is forgotten:
//! on HTTP/1 the names of the standards are then written as in the standards (`Content-Type`), all others in lower case, as
//! everybody gets them over HTTP/2. A route can keep the case, for apps and clients that mind; and who asks for an upgrade
//! keeps it: browsers ask over HTTP/1 only, and old WebSocket servers look for `Sec-WebSocket-Key` as it is spelled.
//!
//! What must never happen in here: a target is forwarded that is not byte for byte the one that was judged.

use std::mem::replace;

use http::header::UPGRADE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, request, response};
use pingora::http::{RequestHeader, ResponseHeader};

use crate::gate::{Known, KnownNames};

/// Header fields, with or without the case of their names.
pub(super) trait Fields {
    /// All of them.
    fn all(&self) -> &HeaderMap;
    /// Makes room for so many more.
    fn reserve(&mut self, more: usize) -> pingora::Result<()>;
    /// Puts one in the place of all of that name.
    fn put(&mut self, name: HeaderName, value: HeaderValue) -> pingora::Result<()>;
    /// Removes all of that name.
    fn clear(&mut self, name: &HeaderName);
}

impl Fields for HeaderMap {
    fn all(&self) -> &HeaderMap {
        self
    }

    fn reserve(&mut self, more: usize) -> pingora::Result<()> {
        self.try_reserve(more).map_err(internal)
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

    fn reserve(&mut self, _more: usize) -> pingora::Result<()> {
        Ok(())
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
    if request.has_case() {
        return edit.edit(request);
    }
    in_lower_case(request, |fields| edit.edit(fields))
}

/// Forgets in which case the names of the fields came, unless it asks for an upgrade. If that fails, what is left of `request` must not
/// be forwarded.
pub(super) fn forget_case(request: &mut RequestHeader, names: KnownNames) -> pingora::Result<()> {
    let may_upgrade = names.may_have(Known::Upgrade) && request.headers.contains_key(UPGRADE);
    match request.has_case() && !may_upgrade {
        true => in_lower_case(request, |_| Ok(())),
        false => Ok(()),
    }
}

/// Forgets in which case the names of the fields of an answer came.
pub(super) fn forget_case_of_answer(response: &mut ResponseHeader) -> pingora::Result<()> {
    // What `Parts` have no place for.
    let reason = response.get_reason_phrase().filter(|said| Some(*said) != response.status.canonical_reason());
    let reason = reason.map(str::to_owned);
    let empty = ResponseHeader::from(Response::new(()).into_parts().0);
    *response = ResponseHeader::from(response::Parts::from(replace(response, empty)));
    reason.map_or(Ok(()), |reason| response.set_reason_phrase(Some(&reason)))
}

/// Takes `request` apart, and puts it together again without the case of its names.
fn in_lower_case(
    request: &mut RequestHeader,
    edit: impl FnOnce(&mut HeaderMap) -> pingora::Result<()>,
) -> pingora::Result<()> {
    // What `Parts` have no place for.
    let ends_with_head = request.send_end_stream();
    let in_uri = request.uri.path_and_query().is_some_and(|target| target.as_str().as_bytes() == request.raw_path());
    let target = (!in_uri).then(|| request.raw_path().to_vec());

    let empty = RequestHeader::from(Request::new(()).into_parts().0);
    let mut parts = request::Parts::from(replace(request, empty));
    edit(&mut parts.headers)?;
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
            forget_case(&mut edited, KnownNames::ANY).unwrap();
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
            forget_case(&mut edited, KnownNames::ANY).unwrap();
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
            forget_case(&mut edited, KnownNames::ANY).unwrap();
            edit(&mut edited, &SetsHost).unwrap();
            assert_eq!(edited.send_end_stream(), Some(ends_with_head));
        }
    }

    #[test]
    fn an_answer_keeps_everything_but_the_case_of_its_names() {
        for reason in [None, Some("OK"), Some("All is well"), Some("")] {
            let mut answer = ResponseHeader::build(200, None).unwrap();
            answer.set_version(Version::HTTP_10);
            answer.set_reason_phrase(reason).unwrap();
            for (name, value) in [("CONTENT-type", "a"), ("X-Other", "b"), ("x-OTHER", "c")] {
                answer.append_header(name, value).unwrap();
            }
            let before = answer.clone();
            forget_case_of_answer(&mut answer).unwrap();
            assert!(!answer.has_case());
            assert_eq!((answer.status, answer.version), (before.status, before.version));
            assert_eq!(answer.get_reason_phrase(), before.get_reason_phrase());
            let mut wire = Vec::new();
            answer.header_to_h1_wire(&mut wire);
            assert_eq!(String::from_utf8(wire).unwrap(), "Content-Type: a\r\nx-other: b\r\nx-other: c\r\n");
        }
    }
}
