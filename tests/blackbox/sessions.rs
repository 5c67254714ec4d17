//! An operator's hands: sessions are listed, shown and revoked, and a removed user is out, on every proxy.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::{
    ALICE, Answer, BOSS, Browser, Cluster, DEMO, EchoBackend, Portcullis, Setup, client, eventually, remove_user,
    run_binary,
};

/// Runs `portcullis sessions` beside a proxy, and returns what it prints.
fn sessions(gate: &Portcullis, arguments: &[&str]) -> String {
    let config = gate.folder().join("proxy.yaml").display().to_string();
    let output = run_binary(&[&["sessions", "--config", &config], arguments].concat(), "");
    String::from_utf8(output.stdout).expect("it prints text")
}

/// The same, of which it is not known whether it succeeds.
fn try_sessions(gate: &Portcullis, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.arg("sessions").arg("--config").arg(gate.folder().join("proxy.yaml")).args(arguments);
    command.stdin(std::process::Stdio::null()).output().expect("the binary starts")
}

fn listed(gate: &Portcullis, arguments: &[&str]) -> Vec<Value> {
    let text = sessions(gate, &[&["list", "--json"], arguments].concat());
    text.lines().map(|line| serde_json::from_str(line).expect("a line is an object")).collect()
}

fn id_of(session: &Value) -> String {
    session["session"].as_str().expect("a session has an id").to_owned()
}

/// Neither its access token nor its cookie is good anywhere.
async fn is_out(cluster: &Cluster, browser: &Browser, reason: &str) {
    for gate in &cluster.gates {
        let there = browser.at_proxy(gate);
        let refused = eventually("the access token is refused", async || {
            let answer = there.get("/").await;
            (answer.status != 200).then_some(answer)
        })
        .await;
        refused.expect(401).because("session_ended");
        there.second_tab().refresh().await.expect(400).error("invalid_grant").because(reason);
    }
}

async fn is_in(cluster: &Cluster, browser: &Browser) {
    for gate in &cluster.gates {
        let mut there = browser.at_proxy(gate);
        there.get("/").await.expect(200);
        there.refresh().await.expect(200);
    }
}

#[tokio::test]
async fn an_operator_sees_and_revokes_sessions_of_the_embedded_store() {
    an_operator_sees_and_revokes_sessions(Setup::Embedded).await;
}

#[tokio::test]
async fn an_operator_sees_and_revokes_sessions_of_two_proxies() {
    an_operator_sees_and_revokes_sessions(Setup::TwoOnRedis).await;
}

