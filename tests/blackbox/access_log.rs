//! The access log: exactly one line a request, however it ended, and nobody waits for it. And which trace a request belongs to.

use std::path::{Path, PathBuf};
use std::process::Command;

use futures::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::harness::{
    ALICE, Account, Answer, Browser, EchoBackend, H2Answer, Portcullis, RawConnection, Script, anon, bearer, client,
    eventually, free_port, in_time, raw, raw_h2,
};
use crate::streams::websocket_echo;

async fn app() -> EchoBackend {
    EchoBackend::answering(|request| match request.target.as_str() {
        "/poll" | "/left" | "/reset" => Script::Hang,
        "/broken" => Script::Close,
        _ => Script::answer(200, &[], "hello"),
    })
    .await
}

async fn gate(app: &EchoBackend, more: &str) -> Portcullis {
    Portcullis::start(&format!("upstream: {}\npublic: [/public]\n{more}", app.url())).await
}

/// The lines of a file, each of which is JSON.
fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The only line about `path`, once it is there.
async fn line(log: &Path, path: &str) -> Value {
    let found = || lines(log).into_iter().filter(|line| line["path"] == path).collect::<Vec<_>>();
    let mut about = eventually(path, async || Some(found()).filter(|lines| !lines.is_empty())).await;
    assert_eq!(about.len(), 1, "{about:#?}");
    about.remove(0)
}

/// The values of `fields`, which are written apart by blanks; `-` for one that is not there.
fn told(line: &Value, fields: &str) -> String {
    let value = |name: &str| match &line[name] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    fields.split(' ').map(value).collect::<Vec<_>>().join(" ")
}

const WHAT: &str = "method http_version status decision reason end route endpoint subject";

