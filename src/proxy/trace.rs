//! Which trace a request belongs to: `traceparent` is passed on, and made where there is none (W3C Trace Context).
//!
//! We report no spans, so we are none: a valid `traceparent` and its `tracestate` pass as they came. A span of ours that no
//! collector ever hears of would tear the app's spans from their parent. One that is malformed, or comes twice, begins a new trace,
//! and its `tracestate` goes.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::gate::{Known, KnownNames};

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Where the trace id stands: `00-<trace id>-<parent id>-<flags>`.
const TRACE_ID: std::ops::Range<usize> = 3..35;
/// How long version 00 is.
pub(super) const LENGTH: usize = 55;

/// The trace of a request.
#[derive(Debug)]
pub(super) enum Trace {
    /// The client's own.
    Received(HeaderValue),
    /// Begun here.
    New(HeaderValue),
}

impl Trace {
    /// Its id, in lower-case hex.
    pub(super) fn id(&self) -> &[u8] {
        let (Trace::Received(value) | Trace::New(value)) = self;
        value.as_bytes().get(TRACE_ID).unwrap_or_default()
    }
}

/// The one valid `traceparent` of a request.
pub(super) fn received(headers: &HeaderMap, names: KnownNames) -> Option<&HeaderValue> {
    if !names.may_have(Known::Traceparent) {
        return None;
    }
    let mut fields = headers.get_all(TRACEPARENT).iter();
    let value = fields.next()?;
    (fields.next().is_none() && is_valid(value.as_bytes())).then_some(value)
}

/// Section 3.2. A later version may go on after another dash.
fn is_valid(value: &[u8]) -> bool {
    let Some((known, more)) = value.split_at_checked(LENGTH) else { return false };
    let dashes = [2, 35, 52];
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_zero = |part: &[u8]| part.iter().all(|&byte| byte == b'0');
    let well_formed =
        known.iter().enumerate().all(|(at, byte)| if dashes.contains(&at) { *byte == b'-' } else { is_hex(byte) });
    let version = &known[..2];
    let ends = more.is_empty() || (version != b"00" && more[0] == b'-');
    well_formed && ends && version != b"ff" && !is_zero(&known[TRACE_ID]) && !is_zero(&known[36..52])
}

/// The `traceparent` of a new trace. Its ids have to be spread evenly, and need not be secret: the request's number within the
/// process, mixed with what names the process, is enough, and asks the system for nothing.
pub(super) fn new(process: u64, number: u64, sampled: bool) -> [u8; LENGTH] {
    let id = |part: u64| {
        hex(mix(process.rotate_left(21).wrapping_mul(2 * part + 1) ^ mix(number.wrapping_mul(4) + part)) | (part & 1))
    };
    // Never all zeros. The parent is named as the trace begins: nobody asks for more than that no two requests have the same.
    let (first, second) = (id(1), id(2));
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    for (at, digits) in [(3, first), (19, second), (36, first)] {
        text[at..at + 16].copy_from_slice(&digits);
    }
    text[LENGTH - 1] += u8::from(sampled);
    text
}

/// A finaliser that spreads consecutive numbers over all bits (that of SplitMix64).
fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A number as 16 lower-case digits.
pub(super) fn hex(number: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    digits[..8].copy_from_slice(&hex_of_half((number >> 32) as u32));
    digits[8..].copy_from_slice(&hex_of_half(number as u32));
    digits
}

/// All digits at once, each in a byte of one word.
fn hex_of_half(number: u32) -> [u8; 8] {
    let mut values = u64::from(number);
    values = (values << 16 | values) & 0x0000_ffff_0000_ffff;
    values = (values << 8 | values) & 0x00ff_00ff_00ff_00ff;
    values = (values << 4 | values) & 0x0f0f_0f0f_0f0f_0f0f;
    // One where the value is ten or more.
    let letters = ((values + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (values + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(fields: &[&str]) -> Option<HeaderValue> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(TRACEPARENT, HeaderValue::from_bytes(field.as_bytes()).unwrap());
        }
        received(&headers, KnownNames::ANY).cloned()
    }

    #[test]
    fn what_is_valid_passes_as_it_came() {
        let later = VALID.replacen("00", "cc", 1);
        let longer = format!("{later}-what-the-future-will-be-like");
        for field in [VALID, &VALID.replace("-01", "-00"), &VALID.replace("-01", "-ff"), &later, &longer] {
            let value = of(&[field]).expect(field);
            assert_eq!(value, field);
            assert_eq!(Trace::Received(value).id(), b"4bf92f3577b34da6a3ce929d0e0e4736");
        }
    }

    #[test]
    fn what_is_not_begins_a_new_trace() {
        let upper = VALID.to_uppercase();
        for fields in [
            &[][..],
            &[""],
            &["00"],
            &[&VALID[..54]],
            &[&upper],
            &[&VALID.replacen("00", "ff", 1)],
            &[&VALID.replacen("00", "0x", 1)],
            &[&VALID.replacen("-01", "-0", 1)],
            &[&VALID.replace("-01", "-01-")],
            &[&VALID.replace("-01", "-011")],
            &[&VALID.replacen("00", "cc", 1).replace("-01", "-01.x")],
            &[&VALID.replace("-01", "_01")],
            &[&VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000")],
            &[&VALID.replace("00f067aa0ba902b7", "0000000000000000")],
            &[VALID, VALID],
            &[VALID, "x"],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b\u{e9}-01"],
        ] {
            assert_eq!(of(fields), None, "{fields:?}");
        }
    }

    #[test]
    fn new_ones_differ_and_say_whether_they_are_sampled() {
        let all =
            [1, 2, u64::MAX].into_iter().flat_map(|process| (0..2000).map(move |number| new(process, number, false)));
        let text = |value: &[u8; LENGTH]| String::from_utf8(value.to_vec()).unwrap();
        let (traces, parents): (HashSet<Vec<u8>>, HashSet<Vec<u8>>) = all
            .inspect(|value| assert!(is_valid(value) && value.ends_with(b"-00"), "{}", text(value)))
            .map(|value| (value[TRACE_ID].to_vec(), value[36..52].to_vec()))
            .unzip();
        assert_eq!((traces.len(), parents.len()), (6000, 6000));
        assert!(new(1, 1, true).ends_with(b"-01"));
    }

    #[test]
    fn numbers_are_written_in_hex() {
        let spread = (0..10_000).map(mix);
        for number in [0, 1, 9, 10, 15, 16, 0x0123_4567_89ab_cdef, u64::MAX].into_iter().chain(spread) {
            assert_eq!(hex(number), *format!("{number:016x}").as_bytes());
        }
    }
}
