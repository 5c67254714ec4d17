//! Once allowed, everything passes unharmed and as it comes: uploads, downloads, events, WebSockets, gRPC.

use std::sync::Mutex;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::harness::{
    ALICE, Answer, Browser, EchoBackend, LegacyApp, Portcullis, RawConnection, Script, SelfSigned, eventually, in_time,
    raw,
};

async fn gate(upstream: &str) -> (Portcullis, Browser) {
    let gate = Portcullis::start(&format!("upstream: {upstream}\npublic: [/public]\n")).await;
    let alice = Browser::logged_in(&gate, &ALICE).await;
    (gate, alice)
}

/// A backend that answers every request with what the test sends into the channel.
async fn streaming_backend() -> (EchoBackend, mpsc::Sender<Bytes>) {
    let (pieces, stream) = mpsc::channel(1);
    let stream = Mutex::new(Some(stream));
    let app = EchoBackend::answering(move |_| match stream.lock().expect("not poisoned").take() {
        Some(stream) => Script::Stream(stream),
        None => Script::Close,
    });
    (app.await, pieces)
}

/// Bytes that tell where they belong.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64).map(|place| (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

#[tokio::test]
async fn an_event_arrives_before_the_next_one_exists() {
    let (app, events) = streaming_backend().await;
    let (gate, alice) = gate(&app.url()).await;
    let mut client = RawConnection::open(gate.listen).await;
    client.send(format!("GET /events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", alice.token())).await;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    events.send(head.into()).await.expect("the app streams");
    for number in 0..3 {
        let event = format!("data: {number}\n\n");
        events.send(format!("{:x}\r\n{event}\r\n", event.len()).into()).await.expect("the app streams");
        let expected = format!("data: {number}\n");
        while client.line().await.expect("the stream goes on") != expected.as_bytes() {}
    }
}

#[tokio::test]
async fn the_first_piece_of_an_upload_arrives_before_the_second_is_sent() {
    let app = EchoBackend::start().await;
    let (gate, alice) = gate(&app.url()).await;
    let mut client = RawConnection::open(gate.listen).await;
    let head =
        format!("POST /x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Length: 10\r\n\r\n", alice.token());
    client.send(head + "first").await;
    eventually("the first piece is there", async || (app.body_bytes() == 5).then_some(())).await;
    client.send("again").await;
    assert_eq!(client.answer().await.map(|answer| answer.status), Some(200));
    assert_eq!(app.take_one().body, b"firstagain");
}

#[tokio::test]
async fn large_bodies_pass_in_both_directions() {
    let app = LegacyApp::start().await;
    let (_gate, alice) = gate(&app.url).await;
    let body = pattern(8 * 1024 * 1024);
    for chunked in [false, true] {
        let request = alice.with_token(reqwest::Method::POST, "/echo");
        let request = match chunked {
            false => request.body(body.clone()),
            true => {
                let pieces: Vec<Result<Vec<u8>, std::io::Error>> =
                    body.chunks(100_001).map(|piece| Ok(piece.to_vec())).collect();
                request.body(reqwest::Body::wrap_stream(futures::stream::iter(pieces)))
            }
        };
        let answer = Answer::to(request).await.expect(200);
        assert!(answer.body == body, "chunked {chunked}: {} bytes came back, of {}", answer.body.len(), body.len());
    }
}

