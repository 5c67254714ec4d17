//! Servers that fail: what a client sees of it, who is saved by another server, and that nothing is sent twice that may not be.

mod crowd;
mod patience;
mod rogue;
mod tls;

use self::rogue::{Does, Rogue};
use crate::harness::{Answer, Metrics, Portcullis, RawConnection, client, eventually, in_time, raw};

const PROBLEM: &str = "application/problem+json";

/// A proxy with one public upstream of these servers.
async fn gate(servers: &[&str], settings: &str) -> Portcullis {
    let servers = servers.iter().map(|server| format!("\"{server}\"")).collect::<Vec<_>>().join(", ");
    let settings = if settings.is_empty() { String::new() } else { format!(", {settings}") };
    Portcullis::start(&format!(
        "upstreams: {{ app: {{ servers: [{servers}]{settings} }} }}\nroutes: [{{ name: app, upstream: app, auth: public }}]\n"
    ))
    .await
}

fn url(rogue: &Rogue) -> String {
    format!("http://{}", rogue.address)
}

async fn get(gate: &Portcullis) -> Answer {
    Answer::to(client().get(gate.url("/"))).await
}

async fn post(gate: &Portcullis, path: &str) -> Answer {
    Answer::to(client().post(gate.url(path)).body("do it")).await
}

async fn until(gate: &Portcullis, what: &str, reached: impl Fn(&Metrics) -> bool) {
    eventually(what, async || reached(&gate.metrics().await).then_some(())).await;
}

fn count(metrics: &Metrics, name: &str) -> f64 {
    metrics.sum(&format!("portcullis_upstream_{name}"), &[]).unwrap_or_else(|| panic!("there is a metric {name}"))
}

/// A status, with the reason that a problem document gives for it.
fn told(answer: &Answer) -> (u16, String) {
    let content_type = answer.header("content-type");
    assert_eq!(content_type, Some(PROBLEM), "{answer:?}");
    (answer.status, answer.json()["reason"].as_str().expect("a reason").to_owned())
}

#[tokio::test]
async fn each_failure_has_its_status_and_a_problem_and_leaks_nothing_into_the_log() {
    let many_fields: String = (0..300).map(|number| format!("X-{number}: hunter2\r\n")).collect();
    let long_field = "hunter2".repeat(300_000);
    let says = |text: String| Does::Says(text.into_bytes());
    let failures = [
        (Does::ResetsAtOnce, 502, "upstream_failed"),
        (Does::ResetsAfterHead, 502, "upstream_failed"),
        (Does::Resets, 502, "upstream_failed"),
        (Does::Closes, 502, "upstream_failed"),
        (Does::IsSilent, 504, "upstream_timeout"),
        (says("Set-Cookie: session=hunter2\r\n\r\n".into()), 502, "upstream_failed"),
        (says("HTTP/1.1 200 OK\r\nSet Cookie: hunter2\r\nContent-Length: 0\r\n\r\n".into()), 502, "upstream_failed"),
        (says("HTTP/1.1 200 OK\r\nContent-Length: hunter2\r\n\r\n".into()), 502, "upstream_failed"),
        (says("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".into()), 502, "upstream_failed"),
        (says("HTTP/1.1 200 OK\r\nSet-Cookie: session=hunter2\r\n".into()), 502, "upstream_failed"),
        (says(format!("HTTP/1.1 200 OK\r\n{many_fields}\r\n")), 502, "upstream_failed"),
        (says(format!("HTTP/1.1 200 OK\r\nX: {long_field}\r\n\r\n")), 502, "upstream_failed"),
        (says("HTTP/1.1 103 Early Hints\r\n\r\n".into()), 502, "upstream_failed"),
        (says("HTTP/1.1 999999 OK\r\n\r\n".into()), 502, "upstream_failed"),
        (says("\0\0\0\0".into()), 502, "upstream_failed"),
    ];
    let rogue = Rogue::start("127.0.0.1", Does::Answers).await;
    let gate = gate(&[&url(&rogue)], "read_timeout: 500ms").await;
    for (does, status, reason) in failures {
        rogue.does(does.clone());
        rogue.take_heard();
        let does = format!("{does:?}").chars().take(100).collect::<String>();
        assert_eq!(told(&get(&gate).await), (status, reason.to_owned()), "{does}");
        assert!(rogue.take_heard().len() <= 1, "{does}: sent once");
        assert_eq!(told(&post(&gate, "/").await), (status, reason.to_owned()), "{does}");
        assert!(rogue.take_heard().len() <= 1, "{does}: sent once");
    }
    rogue.does(Does::Answers);
    assert_eq!(get(&gate).await.status, 200);
    eventually("it is told", async || gate.log().contains("a request failed").then_some(())).await;
    assert!(!gate.log().contains("hunter2"), "{}", gate.log());
}

