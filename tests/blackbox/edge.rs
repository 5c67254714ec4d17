//! What a stranger can do to a connection: nonsense is counted, and a head that drips in is not waited for.

use std::time::Duration;

use crate::harness::{EchoBackend, Portcullis, RawConnection, eventually, in_time};

async fn gate(limits: &str) -> (Portcullis, EchoBackend) {
    let app = EchoBackend::start().await;
    let config = format!(
        "upstreams: {{ app: {{ servers: [\"{}\"] }} }}\nroutes: [{{ name: app, upstream: app, auth: public }}]\n{limits}",
        app.url()
    );
    (Portcullis::start(&config).await, app)
}

async fn refused_by_parser(gate: &Portcullis) -> f64 {
    gate.metrics().await.sum("portcullis_requests_refused_by_parser_total", &[]).expect("the series exists")
}

#[tokio::test]
async fn what_is_no_request_is_counted_and_who_just_leaves_is_not() {
    let (gate, app) = gate("").await;
    assert_eq!(refused_by_parser(&gate).await, 0.0);

    // Who connects and leaves, before or after a request, has done nothing wrong.
    drop(RawConnection::open(gate.listen).await);
    let mut polite = RawConnection::open(gate.listen).await;
    polite.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    assert_eq!(polite.answer().await.expect("an answer").status, 200);
    drop(polite);
    app.take_one();

    for nonsense in [
        "\x16\x03\x01\x02\x00\x01\x01\x02\x03\x04\x05\x06\x07\x08 and so on\r\n\r\n",
        "GET / HTTP/1.1\r\nHost a.example\r\n\r\n",
        "GET / HTTP/1.1\r\n: no name\r\n\r\n",
    ] {
        let before = refused_by_parser(&gate).await;
        let mut stranger = RawConnection::open(gate.listen).await;
        stranger.send(nonsense).await;
        assert_eq!(stranger.answer().await.map(|answer| answer.status).unwrap_or(400), 400);
        eventually("it is counted", async || (refused_by_parser(&gate).await == before + 1.0).then_some(())).await;
    }
    assert!(app.take().is_empty());
}

#[tokio::test]
async fn a_head_that_drips_in_is_dropped_at_its_deadline_on_the_second_request_too() {
    let (gate, _app) = gate("limits: { header_timeout: 1s, keep_alive: 1s }\n").await;
    let mut first = RawConnection::open(gate.listen).await;
    first.send("GET / HT").await;
    let mut second = RawConnection::open(gate.listen).await;
    second.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    assert_eq!(second.answer().await.expect("an answer").status, 200);

    for connection in [&mut first, &mut second] {
        in_time("the connection is dropped", async {
            // One byte at a time keeps a deadline for each read from ever passing.
            while connection.try_send("x").await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn who_says_too_little_to_tell_its_protocol_is_not_waited_for() {
    let (gate, _app) = gate("limits: { header_timeout: 1s }\n").await;
    for little in ["", "G", "PRI * HTTP/2.0\r\n"] {
        let mut connection = RawConnection::open(gate.listen).await;
        connection.send(little).await;
        assert_eq!(in_time("the connection is dropped", connection.answer()).await, None, "{little:?}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let (gate, app) = gate("limits: { header_size: 4KiB }\n").await;
    let mut connection = RawConnection::open(gate.listen).await;
    connection.send(format!("GET / HTTP/1.1\r\nHost: a.example\r\nX-Large: {}\r\n\r\n", "x".repeat(5000))).await;
    assert_eq!(connection.answer().await.expect("an answer").status, 431);
    assert!(app.take().is_empty());
}
