//! The access log: one line a request, however it ended.
//!
//! Names, units and order of the fields are what operators build on. What is not known is left out. What must never happen in
//! here: a query, a header field, or anything else that may carry a secret; a line without a bound.

mod text;

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use self::text::{address, escaped, number, seconds, time};
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
    /// The trace that it belongs to (W3C Trace Context).
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
    /// In which session: its id, which is no secret.
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
            static LINE: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(1024));
        }
        LINE.with_borrow_mut(|line| {
            line.clear();
            match self.json {
                true => json(line, access),
                false => human(line, access),
            }
            self.lane.push(line);
        });
    }
}

fn json(line: &mut Vec<u8>, access: &Access<'_>) {
    let mut object = Object(line);
    object.0.extend_from_slice(b"{\"timestamp\":\"");
    time(object.0, access.at);
    object.0.extend_from_slice(b"\",\"level\":\"INFO\",\"target\":\"access\"");
    object.text(",\"request_id\":\"", access.request_id, WORD_BYTES_MAX);
    object.text(",\"trace_id\":\"", access.trace_id, WORD_BYTES_MAX);
    if let Some(client) = access.client {
        object.0.extend_from_slice(b",\"client\":\"");
        address(object.0, client);
        object.0.push(b'"');
    }
    object.text(",\"method\":\"", access.method, WORD_BYTES_MAX);
    object.text(",\"host\":\"", access.host, HOST_BYTES_MAX);
    object.text(",\"path\":\"", access.path, PATH_BYTES_MAX);
    object.text(",\"http_version\":\"", access.http_version.as_bytes(), WORD_BYTES_MAX);
    object.literal(",\"tls\":", access.tls.map(|tls| if tls { "true" } else { "false" }));
    object.word(",\"route\":\"", access.route);
    object.word(",\"endpoint\":\"", access.endpoint);
    object.word(",\"decision\":\"", access.decision.map(Outcome::as_str));
    object.word(",\"reason\":\"", access.reason.map(Reason::as_str));
    object.number(",\"status\":", access.status.map(u64::from));
    object.word(",\"end\":\"", Some(access.end.as_str()));
    object.text(",\"subject\":\"", access.subject.as_bytes(), WORD_BYTES_MAX);
    object.text(",\"session\":\"", access.session, WORD_BYTES_MAX);
    object.word(",\"upstream\":\"", access.upstream);
    object.text(",\"server\":\"", access.server.as_bytes(), HOST_BYTES_MAX);
    object.number(",\"received_bytes\":", Some(access.received_bytes));
    object.number(",\"sent_bytes\":", Some(access.sent_bytes));
    object.seconds(",\"decision_seconds\":", access.decision_took);
    object.seconds(",\"upstream_response_seconds\":", access.upstream_took);
    object.seconds(",\"duration_seconds\":", access.took);
    line.extend_from_slice(b"}\n");
}

/// Members of a JSON object; each `name` brings its comma, its quotes and its colon.
struct Object<'a>(&'a mut Vec<u8>);

impl Object<'_> {
    /// Text from outside, if there is any.
    fn text(&mut self, name: &str, text: &[u8], bytes_max: usize) {
        if !text.is_empty() {
            self.0.extend_from_slice(name.as_bytes());
            shortened(self.0, text, bytes_max);
            self.0.push(b'"');
        }
    }

    /// A name of ours, made of plain characters.
    fn word(&mut self, name: &str, word: Option<&str>) {
        if let Some(word) = word {
            self.0.extend_from_slice(name.as_bytes());
            self.0.extend_from_slice(word.as_bytes());
            self.0.push(b'"');
        }
    }

    fn literal(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.0.extend_from_slice(name.as_bytes());
            self.0.extend_from_slice(value.as_bytes());
        }
    }

    fn number(&mut self, name: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.0.extend_from_slice(name.as_bytes());
            number(self.0, value);
        }
    }

    fn seconds(&mut self, name: &str, duration: Option<Duration>) {
        if let Some(duration) = duration {
            self.0.extend_from_slice(name.as_bytes());
            seconds(self.0, duration);
        }
    }
}

fn shortened(line: &mut Vec<u8>, text: &[u8], bytes_max: usize) {
    match text.get(..bytes_max) {
        Some(start) if text.len() > bytes_max => {
            // A character that was cut in two becomes U+FFFD, and this says that there was more.
            escaped(line, start);
            line.extend_from_slice("…".as_bytes());
        }
        _ => escaped(line, text),
    }
}

/// `15:04:05.123 GET app.example.com/path 200 1.234567s 192.0.2.1 alice app`, and why if something was wrong.
fn human(line: &mut Vec<u8>, access: &Access<'_>) {
    time(line, access.at);
    line.push(b' ');
    shortened(line, if access.method.is_empty() { b"-" } else { access.method }, WORD_BYTES_MAX);
    line.push(b' ');
    word(line, access.host, HOST_BYTES_MAX);
    word(line, if access.path.is_empty() { b"-" } else { access.path }, PATH_BYTES_MAX);
    line.push(b' ');
    match access.status {
        Some(status) => number(line, status.into()),
        None => line.push(b'-'),
    }
    line.push(b' ');
    seconds(line, access.took.unwrap_or_default());
    line.extend_from_slice(b"s ");
    match access.client {
        Some(client) => address(line, client),
        None => line.push(b'-'),
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
            line.extend_from_slice(label.as_bytes());
            word(line, value.as_bytes(), WORD_BYTES_MAX);
        }
    }
    line.push(b'\n');
}

/// One word for people: blanks in it would look as if something else began there.
fn word(line: &mut Vec<u8>, text: &[u8], bytes_max: usize) {
    let begin = line.len();
    shortened(line, text, bytes_max);
    if line[begin..].contains(&b' ') {
        let written = line.split_off(begin);
        for byte in written {
            match byte {
                b' ' => line.extend_from_slice(b"\\u0020"),
                byte => line.push(byte),
            }
        }
    }
}

#[cfg(test)]
mod tests;
