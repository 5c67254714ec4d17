//! What clients do who mean no good, each bounded in number and rate.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::harness::{Metrics, h2_get};

/// One kind of attack.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    None,
    Idle,
    Drippers,
    SlowBodies,
    Connections,
    Requests,
    RapidReset,
    HeaderBombs,
    JunkTokens,
}

/// Where it goes, and what came back.
#[derive(Clone)]
pub struct Target {
    address: SocketAddr,
    answers: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Target {
    pub fn new(address: SocketAddr) -> Target {
        Target { address, answers: Arc::default() }
    }

    fn got(&self, answer: impl Into<String>) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner).entry(answer.into()).or_default() += 1;
    }

    /// Connects from one of the addresses of this machine that is not the well-behaved client's.
    async fn connect(&self, from: usize) -> Option<TcpStream> {
        let socket = TcpSocket::new_v4().ok()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 2 + from as u8], 0))).ok()?;
        let stream = timeout(Duration::from_secs(10), socket.connect(self.address)).await.ok()?.ok()?;
        stream.set_nodelay(true).ok()?;
        Some(stream)
    }
}

impl Attack {
    pub const ALL: [Attack; 9] = [
        Attack::None,
        Attack::Idle,
        Attack::Drippers,
        Attack::SlowBodies,
        Attack::Connections,
        Attack::Requests,
        Attack::RapidReset,
        Attack::HeaderBombs,
        Attack::JunkTokens,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Attack::None => "nobody",
            Attack::Idle => "2,000 idle connections, from 4 addresses",
            Attack::Drippers => "1,000 clients that send a head byte by byte, one a second",
            Attack::SlowBodies => "500 clients that send a body byte by byte, one a second",
            Attack::Connections => "connection flood: 500 a second, dropped at once",
            Attack::Requests => "request flood from one address: 4,000 a second",
            Attack::RapidReset => "HTTP/2 rapid reset: 2,000 streams a second",
            Attack::HeaderBombs => "header bombs: 200 heads of 60 KiB a second",
            Attack::JunkTokens => "junk tokens: 1,500 a second, from 3 addresses",
        }
    }

    /// Begins; it ends when the result is dropped.
    pub fn begin(self, target: &Target) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let tasks_of = match self {
            Attack::None => 0,
            Attack::Idle => 2000,
            Attack::Drippers => 1000,
            Attack::SlowBodies => 500,
            Attack::Connections | Attack::RapidReset => 1,
            Attack::Requests => 4,
            Attack::HeaderBombs => 4,
            Attack::JunkTokens => 3,
        };
        for number in 0..tasks_of {
            let target = target.clone();
            tasks.spawn(async move {
                // Not all at the same moment, or their sending is one great burst each second.
                sleep(Duration::from_millis(number % 1000)).await;
                loop {
                    match self {
                        Attack::None => return,
                        Attack::Idle => idle(&target, number as usize % 4).await,
                        Attack::Drippers => drip(&target, number as usize % 4, "GET /public HTTP/1.1\r\nX: ").await,
                        Attack::SlowBodies => {
                            let head = "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
                            drip(&target, number as usize % 4, head).await;
                        }
                        Attack::Connections => connections(&target).await,
                        Attack::Requests => requests(&target, 0, 1000, "").await,
                        Attack::RapidReset => rapid_reset(&target).await,
                        Attack::HeaderBombs => bombs(&target, number as usize).await,
                        Attack::JunkTokens => {
                            let junk = format!("Authorization: Bearer eyJhbGciOiJFZERTQSJ9.{number}.c2ln\r\n");
                            requests(&target, number as usize, 500, &junk).await;
                        }
                    }
                    // Whoever is cut off comes again, but not in a tight loop.
                    sleep(Duration::from_millis(100)).await;
                }
            });
        }
        tasks
    }

    /// What the attackers got, in words.
    pub fn told(self, target: &Target, metrics: &Metrics) -> String {
        let answers = target.answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answers = answers.iter().map(|(answer, count)| format!("{count} × {answer}"));
        let limits = metrics.samples("portcullis_limit_refusals_total").filter(|(_, count)| *count > 0.0);
        let limits = limits
            .map(|(label, count)| format!("{count} by `{}`", label.trim_start_matches("limit=").trim_matches('"')));
        answers.chain(limits).collect::<Vec<_>>().join(", ")
    }
}

