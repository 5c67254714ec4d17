//! Two readers of one byte stream: what the gate and the backend make of a request must be the same request.
//!
//! The backend is the oracle. It reads as leniently as backends do and records what it gets: nothing with the word
//! `smuggled` may ever arrive, and whoever comes next gets an answer to their own request.

use crate::harness::{ALICE, Browser, EchoBackend, Portcullis, RawConnection, raw};

/// What may come back first: a status, or 0 for a closed connection.
const REFUSED: &[u16] = &[400, 0];
/// Whether it is refused is a matter of taste; that nothing is smuggled is not.
const ANYTHING: &[u16] = &[];

struct Case {
    name: &'static str,
    allowed: &'static [u16],
    bytes: String,
}

fn case(name: &'static str, allowed: &'static [u16], bytes: impl Into<String>) -> Case {
    Case { name, allowed, bytes: bytes.into() }
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

fn lengths() -> Vec<Case> {
    let both = "0\r\n\r\n".to_owned() + SMUGGLED;
    let mut cases = vec![
        case(
            "content-length and transfer-encoding",
            REFUSED,
            format!(
                "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n{both}",
                both.len()
            ),
        ),
        case(
            "transfer-encoding and content-length",
            REFUSED,
            format!(
                "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{both}"
            ),
        ),
        case(
            "two lengths",
            REFUSED,
            format!(
                "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: {}\r\n\r\n{SMUGGLED}",
                SMUGGLED.len()
            ),
        ),
        case(
            "two lengths in one",
            REFUSED,
            format!("POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 0, {}\r\n\r\n{SMUGGLED}", SMUGGLED.len()),
        ),
        case(
            "chunked twice",
            &[400, 501, 0],
            format!(
                "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n{both}"
            ),
        ),
        case(
            "transfer-encoding in HTTP/1.0",
            &[400, 505, 0],
            format!("POST /public HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{both}"),
        ),
    ];
    for length in ["+5", "-1", "0x5", "5 5", "5,", "", "5\t5", "99999999999999999999999", "１"] {
        cases.push(case(
            "a length that is no number",
            REFUSED,
            format!("POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\nhello{SMUGGLED}"),
        ));
    }
    for coding in [
        "chunked, identity",
        "identity",
        "xchunked",
        "chunked, chunked",
        "\u{b}chunked",
        "gzip",
        "chunked;x",
        "\"chunked\"",
        "",
    ] {
        cases.push(case(
            "a coding that is not plain chunked",
            &[400, 501, 0],
            format!("POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n{both}"),
        ));
        cases.push(case(
            "such a coding beside a length",
            &[400, 501, 0],
            format!(
                "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\nContent-Length: 5\r\n\r\n{both}"
            ),
        ));
    }
    cases
}

fn chunks() -> Vec<Case> {
    let post = "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    [
        format!("0x5\r\nhello\r\n0\r\n\r\n{SMUGGLED}"),
        format!("5;ext=\"\n\"\r\nhello\r\n0\r\n\r\n{SMUGGLED}"),
        format!("5\nhello\r\n0\r\n\r\n{SMUGGLED}"),
        format!("5\r\nhello0\r\n\r\n{SMUGGLED}"),
        format!("5\r\nhello\n0\r\n\r\n{SMUGGLED}"),
        format!("-5\r\nhello\r\n0\r\n\r\n{SMUGGLED}"),
        format!("ffffffffffffffff5\r\nhello\r\n0\r\n\r\n{SMUGGLED}"),
        format!("5\r\nhello\r\n0\n\n{SMUGGLED}"),
        format!(" 5\r\nhello\r\n0\r\n\r\n{SMUGGLED}"),
        "5\r\nhello\r\n0\r\nX-Auth-Subject: smuggled\r\n\r\n".to_owned(),
        "5\r\nhello\r\n0\r\nHost: smuggled\r\nContent-Length: 1\r\n\r\n".to_owned(),
    ]
    .into_iter()
    .map(|body| case("chunks", ANYTHING, format!("{post}{body}")))
    .collect()
}

