//! Faults of Redis and of the way to it, one after the other, under steady clients at two proxies.
//!
//! What cannot be known is 503 and never a pass, public routes do not notice, nothing hangs, nobody is thrown out, no
//! acknowledged logout is forgotten, and nobody restarts anything. `make reliability` does this for longer, and measures.

use std::time::{Duration, Instant};

use crate::faulty::book::Kind;
use crate::faulty::detour::Way;
use crate::faulty::fault::Fault;
use crate::faulty::rig::{Plan, Rig};
use crate::faulty::steady::Steady;
use crate::faulty::watch::{Outcome, Times, watch};

/// Recovery is promised within two seconds; a busy test machine is given more.
const TIMES: Times = Times {
    before: Duration::from_millis(300),
    lasts: Duration::from_millis(900),
    after: Duration::from_millis(2200),
    tried: 30,
};
const MAX_STALENESS: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_to_redis_that_fails_costs_nobody_a_session() {
    let faults = [
        Fault::Slow(Duration::from_millis(500)),
        Fault::Deaf,
        Fault::FirstCutOff,
        Fault::Disconnected,
        Fault::Answers(b"-LOADING Redis is loading the dataset in memory\r\n"),
        Fault::Answers(b"HTTP/1.1 200 OK\r\n\r\n"),
    ];
    one_after_the_other(&faults).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_fails_costs_nobody_a_session() {
    one_after_the_other(&[Fault::Paused, Fault::Killed, Fault::ReadOnly, Fault::OutOfMemory, Fault::NoScript]).await;
}

async fn one_after_the_other(faults: &[Fault]) {
    let mut rig = Rig::start(&Plan::redis(2)).await;
    let steady = Steady::start(&rig).await;
    for fault in faults {
        let outcome = watch(&mut rig, &steady, *fault, TIMES).await;
        nobody_lost_anything(&outcome, &format!("{fault:?}"));
        for gate in 0..rig.gates.len() {
            steady.caller.login_at_last(gate).await;
        }
    }
    steady.stop().await;
}

fn nobody_lost_anything(outcome: &Outcome, fault: &str) {
    assert!(outcome.tried > 0, "{fault}: nobody logged out, so nothing was tried");
    assert_eq!(outcome.broken_promises(MAX_STALENESS), Vec::<String>::new(), "{fault}: {:#?}", outcome.seen.kinds);
    assert_eq!(outcome.seen.thrown_out, Vec::<String>::new(), "{fault}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_is_cut_off_stops_letting_people_in_and_the_other_does_not_notice() {
    let mut rig = Rig::start(&Plan { max_staleness: "2s", ..Plan::redis(2) }).await;
    let steady = Steady::start(&rig).await;
    let jar = steady.caller.login_at_last(1).await;
    rig.detours[0].set(Way::Silent);
    let began = Instant::now();
    // Logged out where the first proxy cannot hear of it.
    assert_eq!(steady.caller.logout(1, &jar).await.status, 204);
    let noticed = loop {
        match steady.caller.status_of(0, &jar.token).await {
            503 => break true,
            200 if began.elapsed() < Duration::from_secs(10) => {}
            _ => break false,
        }
    };
    assert!(noticed, "the proxy went on without news");
    let outcome = watch(&mut rig, &steady, Fault::FirstCutOff, TIMES).await;
    nobody_lost_anything(&outcome, "one proxy is cut off");
    assert!(outcome.seen.kinds[&Kind::Protected].failed.keys().all(|(status, _)| *status == 503));
    assert_eq!(steady.caller.status_of(0, &jar.token).await, 401, "it has heard of the logout");
    steady.stop().await;
}
