//! Sessions as clients see them: logins, refreshes and logouts a second, and how fast a logout is heard by another proxy.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Outcome;
use crate::histogram::Histogram;
use crate::http::{Connection, field};
use crate::prepare::PASSWORD;
use crate::process::cpu_ns;

/// Arguments of `sessions`.
#[derive(clap::Args)]
pub struct Args {
    to: SocketAddr,
    /// Clients at a time; each has one session at a time.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// For how long refreshes are measured.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How many sessions each client begins to end them.
    #[arg(long, default_value_t = 50)]
    logouts: usize,
    /// The proxy.
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
    /// The store's own process, if it has one.
    #[arg(long, value_delimiter = ',')]
    store_pids: Vec<u32>,
}

/// Arguments of `propagation`.
#[derive(clap::Args)]
pub struct Propagation {
    /// Where sessions are ended.
    at: SocketAddr,
    /// Where their tokens are then used.
    elsewhere: SocketAddr,
    #[arg(long, default_value_t = 500)]
    logouts: usize,
}

/// What a login or a refresh gives.
struct Credentials {
    cookie: String,
    access_token: String,
}

/// One client: a connection, and a user of its own.
struct Client {
    user: String,
    connection: Connection,
}

impl Client {
    fn new(to: SocketAddr, number: usize) -> Outcome<Client> {
        Ok(Client { user: format!("user{number}"), connection: Connection::open(to)? })
    }

    fn post(&mut self, path: &str, headers: &str, body: &str) -> Outcome<u16> {
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: app.example.com\r\nUser-Agent: bench\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        self.connection.ask(request.as_bytes())
    }

    fn log_in(&mut self) -> Outcome<Credentials> {
        let body = json!({ "username": self.user, "password": PASSWORD }).to_string();
        match self.post("/login", "Content-Type: application/json\r\n", &body)? {
            200 => self.credentials(),
            status => Err(self.failed("/login", status)),
        }
    }

    fn refresh(&mut self, cookie: &str) -> Outcome<Credentials> {
        match self.post("/refresh", &format!("Cookie: {cookie}\r\n"), "")? {
            200 => self.credentials(),
            status => Err(self.failed("/refresh", status)),
        }
    }

    fn log_out(&mut self, cookie: &str) -> Outcome {
        match self.post("/logout", &format!("Cookie: {cookie}\r\n"), "")? {
            204 => Ok(()),
            status => Err(self.failed("/logout", status)),
        }
    }

    fn credentials(&self) -> Outcome<Credentials> {
        let answer = &self.connection.answer;
        let cookie = field(answer.head(), "set-cookie").and_then(|cookie| cookie.split(';').next());
        let body: Value = serde_json::from_slice(answer.body())?;
        let token = body["access_token"].as_str();
        let (Some(cookie), Some(token)) = (cookie, token) else { return Err("an answer without tokens".into()) };
        Ok(Credentials { cookie: cookie.to_owned(), access_token: token.to_owned() })
    }

    fn failed(&self, path: &str, status: u16) -> Box<dyn std::error::Error> {
        format!("{path} answered {status}: {}", String::from_utf8_lossy(self.connection.answer.body())).into()
    }
}

/// Runs `work` for each client, in a thread of its own, and prints one JSON value a kind of work.
pub fn run(args: &Args) -> Outcome {
    let refreshed = all(args, |client, latencies| {
        let mut credentials = client.log_in()?;
        let began = Instant::now();
        while began.elapsed().as_secs_f64() < args.seconds {
            let asked = Instant::now();
            credentials = client.refresh(&credentials.cookie)?;
            latencies.record(asked.elapsed());
        }
        Ok(())
    })?;
    let mut sessions = Vec::new();
    for number in 0..args.clients {
        let mut client = Client::new(args.to, number)?;
        let begun: Outcome<Vec<Credentials>> = (0..args.logouts).map(|_| client.log_in()).collect();
        sessions.push(begun?);
    }
    let sessions = &sessions;
    let ended = all(args, |client, latencies| {
        let number: usize = client.user.trim_start_matches("user").parse()?;
        for session in &sessions[number] {
            let asked = Instant::now();
            client.log_out(&session.cookie)?;
            latencies.record(asked.elapsed());
        }
        Ok(())
    })?;
    println!("{}", json!({ "refresh": refreshed, "logout": ended }));
    Ok(())
}