/// Holds a connection until it is closed.
async fn idle(target: &Target, from: usize) {
    let Some(mut stream) = target.connect(from).await else { return };
    let _ = stream.write_all(b"GET /public HTTP/1.1\r\nHost: a\r\n\r\n").await;
    while matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {}
}

/// Sends the beginning, and then a byte a second until it is cut off.
async fn drip(target: &Target, from: usize, begin: &str) {
    let Some(mut stream) = target.connect(from).await else { return };
    let _ = stream.write_all(begin.as_bytes()).await;
    while stream.write_all(b"x").await.is_ok() {
        sleep(Duration::from_secs(1)).await;
    }
    target.got("cut off");
}

/// Ticks so often in a second, and makes up for no lost time.
fn ticks(per_second: u64) -> tokio::time::Interval {
    let mut ticks = interval(Duration::from_micros(1_000_000 / per_second));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn connections(target: &Target) {
    let mut ticks = ticks(100);
    for round in 0.. {
        ticks.tick().await;
        for number in 0..5 {
            if target.connect((round + number) % 4).await.is_none() {
                target.got("no connection");
            }
        }
    }
}

/// So many requests a second at most, one after the other on one connection.
async fn requests(target: &Target, from: usize, per_second: u64, field: &str) {
    let Some(stream) = target.connect(from).await else { return };
    let (mut reading, mut writing) = stream.into_split();
    let path = if field.is_empty() { "/public" } else { "/page" };
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{field}\r\n");
    let mut ticks = ticks(per_second);
    let (mut seen, mut piece) = (Vec::new(), vec![0; 16 * 1024]);
    loop {
        ticks.tick().await;
        if writing.write_all(request.as_bytes()).await.is_err() {
            return;
        }
        // The next one goes when this one is answered: requests in one packet would not be taken.
        let status = loop {
            let length = match reading.read(&mut piece).await {
                Ok(length @ 1..) => length,
                _ => return,
            };
            seen.extend_from_slice(&piece[..length]);
            if let Some(end) = whole(&seen) {
                let status = String::from_utf8_lossy(&seen[9..12]).into_owned();
                seen.drain(..end);
                break status;
            }
        };
        target.got(status);
    }
}

/// Where an answer ends that is all there.
fn whole(seen: &[u8]) -> Option<usize> {
    let end = seen.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&seen[..end]).to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse::<usize>().ok());
    Some(end + length.unwrap_or(0)).filter(|end| seen.len() >= *end)
}

/// Opens streams and resets them, until the connection is closed.
async fn rapid_reset(target: &Target) {
    let Some(stream) = target.connect(0).await else { return };
    let (mut reading, mut writing) = stream.into_split();
    let read = tokio::spawn(async move { while matches!(reading.read(&mut [0; 4096]).await, Ok(1..)) {} });
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let _ = writing.write_all(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[])].concat()).await;
    let mut ticks = ticks(200);
    for round in 0..100_000 {
        ticks.tick().await;
        let streams = (0..10).map(|number| 2 * (10 * round + number) + 1);
        let open: Vec<u8> = streams.clone().flat_map(|stream| frame(1, 5, stream, h2_get())).collect();
        let reset: Vec<u8> = streams.flat_map(|stream| frame(3, 0, stream, &[0, 0, 0, 8])).collect();
        if writing.write_all(&[open, reset].concat()).await.is_err() || read.is_finished() {
            break;
        }
    }
    read.abort();
    target.got("connection closed");
}

/// Heads of many fields, above the limits.
async fn bombs(target: &Target, from: usize) {
    let fields: String = (0..200).map(|number| format!("X-{number}: {}\r\n", "x".repeat(290))).collect();
    let bomb = format!("GET /public HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let mut ticks = ticks(50);
    loop {
        ticks.tick().await;
        let Some(mut stream) = target.connect(from % 4).await else { continue };
        let _ = stream.write_all(bomb.as_bytes()).await;
        let mut seen = vec![0; 4096];
        match timeout(Duration::from_secs(10), stream.read(&mut seen)).await {
            Ok(Ok(length @ 12..)) => target.got(String::from_utf8_lossy(&seen[9..12.min(length)])),
            _ => target.got("closed"),
        }
    }
}
