//! From Pingora's head of a request to the one that is judged, and what the bytes say that its parser does not.
//!
//! What must never happen in here: a head is judged that is not the one on the wire.

use http::Version;
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use crate::gate::{RawHead, Reason, RequestHead, Scheme};

/// Reads a head strictly.
pub(super) fn read_head(header: &RequestHeader, scheme: Scheme) -> Result<RequestHead<'_>, Reason> {
    let authority =
        if header.version == Version::HTTP_2 { header.uri.authority().map(|host| host.as_str()) } else { None };
    RequestHead::read(RawHead {
        method: &header.method,
        target: header.raw_path(),
        authority,
        headers: &header.headers,
        scheme,
    })
}

/// What only the bytes of an HTTP/1 head can tell, because the parser has repaired it: `Content-Length` beside
/// `Transfer-Encoding`, lines that end with a bare LF, a fragment in the target.
pub(super) fn check_wire(session: &Session, header_bytes_max: usize) -> Result<(), Reason> {
    let Some(http1) = session.as_downstream().as_http1() else {
        let headers = &session.req_header().headers;
        let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        return if size + session.req_header().raw_path().len() > header_bytes_max {
            Err(Reason::HeadTooLarge)
        } else {
            Ok(())
        };
    };
    let raw = http1.get_headers_raw_bytes();
    if raw.len() > header_bytes_max {
        return Err(Reason::HeadTooLarge);
    }
    let mut lines = raw.split(|&byte| byte == b'\n');
    let request_line = lines.next().unwrap_or_default();
    let target = request_line.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    if target != session.req_header().raw_path() {
        return Err(Reason::PathAmbiguous);
    }
    let mut lengths = 0;
    let mut codings = 0;
    for line in [request_line].into_iter().chain(lines) {
        match line.strip_suffix(b"\r") {
            Some(line) => {
                lengths += usize::from(is_field(line, b"content-length"));
                codings += usize::from(is_field(line, b"transfer-encoding"));
            }
            // What follows the last line end.
            None if line.is_empty() => {}
            None => return Err(Reason::HeadMalformed),
        }
    }
    if lengths + codings > 1 { Err(Reason::HeadMalformed) } else { Ok(()) }
}

fn is_field(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)) && line.get(name.len()) == Some(&b':')
}
