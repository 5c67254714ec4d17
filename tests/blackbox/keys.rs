//! Keys that are rotated while people are logged in, and proxies that do not understand one another.

use std::path::Path;

use crate::harness::{ALICE, Browser, EchoBackend, Portcullis, RedisServer, eventually, new_keys, run_binary};

fn rotate(file: &Path) {
    let output = run_binary(&["keys", "rotate", "--file", &file.display().to_string()], "");
    assert!(output.status.success(), "{output:?}");
}

fn config(redis: &RedisServer, app: &EchoBackend, keys: &Path) -> String {
    format!(
        "keys: {{ file: \"{}\" }}\nstore: {{ redis: {{ url: \"{}\" }} }}\nupstream: {}\n",
        keys.display(),
        redis.url(),
        app.url()
    )
}

/// Gives a proxy the keys of the operator. The file keeps its mode: nobody else may read it.
fn hand_out(keys: &Path, to: &Path) {
    std::fs::copy(keys, to).expect("the keys are copied");
}

#[tokio::test]
async fn a_rotation_that_rolls_from_proxy_to_proxy_logs_nobody_out() {
    let (redis, app) = (RedisServer::start(), EchoBackend::start().await);
    let shared = tempfile::TempDir::new().expect("a temporary folder");
    let keys = shared.path().join("keys.jwks");
    new_keys(&keys);
    let handed_out = ["first.jwks", "second.jwks"].map(|name| shared.path().join(name));
    let mut gates = Vec::new();
    for file in &handed_out {
        hand_out(&keys, file);
        gates.push(Portcullis::start(&config(&redis, &app, file)).await);
    }
    let mut alice = Browser::logged_in(&gates[0], &ALICE).await;

    // Twice: the first step makes the new keys known, the second one uses them.
    for _ in 0..2 {
        rotate(&keys);
        for turn in 0..gates.len() {
            hand_out(&keys, &handed_out[turn]);
            assert!(gates[turn].terminate().await.success());
            gates[turn].start_again().await;
            for gate in &gates {
                alice = alice.at_proxy(gate);
                alice.get("/").await.expect(200);
                alice.refresh().await.expect(200);
                alice.get("/").await.expect(200);
            }
        }
    }
    alice.logout().await.expect(204);
    for gate in &gates {
        let gone = alice.at_proxy(gate);
        eventually("the logout is known everywhere", async || (gone.get("/").await.status == 401).then_some(())).await;
    }
}

#[tokio::test]
async fn a_proxy_whose_keys_the_others_do_not_know_refuses_to_start() {
    let (redis, app) = (RedisServer::start(), EchoBackend::start().await);
    let shared = tempfile::TempDir::new().expect("a temporary folder");
    let (ours, strange) = (shared.path().join("ours.jwks"), shared.path().join("strange.jwks"));
    new_keys(&ours);
    new_keys(&strange);
    let first = Portcullis::start(&config(&redis, &app, &ours)).await;
    let alice = Browser::logged_in(&first, &ALICE).await;

    let mut second = Portcullis::start_unready(&config(&redis, &app, &strange), &[]);
    assert_eq!(second.ended().await.code(), Some(1));
    assert!(second.log().contains("portcullis: another proxy on this store uses the key"), "{}", second.log());

    // With the right keys it starts at once: it has left nothing behind that it would have to wait for.
    hand_out(&ours, &strange);
    second.start_again().await;
    alice.at_proxy(&second).get("/").await.expect(200);
    alice.get("/").await.expect(200);
}
