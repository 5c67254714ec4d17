//! From Pingora's head of a request to the one that is judged, and what the bytes say that its parser does not.
//!
//! What must never happen in here: a head is judged that is not the one on the wire.

use http::Version;
use http::header::{CONTENT_LENGTH, COOKIE};
use memchr::memchr;
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use super::compiled::Limits;
use crate::gate::{Known, KnownNames, RawHead, Reason, RequestHead, Scheme};
use crate::telemetry::Limit;

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

/// How long the body will be, as far as the head says so.
pub(super) fn announced_bytes(header: &RequestHeader, names: KnownNames) -> Option<u64> {
    if !names.may_have(Known::ContentLength) {
        return None;
    }
    header.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Is the head small enough?
pub(super) fn check_size(session: &Session, limits: &Limits) -> Result<(), Limit> {
    let header = session.req_header();
    let bytes = match session.as_downstream().as_http1() {
        Some(http1) => http1.get_headers_raw_bytes().len(),
        None => {
            let fields = header.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
            fields.sum::<usize>() + header.raw_path().len()
        }
    };
    if bytes > limits.header_bytes_max {
        return Err(Limit::HeaderSize);
    }
    let max = limits.header_fields_max;
    // Browsers make a field of each cookie over HTTP/2 (RFC 9113 section 8.2.3).
    let further_cookies = || header.headers.get_all(COOKIE).iter().count().saturating_sub(1);
    if header.headers.len() > max && header.headers.len() - further_cookies() > max {
        return Err(Limit::HeaderCount);
    }
    Ok(())
}

/// What only the bytes of an HTTP/1 head can tell, because the parser has repaired it: `Content-Length` beside
/// `Transfer-Encoding`, lines that end with a bare LF, a fragment in the target. `names` are those that the parser has left.
pub(super) fn check_wire(session: &Session, names: KnownNames) -> Result<(), Reason> {
    let Some(http1) = session.as_downstream().as_http1() else { return Ok(()) };
    let raw = http1.get_headers_raw_bytes();
    let Some(first) = memchr(b'\n', &raw) else { return Err(Reason::HeadMalformed) };
    if !raw.ends_with(b"\r\n") || has_bare_line_end(&raw) {
        return Err(Reason::HeadMalformed);
    }
    if !asks_for(&raw[..first - 1], session.req_header()) {
        return Err(Reason::PathAmbiguous);
    }
    // Where there are both it has left one.
    let may_be_two = names.may_have(Known::ContentLength) || names.may_have(Known::TransferEncoding);
    if may_be_two && raw.split(|&byte| byte == b'\n').filter(|line| tells_length(line)).count() > 1 {
        return Err(Reason::HeadMalformed);
    }
    Ok(())
}

/// Does a line end with LF alone? All bytes are looked at, many at once.
fn has_bare_line_end(raw: &[u8]) -> bool {
    let pairs = raw.iter().zip(raw.get(1..).unwrap_or_default());
    let bare = pairs.fold(0, |bare, (&before, &byte)| bare | (u8::from(byte == b'\n') & u8::from(before != b'\r')));
    bare != 0 || raw.first() == Some(&b'\n')
}

fn tells_length(line: &[u8]) -> bool {
    match line.first() {
        Some(b'c' | b'C') => is_field(line, b"content-length"),
        Some(b't' | b'T') => is_field(line, b"transfer-encoding"),
        _ => false,
    }
}

/// Does the request line have this method and this target, and nothing else but a version?
fn asks_for(request_line: &[u8], header: &RequestHeader) -> bool {
    let after_method = request_line.strip_prefix(header.method.as_str().as_bytes());
    let target = after_method.and_then(|rest| rest.strip_prefix(b" "));
    matches!(target.and_then(|rest| rest.strip_prefix(header.raw_path())), Some([] | [b' ', ..]))
}

fn is_field(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)) && line.get(name.len()) == Some(&b':')
}
