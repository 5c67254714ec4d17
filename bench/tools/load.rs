//! Load: requests over connections that are kept, as fast as they are answered or at a rate, and what came of them.
//!
//! At a rate, requests arrive at random and independently of the answers, and a latency counts from the moment at which the
//! request was to be sent: a server that stalls is charged with everybody who had to wait.

use std::collections::VecDeque;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::json;

use crate::Outcome;
use crate::histogram::Histogram;
use crate::http::Arriving;
use crate::prepare::Numbers;
use crate::process::{cpu_ns, resident_kib};

/// Arguments of `load`.
#[derive(clap::Args)]
pub struct Load {
    to: SocketAddr,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// For how long it is measured, at most.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Requests to measure, at most.
    #[arg(long, default_value_t = u64::MAX)]
    requests: u64,
    /// For how long requests are sent before it is measured, at least; and until each token has been sent once.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Measure from the first request on, and send the tokens in their order.
    #[arg(long)]
    cold: bool,
    /// Requests a second; 0: each connection sends its next request when it has its answer.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// One token a line, of which each request takes one at random; none: requests without a token.
    #[arg(long)]
    tokens: Option<PathBuf>,
    /// How many of the tokens are used.
    #[arg(long, default_value_t = usize::MAX)]
    tokens_max: usize,
    #[arg(long, default_value = "/api/items?page=1")]
    path: String,
    /// Send each request to one of the paths /r0, /r1, ... at random, with `path` behind.
    #[arg(long, default_value_t = 0)]
    routes: u64,
    /// The server's processes, whose time on the CPU and whose memory are told.
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
}

/// A load that no server of the bench keeps up with must end, too.
const WARM_UP_MAX: Duration = Duration::from_secs(30);

struct Client {
    stream: TcpStream,
    answer: Arriving,
    /// When the request under way was to be sent.
    asked: Option<Instant>,
}

struct Run<'a> {
    args: &'a Load,
    poll: Poll,
    clients: Vec<Client>,
    free: Vec<usize>,
    /// Requests that were to be sent, and found no free connection.
    due: VecDeque<Instant>,
    tokens: Vec<String>,
    numbers: Numbers,
    request: Vec<u8>,
    sent: u64,
    measuring: bool,
    latencies: Histogram,
    ok: u64,
    refused: u64,
    broken: u64,
}

/// Sends, measures, and prints what came of it.
pub fn run(args: &Load) -> Outcome {
    let tokens = match &args.tokens {
        Some(file) => fs::read_to_string(file)?.lines().take(args.tokens_max).map(str::to_owned).collect(),
        None => Vec::new(),
    };
    let poll = Poll::new()?;
    let clients = (0..args.connections).map(|number| connect(&poll, args.to, number)).collect::<Outcome<_>>()?;
    let mut run = Run {
        args,
        poll,
        clients,
        free: (0..args.connections).collect(),
        due: VecDeque::new(),
        tokens,
        numbers: Numbers(3),
        request: Vec::new(),
        sent: 0,
        measuring: false,
        latencies: Histogram::new(),
        ok: 0,
        refused: 0,
        broken: 0,
    };
    if !args.cold {
        let least = Duration::from_secs_f64(args.warm_up);
        // What is sent first is each token once.
        run.until(|run, since| since >= WARM_UP_MAX || (since >= least && run.sent >= run.tokens.len() as u64))?;
    }
    run.measuring = true;
    let most = Duration::from_secs_f64(args.seconds);
    let (cpu_before, began) = (cpu_ns(&args.pids), Instant::now());
    run.until(|run, since| since >= most || run.ok + run.refused >= args.requests)?;
    let (cpu_ns, elapsed) = (cpu_ns(&args.pids) - cpu_before, began.elapsed());
    let answered = (run.ok + run.refused).max(1) as f64;
    let told = json!({
        "requests": run.ok + run.refused,
        "seconds": elapsed.as_secs_f64(),
        "requests_per_second": answered / elapsed.as_secs_f64(),
        "not_200": run.refused,
        "broken": run.broken,
        "unsent": run.due.len(),
        "cpu_us_per_request": cpu_ns as f64 / 1000.0 / answered,
        "cpu_share": cpu_ns as f64 / elapsed.as_nanos() as f64,
        "resident_kib": resident_kib(&args.pids),
        "latency": run.latencies.to_json(),
    });
    println!("{told}");
    Ok(())
}

