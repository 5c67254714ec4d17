//! The configuration changes while people are at work: nobody notices but those whom it is about.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::harness::{
    ALICE, BOSS, Browser, EchoBackend, Portcullis, RawConnection, RedisServer, anon, bearer, eventually, in_time,
    new_keys, remove_user, run_binary,
};
use crate::streams::websocket_echo;

/// The rest of a configuration whose listeners stay as they are.
fn rewrite(gate: &Portcullis, change: impl FnOnce(&str) -> String) {
    let path = gate.folder().join("proxy.yaml");
    let text = std::fs::read_to_string(&path).expect("the configuration is there");
    let changed = change(&text);
    assert_ne!(changed, text, "something changes");
    // As editors do: beside, and then into its place.
    let beside = path.with_extension("next");
    std::fs::write(&beside, changed).expect("the configuration is written");
    std::fs::rename(beside, path).expect("the configuration is replaced");
}

fn replace(from: &str, to: &str) -> impl FnOnce(&str) -> String {
    let (from, to) = (from.to_owned(), to.to_owned());
    move |text| {
        assert!(text.contains(&from), "{from} is in {text}");
        text.replace(&from, &to)
    }
}

async fn is_logged(gate: &Portcullis, what: &str) {
    eventually(what, async || gate.log().contains(what).then_some(())).await;
}

fn times(gate: &Portcullis, what: &str) -> usize {
    gate.log().matches(what).count()
}

async fn last_reload(gate: &Portcullis) -> (bool, f64) {
    let metrics = gate.metrics().await;
    let successful = metrics.sum("portcullis_config_last_reload_successful", &[]);
    let at = metrics.sum("portcullis_config_last_reload_success_timestamp_seconds", &[]);
    (successful == Some(1.0), at.expect("the series exists"))
}

const TAKEN: &str = "the configuration was read anew and is in use";

/// Tells it by a signal, and waits until it has read everything.
async fn hangup(gate: &Portcullis) {
    let before = times(gate, TAKEN);
    gate.signal("HUP");
    eventually("the configuration is taken", async || (times(gate, TAKEN) > before).then_some(())).await;
}

/// Requests without end over one kept connection, each of which must be answered with 200.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(gate: &Portcullis, token: &str, path: &'static str) -> Load {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients = (0..4).map(|_| {
            let (stop, answered, listen) = (Arc::clone(&stop), Arc::clone(&answered), gate.listen);
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
            tokio::spawn(async move {
                let mut connection = RawConnection::open(listen).await;
                while !stop.load(Ordering::Relaxed) {
                    connection.send(&request).await;
                    let answer = connection.answer().await.expect("the connection stays");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        Load { clients: clients.collect(), stop, answered }
    }

    /// Waits for some more answers.
    async fn goes_on(&self) {
        let enough = self.answered.load(Ordering::Relaxed) + 20;
        eventually("requests are answered", async || {
            assert!(self.clients.iter().all(|client| !client.is_finished()), "a client has failed");
            (self.answered.load(Ordering::Relaxed) >= enough).then_some(())
        })
        .await;
    }

    async fn end(self) {
        self.goes_on().await;
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            in_time("the last answer", client).await.expect("every request was answered with 200");
        }
    }
}

async fn websocket(gate: &Portcullis, token: &str) -> WebSocketStream<TcpStream> {
    let mut request = format!("ws://{}/socket", gate.listen).into_client_request().expect("a request");
    request.headers_mut().insert("Authorization", format!("Bearer {token}").parse().expect("a header value"));
    let stream = TcpStream::connect(gate.listen).await.expect("the gate listens");
    in_time("a handshake", client_async(request, stream)).await.expect("it is allowed").0
}

async fn talks(socket: &mut WebSocketStream<TcpStream>) {
    socket.send(Message::text("hello")).await.expect("it is sent");
    let echo = in_time("an echo", socket.next()).await.expect("the socket is open").expect("it is well");
    assert_eq!(echo, Message::text("hello"));
}