#[tokio::test]
async fn an_upload_is_announced_and_waits_for_the_word() {
    let app = EchoBackend::start().await;
    let (gate, alice) = gate(&app.url()).await;
    let head = |token: &str| {
        format!(
            "POST /x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let mut client = RawConnection::open(gate.listen).await;
    client.send(head(alice.token())).await;
    assert_eq!(client.answer().await.map(|answer| answer.status), Some(100));
    client.send("hello").await;
    assert_eq!(client.answer().await.map(|answer| answer.status), Some(200));
    assert_eq!(app.take_one().body, b"hello");

    // Who may not upload is told so instead.
    let refused = raw(gate.listen, head("rubbish")).await;
    assert_eq!(refused.map(|answer| answer.status), Some(401));
    assert!(app.take().is_empty());
}

#[tokio::test]
async fn connections_are_kept_on_both_sides_even_across_a_refusal() {
    let app = EchoBackend::start().await;
    let (gate, alice) = gate(&app.url()).await;
    let mut client = RawConnection::open(gate.listen).await;
    for round in 0..10 {
        client
            .send(format!("GET /{round} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", alice.token()))
            .await;
        assert_eq!(client.answer().await.map(|answer| answer.status), Some(200), "round {round}");
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.answer().await.map(|answer| answer.status), Some(401), "round {round}");
    }
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn answers_without_a_body_pass_as_they_are() {
    let app = EchoBackend::answering(|request| match request.target.as_str() {
        "/public/204" => Script::Raw(b"HTTP/1.1 204 No Content\r\nX-Own: a\r\n\r\n".to_vec()),
        "/public/304" => Script::Raw(b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n".to_vec()),
        _ => Script::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec()),
    })
    .await;
    let (gate, _alice) = gate(&app.url()).await;
    let mut client = RawConnection::open(gate.listen).await;
    for (method, path, status) in [("GET", "204", 204), ("GET", "304", 304)] {
        client.send(format!("{method} /public/{path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(client.answer().await.map(|answer| answer.status), Some(status));
    }
    let head = Answer::to(crate::harness::client().head(gate.url("/public/head"))).await.expect(200);
    assert_eq!((head.header("content-length"), head.body.len()), (Some("1000"), 0));
}

#[tokio::test]
async fn an_app_that_fails_is_reported_as_what_it_is() {
    let app = EchoBackend::answering(|request| match request.target.as_str() {
        "/closes" => Script::Close,
        "/babbles" => Script::Raw(b"what?\r\n\r\n".to_vec()),
        _ => Script::Hang,
    })
    .await;
    let gate = Portcullis::start(&format!(
        "upstreams:\n  app: {{ servers: [\"{}\"], read_timeout: 1s }}\n  gone: {{ servers: [\"http://127.0.0.1:{}\"] }}\n\
         routes:\n  - {{ name: app, upstream: app, auth: public }}\n  - {{ name: gone, path: /gone, upstream: gone, auth: public }}\n",
        app.url(),
        crate::harness::free_port()
    ))
    .await;
    crate::harness::anon(&gate, "/closes").await.expect(502).because("upstream_failed");
    crate::harness::anon(&gate, "/babbles").await.expect(502).because("upstream_failed");
    crate::harness::anon(&gate, "/hangs").await.expect(504).because("upstream_timeout");
    let gone = crate::harness::anon(&gate, "/gone").await;
    assert!(gone.status == 502 || gone.status == 503, "{gone:#?}");
}

/// A WebSocket server that says everything back.
pub async fn websocket_echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn a_websocket_talks_both_ways_once_allowed_and_not_before() {
    let app = websocket_echo().await;
    let (gate, alice) = gate(&app).await;
    let connect = async |token: Option<&str>| {
        let mut request = format!("ws://{}/socket", gate.listen).into_client_request().expect("a request");
        if let Some(token) = token {
            request.headers_mut().insert("Authorization", format!("Bearer {token}").parse().expect("a header value"));
        }
        let stream = TcpStream::connect(gate.listen).await.expect("the gate listens");
        in_time("a WebSocket handshake", tokio_tungstenite::client_async(request, stream)).await
    };

    match connect(None).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 401),
        other => panic!("without a token there is no WebSocket: {other:?}"),
    }
    let (mut socket, _) = connect(Some(alice.token())).await.expect("with a token there is");
    for message in [Message::text("hello"), Message::binary(pattern(300_000)), Message::text("still there")] {
        socket.send(message.clone()).await.expect("it is sent");
        let echo = in_time("an echo", socket.next()).await.expect("the socket is open").expect("it is well");
        assert!(echo == message, "{} bytes came back", echo.len());
    }
    socket.close(None).await.expect("it closes");
}

/// A server that speaks HTTP/2 without TLS and answers as gRPC does: each piece back as it comes, and trailers.
pub async fn grpc_echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await?;
                while let Some(accepted) = connection.accept().await {
                    tokio::spawn(grpc_call(accepted?));
                }
                Ok::<(), h2::Error>(())
            });
        }
    });
    url
}

async fn grpc_call(
    (request, mut respond): (http::Request<h2::RecvStream>, h2::server::SendResponse<Bytes>),
) -> Result<(), h2::Error> {
    let subject = request.headers().get("x-auth-subject").cloned();
    let head = http::Response::builder().header("content-type", "application/grpc").body(()).expect("an answer's head");
    let mut answer = respond.send_response(head, false)?;
    let mut body = request.into_body();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        answer.send_data(piece, false)?;
    }
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    trailers.extend(subject.map(|subject| (http::HeaderName::from_static("x-seen-subject"), subject)));
    answer.send_trailers(trailers)
}