fn heads() -> Vec<Case> {
    vec![
        case("bare LF", REFUSED, "GET /public HTTP/1.1\nHost: a\n\n"),
        case("bare LF in between", REFUSED, "GET /public HTTP/1.1\r\nHost: a\nX: smuggled\r\n\r\n"),
        case("bare CR", REFUSED, "GET /public HTTP/1.1\r\nHost: a\r\nX: a\rX-Auth-Subject: smuggled\r\n\r\n"),
        case("NUL", REFUSED, "GET /public HTTP/1.1\r\nHost: a\r\nX: a\0smuggled\r\n\r\n"),
        case("no host", REFUSED, "GET /public HTTP/1.1\r\nX: smuggled\r\n\r\n"),
        case("two hosts", REFUSED, "GET /public HTTP/1.1\r\nHost: a\r\nHost: smuggled\r\n\r\n"),
        case("two equal hosts", REFUSED, "GET /public HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        case("blank before the colon", REFUSED, "GET /public HTTP/1.1\r\nHost: a\r\nX-Auth-Subject : smuggled\r\n\r\n"),
        case("blank before the name", ANYTHING, "GET /public HTTP/1.1\r\n X-Auth-Subject: smuggled\r\nHost: a\r\n\r\n"),
        case("folded line", ANYTHING, "GET /public HTTP/1.1\r\nHost: a\r\nX: a\r\n X-Auth-Subject: smuggled\r\n\r\n"),
        case("no name", REFUSED, "GET /public HTTP/1.1\r\nHost: a\r\n: smuggled\r\n\r\n"),
        case("no colon", REFUSED, "GET /public HTTP/1.1\r\nHost: a\r\nsmuggled\r\n\r\n"),
        case("no token for a name", REFUSED, "GET /public HTTP/1.1\r\nHost: a\r\nX(y): smuggled\r\n\r\n"),
        case("two targets", ANYTHING, "GET /public /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("HTTP/0.9", &[400, 505, 0], "GET /public\r\n\r\n"),
        case("HTTP/1.2", &[200, 400, 505, 0], "GET /public HTTP/1.2\r\nHost: a\r\n\r\n"),
        case("HTTP/2.0 in words", &[400, 505, 0], "GET /public HTTP/2.0\r\nHost: a\r\n\r\n"),
        case("lower-case version", &[400, 505, 0], "GET /public http/1.1\r\nHost: a\r\n\r\n"),
        case("no token for a method", REFUSED, "G(T /public HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("TRACE", &[400, 405, 501], "TRACE /public HTTP/1.1\r\nHost: a\r\nX: smuggled\r\n\r\n"),
        case("CONNECT", &[400, 405, 501, 0], "CONNECT smuggled:443 HTTP/1.1\r\nHost: smuggled:443\r\n\r\n"),
        case("absolute form of a protected path", &[400, 401], "GET http://a/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("absolute form of another host", &[200, 400], "GET http://b/public HTTP/1.1\r\nHost: smuggled\r\n\r\n"),
        case("absolute form with a user", REFUSED, "GET http://smuggled@a/public HTTP/1.1\r\nHost: a\r\n\r\n"),
    ]
}

fn what_follows() -> Vec<Case> {
    let upgrade = |target: &str, protocol: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n{SMUGGLED}"
        )
    };
    vec![
        case(
            "bytes after a body",
            &[200],
            format!("POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi{SMUGGLED}"),
        ),
        case("bytes after a GET", &[200], format!("GET /public HTTP/1.1\r\nHost: a\r\n\r\n{SMUGGLED}")),
        case(
            "a body on GET",
            ANYTHING,
            format!("GET /public HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{}", 5, "hello") + SMUGGLED,
        ),
        case("an upgrade of a protected path", &[401], upgrade("/smuggled", "websocket")),
        case("a premature upgrade", ANYTHING, upgrade("/public", "websocket")),
        case("a premature upgrade to h2c", ANYTHING, upgrade("/public", "h2c")),
        case("an upgrade to nothing known", ANYTHING, upgrade("/public", "smoke-signals")),
    ]
}

struct Stage {
    app: EchoBackend,
    gate: Portcullis,
}

async fn stage() -> Stage {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&format!(
        "upstreams: {{ app: {{ servers: [\"{}\"] }} }}\n\
         routes:\n  \
           - {{ name: app, upstream: app }}\n  \
           - {{ name: public, path_prefix: /public, upstream: app, auth: public }}\n",
        app.url()
    ))
    .await;
    Stage { app, gate }
}

#[tokio::test]
async fn nothing_is_smuggled_past_the_gate() {
    let Stage { app, gate } = stage().await;
    let mut wrong = Vec::new();
    for Case { name, allowed, bytes } in [lengths(), chunks(), heads(), what_follows()].into_iter().flatten() {
        let mut connection = RawConnection::open(gate.listen).await;
        connection.send(&bytes).await;
        if allowed.is_empty() || allowed.contains(&0) {
            connection.finish().await; // Who waits for the rest of a broken request need not wait.
        }
        let status = connection.answer().await.map_or(0, |answer| answer.status);
        if !allowed.is_empty() && !allowed.contains(&status) {
            wrong.push(format!("{name}: answered {status} instead of {allowed:?}: {bytes:?}"));
        }
        // Whoever comes next, on the connections that the gate keeps to the backend, gets their own answer.
        for _ in 0..2 {
            let answer = raw(gate.listen, "GET /public/next HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let text = answer.map(|answer| answer.text()).unwrap_or_default();
            if !text.contains("\"target\":\"/public/next\"") {
                wrong.push(format!("{name}: the next one got {text:?}: {bytes:?}"));
            }
        }
        let arrived = app.take();
        if let Some(request) = arrived.iter().find(|request| String::from_utf8_lossy(&request.raw).contains("smuggled"))
        {
            wrong.push(format!("{name}: smuggled {:?}", String::from_utf8_lossy(&request.raw)));
        }
        if allowed == REFUSED && arrived.len() != 2 {
            wrong.push(format!("{name}: {} requests arrived instead of 2", arrived.len()));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn of_several_credentials_none_is_picked() {
    let Stage { app, gate } = stage().await;
    let alice = Browser::logged_in(&gate, &ALICE).await;
    let token = alice.token();
    for credentials in [
        format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n"),
        format!("Authorization: Bearer {token}\r\nAuthorization: Basic YTpi\r\n"),
        format!("Authorization: Basic YTpi\r\nauthorization: Bearer {token}\r\n"),
        format!("Authorization: Bearer {token}, Bearer {token}\r\n"),
        format!("Authorization: Basic YTpi, Bearer {token}\r\n"),
        format!("Authorization: Bearer {token}, x\r\n"),
    ] {
        let answer =
            raw(gate.listen, format!("GET /x HTTP/1.1\r\nHost: a\r\n{credentials}\r\n")).await.expect("an answer");
        assert_eq!(answer.status, 400, "{credentials}: {}", answer.text());
        assert!(answer.text().contains("\"reason\":\"credentials_ambiguous\""), "{credentials}: {}", answer.text());
    }
    assert!(app.take().is_empty());
}

#[tokio::test]
async fn a_scheme_is_read_without_case_and_other_schemes_are_no_token() {
    let Stage { app, gate } = stage().await;
    let alice = Browser::logged_in(&gate, &ALICE).await;
    let token = alice.token();
    for (credentials, expected) in [
        (format!("Bearer {token}"), 200),
        (format!("bearer {token}"), 200),
        (format!("BEARER {token}"), 200),
        ("Basic YTpi".to_owned(), 401),
        ("Bearer".to_owned(), 401),
        (format!("Bearer{token}"), 401),
        (token.to_owned(), 401),
    ] {
        let answer =
            raw(gate.listen, format!("GET /x HTTP/1.1\r\nHost: a\r\nAuthorization: {credentials}\r\n\r\n")).await;
        assert_eq!(answer.map(|answer| answer.status), Some(expected), "{credentials}");
        assert_eq!(app.take().len(), usize::from(expected == 200), "{credentials}");
    }
    let in_query = raw(gate.listen, format!("GET /x?access_token={token} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    assert_eq!(in_query.map(|answer| answer.status), Some(401), "a token in the query is no token");
}