#[tokio::test]
async fn every_ending_has_one_line() {
    let app = app().await;
    let sockets = websocket_echo().await;
    let config = format!(
        "upstreams:\n  app: {{ servers: [\"{}\"] }}\n  gone: {{ servers: [\"http://127.0.0.1:{}\"] }}\n  \
           sockets: {{ servers: [\"{sockets}\"] }}\n\
         routes:\n  - {{ name: app, host: a, upstream: app }}\n  - {{ name: public, host: a, path_prefix: /public, upstream: app, auth: public }}\n  \
           - {{ name: gone, host: a, path: /gone, upstream: gone }}\n  - {{ name: sockets, host: a, path: /socket, upstream: sockets }}\n\
         limits: {{ body_size: 1KiB }}\nlog: {{ access: {{ file: access.log }} }}\n",
        app.url(),
        free_port()
    );
    let gate = Portcullis::start(&config).await;
    let log = gate.folder().join("access.log");
    let mut alice = Browser::logged_in(&gate, &ALICE).await;
    let token = alice.token().to_owned();
    let head = |method: &str, path: &str, more: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
    };
    let ask = async |path: &str| raw(gate.listen, head("GET", path, "")).await.map(|answer| answer.status);

    // Answered, by an app or by us.
    assert_eq!(ask("/answered?secret=1").await, Some(200));
    assert_eq!(raw(gate.listen, "GET /bare HTTP/1.1\r\nHost: a\r\n\r\n").await.map(|answer| answer.status), Some(401));
    let absolute = "GET http://b/absolute?x HTTP/1.1\r\nHost: b\r\n\r\n";
    assert_eq!(raw(gate.listen, absolute).await.map(|answer| answer.status), Some(404));
    let unrouted = b"GET /unrouted HTTP/1.0\r\nHost: b\r\n\r\n";
    assert_eq!(raw(gate.listen, unrouted).await.map(|answer| answer.status), Some(404));
    alice.get("/userinfo").await.expect(200);
    Browser::at(&gate).login(&Account { password: "wrong", ..ALICE }).await.expect(400);
    let fields = [(":method", &b"GET"[..]), (":scheme", b"http"), (":authority", b"a"), (":path", b"/public/two")];
    assert_eq!(raw_h2(gate.listen, &fields).await, H2Answer::Status(200));

    // Failed.
    assert_eq!(ask("/gone").await, Some(502));
    assert_eq!(ask("/broken").await, Some(502));
    let upload = head("POST", "/large", "Transfer-Encoding: chunked\r\n") + &format!("800\r\n{:2048}\r\n0\r\n\r\n", "");
    assert_eq!(raw(gate.listen, upload).await.map(|answer| answer.status), Some(413));
    let unread = "GET http://user:password@b/ HTTP/1.1\r\nHost: b\r\n\r\n";
    assert_eq!(raw(gate.listen, unread).await.map(|answer| answer.status), Some(400));

    // Left, and cut off.
    let mut left = RawConnection::open(gate.listen).await;
    left.send(head("GET", "/left", "")).await;
    eventually("it has arrived", async || app.seen().iter().any(|seen| seen.target == "/left").then_some(())).await;
    drop(left);
    let stream = TcpStream::connect(gate.listen).await.expect("the gate listens");
    let (mut h2, connection) = h2::client::handshake(stream).await.expect("HTTP/2 with prior knowledge");
    tokio::spawn(connection);
    let request = http::Request::get("http://a/reset").header("authorization", format!("Bearer {token}"));
    let (answer, mut sending) = h2.send_request(request.body(()).expect("a request"), true).expect("a stream");
    eventually("it has arrived", async || app.seen().iter().any(|seen| seen.target == "/reset").then_some(())).await;
    sending.send_reset(h2::Reason::CANCEL);
    drop(answer);
    let mut request = format!("ws://{}/socket", gate.listen).into_client_request().expect("a request");
    let value = |text: &str| text.parse().expect("a header value");
    request.headers_mut().insert("Authorization", value(&format!("Bearer {token}")));
    request.headers_mut().insert("Host", value("a"));
    let stream = TcpStream::connect(gate.listen).await.expect("the gate listens");
    let (mut socket, _) = in_time("a handshake", client_async(request, stream)).await.expect("it is allowed");
    socket.send(Message::text("hello")).await.expect("it is sent");
    in_time("an echo", socket.next()).await.expect("the socket is open").expect("it is well");
    let mut poll = RawConnection::open(gate.listen).await;
    poll.send(head("GET", "/poll", "")).await;
    eventually("it has arrived", async || app.seen().iter().any(|seen| seen.target == "/poll").then_some(())).await;
    alice.logout().await.expect(204);
    assert_eq!(poll.answer().await, None);

    for (path, expected) in [
        ("/answered", "GET 1.1 200 allowed - complete app - alice"),
        ("/bare", "GET 1.1 401 refused token_missing complete app - -"),
        ("/absolute", "GET 1.1 404 refused route_unknown complete - - -"),
        ("/unrouted", "GET 1.0 404 refused route_unknown complete - - -"),
        ("/userinfo", "GET 1.1 200 served - complete - userinfo alice"),
        ("/public/two", "GET 2 200 allowed - complete public - -"),
        ("/gone", "GET 1.1 502 allowed upstream_failed failed gone - alice"),
        ("/broken", "GET 1.1 502 allowed upstream_failed failed app - alice"),
        ("/large", "POST 1.1 413 allowed body_too_large failed app - alice"),
        ("/left", "GET 1.1 - allowed - client_gone app - alice"),
        ("/reset", "GET 2 - allowed - client_gone app - alice"),
        ("/socket", "GET 1.1 101 allowed session_ended cut sockets - alice"),
        ("/poll", "GET 1.1 - allowed session_ended cut app - alice"),
        ("/logout", "POST 1.1 204 served - complete - logout -"),
    ] {
        assert_eq!(told(&line(&log, path).await, WHAT), expected, "{path}");
    }
    let all = lines(&log);
    let mut logins: Vec<_> = all.iter().filter(|line| line["path"] == "/login").map(|line| told(line, WHAT)).collect();
    logins.sort();
    assert_eq!(
        logins,
        ["POST 1.1 200 served - complete - login -", "POST 1.1 400 served credentials_wrong complete - login -"]
    );
    let unread: Vec<_> = all.iter().filter(|line| line["path"].is_null()).collect();
    assert_eq!(unread.len(), 1, "{unread:#?}");
    assert_eq!(told(unread[0], "client decision reason end"), "127.0.0.1 refused head_malformed failed");

    // One of them in full.
    let answered = line(&log, "/answered").await;
    assert_eq!(
        told(&answered, "level target client host tls upstream server received_bytes sent_bytes"),
        format!("INFO access 127.0.0.1 a false app {} 0 5", app.address)
    );
    let seen = app.seen().into_iter().find(|seen| seen.target.starts_with("/answered")).expect("it has arrived");
    assert_eq!(answered["request_id"].as_str(), seen.header("x-request-id"));
    assert_eq!(answered["session"].as_str(), seen.header("x-auth-session"));
    assert_eq!(answered["trace_id"].as_str(), seen.header("traceparent").and_then(|trace| trace.get(3..35)));
    let seconds = |field: &str| answered[field].as_f64().unwrap_or_else(|| panic!("{field}: {answered}"));
    assert!(seconds("decision_seconds") <= seconds("duration_seconds"));
    assert!(seconds("upstream_response_seconds") <= seconds("duration_seconds"));
    let socket = line(&log, "/socket").await;
    assert!(socket["received_bytes"].as_u64() > Some(0) && socket["sent_bytes"].as_u64() > Some(0), "{socket}");
}

