//! How long an app may say nothing: told from how long it takes, and from how long its client takes.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::gate;
use crate::harness::{Answer, RawConnection, client, in_time};

/// What the proxy is told to wait.
const PATIENCE: Duration = Duration::from_millis(400);
/// More than any buffers on the way hold.
const LARGE_BYTES: usize = 30_000_000;

/// An app that answers by the path: `/pauses` for ever in the middle, `/pieces` with pauses that are short enough, `/large` at once.
async fn app() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    url
}

async fn serve(mut stream: TcpStream) -> Option<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let (length, pieces): (usize, &[usize]) = match head.split(|&byte| byte == b' ').nth(1)? {
            b"/pauses" => (10, &[5]),
            b"/pieces" => (10, &[2, 2, 2, 2, 2]),
            b"/large" => (LARGE_BYTES, &[LARGE_BYTES]),
            _ => (0, &[]),
        };
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes()).await.ok()?;
        for piece in pieces {
            stream.write_all(&vec![b'a'; *piece]).await.ok()?;
            tokio::time::sleep(PATIENCE / 2).await;
        }
        if pieces.iter().sum::<usize>() < length {
            std::future::pending::<()>().await;
        }
    }
}

#[tokio::test]
async fn an_app_may_take_its_time_but_not_fall_silent() {
    let gate = gate(&[&app().await], "read_timeout: 400ms").await;
    let pieces = Answer::to(client().get(gate.url("/pieces"))).await.expect(200);
    assert_eq!(pieces.body.len(), 10, "no pause was too long, though all of them together were");
    let head = client().get(gate.url("/pauses")).send().await.expect("a head");
    assert_eq!(head.status(), 200);
    in_time("the answer ends", head.bytes()).await.expect_err("half an answer is not taken for a whole one");
    Answer::to(client().get(gate.url("/"))).await.expect(200);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_the_apps_fault() {
    let gate = gate(&[&app().await], "read_timeout: 400ms").await;
    let mut answer = client().get(gate.url("/large")).send().await.expect("a head");
    // Long enough for every buffer to be full, and for the app to have been waited for several times.
    tokio::time::sleep(6 * PATIENCE).await;
    let mut received = 0;
    while let Some(chunk) = in_time("more of it", answer.chunk()).await.expect("it goes on") {
        received += chunk.len();
    }
    assert_eq!(received, LARGE_BYTES);
}

#[tokio::test]
async fn a_kept_connection_is_told_that_the_app_is_late_and_so_is_one_that_sent_too_much() {
    let silent = super::Rogue::start("127.0.0.1", super::Does::Answers).await;
    let gate = gate(&[&super::url(&silent)], "read_timeout: 400ms, ejection: none").await;
    let mut kept = RawConnection::open(gate.listen).await;
    kept.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(kept.answer().await.expect("an answer").status, 200);
    silent.does(super::Does::IsSilent);
    kept.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let late = kept.answer().await.expect("an answer");
    assert_eq!(late.status, 504);
    assert!(late.text().contains("upstream_timeout"), "{}", late.text());
    // Nobody looks at the client any more once it has sent its next request too early; it is cut off all the same.
    let mut hasty = RawConnection::open(gate.listen).await;
    hasty.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut answers = Vec::new();
    while let Some(answer) = hasty.answer().await {
        answers.push(answer.status);
    }
    assert!(answers.iter().all(|status| *status == 504), "{answers:?}");
}
