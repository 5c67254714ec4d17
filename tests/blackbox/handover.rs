//! Hand-over: one process after another takes the place of the one before, under load, and nobody notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::harness::{
    ALICE, BOSS, Browser, Cluster, EchoBackend, Portcullis, RawAnswer, RawConnection, Setup, client, eventually,
    in_time,
};
use crate::streams::websocket_echo;

const HAND_OVERS: usize = 3;

/// Goes on until it is told to stop, and counts what went well.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
}

impl Load {
    fn new() -> Load {
        Load { stop: Arc::default(), done: Arc::default(), tasks: JoinSet::new() }
    }

    fn add<F>(&mut self, mut step: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, done) = (Arc::clone(&self.stop), Arc::clone(&self.done));
        self.tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                step().await;
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    /// Waits for so many more steps: load that stands still would prove nothing.
    async fn goes_on(&mut self, steps: usize) {
        let before = self.done.load(Ordering::Relaxed);
        eventually("the load goes on", async || {
            if let Some(ended) = self.tasks.try_join_next() {
                ended.expect("a request failed");
            }
            (self.done.load(Ordering::Relaxed) >= before + steps).then_some(())
        })
        .await;
    }

    async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a request failed");
        }
    }
}

/// A client that keeps its connection for as long as it may, and never sends a request twice.
struct KeepAlive {
    gate: std::net::SocketAddr,
    connection: Option<RawConnection>,
}

impl KeepAlive {
    async fn ask(&mut self, request: &str) -> RawAnswer {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => RawConnection::open(self.gate).await,
        };
        connection.send(request).await;
        let answer = connection.answer().await.unwrap_or_else(|| panic!("no answer to\n{request}"));
        let closes = answer.header("connection").is_some_and(|it| it.eq_ignore_ascii_case("close"));
        self.connection = (!closes).then_some(connection);
        answer
    }

    /// A login, a refresh and a logout on one connection, as long as it lasts; then its tokens are no good.
    async fn session(&mut self) {
        let form = format!("username={}&password={}", ALICE.name, ALICE.password);
        let answer = self
            .ask(&format!(
                "POST /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                 Content-Length: {}\r\n\r\n{form}",
                form.len()
            ))
            .await;
        let (_, cookie) = tokens(&answer);
        let with = |path: &str, cookie: &str| {
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nCookie: {cookie}\r\n\r\n")
        };
        let (access, cookie) = tokens(&self.ask(&with("/refresh", &cookie)).await);
        let page = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {access}\r\n\r\n");
        assert_eq!(self.ask(&page).await.status, 200);
        assert_eq!(self.ask(&with("/logout", &cookie)).await.status, 204);
        assert_eq!(self.ask(&with("/refresh", &cookie)).await.status, 400);
    }
}

/// The access token, and the cookie as it is sent back.
fn tokens(answer: &RawAnswer) -> (String, String) {
    assert_eq!(answer.status, 200, "{}\n{}", answer.head, answer.text());
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    let cookie = answer.header("set-cookie").and_then(|line| line.split(';').next()).expect("a cookie");
    (body["access_token"].as_str().expect("a token").to_owned(), cookie.to_owned())
}

/// Everything that people do, at the same time.
async fn load(gate: &Portcullis) -> Load {
    let mut load = Load::new();
    let (address, url) = (gate.listen, gate.url("/"));
    let visitor = Browser::logged_in(gate, &BOSS).await;
    let token = visitor.token().to_owned();
    for _ in 0..2 {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
        let kept = Arc::new(tokio::sync::Mutex::new(KeepAlive { gate: address, connection: None }));
        load.add(move || {
            let (kept, request) = (Arc::clone(&kept), request.clone());
            async move { assert_eq!(kept.lock().await.ask(&request).await.status, 200) }
        });
        let (url, request) = (url.clone(), token.clone());
        load.add(move || {
            let request = client().get(&url).bearer_auth(&request);
            async move { assert_eq!(request.send().await.expect("a new connection").status(), 200) }
        });
    }
    let http2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    let (h2_url, h2_token) = (url.clone(), token.clone());
    load.add(move || {
        let request = http2.get(&h2_url).bearer_auth(&h2_token);
        async move { assert_eq!(request.send().await.expect("over HTTP/2").status(), 200) }
    });
    let people = Arc::new(tokio::sync::Mutex::new(KeepAlive { gate: address, connection: None }));
    load.add(move || {
        let people = Arc::clone(&people);
        async move { people.lock().await.session().await }
    });
    load
}

