//! Reading the body of a request to an endpoint of ours: all of it, bounded in size and time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT};
use pingora::proxy::Session;

use crate::gate::Reason;

/// How long the whole body of a request to an endpoint may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Reads the body, or says why not.
pub(super) async fn read(session: &mut Session, bytes_max: usize) -> Result<Bytes, Reason> {
    let announced =
        session.req_header().headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > bytes_max) {
        return Err(Reason::BodyTooLarge);
    }
    if session.is_body_empty() {
        return Ok(Bytes::new());
    }
    let expects_continue = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if session.req_header().headers.get(EXPECT).is_some_and(expects_continue) {
        session.write_continue_response().await.map_err(|_| Reason::BodyMalformed)?;
    }
    match tokio::time::timeout(DEADLINE, read_all(session, bytes_max)).await {
        Ok(result) => result,
        Err(_) => Err(Reason::RequestTimeout),
    }
}

async fn read_all(session: &mut Session, bytes_max: usize) -> Result<Bytes, Reason> {
    let mut body = BytesMut::new();
    loop {
        match session.read_request_body().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > bytes_max => return Err(Reason::BodyTooLarge),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body.freeze()),
            Err(_) => return Err(Reason::BodyMalformed),
        }
    }
}
