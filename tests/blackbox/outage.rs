//! The store is down: known revocations still hold, refresh and logout answer 503, nothing hangs, public routes do not
//! notice, and nobody restarts anything afterwards (invariant 8).

use std::time::{Duration, Instant};

use crate::harness::{
    ALICE, Answer, BOSS, Browser, Cluster, EchoBackend, Portcullis, RedisServer, Setup, anon, bearer, client,
    eventually,
};

/// The store's deadline (2 s by default), and enough for a busy machine.
const NOT_HANGING: Duration = Duration::from_secs(6);

#[tokio::test]
async fn a_store_that_is_killed_is_missed_by_nobody_but_those_who_need_it() {
    an_outage(|redis| redis.kill(), |redis| redis.start_again()).await;
}

#[tokio::test]
async fn a_store_that_falls_silent_is_missed_by_nobody_but_those_who_need_it() {
    an_outage(|redis| redis.pause(), |redis| redis.resume()).await;
}

async fn an_outage(begin: fn(&mut RedisServer), end: fn(&mut RedisServer)) {
    let app = EchoBackend::start().await;
    let config = format!("upstream: {}\npublic: [/public]\nrevocation: {{ max_staleness: 2s }}\n", app.url());
    let mut cluster = Cluster::start(Setup::Redis, &config).await;
    let mut alice = Browser::logged_in(cluster.first(), &ALICE).await;
    let leaving = Browser::logged_in(cluster.first(), &ALICE).await;
    let mut boss = Browser::logged_in(cluster.first(), &BOSS).await;
    let ended = boss.token().to_owned();
    boss.logout().await.expect(204);
    alice.get("/").await.expect(200);

    begin(cluster.redis.as_mut().expect("this setup has a Redis"));

    bearer(cluster.first(), &ended, "/").await.expect(401).because("session_ended");
    let stale = eventually("protected routes notice that the news have stopped", async || {
        let answer = alice.get("/").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    let stale = stale.expect(503).because("revocations_stale");
    assert!(stale.header("retry-after").is_some(), "{stale:#?}");
    assert_ne!(bearer(cluster.first(), &ended, "/").await.status, 200);

    for answer in [
        not_hanging(alice.refresh()).await,
        not_hanging(leaving.second_tab().logout()).await,
        not_hanging(boss.login(&BOSS)).await,
    ] {
        assert!(answer.header("retry-after").is_some(), "{answer:#?}");
        assert!(answer.refresh_cookie().is_none(), "a client must keep what it has: {answer:#?}");
        answer.expect(503);
    }
    anon(cluster.first(), "/public").await.expect(200);
    let ready = Answer::to(client().get(cluster.first().admin_url("/readyz"))).await;
    ready.expect(200); // Or a load balancer would take the public routes out, too.

    end(cluster.redis.as_mut().expect("this setup has a Redis"));

    eventually("protected routes are back", async || (alice.get("/").await.status == 200).then_some(())).await;
    bearer(cluster.first(), &ended, "/").await.expect(401).because("session_ended");
    alice.refresh().await.expect(200);
    alice.get("/").await.expect(200);
    alice.logout().await.expect(204);
    alice.get("/").await.expect(401).because("session_ended");
}

async fn not_hanging(answer: impl Future<Output = Answer>) -> Answer {
    let begin = Instant::now();
    let answer = answer.await;
    assert!(begin.elapsed() < NOT_HANGING, "it took {:?}: {answer:#?}", begin.elapsed());
    answer
}

#[tokio::test]
async fn a_proxy_that_starts_without_its_store_serves_public_routes_and_lets_nobody_in() {
    let app = EchoBackend::start().await;
    let config = format!(
        "upstream: {}\npublic: [/public]\nrevocation: {{ max_staleness: 30s, when_stale: allow }}\n",
        app.url()
    );
    let mut cluster = Cluster::start(Setup::Redis, &config).await;
    let alice = Browser::logged_in(cluster.first(), &ALICE).await;

    cluster.gates[0].kill().await;
    cluster.redis.as_mut().expect("this setup has a Redis").kill();
    cluster.gates[0].start_again_unready();
    let public = eventually("it serves", async || client().get(cluster.first().url("/public")).send().await.ok()).await;
    assert_eq!(public.status(), 200);
    alice.get("/").await.expect(503).because("revocations_stale");
    let healthy = eventually("the admin listener is open as well", async || {
        client().get(cluster.first().admin_url("/healthz")).send().await.ok()
    });
    assert_eq!(healthy.await.status(), 200);
    Answer::to(client().get(cluster.first().admin_url("/readyz"))).await.expect(503);

    cluster.redis.as_mut().expect("this setup has a Redis").start_again();
    eventually("it lets alice in", async || (alice.get("/").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn an_emptied_store_raises_nobody_from_the_dead_and_logs_nobody_out() {
    let app = EchoBackend::start().await;
    let mut cluster = Cluster::start(Setup::TwoOnRedis, &format!("upstream: {}\n", app.url())).await;
    let alice = Browser::logged_in(cluster.first(), &ALICE).await;
    let mut boss = Browser::logged_in(cluster.first(), &BOSS).await;
    let (ended, cookie) = (boss.token().to_owned(), boss.clone());
    boss.logout().await.expect(204);
    eventually("both have heard of it", async || {
        (bearer(cluster.last(), &ended, "/").await.status == 401).then_some(())
    })
    .await;

    let mut elsewhere = alice.at_proxy(cluster.last());
    for killed in [false, true] {
        // A refresh that was answered by one proxy only.
        eventually("she is let in", async || (elsewhere.refresh().await.status == 200).then_some(())).await;
        if killed {
            cluster.gates[0].kill().await;
        }
        cluster.redis.as_ref().expect("this setup has a Redis").command::<()>(&["FLUSHALL"]);
        if killed {
            cluster.gates[0].start_again_unready();
        }

        // Long enough for several heartbeats and reloads.
        let until = Instant::now() + Duration::from_secs(4);
        while Instant::now() < until {
            for gate in &cluster.gates {
                let Some(was_let_in) = status(gate, &ended).await else { continue };
                assert_ne!(was_let_in, 200, "the access token of an ended session was let in");
                assert_ne!(
                    cookie.at_proxy(gate).refresh().await.status,
                    200,
                    "the refresh token of an ended session was taken"
                );
                let status = bearer(gate, alice.token(), "/").await.status;
                assert!(status == 200 || status == 503, "what is not known is 503, never {status}");
            }
        }
        for gate in &cluster.gates {
            eventually("alice goes on", async || (bearer(gate, alice.token(), "/").await.status == 200).then_some(()))
                .await;
            elsewhere.at_proxy(gate).refresh().await.expect(200);
            let refused = cookie.at_proxy(gate).refresh().await;
            refused.expect(400).because("session_ended");
        }
    }
}

/// None while it is not there.
async fn status(gate: &Portcullis, token: &str) -> Option<u16> {
    let request = client().get(gate.url("/")).bearer_auth(token);
    Some(request.send().await.ok()?.status().as_u16())
}

#[tokio::test]
async fn a_data_folder_has_one_proxy() {
    let app = EchoBackend::start().await;
    let cluster = Cluster::start(Setup::Redis, &format!("upstream: {}\n", app.url())).await;
    let redis = cluster.redis.as_ref().expect("this setup has a Redis");
    let config = format!(
        "admin: {{ listen: \"{{admin}}\", socket: none }}\n\
         upstream: {}\nkeys: {{ file: {} }}\nstore: {{ redis: {{ url: \"{}\" }} }}\ndata_dir: {}\n",
        app.url(),
        cluster.keys().display(),
        redis.url(),
        cluster.first().folder().join("data").display()
    );
    let mut second = Portcullis::start_unready(&config, &[]);
    assert!(!second.ended().await.success());
    eventually("it says why", async || second.log().contains("copies.redb is in use").then_some(())).await;
}