#[tokio::test]
async fn everything_changes_under_load_and_no_request_fails() {
    let (app, other, sockets) = (EchoBackend::start().await, EchoBackend::start().await, websocket_echo().await);
    let gate = Portcullis::start(&format!(
        "upstreams:\n  app: {{ servers: [\"{}\"] }}\n  sockets: {{ servers: [\"{sockets}\"] }}\n\
         routes:\n  - {{ name: app, upstream: app }}\n  - {{ name: sockets, path: /socket, upstream: sockets }}\n  \
         - {{ name: open, path_prefix: /open, upstream: app, auth: public }}\n\
         identity_headers: {{ subject: X-One }}\nlimits: {{ header_size: 32KiB }}\n",
        app.url()
    ))
    .await;
    let (alice, boss) = (Browser::logged_in(&gate, &ALICE).await, Browser::logged_in(&gate, &BOSS).await);
    let load = Load::start(&gate, alice.token(), "/steady");
    let mut socket = websocket(&gate, alice.token()).await;
    load.goes_on().await;
    let connections = app.connections();
    let entries = async || gate.metrics().await.sum("portcullis_token_cache_entries", &[]).unwrap_or_default();
    boss.get("/").await.expect(200);
    let cached = entries().await;
    assert_eq!(cached, 2.0);

    // By signal: a route becomes protected, another app gets it, limits and header fields change.
    let mut old_connection = RawConnection::open(gate.listen).await;
    let ask = "GET /open HTTP/1.1\r\nHost: a\r\n\r\n";
    old_connection.send(ask).await;
    assert_eq!(old_connection.answer().await.map(|answer| answer.status), Some(200));
    rewrite(&gate, |text| {
        let text = text.replace("/open, upstream: app, auth: public", "/open, upstream: other, roles: [admin]");
        let text =
            text.replace("upstreams:\n", &format!("upstreams:\n  other: {{ servers: [\"{}\"] }}\n", other.url()));
        text.replace("X-One", "X-Two").replace("32KiB", "2KiB")
    });
    hangup(&gate).await;
    assert_eq!(entries().await, cached, "verified tokens are remembered: keys and policy are the same");
    old_connection.send(ask).await;
    assert_eq!(old_connection.answer().await.map(|answer| answer.status), Some(401), "the next request is judged anew");
    bearer(&gate, alice.token(), "/open").await.expect(403);
    bearer(&gate, boss.token(), "/open").await.expect(200);
    let seen = other.take_one();
    assert_eq!((seen.header("x-two"), seen.header("x-one")), (Some("boss"), None));
    assert_eq!(anon(&gate, &format!("/{}", "x".repeat(3000))).await.status, 431);
    load.goes_on().await;
    talks(&mut socket).await;

    // By a changed file, without anything said: the prefix is back to what it was.
    rewrite(&gate, replace("/open, upstream: other, roles: [admin]", "/open, upstream: app, auth: public"));
    eventually("the file is noticed", async || (anon(&gate, "/open").await.status == 200).then_some(())).await;
    load.goes_on().await;
    talks(&mut socket).await;
    // More requests at once than before may need one more; the four of the load would all be new after each reload.
    assert!(app.connections() - connections < 4, "connections to an app that stays are kept");
    assert!(last_reload(&gate).await.0);

    // A user is removed, together with another limit.
    remove_user(&gate.users(), &BOSS);
    rewrite(&gate, replace("2KiB", "4KiB"));
    eventually("who is removed is out", async || (bearer(&gate, boss.token(), "/").await.status == 401).then_some(()))
        .await;
    talks(&mut socket).await;
    load.end().await;
}

