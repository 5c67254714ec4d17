//! Attacks that once worked, or nearly: each stays here as a test.

use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{
    Answer, EchoBackend, H2Answer, Portcullis, RawConnection, Script, SelfSigned, anon, client, eventually, in_time,
    raw, raw_h2, readings,
};

#[tokio::test]
async fn a_rule_with_upper_case_holds_against_backends_that_fold_it() {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&format!(
        "upstreams: {{ app: {{ servers: [\"{}\"] }} }}\nroutes:\n  - {{ name: app, upstream: app, auth: public }}\n  \
         - {{ name: admin, path_prefix: /Admin, upstream: app }}\n",
        app.url()
    ))
    .await;
    for path in ["/Admin/x", "/admin/x", "/ADMIN/x", "/aDmin", "/%61dmin", "//admin", "/admin;a/x"] {
        let status = anon(&gate, path).await.status;
        assert!(status == 400 || status == 401, "{path}: {status}");
    }
    anon(&gate, "/Administration").await.expect(200);
    for seen in app.take() {
        let admin = readings(&seen.target).into_iter().any(|path| path == "/admin" || path.starts_with("/admin/"));
        assert!(!admin, "a folding backend reads {} as the admin's", seen.target);
    }
}

#[tokio::test]
async fn an_app_cannot_plant_our_cookie_without_naming_it() {
    let app = EchoBackend::answering(|_| {
        Script::answer(200, &[("Set-Cookie", "=__Host-refresh=planted; Path=/; Secure"), ("Set-Cookie", "own=1")], "")
    })
    .await;
    let gate = Portcullis::start(&format!("upstream: {}\npublic: [/public]\n", app.url())).await;
    let answer = anon(&gate, "/public").await.expect(200);
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["own=1"]);
}

#[tokio::test]
async fn what_an_app_babbles_is_not_quoted_in_the_log() {
    let babble = "HTTP/1.1 200 OK\r\nSet-Cookie: app=SECRET-OF-THE-APP\r\nbad header\r\n\r\n";
    let app = EchoBackend::answering(move |_| Script::Raw(babble.into())).await;
    let gate = Portcullis::start(&format!("upstream: {}\npublic: [/public]\n", app.url())).await;
    anon(&gate, "/public").await.expect(502);
    eventually("the failure is logged", async || gate.log().contains("a request failed").then_some(())).await;
    assert!(!gate.log().contains("SECRET-OF-THE-APP"), "{}", gate.log());
}

#[tokio::test]
async fn an_answer_that_can_have_no_body_announces_none() {
    let app =
        EchoBackend::answering(|_| Script::Raw(b"HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\nhello".to_vec())).await;
    let gate = Portcullis::start(&format!("upstream: {}\npublic: [/public]\n", app.url())).await;
    let answer = raw(gate.listen, "GET /public HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("an answer");
    assert_eq!((answer.status, answer.header("content-length")), (204, None), "{}", answer.head);
}

/// Sends without end, and says when nobody takes it any more.
async fn torrent() -> (String, tokio::sync::oneshot::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound address"));
    let (over, is_over) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("the gate connects");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n").await.expect("it is sent");
        let piece = vec![b'x'; 64 * 1024];
        while stream.write_all(&piece).await.is_ok() {}
        let _ = over.send(());
    });
    (url, is_over)
}

#[tokio::test]
async fn who_reads_nothing_does_not_hold_the_app_for_ever() {
    let (app, is_over) = torrent().await;
    let gate =
        Portcullis::start(&format!("upstream: {app}\npublic: [/public]\nlimits: {{ body_timeout: 1s }}\n")).await;
    let mut client = RawConnection::open(gate.listen).await;
    client.send("GET /public HTTP/1.1\r\nHost: a\r\n\r\n").await;
    in_time("the app is let go", is_over).await.expect("the app tells");
}

#[tokio::test]
async fn asking_for_a_stream_buys_no_time_for_a_body() {
    let app = EchoBackend::start().await;
    let gate =
        Portcullis::start(&format!("upstream: {}\npublic: [/public]\nlimits: {{ body_timeout: 1s }}\n", app.url()))
            .await;
    for word in
        ["Accept: text/event-stream", "Content-Type: application/grpc", "Upgrade: websocket\r\nConnection: Upgrade"]
    {
        let request = format!("POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n{word}\r\n\r\n");
        let answer = raw(gate.listen, request).await.unwrap_or_else(|| panic!("{word}: no answer"));
        assert_eq!(answer.status, 408, "{word}");
    }
}

