//! The whole life of a token, told over every setup, with an app behind the gate that we did not write.

use reqwest::Method;

use crate::harness::{ALICE, Answer, BOSS, Browser, Cluster, Radicale, Setup, anon, bearer, eventually};

const EVENT: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:VEVENT\r\nUID:lunch\r\n\
                     DTSTAMP:20300101T000000Z\r\nDTSTART:20300101T120000Z\r\nSUMMARY:Lunch with the auditors\r\n\
                     END:VEVENT\r\nEND:VCALENDAR\r\n";

#[tokio::test]
async fn a_calendar_lives_behind_the_gate_on_the_embedded_store() {
    the_life_of_a_token(Setup::Embedded).await;
}

#[tokio::test]
async fn a_calendar_lives_behind_the_gate_on_redis() {
    the_life_of_a_token(Setup::Redis).await;
}

#[tokio::test]
async fn a_calendar_lives_behind_two_gates_on_one_redis() {
    the_life_of_a_token(Setup::TwoOnRedis).await;
}

#[tokio::test]
async fn a_calendar_lives_behind_two_gates_on_a_redis_cluster() {
    the_life_of_a_token(Setup::TwoOnRedisCluster).await;
}

async fn the_life_of_a_token(setup: Setup) {
    let radicale = Radicale::start().await;
    let config = format!(
        "upstream: {}\nidentity_headers: {{ subject: X-Remote-User }}\naccess_token: {{ lifetime: 4s, skew: 0s }}\n",
        radicale.url
    );
    let cluster = Cluster::start(setup, &config).await;
    let (first, last) = (cluster.first(), cluster.last());

    anon(first, "/alice/").await.expect(401).because("token_missing");

    // Log in, and work with the calendar as one's own user.
    let alice = Browser::logged_in(first, &ALICE).await;
    dav(&alice, "MKCALENDAR", "/alice/plans/", "").await.expect(201);
    dav(&alice, "PUT", "/alice/plans/lunch.ics", EVENT).await.expect(201);
    assert!(alice.get("/alice/plans/lunch.ics").await.expect(200).text().contains("SUMMARY:Lunch with the auditors"));
    let listing = dav(&alice, "PROPFIND", "/alice/plans/", "").await.expect(207).text();
    assert!(listing.contains("/alice/plans/lunch.ics"), "{listing}");

    // Somebody else does not see it, not even when he says that he is alice.
    let boss = Browser::logged_in(last, &BOSS).await;
    boss.get("/alice/plans/lunch.ics").await.expect(403);
    let disguised = boss.with_token(Method::GET, "/alice/plans/lunch.ics");
    Answer::to(disguised.header("X-Remote-User", "alice").header("X_Remote_User", "alice")).await.expect(403);
    anon(first, "/alice/plans/lunch.ics").await.expect(401);

    // Expire.
    let expired = eventually("the access token has expired", async || {
        let answer = alice.get("/alice/plans/lunch.ics").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    expired.expect(401).because("token_expired");

    // Refresh, at another proxy if there is one, and call at both.
    let mut alice = alice.at_proxy(last);
    alice.refresh().await.expect(200);
    alice.get("/alice/plans/lunch.ics").await.expect(200);
    bearer(first, alice.token(), "/alice/plans/lunch.ics").await.expect(200);

    // Log out here, and be refused here at once and everywhere soon.
    alice.refresh().await.expect(200); // A fresh token, so that what ends it is the logout.
    let (token, stolen_cookie) = (alice.token().to_owned(), alice.clone());
    alice.logout().await.expect(204);
    bearer(last, &token, "/alice/plans/lunch.ics").await.expect(401).because("session_ended");
    let elsewhere = eventually("the other proxy has heard of the logout", async || {
        let answer = bearer(first, &token, "/alice/plans/lunch.ics").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    elsewhere.expect(401).because("session_ended");
    for gate in &cluster.gates {
        let answer = stolen_cookie.at_proxy(gate).refresh().await;
        answer.expect(400).error("invalid_grant").because("session_ended");
    }
}

async fn dav(browser: &Browser, method: &'static str, path: &str, body: &'static str) -> Answer {
    let method = Method::from_bytes(method.as_bytes()).expect("a method's name");
    let request = browser.with_token(method, path).header("Content-Type", "text/calendar").header("Depth", "1");
    Answer::to(if body.is_empty() { request } else { request.body(body) }).await
}
