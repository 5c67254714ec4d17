//! Tests of access records: every line is JSON, whatever came.

use proptest::prelude::*;
use serde_json::{Value, json as value};

use super::*;

fn access<'a>() -> Access<'a> {
    Access {
        at: Timestamp::from_millis(1_700_000_000_123),
        request_id: b"00aa",
        trace_id: b"4bf92f3577b34da6a3ce929d0e0e4736",
        client: Some(IpAddr::from([192, 0, 2, 1])),
        method: b"GET",
        host: b"app.example.com",
        path: b"/a",
        http_version: "2",
        tls: Some(true),
        route: Some("app"),
        endpoint: None,
        decision: Some(Outcome::Allowed),
        decision_took: Some(Duration::from_micros(3)),
        reason: None,
        status: Some(200),
        end: End::Complete,
        subject: "alice",
        session: b"AAAA",
        upstream: Some("app"),
        server: "127.0.0.1:8080",
        upstream_took: Some(Duration::from_millis(12)),
        received_bytes: 0,
        sent_bytes: 512,
        took: Some(Duration::from_micros(1_234_567)),
    }
}

/// Nothing is known but when it was.
fn unknown<'a>() -> Access<'a> {
    Access {
        request_id: b"",
        trace_id: b"",
        client: None,
        method: b"",
        host: b"",
        path: b"",
        http_version: "",
        tls: None,
        route: None,
        decision: Some(Outcome::Refused),
        decision_took: None,
        reason: Some(Reason::HeadMalformed),
        status: None,
        end: End::Failed,
        subject: "",
        session: b"",
        upstream: None,
        server: "",
        upstream_took: None,
        sent_bytes: 0,
        took: None,
        ..access()
    }
}

fn line(json_lines: bool, access: &Access<'_>) -> String {
    let bytes = if json_lines {
        JsonLine::new().of(access).to_vec()
    } else {
        let mut line = Line::new();
        human(&mut line, access);
        line.as_bytes().to_vec()
    };
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_line_says_everything_once_with_units() {
    let parsed: Value = serde_json::from_str(&line(true, &access())).unwrap();
    let expected = value!({
        "timestamp": "2023-11-14T22:13:20.123Z", "level": "INFO", "target": "access", "request_id": "00aa",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "client": "192.0.2.1", "method": "GET", "host": "app.example.com",
        "path": "/a", "http_version": "2", "tls": true, "route": "app", "decision": "allowed", "status": 200, "end": "complete",
        "subject": "alice", "session": "AAAA", "upstream": "app", "server": "127.0.0.1:8080", "received_bytes": 0,
        "sent_bytes": 512, "decision_seconds": 0.000_003, "upstream_response_seconds": 0.012, "duration_seconds": 1.234_567,
    });
    assert_eq!(parsed, expected);
    assert_eq!(
        line(false, &access()),
        "2023-11-14T22:13:20.123Z GET app.example.com/a 200 1.234567s 192.0.2.1 subject=alice route=app decision=allowed\n"
    );
}

#[test]
fn what_is_not_known_is_left_out() {
    let parsed: Value = serde_json::from_str(&line(true, &unknown())).unwrap();
    let expected = value!({
        "timestamp": "2023-11-14T22:13:20.123Z", "level": "INFO", "target": "access",
        "decision": "refused", "reason": "head_malformed", "end": "failed", "received_bytes": 0, "sent_bytes": 0,
    });
    assert_eq!(parsed, expected);
    assert!(line(false, &unknown()).contains(" - - 0.000000s - decision=refused reason=head_malformed end=failed\n"));
}

proptest! {
    /// Whatever a client sends: one line of valid JSON, of bounded length, which says what was sent and drives no terminal.
    #[test]
    fn any_bytes_stay_in_their_string(
        path in prop::collection::vec(any::<u8>(), 0..3000),
        host in prop::collection::vec(any::<u8>(), 0..400),
        method in prop::collection::vec(any::<u8>(), 0..200),
        subject in ".*",
    ) {
        let hostile = Access { path: &path, host: &host, method: &method, subject: &subject, ..access() };
        for json_lines in [true, false] {
            let line = line(json_lines, &hostile);
            prop_assert!(line.ends_with('\n') && line.matches('\n').count() == 1);
            prop_assert!(!line.trim_end_matches('\n').contains(super::super::log::escape::is_harmful), "{line:?}");
            // An invalid byte becomes three bytes, a control character six.
            prop_assert!(line.len() < 6 * (PATH_BYTES_MAX + HOST_BYTES_MAX + 2 * WORD_BYTES_MAX) + 1024);
        }
        let parsed: Value = serde_json::from_str(&line(true, &hostile)).map_err(|error| TestCaseError::fail(error.to_string()))?;
        if path.len() <= PATH_BYTES_MAX && !path.is_empty() {
            prop_assert_eq!(parsed["path"].as_str(), Some(&*String::from_utf8_lossy(&path)));
        }
        prop_assert_eq!(parsed["decision_seconds"].as_f64(), Some(0.000_003));
    }
}

/// What a line costs: `valgrind --tool=callgrind` or `perf stat` around two runs that differ in their number of lines.
#[test]
#[ignore = "a measurement"]
fn measure() {
    let lines: u64 = std::env::var("LINES_TO_WRITE").ok().and_then(|lines| lines.parse().ok()).unwrap_or(100_000);
    let path = b"/api/v1/projects/42/issues/1234/comments".as_slice();
    let mut line = JsonLine::new();
    for number in 0..lines {
        let at = Timestamp::from_millis(1_700_000_000_000 + number);
        std::hint::black_box(line.of(std::hint::black_box(&Access { at, path, ..access() })));
    }
}

#[test]
fn nothing_of_a_line_remains_for_the_next() {
    let mut lines = JsonLine::new();
    let later = Timestamp::from_millis(1_700_000_000_124);
    let next_day = Timestamp::from_millis(1_700_086_400_000);
    for one in [access(), unknown(), Access { at: later, ..access() }, Access { at: next_day, ..unknown() }, access()] {
        assert_eq!(String::from_utf8(lines.of(&one).to_vec()).unwrap(), line(true, &one));
    }
}
