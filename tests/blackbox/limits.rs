//! Every limit is hit, on first and later requests and over both versions of HTTP: who runs into it is answered or cut off as
//! documented, it shows in the metrics, and others on the same proxy do not notice.

mod bodies;
mod frames;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;

use crate::harness::{EchoBackend, H2Connection, Portcullis, RawConnection, Script, SelfSigned, eventually, in_time};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// A gate in front of `app`, whose limits are these.
async fn gate_to(app: &str, limits: &str) -> Portcullis {
    let config = format!(
        "upstreams: {{ app: {{ servers: [\"{app}\"], read_timeout: 5s }} }}\n\
         routes: [{{ name: app, upstream: app, auth: public }}]\nlimits: {{ {limits} }}\n"
    );
    Portcullis::start(&config).await
}

async fn gate(limits: &str) -> (Portcullis, EchoBackend) {
    let app = EchoBackend::start().await;
    (gate_to(&app.url(), limits).await, app)
}

/// How often this limit was hit.
async fn refusals(gate: &Portcullis, limit: &str) -> f64 {
    let label = format!("limit=\"{limit}\"");
    gate.metrics().await.sum("portcullis_limit_refusals_total", &[&label]).expect("the series exists from the start")
}

async fn counted(gate: &Portcullis, limit: &str, times: f64) {
    eventually("it is counted", async || (refusals(gate, limit).await == times).then_some(())).await;
}

/// Others are served.
async fn others_are_served(gate: &Portcullis) {
    let mut other = RawConnection::open(gate.listen).await;
    for _ in 0..2 {
        other.send(GET).await;
        assert_eq!(other.answer().await.expect("an answer").status, 200);
    }
}

/// Connects from another address of this machine.
async fn from(address: [u8; 4], to: SocketAddr) -> RawConnection {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((address, 0))).expect("an address of this machine");
    RawConnection::of(socket.connect(to).await.expect("the gate listens"))
}

#[tokio::test]
async fn all_series_exist_from_the_start() {
    let (gate, _app) = gate("").await;
    let metrics = gate.metrics().await;
    let mut limits: Vec<&str> = metrics.samples("portcullis_limit_refusals_total").map(|(labels, _)| labels).collect();
    limits.sort_unstable();
    assert_eq!(
        limits.join(" ").replace("limit=", "").replace('"', ""),
        "body_rate body_size body_timeout connections connections_per_address header_count header_size header_timeout \
         requests requests_per_address resets tls_timeout"
    );
    assert_eq!(metrics.sum("portcullis_limit_refusals_total", &[]), Some(0.0));
}

