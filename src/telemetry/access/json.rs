//! The line of JSON on a request.
//!
//! It costs part of each request, so nothing is made twice: names come with their quotes and commas, and the beginning of the
//! line stays in its place for a second. What must never happen in here: bytes from outside that are not escaped.

use std::time::Duration;

use super::line::Line;
use super::text::{is_plain, millis, second};
use super::{Access, End, HOST_BYTES_MAX, Outcome, PATH_BYTES_MAX, WORD_BYTES_MAX};
use crate::gate::Reason;
use crate::time::Timestamp;

const BEGIN: &[u8; 72] = br#"{"timestamp":"0000-00-00T00:00:00.000Z","level":"INFO","target":"access""#;
/// Where in it the second stands, and where its thousandths.
const SECOND_AT: usize = 14;
const MILLIS_AT: usize = 34;

/// Lines, one after the other, in the same memory.
pub(super) struct JsonLine {
    line: Line,
    /// What the line begins with.
    second: Option<u64>,
}

impl JsonLine {
    pub(super) fn new() -> JsonLine {
        JsonLine { line: Line::new(), second: None }
    }

    /// The line on a request.
    pub(super) fn of(&mut self, access: &Access<'_>) -> &[u8] {
        self.begin(access.at);
        let line = &mut self.line;
        text(line, b",\"request_id\":\"", access.request_id, WORD_BYTES_MAX);
        plain(line, b",\"trace_id\":\"", access.trace_id);
        if let Some(client) = access.client {
            line.put(b",\"client\":\"");
            line.address(client);
            line.put(b"\"");
        }
        text(line, b",\"method\":\"", access.method, WORD_BYTES_MAX);
        text(line, b",\"host\":\"", access.host, HOST_BYTES_MAX);
        text(line, b",\"path\":\"", access.path, PATH_BYTES_MAX);
        plain(line, b",\"http_version\":\"", access.http_version.as_bytes());
        match access.tls {
            Some(true) => line.put(b",\"tls\":true"),
            Some(false) => line.put(b",\"tls\":false"),
            None => {}
        }
        word(line, b",\"route\":\"", access.route);
        word(line, b",\"endpoint\":\"", access.endpoint);
        match access.decision {
            Some(Outcome::Allowed) => line.put(b",\"decision\":\"allowed\""),
            decision => word(line, b",\"decision\":\"", decision.map(Outcome::as_str)),
        }
        word(line, b",\"reason\":\"", access.reason.map(Reason::as_str));
        if let Some(status) = access.status {
            line.put(b",\"status\":");
            line.number(status.into());
        }
        match access.end {
            End::Complete => line.put(b",\"end\":\"complete\""),
            end => word(line, b",\"end\":\"", Some(end.as_str())),
        }
        text(line, b",\"subject\":\"", access.subject.as_bytes(), WORD_BYTES_MAX);
        plain(line, b",\"session\":\"", access.session);
        word(line, b",\"upstream\":\"", access.upstream);
        text(line, b",\"server\":\"", access.server.as_bytes(), HOST_BYTES_MAX);
        line.put(b",\"received_bytes\":");
        line.number(access.received_bytes);
        line.put(b",\"sent_bytes\":");
        line.number(access.sent_bytes);
        time(line, b",\"decision_seconds\":", access.decision_took);
        time(line, b",\"upstream_response_seconds\":", access.upstream_took);
        time(line, b",\"duration_seconds\":", access.took);
        line.put(b"}\n");
        line.as_bytes()
    }

    fn begin(&mut self, at: Timestamp) {
        if self.second != Some(at.as_secs()) {
            self.line.truncate(0);
            self.line.put(BEGIN);
            self.line.replace(SECOND_AT, &second(at.as_secs()));
            self.second = Some(at.as_secs());
        }
        self.line.truncate(BEGIN.len());
        self.line.replace(MILLIS_AT, &millis(at));
    }
}

// Members of an object; each `name` brings its comma, its quotes and its colon, and is copied as the constant that it is.

/// Text from outside, if there is any.
#[inline(always)]
fn text<const N: usize>(line: &mut Line, name: &[u8; N], text: &[u8], bytes_max: usize) {
    if !text.is_empty() {
        line.put(name);
        line.shortened(text, bytes_max);
        line.put(b"\"");
    }
}

/// The same of what is known to be digits, letters, dots and dashes.
#[inline(always)]
fn plain<const N: usize>(line: &mut Line, name: &[u8; N], text: &[u8]) {
    debug_assert!(is_plain(text), "{text:?} had to be escaped");
    if !text.is_empty() {
        line.put(name);
        line.append(text);
        line.put(b"\"");
    }
}

/// A name of ours, made of plain characters.
#[inline(always)]
fn word<const N: usize>(line: &mut Line, name: &[u8; N], word: Option<&str>) {
    if let Some(word) = word {
        line.put(name);
        line.append(word.as_bytes());
        line.put(b"\"");
    }
}

#[inline(always)]
fn time<const N: usize>(line: &mut Line, name: &[u8; N], duration: Option<Duration>) {
    if let Some(duration) = duration {
        line.put(name);
        line.seconds(duration);
    }
}