#[tokio::test]
async fn nobody_who_takes_connections_is_502_and_nobody_who_is_up_503() {
    let gone = Rogue::start("127.0.0.6", Does::Answers).await;
    let server = url(&gone);
    drop(gone);
    let unchecked = gate(&[&server], "").await;
    for _ in 0..3 {
        assert_eq!(told(&get(&unchecked).await), (502, "upstream_failed".to_owned()));
    }
    let checked = gate(&[&server], "health_check: { path: /, interval: 100ms }").await;
    until(&checked, "it is down", |metrics| count(metrics, "up") == 0.0).await;
    let mut connection = RawConnection::open(checked.listen).await;
    eventually("two checks have failed", async || (get(&checked).await.status == 503).then_some(())).await;
    for _ in 0..2 {
        connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let answer = connection.answer().await.expect("an answer, and a connection that lives on");
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        assert!(answer.text().contains("upstream_unavailable"), "{}", answer.text());
    }
}

#[tokio::test]
async fn who_does_not_take_a_connection_in_time_is_504() {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let listener = socket.listen(1).expect("it listens");
    let address = listener.local_addr().expect("an address");
    // Nobody accepts: when the queue is full, the system answers no more.
    let mut queued = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(std::time::Duration::from_millis(500), tokio::net::TcpStream::connect(address)).await
    {
        queued.push(connected);
        assert!(queued.len() < 100, "the queue has an end");
    }
    let gate = gate(&[&format!("http://{address}")], "connect_timeout: 200ms").await;
    assert_eq!(told(&get(&gate).await), (504, "upstream_timeout".to_owned()));
}

#[tokio::test]
async fn half_a_body_is_not_taken_for_a_whole_one() {
    let rogue = Rogue::start("127.0.0.1", Does::Answers).await;
    let gate = gate(&[&url(&rogue)], "").await;
    for body in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        rogue.does(Does::Says(format!("HTTP/1.1 200 OK\r\n{body}").into_bytes()));
        assert_eq!(raw(gate.listen, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await, None, "the connection ends instead");
    }
}

#[tokio::test]
async fn a_kept_connection_that_dies_when_it_is_used_costs_nobody_a_get_and_sends_no_post_twice() {
    let rogue = Rogue::start("127.0.0.1", Does::ResetsReused).await;
    let kept = gate(&[&url(&rogue)], "").await;
    // A connection is kept only a moment after its answer has arrived, so that the next request may get a new one.
    let mut asked = 0;
    eventually("one that was kept is used", async || {
        asked += 1;
        assert_eq!(get(&kept).await.status, 200);
        (count(&kept.metrics().await, "retries_total") == 1.0).then_some(())
    })
    .await;
    assert_eq!(rogue.take_heard().len(), asked + 1, "once in vain");

    let mut sent = 0;
    eventually("a post meets one that dies", async || {
        sent += 1;
        (post(&kept, "/once").await.status == 502).then_some(())
    })
    .await;
    assert_eq!(rogue.take_heard().len(), sent, "none is sent twice");

    let never = gate(&[&url(&rogue)], "retries: 0").await;
    assert_eq!(get(&never).await.status, 200);
    eventually("there is no second attempt", async || (get(&never).await.status == 502).then_some(())).await;
}

#[tokio::test]
async fn what_is_sent_again_is_sent_whole_and_counted_once() {
    let rogue = Rogue::start("127.0.0.1", Does::ResetsReused).await;
    let gate =
        Portcullis::start(&format!("upstream: {}\npublic: [/p]\nlimits: {{ body_size: 1KiB }}\n", url(&rogue))).await;
    // Twice this is more than is allowed.
    let body = "x".repeat(600);
    let put = async || Answer::to(client().put(gate.url("/p")).body(body.clone())).await;
    for _ in 0..2 {
        let answer = put().await;
        assert_eq!((answer.status, answer.text()), (200, body.clone()));
    }
    assert_eq!(rogue.take_heard().len(), 3, "once in vain");
}

#[tokio::test]
async fn a_body_that_is_too_long_to_be_kept_is_not_sent_again() {
    let rogue = Rogue::start("127.0.0.1", Does::ResetsReused).await;
    let gate = gate(&[&url(&rogue)], "").await;
    assert_eq!(get(&gate).await.status, 200);
    let answer = Answer::to(client().put(gate.url("/")).body("x".repeat(1_000_000))).await;
    assert_eq!(answer.status, 502);
    assert_eq!(rogue.take_heard().len(), 2, "it could only have been sent in part");
}

