//! Names requests: the id by which an app and our logs know each, and the trace that it belongs to.
//!
//! Ids are unique within and between processes, and nothing more. What must never happen in here: an id that a client without
//! our trust has chosen.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::forward::X_REQUEST_ID;
use super::trace::{self, Trace, hex, received};
use crate::gate::{Client, Known, KnownNames};

/// How long an id is.
const ID_LENGTH: usize = 32;

/// Names requests.
pub(super) struct RequestIds {
    process: u64,
    /// The same in hex.
    process_hex: [u8; 16],
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new(process: u64) -> RequestIds {
        RequestIds { process, process_hex: hex(process), next: AtomicU64::new(1) }
    }

    /// The id that a trusted proxy gave, or a new one; and the trace that the client names, or a new one.
    pub(super) fn name(
        &self,
        client: &Client,
        headers: &HeaderMap,
        names: KnownNames,
        sampled: bool,
    ) -> (HeaderValue, Trace) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        match (given(client, headers, names), received(headers, names)) {
            (Some(id), Some(trace)) => (id.clone(), Trace::Received(trace.clone())),
            (given, received) => {
                let mut new_id = self.text(number, sampled);
                let new_trace = new_id.split_off(ID_LENGTH);
                let id = given.cloned().unwrap_or_else(|| value(new_id));
                let trace = received.cloned().map_or_else(|| Trace::New(value(new_trace)), Trace::Received);
                (id, trace)
            }
        }
    }

    /// A new id, and behind it a new `traceparent`: one allocation for both, which is shared with what is sent on.
    fn text(&self, number: u64, sampled: bool) -> Bytes {
        let mut text = [0; ID_LENGTH + trace::LENGTH];
        text[..16].copy_from_slice(&self.process_hex);
        text[16..ID_LENGTH].copy_from_slice(&hex(number));
        text[ID_LENGTH..].copy_from_slice(&trace::new(self.process, number, sampled));
        Bytes::from_owner(text)
    }
}

/// The id that a trusted proxy gave.
fn given<'h>(client: &Client, headers: &'h HeaderMap, names: KnownNames) -> Option<&'h HeaderValue> {
    if !client.by_trusted_proxy || !names.may_have(Known::XRequestId) {
        return None;
    }
    let is_plain = |id: &&HeaderValue| {
        let id = id.as_bytes();
        !id.is_empty() && id.len() <= 128 && id.iter().all(u8::is_ascii_graphic)
    };
    headers.get(X_REQUEST_ID).filter(is_plain)
}

fn value(text: Bytes) -> HeaderValue {
    // Cannot fail: it is letters, digits and dashes.
    HeaderValue::from_maybe_shared(text).unwrap_or(HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{KnownFields, Scheme};

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn named(ids: &RequestIds, by_trusted_proxy: bool, fields: &[(&'static str, &str)]) -> (String, String, bool) {
        let client = Client { address: [192, 0, 2, 1].into(), scheme: Scheme::Http, by_trusted_proxy };
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).expect("a field"));
        }
        let (id, trace) = ids.name(&client, &headers, KnownFields::of(&headers).names(), true);
        let is_new = matches!(trace, Trace::New(_));
        let (Trace::Received(trace) | Trace::New(trace)) = trace;
        let text = |value: &HeaderValue| value.to_str().expect("text").to_owned();
        (text(&id), text(&trace), is_new)
    }

    #[test]
    fn what_was_given_is_kept_and_the_rest_is_made() {
        let ids = RequestIds::new(0xabc);
        let ours = |number: u64| format!("{:016x}{number:016x}", 0xabc);
        let (id, trace, is_new) = named(&ids, true, &[]);
        assert_eq!((id, trace.len(), is_new), (ours(1), trace::LENGTH, true));
        let (id, trace, is_new) = named(&ids, false, &[("traceparent", TRACEPARENT), ("x-request-id", "theirs")]);
        assert_eq!((id, trace, is_new), (ours(2), TRACEPARENT.to_owned(), false));
        let (id, trace, is_new) = named(&ids, true, &[("x-request-id", "theirs")]);
        assert_eq!((id, trace.len(), is_new), ("theirs".to_owned(), trace::LENGTH, true));
        let (id, trace, is_new) = named(&ids, true, &[("traceparent", TRACEPARENT), ("x-request-id", "theirs")]);
        assert_eq!((id, trace, is_new), ("theirs".to_owned(), TRACEPARENT.to_owned(), false));
        for id in ["", "a b", &"x".repeat(129)] {
            assert!(named(&ids, true, &[("x-request-id", id)]).0.starts_with("0000000000000abc"), "{id:?}");
        }
    }
}