#[tokio::test]
async fn a_bad_file_keeps_what_is_in_use_and_is_told_once() {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&format!("upstream: {}\npublic: [/public]\n", app.url())).await;
    let (good, since) = last_reload(&gate).await;
    assert!(good);
    rewrite(&gate, |text| text.replace("[/public]", "[/public, /more]\nlimits: { keep_alife: 1s }\nissuer: 5"));
    is_logged(&gate, "did you mean").await;
    is_logged(&gate, "the one before stays in use").await;
    assert_eq!(last_reload(&gate).await, (false, since));
    anon(&gate, "/public").await.expect(200);
    anon(&gate, "/more").await.expect(401);
    let log = gate.log();
    assert!(log.contains("limits") && log.contains("issuer"), "every error is told: {log}");

    // It is tried again when something changes, and not complained of twice.
    remove_user(&gate.users(), &BOSS);
    eventually("the removal is seen", async || {
        let login = Browser::at(&gate).login(&BOSS).await;
        (login.status == 400).then_some(())
    })
    .await;
    // Longer than it waits before it tries once more.
    tokio::time::sleep(std::time::Duration::from_secs(7)).await;
    assert_eq!(times(&gate, "the one before stays in use"), 1, "{}", gate.log());
    // Who asks is told.
    gate.signal("HUP");
    eventually("it is told again", async || (times(&gate, "the one before stays in use") == 2).then_some(())).await;

    rewrite(&gate, |text| text.replace("keep_alife", "keep_alive").replace("issuer: 5", "issuer: portcullis"));
    eventually("it is taken", async || (anon(&gate, "/more").await.status == 200).then_some(())).await;
    let (good, at) = last_reload(&gate).await;
    assert!(good && at > since);

    // A file that is gone is no configuration.
    std::fs::remove_file(gate.folder().join("proxy.yaml")).expect("it was there");
    is_logged(&gate, "proxy.yaml: this file cannot be read").await;
    anon(&gate, "/more").await.expect(200);
}

#[tokio::test]
async fn what_cannot_change_is_named_and_the_rest_is_applied() {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&format!("upstream: {}\npublic: [/public]\n", app.url())).await;
    let (listen, elsewhere) = (gate.listen.to_string(), crate::harness::free_port());
    rewrite(&gate, |text| {
        let text =
            text.replace(&listen, &format!("127.0.0.1:{elsewhere}")).replace("data_dir: data", "data_dir: other");
        text.replace("[/public]", "[/public, /more]") + "access_token: { lifetime: 1h }\nshutdown: { drain: 1s }\n"
    });
    eventually("the rest is applied", async || (anon(&gate, "/more").await.status == 200).then_some(())).await;
    for key in ["listen", "data_dir", "store", "access_token.lifetime", "shutdown.drain"] {
        is_logged(&gate, &format!("{key} has changed; restart (or hand over) to apply it")).await;
    }
    assert!(last_reload(&gate).await.0);
    assert!(TcpStream::connect(("127.0.0.1", elsewhere)).await.is_err());
    let login = Browser::at(&gate).login(&ALICE).await.expect(200);
    assert_eq!(login.json()["expires_in"], 900, "a longer life would outlive what revocations are kept for");
}

#[tokio::test]
async fn limits_change_and_what_was_counted_counts() {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&format!(
        "upstream: {}\nlimits: {{ header_timeout: 600s }}\nlogin: {{ attempts_per_account: 3, window: 1h }}\n",
        app.url()
    ))
    .await;
    let mut alice = Browser::logged_in(&gate, &ALICE).await;
    let wrong = crate::harness::Account { password: "wrong", ..BOSS };
    let guess = async || Browser::at(&gate).login(&wrong).await.status;
    for _ in 0..2 {
        assert_eq!(guess().await, 400);
    }
    let mut before = RawConnection::open(gate.listen).await;
    before.send("GET / HT").await;
    rewrite(&gate, |text| text.replace("600s", "1s").replace("account: 3", "account: 2"));
    hangup(&gate).await;

    // Two guesses are what there is now, and two were made.
    assert_eq!(guess().await, 429);
    alice.login(&ALICE).await.expect(200);
    let mut after = RawConnection::open(gate.listen).await;
    after.send("GET / HT").await;
    assert_eq!(in_time("its head is waited for as long as is said now", after.answer()).await, None);
    assert!(before.try_send("TP/1.1\r\nHost: a\r\n\r\n").await);
    assert_eq!(before.answer().await.map(|answer| answer.status), Some(401), "the older one keeps its time");
}

fn rotate(file: &Path) {
    run_binary(&["keys", "rotate", "--file", file.to_str().expect("UTF-8")], "");
}