#[tokio::test]
async fn a_post_arrives_at_most_once_whatever_goes_wrong_and_always_if_nothing_was_sent() {
    let (bad, good) = (Rogue::start("127.0.0.7", Does::Answers).await, Rogue::start("127.0.0.1", Does::Answers).await);
    let gate = gate(&[&url(&bad), &url(&good)], "ejection: none, retries: 5, read_timeout: 300ms").await;
    let wrongs = [
        Does::ResetsAtOnce,
        Does::ResetsAfterHead,
        Does::Resets,
        Does::ResetsReused,
        Does::Closes,
        Does::IsSilent,
        Does::Says(b"nonsense\r\n\r\n".to_vec()),
    ];
    for (round, does) in wrongs.into_iter().enumerate() {
        bad.does(does.clone());
        for number in 0..8 {
            post(&gate, &format!("/{round}/{number}")).await;
        }
        let mut heard = [bad.take_heard(), good.take_heard()].concat();
        let all = heard.len();
        heard.sort_unstable();
        heard.dedup();
        assert_eq!(heard.len(), all, "{does:?}: {heard:?}");
    }
    // Nobody listens: nothing can have been sent.
    drop(bad);
    for number in 0..8 {
        assert_eq!(post(&gate, &format!("/refused/{number}")).await.status, 200);
    }
    assert_eq!(good.take_heard().len(), 8);
}

#[tokio::test]
async fn a_server_that_fails_requests_gets_none_for_a_while_and_comes_back() {
    let (bad, good) = (Rogue::start("127.0.0.8", Does::Resets).await, Rogue::start("127.0.0.1", Does::Answers).await);
    let gate = gate(&[&url(&bad), &url(&good)], "ejection: { failures: 3, for: 2s }").await;
    let mut failed = 0;
    eventually("it is out", async || {
        failed += usize::from(get(&gate).await.status != 200);
        (count(&gate.metrics().await, "ejections_total") == 1.0).then_some(())
    })
    .await;
    assert!((3..=5).contains(&failed), "{failed} requests failed");
    bad.does(Does::Answers);
    bad.take_heard();
    eventually("it is told", async || gate.log().contains("fail one after the other").then_some(())).await;
    eventually("it gets requests again", async || {
        assert_eq!(get(&gate).await.status, 200);
        (!bad.take_heard().is_empty()).then_some(())
    })
    .await;
    until(&gate, "both are up", |metrics| count(metrics, "up") == 2.0).await;
}

#[tokio::test]
async fn answers_that_tell_of_a_failure_count_if_they_are_named() {
    let (bad, good) =
        (Rogue::start("127.0.0.9", Does::Status(503)).await, Rogue::start("127.0.0.1", Does::Answers).await);
    let servers = [url(&bad), url(&good)];
    let servers = [servers[0].as_str(), servers[1].as_str()];
    let (plain, told) = (
        gate(&servers, "ejection: { failures: 2, for: 1m }").await,
        gate(&servers, "ejection: { failures: 2, for: 1m, status: [503] }").await,
    );
    for _ in 0..20 {
        get(&plain).await;
        get(&told).await;
    }
    until(&told, "it is out", |metrics| count(metrics, "ejections_total") == 1.0).await;
    assert_eq!(count(&plain.metrics().await, "ejections_total"), 0.0);
}

#[tokio::test]
async fn requests_under_way_are_bounded() {
    let rogue = Rogue::start("127.0.0.1", Does::IsSilent).await;
    let gate = gate(&[&url(&rogue)], "requests: 2").await;
    let mut held = [RawConnection::open(gate.listen).await, RawConnection::open(gate.listen).await];
    for connection in &mut held {
        connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    }
    until(&gate, "two are under way", |metrics| count(metrics, "requests") == 2.0).await;

    let mut third = RawConnection::open(gate.listen).await;
    for _ in 0..2 {
        third.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let answer = third.answer().await.expect("an answer, and a connection that lives on");
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        assert!(answer.text().contains("upstream_busy"), "{}", answer.text());
    }
    assert_eq!(count(&gate.metrics().await, "requests_refused_total"), 2.0);
    drop(held);
    rogue.does(Does::Answers);
    eventually("there is room again", async || (get(&gate).await.status == 200).then_some(())).await;
    until(&gate, "none is under way", |metrics| count(metrics, "requests") == 0.0).await;
}

#[tokio::test]
async fn a_connection_that_is_upgraded_is_under_way_until_it_ends() {
    let upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".to_vec();
    let app = crate::harness::EchoBackend::answering(move |_| crate::harness::Script::Raw(upgrade.clone())).await;
    let gate = gate(&[&app.url()], "requests: 1").await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut socket = RawConnection::open(gate.listen).await;
    socket.send(request).await;
    assert_eq!(in_time("the upgrade", socket.answer()).await.map(|answer| answer.status), Some(101));
    assert_eq!(get(&gate).await.status, 503);
    drop(socket);
    eventually("it is over", async || {
        let answer = raw(gate.listen, request).await.expect("an answer");
        (answer.status == 101).then_some(())
    })
    .await;
}