#[tokio::test]
async fn whatever_stands_in_a_request_its_line_stays_a_line() {
    let app = app().await;
    let gate = gate(&app, "log: { access: { file: access.log } }\n").await;
    let log = gate.folder().join("access.log");
    let mut sent = 0;
    for byte in (1..=255_u8).filter(|byte| ![b'\r', b'\n'].contains(byte)) {
        let target = [b"/public/\"\\u0022", &[byte][..], b"x\x1b[2J"].concat();
        raw(gate.listen, [b"GET ", &target[..], b" HTTP/1.1\r\nHost: a\"\r\n\r\n"].concat()).await;
        sent += 1;
    }
    let lines = eventually("all are there", async || Some(lines(&log)).filter(|lines| lines.len() >= sent)).await;
    assert_eq!(lines.len(), sent);
    let raw = std::fs::read(&log).expect("the log");
    assert!(raw.iter().all(|&byte| byte == b'\n' || byte >= b' ' && byte != 0x7f), "nothing drives a terminal");
}

/// A pipe in the file system.
fn pipe(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().expect("`mkfifo` runs").success());
    path
}

#[tokio::test]
async fn nobody_waits_for_a_log_that_nobody_reads() {
    let folder = TempDir::new().expect("a temporary folder");
    let pipe = pipe(&folder);
    let app = app().await;
    let access = format!("log: {{ access: {{ file: {} }}, audit: {{ file: audit.log }} }}\n", pipe.display());
    let gate = gate(&app, &access).await;
    let lost = async |log: &str| {
        let metrics = gate.metrics().await;
        metrics
            .sum("portcullis_log_lines_lost_total", &[&format!("log=\"{log}\"")])
            .expect("it is there from the start")
    };
    assert_eq!(lost("access").await + lost("audit").await + lost("log").await, 0.0);

    // Each line is as long as lines get.
    let request = format!("GET /public/{} HTTP/1.1\r\nHost: a\r\n\r\n", "\"".repeat(2040));
    let mut connection = RawConnection::open(gate.listen).await;
    for _ in 0..400 {
        for _ in 0..100 {
            connection.send(&request).await;
            connection.answer().await.expect("nobody waits");
        }
        if lost("access").await > 0.0 {
            break;
        }
    }
    assert!(lost("access").await > 0.0, "the pipe is full, and so is what waits for it");
    let mut alice = Browser::logged_in(&gate, &ALICE).await;
    alice.get("/").await.expect(200);
    alice.refresh().await.expect(200);
    alice.logout().await.expect(204);
    let audited = eventually("the audit log is none the poorer", async || {
        Some(lines(&gate.folder().join("audit.log"))).filter(|lines| lines.len() >= 3)
    });
    let audited: Vec<String> = audited.await.iter().map(|line| told(line, "target event subject")).collect();
    assert_eq!(audited, ["audit logged_in alice", "audit refreshed alice", "audit logged_out alice"]);
    assert_eq!(lost("audit").await, 0.0);

    // Somebody reads at last: what was not lost is whole, and it is told how much was.
    let mut reader = tokio::fs::File::open(&pipe).await.expect("the pipe opens");
    tokio::spawn(async move { while let Ok(1..) = reader.read(&mut vec![0; 1 << 20]).await {} });
    eventually("it is told", async || gate.log().contains("lines of log were lost").then_some(())).await;
}