#[tokio::test]
async fn a_websocket_has_no_body_that_could_be_too_large_and_may_be_silent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let app = format!("http://{}", listener.local_addr().expect("a bound address"));
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("the gate connects");
        let mut socket = tokio_tungstenite::accept_async(stream).await.expect("a handshake");
        while let Some(Ok(message)) = socket.next().await {
            if message.is_binary() && socket.send(message).await.is_err() {
                return;
            }
        }
    });
    let limits = "limits: { body_size: 100KiB, body_timeout: 1s }";
    let gate = Portcullis::start(&format!("upstream: {app}\npublic: [/public]\n{limits}\n")).await;
    let stream = TcpStream::connect(gate.listen).await.expect("the gate listens");
    let url = format!("ws://{}/public", gate.listen);
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.expect("a handshake");
    // Longer than `body_timeout`: that it is still open afterwards is the point.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for _ in 0..5 {
        socket.send(Message::binary(vec![1; 50_000])).await.expect("it is open");
        let echo = in_time("an echo", socket.next()).await.expect("it is open").expect("it is well");
        assert_eq!(echo.len(), 50_000);
    }
}

#[tokio::test]
async fn an_http_1_0_client_that_waits_for_the_end_gets_it() {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&format!("upstream: {}\npublic: [/public]\n", app.url())).await;
    for (fields, kept) in [("", false), ("Connection: keep-alive\r\n", true)] {
        let mut client = RawConnection::open(gate.listen).await;
        for round in 0..2 {
            client.send(format!("GET /public HTTP/1.0\r\nHost: a\r\n{fields}\r\n")).await;
            let status = client.answer().await.map(|answer| answer.status);
            assert_eq!(status, (kept || round == 0).then_some(200), "{fields:?}, round {round}");
        }
    }
}

#[tokio::test]
async fn while_leaving_nobody_is_invited_to_send_more() {
    let app = EchoBackend::start().await;
    let mut gate = Portcullis::start(&format!("upstream: {}\npublic: [/public]\n", app.url())).await;
    let mut forwarded = RawConnection::open(gate.listen).await;
    forwarded.send("POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello").await;
    eventually("the upload has begun", async || (app.body_bytes() == 5).then_some(())).await;
    gate.signal("TERM");
    eventually("it takes no new connections", async || TcpStream::connect(gate.listen).await.is_err().then_some(()))
        .await;
    forwarded.send("again").await;
    let answer = forwarded.answer().await.expect("a request under way is finished");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{}", answer.head);
    assert!(in_time("after SIGTERM", gate.ended()).await.success());
}

#[tokio::test]
async fn a_client_of_events_may_be_silent() {
    let (pieces, stream) = tokio::sync::mpsc::channel(1);
    let stream = std::sync::Mutex::new(Some(stream));
    let app = EchoBackend::answering(move |_| match stream.lock().expect("not poisoned").take() {
        Some(stream) => Script::Stream(stream),
        None => Script::Close,
    })
    .await;
    let gate = Portcullis::start(&format!(
        "upstreams: {{ app: {{ servers: [\"{}\"], read_timeout: 1s }} }}\nroutes: [{{ name: app, upstream: app, auth: public }}]\n\
         limits: {{ body_timeout: 1s }}\n",
        app.url()
    ))
    .await;
    let mut client = RawConnection::open(gate.listen).await;
    client.send("GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n").await;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    pieces.send(head.into()).await.expect("the app streams");
    // Longer than both timeouts.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    pieces.send("9\r\ndata: 1\n\n\r\n".into()).await.expect("the app streams");
    while client.line().await.expect("the stream goes on") != b"data: 1\n" {}
}

