//! The access log: one line a request, however it ended.
//!
//! Names, units and order of the fields are what operators build on. What is not known is left out. What must never happen in
//! here: a query, a header field, or anything else that may carry a secret; a line without a bound.

mod json;
mod line;
mod text;

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use self::json::JsonLine;
use self::line::Line;
use self::text::time;
use super::log::Lane;
use crate::gate::Reason;
use crate::time::Timestamp;

/// What was decided on a request, as the metric `auth_decisions_total` has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It goes to an upstream.
    Allowed,
    /// An endpoint of ours answers.
    Served,
    /// It was refused.
    Refused,
}

impl Outcome {
    /// Its name in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Allowed => "allowed",
            Outcome::Served => "served",
            Outcome::Refused => "refused",
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It was answered in full.
    Complete,
    /// The client left before that.
    ClientGone,
    /// Something failed: the reason says what.
    Failed,
    /// It was under way and might not go on, or the process left.
    Cut,
}

impl End {
    /// Its name in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            End::Complete => "complete",
            End::ClientGone => "client_gone",
            End::Failed => "failed",
            End::Cut => "cut",
        }
    }
}

/// One request. Texts and bytes are empty where they are not known.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// When it began.
    pub at: Timestamp,
    /// The id by which the upstream knows it.
    pub request_id: &'a [u8],
    /// The trace that it belongs to (W3C Trace Context): hex digits.
    pub trace_id: &'a [u8],
    /// The client, as far as trusted proxies tell.
    pub client: Option<IpAddr>,
    /// The method.
    pub method: &'a [u8],
    /// The host as the client named it.
    pub host: &'a [u8],
    /// The path as the client sent it, without the query.
    pub path: &'a [u8],
    /// The version of HTTP.
    pub http_version: &'static str,
    /// The connection is encrypted.
    pub tls: Option<bool>,
    /// The name of the route.
    pub route: Option<&'a str>,
    /// The name of our own endpoint.
    pub endpoint: Option<&'static str>,
    /// What was decided; nothing if it did not come that far.
    pub decision: Option<Outcome>,
    /// How long that took.
    pub decision_took: Option<Duration>,
    /// Why it was refused, failed or was cut off.
    pub reason: Option<Reason>,
    /// What the client was answered with.
    pub status: Option<u16>,
    /// How it ended.
    pub end: End,
    /// Who it spoke for.
    pub subject: &'a str,
    /// In which session: its id as text, which is no secret.
    pub session: &'a [u8],
    /// The name of the upstream.
    pub upstream: Option<&'a str>,
    /// Host and port of its server.
    pub server: &'a str,
    /// How long that server took for the head of its answer.
    pub upstream_took: Option<Duration>,
    /// Bytes of the request's body, or what came over the upgraded connection.
    pub received_bytes: u64,
    /// Bytes of the answer's body, or what went.
    pub sent_bytes: u64,
    /// How long it took in all.
    pub took: Option<Duration>,
}

/// Longer texts of a client's choice are shortened.
const PATH_BYTES_MAX: usize = 2048;
const HOST_BYTES_MAX: usize = 255;
const WORD_BYTES_MAX: usize = 128;

/// Where lines on requests go.
pub struct AccessLog {
    lane: Arc<Lane>,
    json: bool,
}

impl AccessLog {
    pub(super) fn new(lane: Arc<Lane>, json: bool) -> AccessLog {
        AccessLog { lane, json }
    }

    /// Writes one line. It waits for nobody.
    pub fn write(&self, access: &Access<'_>) {
        thread_local! {
            static JSON: RefCell<JsonLine> = RefCell::new(JsonLine::new());
            static HUMAN: RefCell<Line> = RefCell::new(Line::new());
        }
        match self.json {
            true => JSON.with_borrow_mut(|line| self.lane.push(line.of(access))),
            false => HUMAN.with_borrow_mut(|line| {
                line.truncate(0);
                human(line, access);
                self.lane.push(line.as_bytes());
            }),
        }
    }
}

/// `15:04:05.123 GET app.example.com/path 200 1.234567s 192.0.2.1 alice app`, and why if something was wrong.
fn human(line: &mut Line, access: &Access<'_>) {
    line.put(&time(access.at));
    line.put(b" ");
    line.shortened(if access.method.is_empty() { b"-" } else { access.method }, WORD_BYTES_MAX);
    line.put(b" ");
    word(line, access.host, HOST_BYTES_MAX);
    word(line, if access.path.is_empty() { b"-" } else { access.path }, PATH_BYTES_MAX);
    line.put(b" ");
    match access.status {
        Some(status) => line.number(status.into()),
        None => line.put(b"-"),
    }
    line.put(b" ");
    line.seconds(access.took.unwrap_or_default());
    line.put(b"s ");
    match access.client {
        Some(client) => line.address(client),
        None => line.put(b"-"),
    }
    let labelled = [
        (" subject=", Some(access.subject).filter(|subject| !subject.is_empty())),
        (" route=", access.route),
        (" endpoint=", access.endpoint),
        (" decision=", access.decision.map(Outcome::as_str)),
        (" reason=", access.reason.map(Reason::as_str)),
        (" end=", Some(access.end).filter(|end| *end != End::Complete).map(End::as_str)),
    ];
    for (label, value) in labelled {
        if let Some(value) = value {
            line.append(label.as_bytes());
            word(line, value.as_bytes(), WORD_BYTES_MAX);
        }
    }
    line.put(b"\n");
}

/// One word for people: blanks in it would look as if something else began there.
fn word(line: &mut Line, text: &[u8], bytes_max: usize) {
    let begin = line.as_bytes().len();
    line.shortened(text, bytes_max);
    if line.as_bytes()[begin..].contains(&b' ') {
        let written = line.as_bytes()[begin..].to_vec();
        line.truncate(begin);
        for byte in written {
            match byte {
                b' ' => line.put(b"\\u0020"),
                byte => line.put(&[byte]),
            }
        }
    }
}

#[cfg(test)]
mod tests;
