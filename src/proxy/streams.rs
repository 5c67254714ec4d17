//! Requests that may last: timers that are meant for others do not cut them.

use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Version};
use pingora::http::RequestHeader;
use pingora::upstreams::peer::HttpPeer;

use crate::gate::{Known, KnownNames};

/// A stream that says nothing for this long is dead, whatever it carries.
pub(super) const STREAM_IDLE: Duration = Duration::from_secs(24 * 60 * 60);

/// Does the client expect an answer that comes in pieces, whenever there are some?
pub(super) fn is_stream(header: &RequestHeader, names: KnownNames, is_upgrade: bool, peer: &HttpPeer) -> bool {
    let accept = names.may_have(Known::Accept).then(|| header.headers.get(ACCEPT)).flatten();
    let events = accept.is_some_and(|accept| accept.as_bytes().starts_with(b"text/event-stream"));
    is_upgrade || events || is_grpc(header, peer)
}

/// Only over HTTP/2 all the way, as there is no other: anywhere else the word would be a way to send a body as slowly as one
/// likes.
pub(super) fn is_grpc(header: &RequestHeader, peer: &HttpPeer) -> bool {
    let says_grpc = |content_type: &HeaderValue| content_type.as_bytes().starts_with(b"application/grpc");
    header.version == Version::HTTP_2
        && peer.options.alpn.get_max_http_version() == 2
        && header.headers.get(CONTENT_TYPE).is_some_and(says_grpc)
}
