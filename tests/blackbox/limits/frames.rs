//! Floods of HTTP/2 frames: what the library below bounds by itself, and what we add.

use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::{GET, counted, gate, gate_to, others_are_served, refusals};
use crate::harness::{EchoBackend, H2Connection, H2Frames, RawConnection, Script, eventually, h2_get, in_time};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// How many floods are sent at most before the connection must have been closed.
const FRAMES: u32 = 200_000;

#[tokio::test]
async fn a_client_is_told_how_many_streams_it_has_and_cannot_have_more() {
    let app = EchoBackend::answering(|_| Script::Hang).await;
    let gate = gate_to(&app.url(), "streams: 5").await;
    let mut polite = H2Connection::open(gate.listen).await;
    let (answer, _) = polite.request(http::Request::get("http://a/polite").body(()).expect("a request"), true).await;
    eventually("its settings are known", async || (polite.client.current_max_send_streams() == 5).then_some(())).await;
    drop(answer);

    let mut rude = H2Frames::open(gate.listen).await;
    for stream in 0..20 {
        assert!(rude.send(HEADERS, END_STREAM | END_HEADERS, 2 * stream + 1, h2_get()).await);
    }
    let mut refused = 0;
    in_time("streams are refused", async {
        while refused < 15 {
            let mut head = [0; 9];
            rude.0.read_exact(&mut head).await.expect("a frame");
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            rude.0.read_exact(&mut payload).await.expect("its payload");
            // REFUSED_STREAM (RFC 9113 section 7).
            refused += usize::from(head[3] == RST_STREAM && payload == [0, 0, 0, 7]);
        }
    })
    .await;
    // A stream that has become no request yet when its connection ends counts as refused, too.
    let rude_requests = || app.seen().iter().filter(|seen| seen.target != "/polite").count();
    eventually("the others are requests", async || (rude_requests() == 5).then_some(())).await;
    drop(rude);
    let parser = async || gate.metrics().await.sum("portcullis_requests_refused_by_parser_total", &[]);
    eventually("they are counted", async || (parser().await == Some(15.0)).then_some(())).await;
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_at_once_end_the_connection() {
    let app = EchoBackend::answering(|_| Script::Hang).await;
    let gate = gate_to(&app.url(), "").await;
    let mut flood = H2Frames::open(gate.listen).await;
    let mut sent = 0;
    for stream in 0..FRAMES {
        let opened = flood.send(HEADERS, END_STREAM | END_HEADERS, 2 * stream + 1, h2_get()).await;
        if !opened || !flood.send(RST_STREAM, 0, 2 * stream + 1, &[0, 0, 0, 8]).await {
            break;
        }
        sent += 1;
    }
    assert!(sent < FRAMES, "the connection is still open");
    // The library ends it when they are not even handed over, and we when they are.
    let refused = async || gate.metrics().await.sum("portcullis_connections", &[]);
    eventually("it is gone", async || (refused().await == Some(0.0)).then_some(())).await;
    assert!(app.connections() <= 2000, "{} connections to the app", app.connections());
}

#[tokio::test]
async fn streams_that_are_reset_after_they_were_handed_over_are_counted_too() {
    let app = EchoBackend::answering(|_| Script::Hang).await;
    let gate = gate_to(&app.url(), "").await;
    let mut flood = H2Frames::open(gate.listen).await;
    let mut opened = 0;
    while refusals(&gate, "resets").await == 0.0 && opened < 5000 {
        let batch: Vec<u32> = (opened..opened + 50).map(|number| 2 * number + 1).collect();
        opened += 50;
        for &stream in &batch {
            flood.send(HEADERS, END_STREAM | END_HEADERS, stream, h2_get()).await;
        }
        // Each becomes a request, so the library below has nothing against it. The last ones need not: it is over then.
        eventually("they reach the app", async || {
            let all = app.connections() == opened as usize;
            (all || refusals(&gate, "resets").await > 0.0).then_some(())
        })
        .await;
        for &stream in &batch {
            flood.send(RST_STREAM, 0, stream, &[0, 0, 0, 8]).await;
        }
    }
    counted(&gate, "resets", 1.0).await;
    assert!(opened > 500, "after {opened}");
}

#[tokio::test]
async fn a_head_that_never_ends_ends_the_connection() {
    let (gate, app) = gate("").await;
    let mut flood = H2Frames::open(gate.listen).await;
    flood.send(HEADERS, END_STREAM, 1, h2_get()).await;
    // Each a field that is not kept (RFC 7541 section 6.2.2).
    let field = [&[0, 1, b'x', 100][..], &[b'y'; 100]].concat();
    let mut frames = 0;
    while frames < FRAMES && flood.send(CONTINUATION, 0, 1, &field).await {
        frames += 1;
    }
    assert!(frames < FRAMES, "the connection is still open");
    let parser = async || gate.metrics().await.sum("portcullis_requests_refused_by_parser_total", &[]);
    eventually("it is counted", async || (parser().await == Some(1.0)).then_some(())).await;
    assert!(app.take().is_empty());
    others_are_served(&gate).await;
}

#[tokio::test]
async fn pings_and_settings_that_nobody_reads_the_answers_of_move_nobody_else() {
    let (gate, _app) = gate("").await;
    for (kind, payload) in [(PING, &[0; 8][..]), (SETTINGS, &[])] {
        let mut flood = H2Frames::open(gate.listen).await;
        // Each has to be answered. When the answers are not read, no more is read of the flood: it stands still.
        let stalled = tokio::time::timeout(Duration::from_secs(2), async {
            for _ in 0..FRAMES * 10 {
                if !flood.send(kind, 0, 0, payload).await {
                    return "closed";
                }
            }
            "swallowed"
        })
        .await;
        assert_ne!(stalled, Ok("swallowed"), "frame type {kind}");
        let mut other = RawConnection::open(gate.listen).await;
        other.send(GET).await;
        assert_eq!(other.answer().await.expect("an answer").status, 200);
    }
}