async fn several_hand_overs(setup: Setup) {
    let app = EchoBackend::start().await;
    let mut cluster = Cluster::start(
        setup,
        &format!("listen: [{{ address: \"{{listen}}\", h2c: true }}]\nupstream: {}\n", app.url()),
    )
    .await;
    let gate = &mut cluster.gates[0];
    let mut alice = Browser::logged_in(gate, &ALICE).await;
    let mut load = load(gate).await;
    load.goes_on(50).await;
    for _ in 0..HAND_OVERS {
        let mut leaves = Browser::logged_in(gate, &BOSS).await;
        let gone = leaves.second_tab();
        leaves.logout().await.expect(204);
        gate.take_over().await;
        gone.get("/").await.expect(401).because("session_ended");
        gone.second_tab().refresh().await.expect(400).because("session_ended");
        alice.get("/").await.expect(200);
        alice.refresh().await.expect(200);
        load.goes_on(50).await;
    }
    load.stop().await;
    gate.former_leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_embedded_store_no_request_fails() {
    several_hand_overs(Setup::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_redis_no_request_fails() {
    several_hand_overs(Setup::Redis).await;
}

#[tokio::test]
async fn what_is_left_at_the_old_process_hears_of_logouts_at_the_new_one() {
    let app = websocket_echo().await;
    let mut gate = Portcullis::start(&format!("upstream: {app}\n")).await;
    let mut sockets = Vec::new();
    let mut alice = Browser::logged_in(&gate, &ALICE).await;
    let boss = Browser::logged_in(&gate, &BOSS).await;
    for who in [&alice, &boss] {
        let mut request = format!("ws://{}/socket", gate.listen).into_client_request().expect("a request");
        request.headers_mut().insert("Authorization", format!("Bearer {}", who.token()).parse().expect("a value"));
        let stream = TcpStream::connect(gate.listen).await.expect("the gate listens");
        sockets.push(in_time("a handshake", client_async(request, stream)).await.expect("it is allowed").0);
    }
    gate.take_over().await;
    for socket in &mut sockets {
        socket.send(Message::text("hello")).await.expect("it lives on");
        assert_eq!(in_time("an echo", socket.next()).await.expect("open").expect("well"), Message::text("hello"));
    }
    alice.logout().await.expect(204);
    while let Some(Ok(_)) = in_time("the end of alice's WebSocket", sockets[0].next()).await {}
    sockets[1].send(Message::text("still here")).await.expect("it lives on");
    assert_eq!(in_time("an echo", sockets[1].next()).await.expect("open").expect("well"), Message::text("still here"));
    drop(sockets);
    gate.former_leave().await;
}

#[tokio::test]
async fn what_is_left_at_the_old_process_ends_when_nobody_tells_it_of_logouts() {
    let app = websocket_echo().await;
    let config = format!("upstream: {app}\nrevocation: {{ max_staleness: 2s }}\nshutdown: {{ drain: 600s }}\n");
    let mut gate = Portcullis::start(&config).await;
    let alice = Browser::logged_in(&gate, &ALICE).await;
    let mut request = format!("ws://{}/socket", gate.listen).into_client_request().expect("a request");
    request.headers_mut().insert("Authorization", format!("Bearer {}", alice.token()).parse().expect("a value"));
    let stream = TcpStream::connect(gate.listen).await.expect("the gate listens");
    let (mut socket, _) = in_time("a handshake", client_async(request, stream)).await.expect("it is allowed");
    gate.take_over().await;
    gate.kill().await;
    while let Some(Ok(_)) = in_time("the end of the WebSocket", socket.next()).await {}
    gate.former_leave().await;
}

#[tokio::test]
async fn a_new_process_that_cannot_start_changes_nothing() {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&format!("upstream: {}\n", app.url())).await;
    let mut alice = Browser::logged_in(&gate, &ALICE).await;
    let path = gate.folder().join("proxy.yaml");
    let good = std::fs::read_to_string(&path).expect("there is a configuration");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().expect("a bound address");
    for (bad, hint) in [
        (format!("{good}nonsense: 1\n"), "nonsense"),
        (good.replace(&gate.listen.to_string(), &taken.to_string()), "cannot listen on"),
        (good.replace("store: embedded", "store: memory"), "restart it instead"),
        (good.replace("store: embedded", "store: { embedded: { path: other.redb } }"), "restart it instead"),
    ] {
        let listening = std::net::TcpListener::bind(taken).ok();
        std::fs::write(&path, &bad).expect("the configuration is written");
        let said = gate.fails_to_take_over().await;
        assert!(said.contains(hint), "{hint:?} is not in:\n{said}");
        alice.refresh().await.expect(200);
        alice.get("/").await.expect(200);
        drop(listening);
    }
    std::fs::write(&path, &good).expect("the configuration is written");
}

/// Says to the running process what a new one would, and is then gone. As long as it is busy with the one before, it sends others
/// away.
async fn is_gone_after(gate: &Portcullis, says: &[&str]) -> UnixStream {
    let path = gate.folder().join("data/handover.sock");
    eventually("it listens", async || {
        let mut stream = UnixStream::connect(&path).await.ok()?;
        for line in says {
            stream.write_all(line.as_bytes()).await.ok()?;
            stream.write_all(b"\n").await.ok()?;
        }
        Some(stream)
    })
    .await
}

#[tokio::test]
async fn a_new_process_that_dies_on_the_way_changes_nothing() {
    let app = EchoBackend::start().await;
    let mut gate = Portcullis::start(&format!("upstream: {}\n", app.url())).await;
    let mut alice = Browser::logged_in(&gate, &ALICE).await;
    let says = [r#"{"Hello":{"version":1}}"#, r#""Release""#, r#""Open""#];
    for stage in 0..=says.len() {
        let new = is_gone_after(&gate, &says[..stage]).await;
        // While it is about to take over, this needs a store that is at neither of them.
        let mut waiting = alice.second_tab();
        let refresh = tokio::spawn(async move { waiting.refresh().await });
        if stage > 1 {
            let lines = gate.folder().join("data/sessions.redb");
            eventually("the file is closed", async || redb_is_closed(&lines).then_some(())).await;
        }
        drop(new);
        refresh.await.expect("a request is answered").expect(200);
        alice.refresh().await.expect(200);
        alice.get("/").await.expect(200);
    }
    let refused = is_gone_after(&gate, &[r#"{"Hello":{"version":999}}"#, r#""Release""#]).await;
    let said = BufReader::new(refused).lines();
    assert!(said_by(said).await.contains("restart instead"));

    let mut boss = Browser::logged_in(&gate, &BOSS).await;
    let gone = boss.second_tab();
    boss.logout().await.expect(204);
    gone.get("/").await.expect(401).because("session_ended");
    gate.take_over().await;
    gone.get("/").await.expect(401).because("session_ended");
    alice.refresh().await.expect(200);
}

/// Nobody holds the lock on the file.
fn redb_is_closed(path: &std::path::Path) -> bool {
    let file = std::fs::File::open(path).expect("there is a file");
    file.try_lock().is_ok()
}

async fn said_by(mut lines: Lines<BufReader<UnixStream>>) -> String {
    let mut said = String::new();
    while let Ok(Some(line)) = in_time("it says something", lines.next_line()).await {
        said += &line;
    }
    said
}

#[tokio::test]
async fn a_signal_has_the_process_start_its_successor() {
    let app = EchoBackend::start().await;
    let mut gate = Portcullis::start(&format!("upstream: {}\n", app.url())).await;
    let alice = Browser::logged_in(&gate, &ALICE).await;
    gate.signal("USR2");
    eventually("it has been taken over", async || gate.log().contains("taken over from process").then_some(())).await;
    let successor = successor(&gate.log());
    let status = in_time("the old process has left", gate.ended()).await;
    assert!(status.success(), "{status}");
    alice.get("/").await.expect(200);
    // It is nobody's child any more.
    let killed = std::process::Command::new("kill").arg(&successor).status().expect("`kill` runs");
    assert!(killed.success());
    eventually("it has left", async || TcpStream::connect(gate.listen).await.is_err().then_some(())).await;
}

/// The number of the process that was started to take over.
fn successor(log: &str) -> String {
    let line = log.lines().find(|line| line.contains("is to take over")).expect("it says so");
    let after = line.split("process ").nth(1).expect("its number follows");
    after.chars().take_while(char::is_ascii_digit).collect()
}
