//! What lasts ends with its session: WebSockets, events, long polls, downloads, gRPC calls. And with nothing else.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::harness::{
    ALICE, BOSS, Browser, Cluster, EchoBackend, LegacyApp, Portcullis, RawConnection, Script, Setup, bearer, in_time,
    remove_user,
};
use crate::streams::{grpc_echo, websocket_echo};

/// Tokens that expire while one looks on.
const SHORT: &str = "access_token: { lifetime: 3s, skew: 0s }\nrotation: { grace: 0s }\n";

async fn open(gate: &Portcullis, token: &str, path: &str) -> RawConnection {
    let mut connection = RawConnection::open(gate.listen).await;
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
    connection
}

/// Reads lines until one is `wanted`; false if the connection ends before.
async fn reads(connection: &mut RawConnection, wanted: &str) -> bool {
    while let Some(line) = connection.line().await {
        if line.starts_with(wanted.as_bytes()) {
            return true;
        }
    }
    false
}

async fn ends(mut connection: RawConnection) {
    while connection.line().await.is_some() {}
}

async fn websocket(gate: &Portcullis, token: &str) -> WebSocketStream<TcpStream> {
    let mut request = format!("ws://{}/socket", gate.listen).into_client_request().expect("a request");
    request.headers_mut().insert("Authorization", format!("Bearer {token}").parse().expect("a header value"));
    let stream = TcpStream::connect(gate.listen).await.expect("the gate listens");
    let (mut socket, _) = in_time("a handshake", client_async(request, stream)).await.expect("it is allowed");
    talks(&mut socket).await;
    socket
}

async fn talks(socket: &mut WebSocketStream<TcpStream>) {
    socket.send(Message::text("hello")).await.expect("it is sent");
    let echo = in_time("an echo", socket.next()).await.expect("the socket is open").expect("it is well");
    assert_eq!(echo, Message::text("hello"));
}

async fn is_cut(mut socket: WebSocketStream<TcpStream>) {
    while let Some(Ok(_)) = in_time("the end of the WebSocket", socket.next()).await {}
}

/// An app that answers `/hang` never, and everything else with a download that has begun.
async fn slow_app() -> EchoBackend {
    EchoBackend::answering(|request| match request.target.as_str() {
        "/hang" => Script::Hang,
        _ => {
            let (pieces, stream) = mpsc::channel(1);
            tokio::spawn(async move {
                // More than the proxy's buffer: of a body whose length is known, small pieces wait for others.
                let begun = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegun\n{:10000}", "");
                let _ = pieces.send(begun.into()).await;
                pieces.closed().await;
            });
            Script::Stream(stream)
        }
    })
    .await
}

fn apps(slow: &EchoBackend, events: &LegacyApp, sockets: &str) -> String {
    format!(
        "upstreams:\n  slow: {{ servers: [\"{}\"] }}\n  events: {{ servers: [\"{}\"] }}\n  sockets: {{ servers: [\"{sockets}\"] }}\n\
         routes:\n  - {{ name: slow, upstream: slow }}\n  - {{ name: events, path: /events, upstream: events }}\n  \
         - {{ name: open, host: open, upstream: events, auth: public }}\n  - {{ name: sockets, path: /socket, upstream: sockets }}\n",
        slow.url(),
        events.url
    )
}

#[tokio::test]
async fn a_logout_at_another_proxy_ends_all_that_lasts_and_nobody_elses() {
    let (slow, events, sockets) = (slow_app().await, LegacyApp::start().await, websocket_echo().await);
    let cluster = Cluster::start(Setup::TwoOnRedis, &apps(&slow, &events, &sockets)).await;
    let (here, there) = (cluster.first(), cluster.last());
    let mut alice = Browser::logged_in(there, &ALICE).await;
    let boss = Browser::logged_in(there, &BOSS).await;

    let mut polled = open(here, alice.token(), "/hang").await;
    let mut download = open(here, alice.token(), "/file").await;
    assert!(reads(&mut download, "begun").await);
    let mut stream = open(here, alice.token(), "/events").await;
    assert!(reads(&mut stream, "data: tick 0").await);
    let socket = websocket(here, alice.token()).await;
    let mut others = open(here, boss.token(), "/events").await;
    assert!(reads(&mut others, "data: tick 0").await);
    let mut others_socket = websocket(here, boss.token()).await;

    alice.logout().await.expect(204);

    assert!(polled.line().await.is_none(), "the poll is not answered");
    ends(download).await;
    ends(stream).await;
    is_cut(socket).await;
    assert!(reads(&mut others, "data: tick 2").await, "nobody else is cut off");
    talks(&mut others_socket).await;
    let metrics = here.metrics().await;
    assert_eq!(metrics.sum("portcullis_requests_cut_total", &["reason=\"session_ended\""]), Some(4.0));
    assert_eq!(metrics.sum("portcullis_requests_cut_total", &[]), Some(4.0));
    let ended = |code: &str| metrics.sum("portcullis_http_requests_total", &["route=\"slow\"", code]);
    assert_eq!((ended("code=\"200\""), ended("code=\"\"")), (Some(1.0), Some(1.0)), "they are counted like others");
}