#[tokio::test]
async fn a_file_that_is_renamed_is_opened_anew() {
    let app = app().await;
    let gate = gate(&app, "log: { access: { file: access.log }, audit: none }\n").await;
    let log = gate.folder().join("access.log");
    anon(&gate, "/public/1").await.expect(200);
    line(&log, "/public/1").await;
    std::fs::rename(&log, gate.folder().join("access.log.1")).expect("it is renamed");
    gate.signal("USR1");
    eventually("it is opened anew", async || {
        anon(&gate, "/public/2").await.expect(200);
        log.exists().then_some(())
    })
    .await;
    // And without being told so.
    std::fs::rename(&log, gate.folder().join("access.log.2")).expect("it is renamed");
    eventually("it is opened anew", async || {
        anon(&gate, "/public/3").await.expect(200);
        log.exists().then_some(())
    })
    .await;
}

#[tokio::test]
async fn all_logs_can_share_a_stream_and_none_is_there_unasked() {
    let app = app().await;
    let silent = gate(&app, "").await;
    let shared = gate(&app, "log: { access: stderr, audit: stdout, level: warn }\n").await;
    for gate in [&silent, &shared] {
        let mut alice = Browser::logged_in(gate, &ALICE).await;
        alice.get("/asked").await.expect(200);
        alice.logout().await.expect(204);
        eventually("it is in the audit trail", async || gate.log().contains("logged_out").then_some(())).await;
    }
    eventually("it is in the access log", async || shared.log().contains("\"path\":\"/logout\"").then_some(())).await;
    let targets: Vec<String> = shared
        .log()
        .lines()
        .map(|line| told(&serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")), "target"))
        .collect();
    assert_eq!(targets.iter().filter(|target| *target == "access").count(), 3, "{targets:?}");
    assert_eq!(targets.iter().filter(|target| *target == "audit").count(), 2, "{targets:?}");
    assert!(!targets.iter().any(|target| target.starts_with("portcullis::server")), "{targets:?}");
    assert!(!silent.log().contains("/asked"), "{}", silent.log());
}

#[tokio::test]
async fn a_log_that_cannot_be_opened_is_told_at_the_start() {
    let config = "upstream: http://127.0.0.1:9\nlog: { access: { file: nowhere/access.log } }\n";
    let mut gate = Portcullis::start_unready(config, &[]);
    assert_eq!(in_time("its end", gate.ended()).await.code(), Some(1));
    eventually("it says why", async || gate.log().contains("nowhere/access.log: lines of log cannot").then_some(()))
        .await;
}

#[tokio::test]
async fn a_trace_is_passed_on_or_begun() {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let app = app().await;
    let gate = gate(&app, "").await;
    let ask = async |traces: &[&str]| {
        let mut request = client().request(Method::GET, gate.url("/public")).header("tracestate", "a=1,b=2");
        for trace in traces {
            request = request.header("traceparent", *trace);
        }
        Answer::to(request).await.expect(200);
        app.take_one()
    };
    let passed = ask(&[TRACE]).await;
    assert_eq!((passed.header("traceparent"), passed.header("tracestate")), (Some(TRACE), Some("a=1,b=2")));
    let mut begun = Vec::new();
    for traces in [&[][..], &["00-x-y-00"], &[TRACE, TRACE], &[TRACE, "x"]] {
        let request = ask(traces).await;
        assert_eq!(request.header("tracestate"), None, "{traces:?}");
        let trace = request.header("traceparent").expect("a trace is begun").to_owned();
        assert!(trace.len() == 55 && trace.starts_with("00-") && trace.ends_with("-01") && trace != TRACE, "{trace}");
        begun.push(trace);
    }
    begun.sort();
    begun.dedup();
    assert_eq!(begun.len(), 4, "each is another one");

    let unsampled = self::gate(&app, "log: { new_traces: unsampled }\n").await;
    bearer(&unsampled, Browser::logged_in(&unsampled, &ALICE).await.token(), "/").await.expect(200);
    assert!(app.take_one().header("traceparent").expect("a trace is begun").ends_with("-00"));
}
