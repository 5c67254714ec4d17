//! Refresh tokens: one live successor, whatever is lost, repeated or stolen (invariants 3 and 4).

use std::collections::BTreeSet;

use futures::future::join_all;
use reqwest::Method;

use crate::harness::{
    ALICE, Answer, BOSS, Browser, Cluster, EchoBackend, Portcullis, Setup, bearer, client, eventually, remove_user,
    set_roles,
};

const GRACE_IS_OVER_AT_ONCE: &str = "rotation: { grace: 0s }\n";

async fn gate(more: &str) -> Portcullis {
    let app = EchoBackend::start().await;
    Portcullis::start(&format!("upstream: {}\n{more}", app.url())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_refreshes_at_once_over_two_proxies_make_one_successor() {
    two_hundred_refreshes_make_one_successor(Setup::TwoOnRedis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_refreshes_at_once_over_the_embedded_store_make_one_successor() {
    two_hundred_refreshes_make_one_successor(Setup::Embedded).await;
}

async fn two_hundred_refreshes_make_one_successor(setup: Setup) {
    let app = EchoBackend::start().await;
    let cluster = Cluster::start(setup, &format!("upstream: {}\n", app.url())).await;
    let browser = Browser::logged_in(cluster.first(), &ALICE).await;
    let before = browser.refresh_token();

    let answers = join_all((0..200).map(|number| {
        let mut tab = browser.at_proxy(&cluster.gates[number % cluster.gates.len()]);
        async move {
            let answer = tab.refresh().await.expect(200);
            (answer.refresh_cookie().expect("each answer sets the cookie").value().to_owned(), tab)
        }
    }))
    .await;

    let successors: BTreeSet<&str> = answers.iter().map(|(cookie, _)| cookie.as_str()).collect();
    assert_eq!(successors.len(), 1, "one successor, byte for byte: {successors:?}");
    assert!(!successors.contains(before.as_str()), "the successor is another token");

    // What every tab holds is alive.
    for (_, mut tab) in answers.into_iter().step_by(40) {
        tab.get("/").await.expect(200);
        tab.refresh().await.expect(200);
    }
    let mut rotated = 0.0;
    for gate in &cluster.gates {
        rotated +=
            gate.metrics().await.sum("portcullis_refreshes_total", &["outcome=\"rotated\""]).expect("it is counted");
    }
    assert_eq!(rotated, 1.0, "within one grace a session rotates once");
}

#[tokio::test]
async fn a_client_whose_reply_was_lost_gets_it_again_byte_for_byte() {
    let gate = gate("").await;
    let mut browser = Browser::logged_in(&gate, &ALICE).await;
    let mut heard = browser.second_tab();
    let heard = heard.refresh().await.expect(200);
    let again = browser.refresh().await.expect(200);
    assert_eq!(heard.refresh_cookie(), again.refresh_cookie());
    browser.get("/").await.expect(200);
}

#[tokio::test]
async fn a_client_that_comes_back_long_after_its_reply_was_lost_is_still_logged_in() {
    let gate = gate(GRACE_IS_OVER_AT_ONCE).await;
    let mut browser = Browser::logged_in(&gate, &ALICE).await;
    browser.refresh_without_hearing().await;
    browser.refresh().await.expect(200);
    browser.get("/").await.expect(200);
    browser.refresh().await.expect(200);
    let late = gate.metrics().await.sum("portcullis_refreshes_total", &["outcome=\"retried_late\""]);
    assert_eq!(late, Some(1.0));
}

#[tokio::test]
async fn two_tabs_end_with_one_cookie_and_two_good_access_tokens() {
    let gate = gate("").await;
    let mut left = Browser::logged_in(&gate, &ALICE).await;
    let mut right = left.second_tab();
    for _ in 0..3 {
        left.refresh().await.expect(200);
        right.refresh().await.expect(200);
        assert_eq!(left.refresh_token(), right.refresh_token());
    }
    left.get("/").await.expect(200);
    right.get("/").await.expect(200);
}

#[tokio::test]
async fn who_may_come_back_late_is_what_the_configuration_says() {
    for (late_retry, own, others) in [("off", 400, 400), ("same_client", 200, 400), ("any", 200, 200)] {
        let gate = gate(&format!("rotation: {{ grace: 0s, late_retry: {late_retry} }}\n")).await;
        for (expected, is_thief) in [(own, false), (others, true)] {
            let browser = Browser::logged_in(&gate, &ALICE).await;
            let mut late = if is_thief { browser.thief() } else { browser.clone() };
            browser.refresh_without_hearing().await;
            let answer = late.refresh().await;
            assert_eq!(answer.status, expected, "late_retry {late_retry}, thief {is_thief}: {}", answer.text());
            if expected == 400 {
                answer.because("token_reused");
            }
        }
    }
}

#[tokio::test]
async fn a_stolen_token_that_was_already_traded_ends_the_session() {
    let gate = gate(GRACE_IS_OVER_AT_ONCE).await;
    let mut browser = Browser::logged_in(&gate, &ALICE).await;
    let mut thief = browser.thief();
    browser.refresh().await.expect(200);
    browser.refresh().await.expect(200);

    thief.refresh().await.expect(400).error("invalid_grant").because("token_reused");

    browser.get("/").await.expect(401).because("session_ended");
    browser.refresh().await.expect(400).because("session_ended");
}

#[tokio::test]
async fn a_successor_that_was_seen_in_use_is_not_given_out_late() {
    let gate = gate("rotation: { grace: 0s, late_retry: any }\n").await;
    let mut browser = Browser::logged_in(&gate, &ALICE).await;
    let before = browser.second_tab();
    browser.refresh().await.expect(200);
    browser.get("/").await.expect(200);

    // That the access token was seen is told to the store in the background; a late retry before that is no theft.
    let answer = eventually("the successor counts as used", async || {
        let answer = before.thief().refresh().await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    answer.expect(400).because("token_reused");
    browser.get("/").await.expect(401).because("session_ended");
}

#[tokio::test]
async fn a_cookie_from_before_a_logout_is_refused_without_suspicion() {
    let gate = gate("").await;
    let mut browser = Browser::logged_in(&gate, &ALICE).await;
    let first = browser.second_tab();
    browser.refresh().await.expect(200);
    let second = browser.second_tab();
    browser.logout().await.expect(204);
    for mut old in [first, second] {
        let answer = old.refresh().await.expect(400).error("invalid_grant").because("session_ended");
        assert!(answer.refresh_cookie().is_none(), "only a logout clears the cookie: another tab may have a new one");
        old.logout().await.expect(204); // Idempotent.
    }
}

#[tokio::test]
async fn a_logout_that_races_refreshes_leaves_nothing_alive() {
    let gate = gate("").await;
    for _ in 0..5 {
        let browser = Browser::logged_in(&gate, &ALICE).await;
        let mut tabs: Vec<Browser> = (0..10).map(|_| browser.second_tab()).collect();
        let mut leaving = browser.second_tab();
        let (answers, goodbye) = tokio::join!(join_all(tabs.iter_mut().map(|tab| tab.refresh())), leaving.logout());
        goodbye.expect(204);
        for answer in answers {
            assert!(answer.status == 200 || answer.status == 400, "{answer:#?}");
        }
        for mut tab in tabs {
            tab.get("/").await.expect(401).because("session_ended");
            tab.refresh().await.expect(400).because("session_ended");
        }
    }
}

#[tokio::test]
async fn logging_out_everywhere_ends_every_session_of_the_subject_and_of_nobody_else() {
    let app = EchoBackend::start().await;
    let cluster = Cluster::start(Setup::TwoOnRedis, &format!("upstream: {}\n", app.url())).await;
    let here = Browser::logged_in(cluster.first(), &ALICE).await;
    let there = Browser::logged_in(cluster.last(), &ALICE).await;
    let boss = Browser::logged_in(cluster.last(), &BOSS).await;

    let with_bearer_only = client().post(cluster.first().url("/logout/all")).bearer_auth(here.token());
    let refused = Answer::to(with_bearer_only).await;
    assert!((400..500).contains(&refused.status), "a stolen access token must not be enough: {refused:#?}");
    there.get("/").await.expect(200);

    Answer::to(here.request(Method::POST, "/logout/all")).await.expect(204);
    eventually("both proxies refuse both sessions", async || {
        for gate in &cluster.gates {
            for session in [&here, &there] {
                let answer = bearer(gate, session.token(), "/").await;
                if answer.status == 200 {
                    return None;
                }
                answer.expect(401).because("session_ended");
            }
        }
        Some(())
    })
    .await;
    there.second_tab().refresh().await.expect(400).because("session_ended");
    boss.get("/").await.expect(200);
    boss.second_tab().refresh().await.expect(200);
}

#[tokio::test]
async fn a_bearer_token_alone_can_log_its_own_session_out() {
    let gate = gate("").await;
    let mut browser = Browser::logged_in(&gate, &ALICE).await;
    Answer::to(client().post(gate.url("/logout")).bearer_auth(browser.token())).await.expect(204);
    browser.get("/").await.expect(401).because("session_ended");
    browser.refresh().await.expect(400).because("session_ended");
}

#[tokio::test]
async fn a_removed_user_gets_no_new_token() {
    let gate = gate("").await;
    let mut alice = Browser::logged_in(&gate, &ALICE).await;
    let mut boss = Browser::logged_in(&gate, &BOSS).await;
    alice.refresh().await.expect(200);
    remove_user(&gate.users(), &ALICE);
    alice.refresh().await.expect(400).error("invalid_grant").because("subject_removed");
    alice.login(&ALICE).await.expect(400).error("invalid_grant");
    boss.refresh().await.expect(200);
}

#[tokio::test]
async fn roles_are_read_anew_at_refresh() {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&format!(
        "upstreams: {{ app: {{ servers: [\"{}\"] }} }}\nroutes:\n  - {{ name: admin, upstream: app, roles: [admin] }}\n",
        app.url()
    ))
    .await;
    let mut alice = Browser::logged_in(&gate, &ALICE).await;
    alice.get("/").await.expect(403).error("insufficient_scope").because("role_missing");
    set_roles(&gate.users(), &ALICE, &["staff", "admin"]);
    alice.get("/").await.expect(403);
    alice.refresh().await.expect(200);
    alice.get("/").await.expect(200);
    set_roles(&gate.users(), &ALICE, &["staff"]);
    alice.refresh().await.expect(200);
    alice.get("/").await.expect(403);
}

#[tokio::test]
async fn no_refresh_moves_the_end_of_a_session() {
    let gate =
        gate("session: { lifetime: 3s }\naccess_token: { lifetime: 1s, skew: 0s }\nrotation: { grace: 0s }\n").await;
    let mut browser = Browser::at(&gate);
    let mut left = browser.login(&ALICE).await.expect(200).json()["session_expires_in"].as_u64().expect("a number");
    assert!(left <= 3, "{left} s");
    let refused = eventually("the session is over", async || {
        let answer = browser.refresh().await;
        if answer.status != 200 {
            return Some(answer);
        }
        let now_left = answer.json()["session_expires_in"].as_u64().expect("a number");
        assert!(now_left <= left, "a refresh moved the end from {left} s to {now_left} s");
        left = now_left;
        None
    })
    .await;
    // In its last second the cookie is given a life of 0 s, and a browser drops it.
    let reason = refused.expect(400).error("invalid_grant").json()["reason"].clone();
    assert!(reason == "token_expired" || reason == "token_missing", "{reason}");
}

#[tokio::test]
async fn every_answer_to_a_refresh_without_a_good_cookie_says_why() {
    let gate = gate("").await;
    let browser = Browser::logged_in(&gate, &ALICE).await;
    let good = browser.refresh_token();
    let mut bent = good.clone().into_bytes();
    bent[10] = if bent[10] == b'A' { b'B' } else { b'A' };
    let bent = String::from_utf8(bent).expect("still ASCII");

    Browser::at(&gate).refresh().await.expect(400).error("invalid_grant").because("token_missing");
    browser.clone().with_refresh_token("not-a-token").refresh().await.expect(400).because("token_malformed");
    let forged = browser.clone().with_refresh_token(&bent).refresh().await.expect(400).error("invalid_grant");
    assert!(
        ["token_invalid", "token_malformed"].map(Into::into).contains(&forged.json()["reason"]),
        "{}",
        forged.text()
    );

    let two =
        client().post(gate.url("/refresh")).header("Cookie", format!("__Host-refresh={good}; __Host-refresh={bent}"));
    Answer::to(two).await.expect(400).because("credentials_ambiguous");
    browser.second_tab().refresh().await.expect(200);
}