#[tokio::test]
async fn a_token_of_a_key_that_is_gone_is_refused_though_it_was_seen_before() {
    let app = EchoBackend::start().await;
    let keys = tempfile::TempDir::new().expect("a temporary folder");
    let (file, next) = (keys.path().join("keys.jwks"), keys.path().join("next.jwks"));
    new_keys(&file);
    let config = format!("keys: {{ file: {} }}\nupstream: {}\n", file.display(), app.url());
    let gate = Portcullis::start(&config).await;
    let mut alice = Browser::logged_in(&gate, &ALICE).await;
    alice.get("/").await.expect(200);

    // A rotation, by the file alone: those who are logged in stay so.
    let first = alice.token().to_owned();
    for _ in 0..2 {
        let before = times(&gate, TAKEN);
        rotate(&file);
        eventually("the keys are taken up", async || (times(&gate, TAKEN) > before).then_some(())).await;
        alice.get("/").await.expect(200);
        alice.refresh().await.expect(200);
        bearer(&gate, &first, "/").await.expect(200);
    }
    assert_ne!(key_id(alice.token()), key_id(&first), "new tokens are made with the new key");

    // Other keys altogether.
    new_keys(&next);
    std::fs::rename(&next, &file).expect("the keys are replaced");
    let token = alice.token().to_owned();
    eventually("its key is gone", async || (bearer(&gate, &token, "/").await.status == 401).then_some(())).await;
    bearer(&gate, &first, "/").await.expect(401);
    Browser::logged_in(&gate, &ALICE).await.get("/").await.expect(200);

    // Keys that everybody can read are no keys.
    let mode = |mode| std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode));
    mode(0o644).expect("the mode is changed");
    is_logged(&gate, "everybody on this machine can read or change").await;
    assert!(!last_reload(&gate).await.0);
    Browser::logged_in(&gate, &ALICE).await.get("/").await.expect(200);
}

fn key_id(token: &str) -> String {
    use base64::Engine;
    let header = token.split('.').next().expect("a header");
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).expect("base64url");
    let header: serde_json::Value = serde_json::from_slice(&header).expect("JSON");
    header["kid"].as_str().expect("a kid").to_owned()
}

#[tokio::test]
async fn keys_that_another_proxy_does_not_know_are_taken_up_once_it_does() {
    let (redis, app) = (RedisServer::start(), EchoBackend::start().await);
    let shared = tempfile::TempDir::new().expect("a temporary folder");
    let keys = shared.path().join("keys.jwks");
    new_keys(&keys);
    let files = ["first.jwks", "second.jwks"].map(|name| shared.path().join(name));
    let mut gates = Vec::new();
    for file in &files {
        std::fs::copy(&keys, file).expect("the keys are handed out");
        let config = format!(
            "keys: {{ file: {} }}\nstore: {{ redis: {{ url: \"{}\" }} }}\nupstream: {}\n",
            file.display(),
            redis.url(),
            app.url()
        );
        gates.push(Portcullis::start(&config).await);
    }
    let [first, second] = &gates[..] else { panic!("two proxies") };
    let mut alice = Browser::logged_in(first, &ALICE).await;
    let before = key_id(alice.token());

    // Both steps of the rotation at once, at one of them: the other would refuse its tokens.
    rotate(&keys);
    let step = shared.path().join("step.jwks");
    std::fs::copy(&keys, &step).expect("the step is kept");
    rotate(&keys);
    std::fs::copy(&keys, &files[0]).expect("the keys are handed out");
    is_logged(first, "another proxy on this store does not have the key").await;
    assert!(!last_reload(first).await.0);
    alice.refresh().await.expect(200);
    assert_eq!(key_id(alice.token()), before);
    alice.at_proxy(second).get("/").await.expect(200);

    // The step between, at the other: now they understand one another, and the first goes on by itself.
    std::fs::copy(&step, &files[1]).expect("the keys are handed out");
    eventually("the first takes them up", async || last_reload(first).await.0.then_some(())).await;
    alice.refresh().await.expect(200);
    assert_ne!(key_id(alice.token()), before);
    alice.at_proxy(second).get("/").await.expect(200);
}