#[tokio::test]
async fn the_app_learns_the_host_over_http_2_too() {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&format!(
        "upstreams: {{ app: {{ servers: [\"{}\"] }} }}\nroutes: [{{ name: app, upstream: app, auth: public, preserve_host: false }}]\n",
        app.url()
    ))
    .await;
    let fields = [
        (":method", &b"GET"[..]),
        (":scheme", b"http"),
        (":authority", b"app.example.com"),
        (":path", b"/"),
        ("x-forwarded-user", b"boss"),
        ("x.original.url", b"/admin"),
    ];
    assert_eq!(raw_h2(gate.listen, &fields).await, H2Answer::Status(200));
    let seen = app.take_one();
    assert_eq!(seen.header("x-forwarded-host"), Some("app.example.com"));
    assert_eq!(seen.header("host"), Some(app.address.to_string().as_str()));
    assert_eq!((seen.header("x-forwarded-user"), seen.header("x.original.url")), (None, None));
}

#[tokio::test]
async fn a_cache_is_told_that_origins_get_different_answers() {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&format!(
        "upstream: {}\npublic: [/public]\ncookie: {{ same_site: none }}\ncors: {{ allow_origins: [https://app.example.com] }}\n",
        app.url()
    ))
    .await;
    for origin in [None, Some("https://app.example.com"), Some("https://evil.example.com")] {
        let request = client().get(gate.url("/public"));
        let request = origin.into_iter().fold(request, |request, origin| request.header("Origin", origin));
        assert_eq!(Answer::to(request).await.header("vary"), Some("Origin"), "{origin:?}");
    }
}

#[tokio::test]
async fn nobody_fills_the_log_by_leaving() {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&format!("upstream: {}\npublic: [/public]\n", app.url())).await;
    for junk in [
        "GET /public HTTP/1.1\r\nAuthorization: Bearer SECRET\r\nHo",
        "\x16\x03\x01",
        "GET / HTTP/1.1\r\nBad Name: x\r\n\r\n",
        "?\r\n\r\n",
    ] {
        let mut client = RawConnection::open(gate.listen).await;
        client.send(junk).await;
        client.finish().await;
        while client.line().await.is_some() {}
    }
    gate.signal("TERM");
    eventually("the log is written", async || gate.log().contains("leaving").then_some(())).await;
    assert!(!gate.log().contains("\"ERROR\"") && !gate.log().contains("SECRET"), "{}", gate.log());
}

#[tokio::test]
async fn silence_has_a_deadline_from_the_first_byte_on() {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&format!(
        "upstream: {}\npublic: [/public]\nlimits: {{ header_timeout: 1s, keep_alive: 1s }}\n",
        app.url()
    ))
    .await;
    for said in
        ["", "P", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /public HTTP/1.1\r\nHost: a\r\n\r\nG"]
    {
        let mut client = RawConnection::open(gate.listen).await;
        client.send(said).await;
        in_time(&format!("after {said:?} the connection is closed"), async { while client.line().await.is_some() {} })
            .await;
    }
}

#[tokio::test]
async fn silence_behind_tls_has_a_deadline_too() {
    let tls = SelfSigned::of("localhost");
    let gate = Portcullis::start(&format!(
        "listen: [{{ address: \"{{listen}}\", tls: {{ certificate: {}, key: {} }} }}]\nupstream: http://127.0.0.1:1\n\
         limits: {{ header_timeout: 1s, keep_alive: 1s }}\n",
        tls.certificate.display(),
        tls.key.display()
    ))
    .await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(tls.made.cert.der().clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.expect("usual versions").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let address = gate.listen;
    let silent = tokio::task::spawn_blocking(move || {
        let name = "localhost".try_into().expect("a name");
        let mut session = rustls::ClientConnection::new(Arc::new(config), name).expect("a session");
        let mut stream = std::net::TcpStream::connect(address).expect("the gate listens");
        stream.set_read_timeout(Some(crate::harness::DEADLINE)).expect("a TCP option is set");
        session.complete_io(&mut stream).expect("a handshake");
        assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
        // What the gate says of itself, and then the end.
        loop {
            match session.complete_io(&mut stream) {
                Ok((0, _)) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
            }
            let state = session.process_new_packets().expect("TLS");
            if state.peer_has_closed() {
                return true;
            }
            let mut told = vec![0; state.plaintext_bytes_to_read()];
            std::io::Read::read_exact(&mut session.reader(), &mut told).expect("what was read");
        }
    });
    assert!(silent.await.expect("the thread ends"), "it is still open");
}
