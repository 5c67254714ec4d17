//! Servers in processes of their own that die, hang and move, under load.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::process::{Child, Command};

use super::{Does, Rogue, count, gate, until};
use crate::harness::{Answer, Portcullis, client, eventually};

/// A server that answers with its port, one thread a connection, HTTP/1.1 with kept connections.
const SERVER: &str = r#"
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = str(self.server.server_port).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = ThreadingHTTPServer((sys.argv[1], 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"#;

struct Server {
    url: String,
    process: Child,
}

impl Server {
    async fn start(host: &str) -> Server {
        use tokio::io::AsyncBufReadExt as _;
        let mut process = Command::new("python3")
            .args(["-c", SERVER, host])
            .stdout(Stdio::piped())
            // It complains of clients that give up, as they do while it is paused.
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("python3 runs: `make deps` installs it");
        let mut lines = tokio::io::BufReader::new(process.stdout.take().expect("piped")).lines();
        let port = lines.next_line().await.expect("it prints").expect("its port");
        Server { url: format!("http://{host}:{port}"), process }
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().expect("it runs").to_string();
        let status = std::process::Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(status.expect("`kill` runs").success());
    }
}

/// How many ask at a time.
const CLIENTS: usize = 8;

/// Asks without a pause until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<Vec<u16>>>,
}

impl Load {
    fn start(gate: &Portcullis) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..CLIENTS).map(|_| {
            let (stop, url, client) = (Arc::clone(&stop), gate.url("/"), client());
            tokio::spawn(async move {
                let mut statuses = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    statuses.push(Answer::to(client.get(&url)).await.status);
                }
                statuses
            })
        });
        Load { clients: clients.collect(), stop }
    }

    /// The statuses of all answers but 200, and how many there were in all.
    async fn stop(self) -> (Vec<u16>, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for client in self.clients {
            all.extend(client.await.expect("every request is answered"));
        }
        let asked = all.len();
        all.retain(|status| *status != 200);
        (all, asked)
    }
}

async fn three() -> [Server; 3] {
    [Server::start("127.0.0.1").await, Server::start("127.0.0.11").await, Server::start("127.0.0.12").await]
}

/// So many requests more have been answered.
async fn after(gate: &Portcullis, requests: f64) {
    let answered =
        async || gate.metrics().await.sum("portcullis_http_requests_total", &["route=\"app\""]).unwrap_or(0.0);
    let before = answered().await;
    eventually("requests go on", async || (answered().await >= before + requests).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_is_killed_and_at_most_what_it_was_working_on_is_lost() {
    let servers = three().await;
    let urls: Vec<&str> = servers.iter().map(|server| server.url.as_str()).collect();
    let gate = gate(&urls, "").await;
    let load = Load::start(&gate);
    after(&gate, 100.0).await;
    servers[1].signal("KILL");
    until(&gate, "it is noticed", |metrics| count(metrics, "up") == 2.0).await;
    after(&gate, 200.0).await;
    let (lost, asked) = load.stop().await;
    assert!(lost.len() <= CLIENTS && lost.iter().all(|status| *status == 502), "of {asked}: {lost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_is_paused_and_is_taken_out_and_back() {
    let servers = three().await;
    let urls: Vec<&str> = servers.iter().map(|server| server.url.as_str()).collect();
    let gate = gate(&urls, "read_timeout: 1s, ejection: { failures: 3, for: 1s }").await;
    let load = Load::start(&gate);
    after(&gate, 100.0).await;
    servers[1].signal("STOP");
    until(&gate, "it is out", |metrics| count(metrics, "ejections_total") >= 1.0).await;
    servers[1].signal("CONT");
    until(&gate, "it is back", |metrics| count(metrics, "up") == 3.0).await;
    let (lost, asked) = load.stop().await;
    // Those it had when it was stopped, and when it was tried again too early.
    assert!(lost.len() <= 3 * CLIENTS && lost.iter().all(|status| *status == 504), "of {asked}: {lost:?}");
    assert!(asked > 100);
}

#[tokio::test]
async fn a_name_that_moves_to_another_address_is_followed_without_a_lost_request() {
    let (old, new) = (Rogue::start("127.0.0.13", Does::Answers).await, "127.0.0.14");
    let port = old.address.port();
    let moved = Rogue::start_at((new, port), Does::Answers).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hosts = folder.path().join("hosts");
    let point_to = |address: &str| {
        // As a whole: nobody reads half of it.
        let draft = folder.path().join("draft");
        std::fs::write(&draft, format!("{address} app.internal\n")).expect("a file is written");
        std::fs::rename(&draft, &hosts).expect("a file is renamed");
    };
    point_to("127.0.0.13");
    let file: &'static str = Box::leak(hosts.to_str().expect("temporary paths are UTF-8").to_owned().into_boxed_str());
    let config = format!(
        "upstreams: {{ app: {{ servers: [\"http://app.internal:{port}\"] }} }}\nroutes: [{{ name: app, upstream: app, auth: public }}]\n"
    );
    // The real resolver of the system, which reads this file in place of /etc/hosts.
    let gate =
        Portcullis::start_with(&config, &[("LD_PRELOAD", "libnss_wrapper.so"), ("NSS_WRAPPER_HOSTS", file)]).await;
    let log = gate.log();
    assert!(!log.contains("cannot be preloaded"), "`make deps` installs libnss-wrapper: {log}");
    let asked = async || {
        let answer = Answer::to(client().get(gate.url("/"))).await;
        assert_eq!(answer.status, 200, "{answer:?}\n{}", gate.log());
        answer.text()
    };
    assert_eq!(asked().await, old.address.to_string());
    point_to(new);
    eventually("the new address is used", async || (asked().await == moved.address.to_string()).then_some(())).await;
    old.take_heard();
    for _ in 0..10 {
        assert_eq!(asked().await, moved.address.to_string());
    }
    assert!(old.take_heard().is_empty());

    // A name that is gone keeps its last address.
    std::fs::write(&hosts, "127.0.0.99 somebody.else\n").expect("a file is written");
    eventually("it is noticed", async || gate.log().contains("does not resolve").then_some(())).await;
    assert_eq!(asked().await, moved.address.to_string());
}