#[tokio::test]
async fn an_expired_token_ends_what_lasts_unless_the_session_was_refreshed() {
    let (slow, events, sockets) = (slow_app().await, LegacyApp::start().await, websocket_echo().await);
    let gate = Portcullis::start(&(apps(&slow, &events, &sockets) + SHORT)).await;
    let mut alice = Browser::logged_in(&gate, &ALICE).await;
    let boss = Browser::logged_in(&gate, &BOSS).await;
    let mut stream = open(&gate, alice.token(), "/events").await;
    let mut socket = websocket(&gate, alice.token()).await;
    let (left_alone, left_alone_socket) =
        (open(&gate, boss.token(), "/events").await, websocket(&gate, boss.token()).await);

    // Three lives of an access token. The connections are those of the first.
    let until = Instant::now() + Duration::from_secs(9);
    let mut ticks = 0;
    while Instant::now() < until {
        assert!(reads(&mut stream, "data: tick").await, "the rotation has cut the stream");
        ticks += 1;
        if ticks % 2 == 0 {
            alice.refresh().await.expect(200);
        }
    }
    talks(&mut socket).await;
    ends(left_alone).await;
    is_cut(left_alone_socket).await;
    let cut = gate.metrics().await.sum("portcullis_requests_cut_total", &["reason=\"token_expired\""]);
    assert_eq!(cut, Some(2.0), "those that were not refreshed, and no others");

    // No more refreshes: it ends as well.
    ends(stream).await;
    is_cut(socket).await;
}

#[tokio::test]
async fn on_http_2_the_stream_ends_and_its_neighbours_do_not() {
    let app = grpc_echo().await;
    let gate = Portcullis::start(&format!(
        "upstreams: {{ app: {{ servers: [\"{app}\"], protocol: http2 }} }}\nroutes:\n  - {{ name: app, upstream: app }}\n"
    ))
    .await;
    let mut alice = Browser::logged_in(&gate, &ALICE).await;
    let boss = Browser::logged_in(&gate, &BOSS).await;
    let stream = TcpStream::connect(gate.listen).await.expect("the gate listens");
    let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2 with prior knowledge");
    tokio::spawn(connection);
    let mut call = async |token: &str| {
        let request = http::Request::post(format!("http://{}/echo.Echo/Talk", gate.listen))
            .header("content-type", "application/grpc")
            .header("authorization", format!("Bearer {token}"))
            .body(())
            .expect("a request");
        let (answer, mut sending) = client.send_request(request, false).expect("a stream");
        sending.send_data(Bytes::from_static(b"one"), false).expect("it is sent");
        let mut body = in_time("an answer", answer).await.expect("an answer").into_body();
        in_time("a message", body.data()).await.expect("a message").expect("it is well");
        (sending, body)
    };
    let (_sending, mut hers) = call(alice.token()).await;
    let (mut sending, mut others) = call(boss.token()).await;

    alice.logout().await.expect(204);

    let end = in_time("the end of the call", hers.data()).await;
    let reset = end.expect("it does not end as if all had been said").expect_err("it is reset");
    assert!(reset.is_reset(), "{reset}");
    sending.send_data(Bytes::from_static(b"two"), false).expect("it is sent");
    let more = in_time("another message", others.data()).await.expect("a message").expect("it is well");
    assert_eq!(more, "two");
}

#[tokio::test]
async fn a_user_who_is_removed_is_cut_off() {
    let (slow, events, sockets) = (slow_app().await, LegacyApp::start().await, websocket_echo().await);
    let gate = Portcullis::start(&apps(&slow, &events, &sockets)).await;
    let alice = Browser::logged_in(&gate, &ALICE).await;
    let socket = websocket(&gate, alice.token()).await;
    remove_user(&gate.users(), &ALICE);
    is_cut(socket).await;
}

#[tokio::test]
async fn with_no_news_of_logouts_nothing_protected_lasts() {
    let (slow, events, sockets) = (slow_app().await, LegacyApp::start().await, websocket_echo().await);
    let config = apps(&slow, &events, &sockets) + "revocation: { max_staleness: 3s }\n";
    let mut cluster = Cluster::start(Setup::Redis, &config).await;
    let alice = Browser::logged_in(cluster.first(), &ALICE).await;
    let socket = websocket(cluster.first(), alice.token()).await;
    let mut public = RawConnection::open(cluster.first().listen).await;
    public.send("GET /events HTTP/1.1\r\nHost: open\r\n\r\n").await;
    assert!(reads(&mut public, "data: tick 0").await);

    cluster.redis.as_mut().expect("this setup has a Redis").kill();

    is_cut(socket).await;
    bearer(cluster.first(), alice.token(), "/events").await.expect(503).because("revocations_stale");
    assert!(reads(&mut public, "data: tick").await, "public streams go on");
}