async fn an_operator_sees_and_revokes_sessions(setup: Setup) {
    let app = EchoBackend::start().await;
    let cluster = Cluster::start(setup, &format!("upstream: {}\n", app.url())).await;
    let (first, last) = (cluster.first(), cluster.last());
    assert_eq!(listed(first, &[]), Vec::<Value>::new());

    let phone = Browser::logged_in(last, &ALICE).await;
    let phone_id = id_of(&listed(first, &["--user", "alice"])[0]);
    let laptop = Browser::logged_in(first, &ALICE).await;
    let boss = Browser::logged_in(first, &BOSS).await;
    let demo = Browser::logged_in(last, &DEMO).await;
    let everybody = [&phone, &laptop, &boss, &demo];

    // Whoever is asked, all are seen, and nothing that opens a door.
    let mut said = String::new();
    for gate in [first, last] {
        assert_eq!((listed(gate, &[]).len(), listed(gate, &["--user", "alice"]).len()), (4, 2));
        assert_eq!(listed(gate, &["--user", "nobody"]), Vec::<Value>::new());
        let table = sessions(gate, &["list"]);
        assert_eq!(table.lines().count(), 5, "{table}");
        assert!(table.contains(&phone_id) && table.contains("boss"), "{table}");
        said += &(table + &sessions(gate, &["list", "--json"]) + &sessions(gate, &["show", &phone_id]));
    }
    for browser in everybody {
        assert!(!said.contains(&browser.refresh_token()) && !said.contains(browser.token()), "{said}");
    }
    let shown = sessions(first, &["show", &phone_id]);
    assert!(shown.contains("alice") && shown.contains("live"), "{shown}");

    // One session.
    assert_eq!(sessions(first, &["revoke", "--session", &phone_id]), "1 session revoked\n");
    is_out(&cluster, &phone, "session_ended").await;
    is_in(&cluster, &laptop).await;
    assert_eq!(sessions(last, &["revoke", "--session", &phone_id]), "0 sessions revoked\n");
    let shown: Value = serde_json::from_str(&sessions(last, &["show", &phone_id, "--json"])).expect("JSON");
    assert_eq!((&shown["state"], &shown["ended_by"]), (&json!("ended"), &json!("revoked")));
    assert_eq!(listed(last, &[]).len(), 3);
    eventually("it is in the audit log", async || {
        first.log().lines().any(|line| line.contains("revoked") && line.contains(&phone_id)).then_some(())
    })
    .await;

    // A user.
    assert_eq!(sessions(last, &["revoke", "--user", "alice"]), "1 session revoked\n");
    is_out(&cluster, &laptop, "session_ended").await;
    is_in(&cluster, &boss).await;

    // A key, and none by another name.
    let key = listed(first, &["--user", "boss"])[0]["key"].as_str().expect("a key has a name").to_owned();
    assert_eq!(sessions(first, &["revoke", "--key", "another"]), "0 sessions revoked\n");
    assert_eq!(sessions(first, &["revoke", "--key", &key]), "2 sessions revoked\n");
    is_out(&cluster, &boss, "session_ended").await;
    is_out(&cluster, &demo, "session_ended").await;

    // Everybody, and only for somebody who means it.
    let boss = Browser::logged_in(last, &BOSS).await;
    let refused = try_sessions(first, &["revoke", "--all"]);
    assert!(!refused.status.success(), "{refused:?}");
    is_in(&cluster, &boss).await;
    assert_eq!(sessions(first, &["revoke", "--all", "--yes"]), "1 session revoked\n");
    is_out(&cluster, &boss, "session_ended").await;
    Browser::logged_in(last, &BOSS).await.get("/").await.expect(200);

    for (arguments, hint) in [
        (&["show", "nothing"][..], "not a session id"),
        (&["show", "BwcHBwcHBwcHBwcHBwcHBw"], "the store knows of no session"),
        (&["revoke", "--session", "BwcHBwcHBwcHBwcHBwcHBw"], "the store knows of no session"),
        (&["revoke"], "required"),
        (&["revoke", "--all", "--user", "boss"], "cannot be used with"),
    ] {
        let refused = try_sessions(first, arguments);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(hint), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn a_removed_user_is_out_at_once_and_everywhere() {
    let app = EchoBackend::start().await;
    let cluster = Cluster::start(Setup::TwoOnRedis, &format!("upstream: {}\n", app.url())).await;
    let here = Browser::logged_in(cluster.first(), &ALICE).await;
    let there = Browser::logged_in(cluster.last(), &ALICE).await;
    let boss = Browser::logged_in(cluster.last(), &BOSS).await;

    // A file that is gone or broken removes nobody: what is removed next is noticed later than this would be.
    let users = cluster.last().users();
    let good = std::fs::read_to_string(&users).expect("the users file is read");
    std::fs::write(&users, "alice: {").expect("the users file is broken");

    // One proxy hears of it. Nobody asks for a refresh.
    remove_user(&cluster.first().users(), &ALICE);
    for gate in &cluster.gates {
        for browser in [&here, &there] {
            eventually("the access token is refused", async || {
                (browser.at_proxy(gate).get("/").await.status == 401).then_some(())
            })
            .await;
        }
        boss.at_proxy(gate).get("/").await.expect(200);
    }
    std::fs::write(&users, good).expect("the users file is good again");
    is_out(&cluster, &here, "subject_removed").await;
    is_out(&cluster, &there, "subject_removed").await;
    is_in(&cluster, &boss).await;
    eventually("it is in the audit log", async || {
        cluster.gates.iter().any(|gate| gate.log().contains("subject_removed")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn over_tcp_a_token_is_needed_and_without_one_there_are_no_sessions() {
    let app = EchoBackend::start().await;
    let secret = "0123456789abcdef0123456789abcdef";
    let shared = tempfile::TempDir::new().expect("a temporary folder");
    let file = shared.path().join("admin.token");
    std::fs::write(&file, format!("{secret}\n")).expect("the token is written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("the token is made private");

    let closed = Portcullis::start(&format!("upstream: {}\n", app.url())).await;
    let alice = Browser::logged_in(&closed, &ALICE).await;
    for path in ["/sessions", "/sessions/revoke"] {
        Answer::to(client().get(closed.admin_url(path)).bearer_auth(secret)).await.expect(404);
        Answer::to(client().post(closed.admin_url(path)).bearer_auth(secret).json(&json!({ "all": true })))
            .await
            .expect(404);
    }
    alice.get("/").await.expect(200);

    let admin = format!("admin: {{ listen: \"{{admin}}\", socket: none, token_file: \"{}\" }}", file.display());
    let gate = Portcullis::start(&format!("{admin}\nupstream: {}\n", app.url())).await;
    let alice = Browser::logged_in(&gate, &ALICE).await;
    let revoke = || client().post(gate.admin_url("/sessions/revoke")).json(&json!({ "subject": "alice" }));
    for request in [revoke(), revoke().bearer_auth("0123456789abcdef0123456789abcdeF"), revoke().bearer_auth("")] {
        let refused = Answer::to(request).await.expect(401);
        assert_eq!(refused.header("content-type"), Some("application/problem+json"), "{refused:#?}");
        assert!(refused.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer ")), "{refused:#?}");
    }
    Answer::to(client().get(gate.admin_url("/sessions"))).await.expect(401);
    Answer::to(client().get(gate.admin_url("/healthz"))).await.expect(200);
    alice.get("/").await.expect(200);

    let page = Answer::to(client().get(gate.admin_url("/sessions")).bearer_auth(secret)).await.expect(200).json();
    assert_eq!((&page["sessions"][0]["subject"], &page["next"]), (&json!("alice"), &Value::Null), "{page}");
    assert_eq!(Answer::to(revoke().bearer_auth(secret)).await.expect(200).json(), json!({ "revoked": 1 }));
    alice.get("/").await.expect(401).because("session_ended");

    let both = revoke().bearer_auth(secret).json(&json!({ "subject": "alice", "all": true }));
    Answer::to(both).await.expect(400);
    assert!(!gate.log().contains(secret), "{}", gate.log());
    let refused = try_sessions(&gate, &["list"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("`none`"), "{refused:?}");
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[tokio::test]
async fn the_socket_is_its_owner_s_and_one_left_behind_is_replaced() {
    let app = EchoBackend::start().await;
    let mut gate = Portcullis::start(&format!("upstream: {}\n", app.url())).await;
    let data = gate.folder().join("data");
    let socket = data.join("admin.sock");
    for _ in 0..2 {
        eventually("there is a socket", async || socket.exists().then_some(())).await;
        eventually("it is private", async || (mode(&socket) == 0o600).then_some(())).await;
        assert_eq!(mode(&data), 0o700);
        assert_eq!(listed(&gate, &[]), Vec::<Value>::new());
        gate.kill().await;
        assert!(socket.exists(), "who is killed leaves it behind");
        let refused = try_sessions(&gate, &["list"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains("is it running") && said.contains("admin.sock"), "{said}");
        gate.start_again().await;
    }
}