#[tokio::test]
async fn a_grpc_call_talks_both_ways_and_its_trailers_arrive() {
    let app = grpc_echo().await;
    let gate = Portcullis::start(&format!(
        "upstreams: {{ app: {{ servers: [\"{app}\"], protocol: http2 }} }}\nroutes:\n  - {{ name: app, upstream: app }}\n"
    ))
    .await;
    let alice = Browser::logged_in(&gate, &ALICE).await;
    let stream = TcpStream::connect(gate.listen).await.expect("the gate listens");
    let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2 with prior knowledge");
    tokio::spawn(connection);

    let request = http::Request::post(format!("http://{}/echo.Echo/Talk", gate.listen))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {}", alice.token()))
        .body(())
        .expect("a request");
    let (answer, mut sending) = client.send_request(request, false).expect("a stream");
    sending.send_data(Bytes::from_static(b"\0\0\0\0\x05first"), false).expect("it is sent");
    let answer = in_time("the head of the answer", answer).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    let first = in_time("the first message", body.data()).await.expect("a message").expect("it is well");
    assert_eq!(first, &b"\0\0\0\0\x05first"[..]);
    sending.send_data(Bytes::from_static(b"\0\0\0\0\x06second"), true).expect("it is sent");
    let mut second = Vec::new();
    while let Some(piece) = in_time("the second message", body.data()).await {
        second.extend_from_slice(&piece.expect("it is well"));
    }
    assert_eq!(second, b"\0\0\0\0\x06second");
    let trailers = in_time("the trailers", body.trailers()).await.expect("they are well").expect("there are some");
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["x-seen-subject"], "alice");
}

#[tokio::test]
async fn a_whole_life_over_http_2_and_tls() {
    let app = EchoBackend::start().await;
    let tls = SelfSigned::of("localhost");
    let gate = Portcullis::start(&format!(
        "listen: [{{ address: \"{{listen}}\", tls: {{ certificate: {}, key: {} }} }}]\nupstream: {}\n",
        tls.certificate.display(),
        tls.key.display(),
        app.url()
    ))
    .await;

    let authority = reqwest::Certificate::from_pem(tls.made.cert.pem().as_bytes()).expect("a certificate");
    let builder =
        || reqwest::Client::builder().no_proxy().tls_certs_only([authority.clone()]).resolve("localhost", gate.listen);
    let url = |path: &str| format!("https://localhost:{}{path}", gate.listen.port());
    let expires = gate.metrics().await.sum("portcullis_tls_certificate_not_after_timestamp_seconds", &[]);
    assert!(expires.is_some_and(|expires| expires > 1.7e9), "{expires:?}");
    for (client, version) in [(builder(), http::Version::HTTP_2), (builder().http1_only(), http::Version::HTTP_11)] {
        let client = client.build().expect("a client");
        let login = client.post(url("/login")).form(&[("username", ALICE.name), ("password", ALICE.password)]);
        let login = login.send().await.expect("an answer");
        assert_eq!((login.version(), login.status().as_u16()), (version, 200));
        let cookie =
            login.headers()["set-cookie"].to_str().expect("ASCII").split(';').next().expect("a cookie").to_owned();
        let token = login.json::<serde_json::Value>().await.expect("JSON")["access_token"]
            .as_str()
            .expect("a token")
            .to_owned();

        // Crumbs, as HTTP/2 clients send cookies: the app gets one line.
        let page = client.get(url("/page")).bearer_auth(&token).header("Cookie", "a=1").header("Cookie", "b=2");
        assert_eq!(page.send().await.expect("an answer").status(), 200);
        let seen = app.take_one();
        assert_eq!((seen.header("x-auth-subject"), seen.header("x-forwarded-proto")), (Some("alice"), Some("https")));
        assert_eq!(seen.all("cookie").join("; "), "a=1; b=2");
        assert!(version == http::Version::HTTP_11 || seen.all("cookie").len() == 1, "{:?}", seen.headers);
        assert_eq!(seen.header("host"), Some(format!("localhost:{}", gate.listen.port()).as_str()));

        for (path, status) in [("/refresh", 200), ("/logout", 204), ("/refresh", 400)] {
            let answer = client.post(url(path)).header("Cookie", &cookie).send().await.expect("an answer");
            assert_eq!(answer.status(), status, "{path}");
        }
    }
}