fn all(args: &Args, work: impl Fn(&mut Client, &mut Histogram) -> Outcome + Sync) -> Outcome<Value> {
    let before = (cpu_ns(&args.pids), cpu_ns(&args.store_pids), Instant::now());
    let one = |number: usize| {
        let mut latencies = Histogram::new();
        let done = Client::new(args.to, number).and_then(|mut client| work(&mut client, &mut latencies));
        done.map(|()| latencies).map_err(|error| error.to_string())
    };
    let results: Vec<Result<Histogram, String>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..args.clients).map(|number| scope.spawn(move || one(number))).collect();
        threads.into_iter().map(|it| it.join().unwrap_or_else(|_| Err("a client panicked".to_owned()))).collect()
    });
    let elapsed = before.2.elapsed();
    let mut latencies = Histogram::new();
    for result in results {
        latencies.add(&result?);
    }
    let per_one = |cpu_ns: u64| cpu_ns as f64 / 1000.0 / latencies.total().max(1) as f64;
    let mut told = latencies.to_json();
    told["per_second"] = (latencies.total() as f64 / elapsed.as_secs_f64()).into();
    told["cpu_us"] = per_one(cpu_ns(&args.pids) - before.0).into();
    told["store_cpu_us"] = per_one(cpu_ns(&args.store_pids) - before.1).into();
    Ok(told)
}

/// A refusal that takes longer is none.
const HEARD_MAX: Duration = Duration::from_secs(10);

/// The pause between two questions. Without one the question is most of what the proxies do, and the news wait for the CPU.
const PAUSE: Duration = Duration::from_micros(200);

/// Uses a token elsewhere again and again while its session is ended, until it is refused.
pub fn propagation(args: &Propagation) -> Outcome {
    let mut client = Client::new(args.at, 0)?;
    let mut from_answer = Histogram::new();
    let mut from_request = Histogram::new();
    let mut before_answer = 0;
    for _ in 0..args.logouts {
        let session = client.log_in()?;
        let request = format!(
            "GET /api/items HTTP/1.1\r\nHost: app.example.com\r\nAuthorization: Bearer {}\r\n\r\n",
            session.access_token
        );
        let mut elsewhere = Connection::open(args.elsewhere)?;
        match elsewhere.ask(request.as_bytes())? {
            200 => {}
            status => return Err(format!("a fresh token is answered {status} elsewhere").into()),
        }
        let refused = thread::spawn(move || -> Result<Instant, String> {
            let began = Instant::now();
            while began.elapsed() < HEARD_MAX {
                match elsewhere.ask(request.as_bytes()).map_err(|error| error.to_string())? {
                    200 => thread::sleep(PAUSE),
                    401 => return Ok(Instant::now()),
                    status => return Err(format!("elsewhere the answer is {status}")),
                }
            }
            Err("the token is still taken".to_owned())
        });
        let asked = Instant::now();
        client.log_out(&session.cookie)?;
        let answered = Instant::now();
        let refused = refused.join().map_err(|_| "the other client panicked")??;
        from_request.record(refused - asked);
        before_answer += usize::from(refused < answered);
        from_answer.record(refused.saturating_duration_since(answered));
    }
    let share = before_answer as f64 / args.logouts.max(1) as f64;
    let (after_request, after_answer) = (from_request.to_json(), from_answer.to_json());
    println!("{}", json!({ "after_request": after_request, "after_answer": after_answer, "before_answer": share }));
    Ok(())
}