#[tokio::test]
async fn a_head_of_too_many_or_too_large_fields_is_refused() {
    let (gate, app) = gate("header_count: 10, header_size: 4KiB").await;
    let many: String = (0..10).map(|number| format!("X-{number}: x\r\n")).collect();
    let large = format!("X-Large: {}\r\n", "x".repeat(4096));
    for (fields, limit) in [(many, "header_count"), (large.clone(), "header_size")] {
        for earlier_requests in 0..2 {
            let mut connection = RawConnection::open(gate.listen).await;
            for _ in 0..earlier_requests {
                connection.send(GET).await;
                assert_eq!(connection.answer().await.expect("an answer").status, 200);
            }
            connection.send(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n")).await;
            let answer = connection.answer().await.expect("an answer");
            assert_eq!(answer.status, 431);
            assert!(answer.text().contains("\"head_too_large\""), "{}", answer.text());
            assert_eq!(connection.answer().await, None, "the connection is closed");
        }
        counted(&gate, limit, 2.0).await;
    }
    app.take();

    let mut connection = H2Connection::open(gate.listen).await;
    let names: Vec<String> = (0..11).map(|number| format!("x-{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let large = "x".repeat(4096);
    for (fields, status) in [(&many[..10], 200), (&many[..], 431), (&[("x-large", large.as_str())], 431), (&[], 200)] {
        assert_eq!(connection.get(fields).await.expect("an answer").status(), status, "{fields:?}");
    }
    // Browsers make a field of each cookie.
    let crumbs: Vec<(&str, &str)> = names.iter().map(|_| ("cookie", "a=b")).collect();
    assert_eq!(connection.get(&crumbs).await.expect("an answer").status(), 200);
    counted(&gate, "header_count", 3.0).await;
    counted(&gate, "header_size", 3.0).await;
    assert_eq!(app.take().len(), 3);
}

#[tokio::test]
async fn a_head_has_its_time_from_its_first_byte_on() {
    // The second request has the same time as the first, however long an idle connection is kept.
    let (gate, _app) = gate("header_timeout: 1s, keep_alive: 10m").await;
    let mut connection = RawConnection::open(gate.listen).await;
    connection.send(GET).await;
    assert_eq!(connection.answer().await.expect("an answer").status, 200);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    connection.send(GET).await;
    assert_eq!(connection.answer().await.expect("an idle connection is kept").status, 200);
    in_time("the connection is closed", async {
        while connection.try_send("x").await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    counted(&gate, "header_timeout", 1.0).await;
    others_are_served(&gate).await;
}

#[tokio::test]
async fn a_tls_handshake_has_its_time_and_counts_as_a_connection() {
    let tls = SelfSigned::of("localhost");
    let gate = Portcullis::start(&format!(
        "listen: [{{ address: \"{{listen}}\", tls: {{ certificate: {}, key: {} }} }}]\nupstream: http://127.0.0.1:1\n\
         limits: {{ tls_timeout: 1s }}\n",
        tls.certificate.display(),
        tls.key.display()
    ))
    .await;

    // Silence, and a client's first message of 4 KiB that is announced and drips in.
    for (begins, times) in [(&b""[..], 1.0), (b"\x16\x03\x01\x10\x00\x01", 2.0)] {
        let mut slow = RawConnection::open(gate.listen).await;
        slow.send(begins).await;
        let open = async || gate.metrics().await.sum("portcullis_connections", &[]);
        eventually("it counts as open", async || (open().await >= Some(1.0)).then_some(())).await;
        in_time("the connection is closed", async {
            if begins.is_empty() {
                assert_eq!(slow.answer().await, None);
            }
            while slow.try_send("x").await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        counted(&gate, "tls_timeout", times).await;
    }
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_a_trusted_proxy_as_many_as_it_likes() {
    for (trusted, limited) in [("[]", true), ("[127.0.0.1]", false)] {
        let app = EchoBackend::start().await;
        let trusted = if limited { String::new() } else { format!("trusted_proxies: {trusted}\n") };
        let gate = Portcullis::start(&format!(
            "upstreams: {{ app: {{ servers: [\"{}\"] }} }}\nroutes: [{{ name: app, upstream: app, auth: public }}]\n{trusted}limits: {{ connections_per_address: 3 }}\n",
            app.url()
        ))
        .await;
        let mut open = Vec::new();
        for _ in 0..3 {
            // Those that found out whether it is ready may not have been given back yet.
            let connection = eventually("there is room", async || {
                let mut connection = RawConnection::open(gate.listen).await;
                connection.send(GET).await;
                connection.answer().await.map(|_| connection)
            });
            open.push(connection.await);
        }
        let before = refusals(&gate, "connections_per_address").await;
        let mut fourth = RawConnection::open(gate.listen).await;
        fourth.send(GET).await;
        assert_eq!(fourth.answer().await.is_none(), limited, "trusted: {trusted}");
        counted(&gate, "connections_per_address", before + f64::from(u8::from(limited))).await;

        let mut neighbour = from([127, 0, 0, 2], gate.listen).await;
        neighbour.send(GET).await;
        assert_eq!(neighbour.answer().await.expect("another address has its own").status, 200);
        for connection in &mut open {
            connection.send(GET).await;
            assert_eq!(connection.answer().await.expect("those that are open go on").status, 200);
        }
        open.pop();
        eventually("there is room again", async || {
            let mut next = RawConnection::open(gate.listen).await;
            next.send(GET).await;
            next.answer().await
        })
        .await;
    }
}

#[tokio::test]
async fn all_connections_together_are_limited() {
    let (gate, _app) = gate("connections: 2").await;
    let mut open = Vec::new();
    while refusals(&gate, "connections").await == 0.0 {
        let mut connection = RawConnection::open(gate.listen).await;
        connection.send(GET).await;
        if connection.answer().await.is_some() {
            open.push(connection);
        }
        assert!(open.len() <= 2, "more than two are open");
    }
}

#[tokio::test]
async fn an_address_has_so_many_requests_in_a_time() {
    let (gate, app) = gate("requests_per_address: 5/m").await;
    let mut first = RawConnection::open(gate.listen).await;
    let mut second = H2Connection::open(gate.listen).await;
    for _ in 0..3 {
        first.send(GET).await;
        assert_eq!(first.answer().await.expect("an answer").status, 200);
    }
    for _ in 0..2 {
        assert_eq!(second.get(&[]).await.expect("an answer").status(), 200, "streams count, and not connections");
    }
    for _ in 0..2 {
        first.send(GET).await;
        let answer = first.answer().await.expect("an answer, on the connection that is kept");
        assert_eq!((answer.status, answer.header("content-type")), (429, Some("application/problem+json")));
        assert!(answer.text().contains("\"reason\":\"too_many_requests\""), "{}", answer.text());
        let wait: u32 = answer.header("retry-after").expect("when to come again").parse().expect("seconds");
        assert!((1..=12).contains(&wait), "{wait}");
    }
    let answer = second.get(&[]).await.expect("an answer");
    assert!(answer.status() == 429 && answer.headers().contains_key("retry-after"));
    // What a client says of itself is nothing.
    assert_eq!(second.get(&[("x-forwarded-for", "192.0.2.1")]).await.expect("an answer").status(), 429);
    counted(&gate, "requests_per_address", 4.0).await;
    let label = ["reason=\"too_many_requests\""];
    assert_eq!(gate.metrics().await.sum("portcullis_auth_decisions_total", &label), Some(4.0));

    let mut neighbour = from([127, 0, 0, 2], gate.listen).await;
    neighbour.send(GET).await;
    assert_eq!(neighbour.answer().await.expect("an answer").status, 200);
    assert_eq!(app.take().len(), 6);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_limit_and_the_proxy_none() {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&format!(
        "upstreams: {{ app: {{ servers: [\"{}\"] }} }}\nroutes: [{{ name: app, upstream: app, auth: public }}]\n\
         trusted_proxies: [127.0.0.1]\nlimits: {{ requests_per_address: 2/m }}\n",
        app.url()
    ))
    .await;
    let mut proxy = RawConnection::open(gate.listen).await;
    for (client, statuses) in [
        ("X-Forwarded-For: 192.0.2.1\r\n", [200, 200, 429]),
        ("X-Forwarded-For: 192.0.2.2\r\n", [200, 200, 429]),
        ("X-Forwarded-For: 2001:db8::1\r\n", [200, 200, 429]),
        ("X-Forwarded-For: 2001:db8::2\r\n", [429, 429, 429]),
        ("", [200, 200, 200]),
    ] {
        for status in statuses {
            proxy.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{client}\r\n")).await;
            assert_eq!(proxy.answer().await.expect("an answer").status, status, "{client:?}");
        }
    }
}

#[tokio::test]
async fn all_requests_under_way_are_limited() {
    let app = EchoBackend::answering(|_| Script::Hang).await;
    let gate = gate_to(&app.url(), "requests: 3").await;
    let mut hanging = Vec::new();
    for _ in 0..3 {
        let mut connection = RawConnection::open(gate.listen).await;
        connection.send(GET).await;
        hanging.push(connection);
    }
    eventually("they are under way", async || (app.connections() == 3).then_some(())).await;
    let mut other = RawConnection::open(gate.listen).await;
    other.send(GET).await;
    let answer = other.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!(answer.text().contains("\"reason\":\"overloaded\""), "{}", answer.text());
    let mut over_h2 = H2Connection::open(gate.listen).await;
    assert_eq!(over_h2.get(&[]).await.expect("an answer").status(), 503);
    counted(&gate, "requests", 2.0).await;
    drop(hanging);
    eventually("there is room again", async || {
        other.send(GET).await;
        // The app hangs.
        (other.answer().await?.status == 504).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_none_is_not_limited() {
    let (gate, _app) = gate(
        "connections_per_address: none, requests_per_address: none, requests: none, body_rate: none, header_timeout: 1s",
    )
    .await;
    let mut connection = RawConnection::open(gate.listen).await;
    for _ in 0..1500 {
        connection.send(GET).await;
        assert_eq!(connection.answer().await.expect("an answer").status, 200);
    }
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed_and_a_stream_of_events_is_not() {
    let app = EchoBackend::answering(|request| match request.target.as_str() {
        "/events" => Script::Raw(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n: a\n\r\n"
                .to_vec(),
        ),
        _ => Script::answer(200, &[], ""),
    })
    .await;
    let gate = gate_to(&app.url(), "keep_alive: 1s, header_timeout: 1s, body_timeout: 1s").await;
    let mut idle = H2Connection::open(gate.listen).await;
    assert_eq!(idle.get(&[]).await.expect("an answer").status(), 200);

    let mut events = H2Connection::open(gate.listen).await;
    let request = http::Request::get("http://a.example/events").header("accept", "text/event-stream");
    let (answer, _) = events.request(request.body(()).expect("a request"), true).await;
    let mut body = in_time("an answer", answer).await.expect("an answer").into_body();
    let mut plain = tokio::net::TcpStream::connect(gate.listen).await.expect("the gate listens");
    let ask = b"GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut plain, ask).await.expect("it is sent");

    let first = in_time("the first event", body.data()).await.expect("an event").expect("it is well");
    assert_eq!(first, &b": a\n"[..]);
    idle.closed().await;
    // By now all timers have run out for these two as well, twice.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let more = tokio::time::timeout(Duration::from_millis(500), body.data()).await;
    assert!(more.is_err(), "the stream of events has ended: {more:?}");
    let mut seen = vec![0; 4096];
    let read = plain.read(&mut seen).await.expect("the head and the first event");
    assert!(seen[..read].ends_with(b"4\r\n: a\n\r\n") || seen[..read].ends_with(b"\r\n\r\n"));
    let more = tokio::time::timeout(Duration::from_millis(500), plain.read(&mut seen)).await;
    assert!(!matches!(more, Ok(Ok(0) | Err(_))), "the stream of events has ended: {more:?}");
}

#[tokio::test]
async fn a_load_balancer_that_nobody_declared_is_named_once() {
    let (gate, _app) = gate("").await;
    let mut balancer = RawConnection::open(gate.listen).await;
    for round in 0..300 {
        balancer.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.{}\r\n\r\n", round % 250)).await;
        assert_eq!(balancer.answer().await.expect("an answer").status, 200);
    }
    eventually("it is named", async || gate.log().contains("write `trusted_proxies: [127.0.0.1]`").then_some(())).await;
    assert_eq!(gate.log().matches("trusted_proxies").count(), 1, "{}", gate.log());
}