fn connect(poll: &Poll, to: SocketAddr, number: usize) -> Outcome<Client> {
    let stream = std::net::TcpStream::connect(to)?;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let mut stream = TcpStream::from_std(stream);
    poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
    Ok(Client { stream, answer: Arriving::default(), asked: None })
}

impl Run<'_> {
    fn until(&mut self, done: impl Fn(&Run<'_>, Duration) -> bool) -> Outcome {
        let began = Instant::now();
        let mut next_due = began;
        let mut events = Events::with_capacity(256);
        loop {
            let now = Instant::now();
            if done(self, now - began) {
                return Ok(());
            }
            let wait = if self.args.rate > 0.0 {
                while next_due <= now {
                    self.due.push_back(next_due);
                    next_due += self.pause();
                }
                while let (Some(number), false) = (self.free.last().copied(), self.due.is_empty()) {
                    let Some(asked) = self.due.pop_front() else { break };
                    self.free.pop();
                    self.send(number, asked)?;
                }
                next_due.saturating_duration_since(Instant::now())
            } else {
                while let Some(number) = self.free.pop() {
                    self.send(number, Instant::now())?;
                }
                Duration::from_millis(100)
            };
            // The system waits for whole milliseconds only; the rest of the time is given to whoever wants it.
            let whole = Duration::from_millis(wait.as_millis() as u64);
            if whole.is_zero() {
                std::thread::yield_now();
            }
            self.poll.poll(&mut events, Some(whole))?;
            for event in &events {
                self.receive(event.token().0)?;
            }
        }
    }

    /// Until the next arrival: exponentially distributed, as when many clients know nothing of one another.
    fn pause(&mut self) -> Duration {
        let uniform = ((self.numbers.next() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        Duration::from_secs_f64(-uniform.ln() / self.args.rate)
    }

    fn send(&mut self, number: usize, asked: Instant) -> Outcome {
        let in_order = self.args.cold || self.sent < self.tokens.len() as u64;
        let chosen = if in_order { self.sent } else { self.numbers.next() };
        let token = (!self.tokens.is_empty()).then(|| &self.tokens[(chosen % self.tokens.len() as u64) as usize]);
        self.sent += 1;
        self.request.clear();
        let request = &mut self.request;
        match self.args.routes {
            0 => write!(request, "GET {}", self.args.path)?,
            routes => write!(request, "GET /r{}{}", self.numbers.next() % routes, self.args.path)?,
        }
        request.extend_from_slice(
            b" HTTP/1.1\r\nHost: app.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: application/json\r\n",
        );
        if let Some(token) = token {
            write!(request, "Authorization: Bearer {token}\r\n")?;
        }
        request.extend_from_slice(b"\r\n");
        let client = &mut self.clients[number];
        client.asked = Some(asked);
        client.answer.clear();
        // A request is far smaller than a socket's buffer.
        client.stream.write_all(&self.request).or_else(|error| match error.kind() {
            // Read as a broken connection.
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Ok(()),
            _ => Err(error.into()),
        })
    }

    fn receive(&mut self, number: usize) -> Outcome {
        let mut buffer = [0; 64 * 1024];
        let client = &mut self.clients[number];
        let length = match client.stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Ok(0) | Err(_) => {
                let was_asked = client.asked.is_some();
                *client = connect(&self.poll, self.args.to, number)?;
                if was_asked {
                    self.broken += 1;
                    self.free.push(number);
                }
                return Ok(());
            }
            Ok(length) => length,
        };
        if !client.answer.take(&buffer[..length]) {
            return Ok(());
        }
        if let Some(asked) = client.asked.take() {
            if self.measuring {
                self.latencies.record(asked.elapsed());
                match client.answer.status() {
                    200 => self.ok += 1,
                    _ => self.refused += 1,
                }
            }
            self.free.push(number);
        }
        Ok(())
    }
}
