//! The life of the process: killed, asked to end, and refusing to begin.

use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::{
    ALICE, BOSS, Browser, EchoBackend, Portcullis, RawConnection, Script, client, eventually, free_port, in_time,
    users_file,
};

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let app = EchoBackend::start().await;
    let mut gate = Portcullis::start(&format!("upstream: {}\n", app.url())).await;
    let mut alice = Browser::logged_in(&gate, &ALICE).await;
    alice.refresh().await.expect(200);
    let mut boss = Browser::logged_in(&gate, &BOSS).await;
    let gone = boss.second_tab();
    boss.logout().await.expect(204);

    gate.kill().await;
    gate.start_again().await;

    alice.get("/").await.expect(200);
    alice.refresh().await.expect(200);
    gone.get("/").await.expect(401).because("session_ended");
    gone.second_tab().refresh().await.expect(400).because("session_ended");
}

#[tokio::test]
async fn when_it_says_that_it_is_ready_it_takes_connections() {
    let app = EchoBackend::start().await;
    let mut gate = Portcullis::start(&format!("upstream: {}\n", app.url())).await;
    for round in 0..10 {
        gate.kill().await;
        gate.start_again_unready();
        eventually("it is ready", async || {
            let answer = client().get(gate.admin_url("/readyz")).send().await.ok()?;
            (answer.status() == 200).then_some(())
        })
        .await;
        assert!(
            tokio::net::TcpStream::connect(gate.listen).await.is_ok(),
            "round {round}: it says so, and does not listen"
        );
    }
}

#[tokio::test]
async fn a_logout_on_its_way_when_the_power_fails_is_whole_or_not_at_all() {
    let app = EchoBackend::start().await;
    let mut gate = Portcullis::start(&format!("upstream: {}\n", app.url())).await;
    for _ in 0..5 {
        let alice = Browser::logged_in(&gate, &ALICE).await;
        let mut leaving = alice.second_tab();
        let goodbye = tokio::spawn(async move { leaving.logout().await.status });
        tokio::task::yield_now().await;
        gate.kill().await;
        // No answer (the client's task then fails) promises nothing; a 204 does.
        let acknowledged = matches!(goodbye.await, Ok(204));
        gate.start_again().await;
        let status = alice.get("/").await.status;
        let refreshed = alice.second_tab().refresh().await.status;
        assert!([(200, 200), (401, 400)].contains(&(status, refreshed)), "half a logout: {status}, {refreshed}");
        assert!(!acknowledged || status == 401, "an acknowledged logout was forgotten");
    }
}

#[tokio::test]
async fn it_ends_when_asked_to_and_lets_requests_finish() {
    let (pieces, stream) = tokio::sync::mpsc::channel(1);
    let stream = std::sync::Mutex::new(Some(stream));
    let app = EchoBackend::answering(move |_| match stream.lock().expect("not poisoned").take() {
        Some(stream) => Script::Stream(stream),
        None => Script::Close,
    })
    .await;
    let mut gate = Portcullis::start(&format!("upstream: {}\npublic: [/public]\n", app.url())).await;

    let mut client = RawConnection::open(gate.listen).await;
    client.send("GET /public HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("the request has reached the app", async || (!app.seen().is_empty()).then_some(())).await;

    gate.signal("TERM");
    eventually("it takes no new connections", async || {
        tokio::net::TcpStream::connect(gate.listen).await.is_err().then_some(())
    })
    .await;
    pieces.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".into()).await.expect("the app still listens");
    let answer = client.answer().await.expect("a request under way is finished");
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    drop((client, pieces));
    let status = in_time("after SIGTERM", gate.ended()).await;
    assert!(status.success(), "{status}:\n{}", gate.log());
}

#[tokio::test]
async fn it_ends_at_once_when_nothing_is_under_way() {
    let app = EchoBackend::start().await;
    let mut gate = Portcullis::start(&format!("upstream: {}\nshutdown: {{ drain: 60s }}\n", app.url())).await;
    Browser::logged_in(&gate, &ALICE).await.get("/").await.expect(200);
    assert!(gate.terminate().await.success());
}

/// Runs it with a configuration that it must refuse, and returns what it says.
async fn refuses_to_start(config: &str) -> String {
    let folder = TempDir::new().expect("a temporary folder");
    std::fs::write(folder.path().join("proxy.yaml"), config).expect("the configuration is written");
    std::fs::write(folder.path().join("users.yaml"), users_file()).expect("the users file is written");
    let child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["run", "--config", "proxy.yaml"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let id = child.id().to_string();
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
    let Ok(output) = tokio::time::timeout(Duration::from_secs(15), ended).await else {
        let _ = Command::new("kill").args(["-KILL", &id]).status();
        panic!("it runs with a configuration that it must refuse:\n{config}");
    };
    let output = output.expect("a thread ends").expect("a process ends");
    assert!(!output.status.success(), "it accepts\n{config}");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn a_mistake_in_the_configuration_is_named_with_its_place() {
    let start = format!(
        "listen: 127.0.0.1:{}\nadmin: {{ listen: \"127.0.0.1:{}\" }}\nupstream: http://127.0.0.1:1\n",
        free_port(),
        free_port()
    );
    for (mistake, hints) in [
        ("user: users.yaml\n", &["proxy.yaml", "4", "user"][..]),
        ("users: users.yaml\nusers: users.yaml\n", &["proxy.yaml", "5"]),
        ("users: users.yaml\naccess_token: { lifetime: 15 minutes }\n", &["proxy.yaml", "5", "lifetime"]),
        ("users: missing.yaml\n", &["missing.yaml"]),
        ("users: users.yaml\nstore: redis://127.0.0.1:1\n", &["keys", "portcullis keys new"]),
        (
            "users: users.yaml\nstore: redis://127.0.0.1:1\nkeys: { file: missing.jwks }\n",
            &["missing.jwks", "portcullis keys new"],
        ),
    ] {
        let said = refuses_to_start(&format!("{start}{mistake}")).await;
        for hint in hints {
            assert!(said.contains(hint), "{hint:?} is missing, for {mistake:?}:\n{said}");
        }
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_exit_with_a_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("a bound address");
    let said = refuses_to_start(&format!(
        "listen: {address}\nadmin: {{ listen: \"127.0.0.1:{}\" }}\nupstream: http://127.0.0.1:1\nusers: users.yaml\n",
        free_port()
    ))
    .await;
    assert!(said.contains(&address.to_string()), "{said}");
}
