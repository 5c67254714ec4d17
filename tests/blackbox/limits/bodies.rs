//! Bodies that come too slowly, or are not taken.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{counted, gate, gate_to, others_are_served, refusals};
use crate::harness::{EchoBackend, H2Connection, RawConnection, Script, in_time};

const POST: &str = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000\r\n\r\n";

fn post() -> http::Request<()> {
    http::Request::post("http://a.example/").body(()).expect("a request")
}

#[tokio::test]
async fn a_body_that_drips_in_is_refused() {
    let (gate, app) = gate("body_rate: 10kB/s, body_timeout: 1s").await;
    for earlier_requests in 0..2 {
        let mut slow = RawConnection::open(gate.listen).await;
        for _ in 0..earlier_requests {
            slow.send(super::GET).await;
            assert_eq!(slow.answer().await.expect("an answer").status, 200);
        }
        slow.send(POST).await;
        // Never a pause as long as body_timeout.
        in_time("it is refused", async {
            while slow.try_send("x").await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        let answer = slow.answer().await;
        assert!(answer.is_none_or(|answer| answer.status == 408), "cut off, or told why");
        counted(&gate, "body_rate", f64::from(earlier_requests + 1)).await;
    }
    let mut fast_enough = RawConnection::open(gate.listen).await;
    fast_enough.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n").await;
    for _ in 0..30 {
        fast_enough.send(vec![b'x'; 3000]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(fast_enough.answer().await.expect("an answer").status, 200);
    assert_eq!(app.take().last().map(|request| request.body.len()), Some(90_000));
    others_are_served(&gate).await;
}

#[tokio::test]
async fn a_body_that_drips_in_over_http2_is_cut_off() {
    let (gate, _app) = gate("body_rate: 10kB/s, body_timeout: 1s").await;
    let mut connection = H2Connection::open(gate.listen).await;
    for (drips, limit) in [(true, None), (false, Some("body_timeout"))] {
        let (answer, mut sending) = connection.request(post(), false).await;
        let drip = tokio::spawn(async move {
            while drips && sending.send_data(Bytes::from_static(b"x"), false).is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            sending
        });
        let answer = in_time("it is cut off", answer).await;
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status() == 408), "drips: {drips}");
        drip.abort();
        if let Some(limit) = limit {
            assert!(refusals(&gate, limit).await >= 1.0);
        }
        assert_eq!(connection.get(&[]).await.expect("the connection goes on").status(), 200);
    }
    assert_eq!(refusals(&gate, "body_rate").await + refusals(&gate, "body_timeout").await, 2.0);
}

/// An app that reads the head, pauses for longer than any client may, and reads the body then.
async fn late_reader() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut piece = vec![0; 16 * 1024];
                let mut all = stream.read(&mut piece).await?;
                tokio::time::sleep(Duration::from_millis(2500)).await;
                while all < 16_000_000 {
                    all += stream.read(&mut piece).await?;
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await
            });
        }
    });
    url
}

#[tokio::test]
async fn a_client_is_not_blamed_for_an_app_that_reads_late() {
    let app = late_reader().await;
    let gate = crate::harness::Portcullis::start(&format!(
        "upstreams: {{ app: {{ servers: [\"{app}\"], read_timeout: 10s }} }}\n\
         routes: [{{ name: app, upstream: app, auth: public }}]\nlimits: {{ body_timeout: 1s, body_rate: 10kB/s }}\n"
    ))
    .await;
    let plain = async {
        let mut client = RawConnection::open(gate.listen).await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16000000\r\n\r\n").await;
        client.send(vec![b'x'; 16_000_000]).await;
        client.answer().await.expect("an answer").status
    };
    assert_eq!(in_time("the upload", plain).await, 200);

    let mut connection = H2Connection::open(gate.listen).await;
    let (answer, mut sending) = connection.request(post(), false).await;
    sending.send_data(vec![b'x'; 16_000_000].into(), true).expect("it is sent as there is room");
    assert_eq!(in_time("the upload", answer).await.expect("an answer").status(), 200);
}

/// An app whose answers are larger than all buffers on the way.
async fn generous() -> EchoBackend {
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 64000000\r\n\r\n".to_vec();
    answer.resize(answer.len() + 64_000_000, b'x');
    EchoBackend::answering(move |request| match request.target.as_str() {
        "/large" => Script::Raw(answer.clone()),
        _ => Script::answer(200, &[], ""),
    })
    .await
}

#[tokio::test]
async fn who_does_not_take_an_answer_is_cut_off() {
    let app = generous().await;
    let gate = gate_to(&app.url(), "body_timeout: 1s").await;
    let mut plain = TcpStream::connect(gate.listen).await.expect("the gate listens");
    plain.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("it is sent");
    let mut sip = [0; 1];
    in_time("it is counted", async {
        // One byte at a time, which is no use to anybody.
        while refusals(&gate, "body_timeout").await < 1.0 {
            plain.read_exact(&mut sip).await.expect("the beginning is there");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;

    // A window of nothing, and one that is never opened again.
    for window in [0, 65_535] {
        let before = refusals(&gate, "body_timeout").await;
        let mut connection = H2Connection::with_window(gate.listen, window).await;
        let large = http::Request::get("http://a.example/large").body(()).expect("a request");
        let (answer, _) = connection.request(large, true).await;
        let mut body = in_time("an answer", answer).await.expect("its head").into_body();
        counted(&gate, "body_timeout", before + 1.0).await;
        let end = in_time("the stream ends", async {
            loop {
                match body.data().await {
                    Some(Ok(_)) => {}
                    end => return end,
                }
            }
        });
        assert!(matches!(end.await, Some(Err(_))), "it is reset");
        assert_eq!(connection.get(&[]).await.expect("the connection goes on").status(), 200);
    }
}
