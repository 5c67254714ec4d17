//! A recorded history of many browsers with several tabs, and of thieves with copies, is held against the invariants 2, 3, 4,
//! 5 and 8, while Redis stands still, a proxy is killed and replies get lost.
//!
//! A short run belongs to the tests; `SOAK_S=600` makes it long. The seed decides what clients want, not how the
//! machine interleaves them: a history is proof, a seed only brings the same kind of day again.

mod checker;
mod clients;
mod tests;

use std::time::Duration;

use futures::future::join_all;

use self::checker::{Limits, check, tally};
use self::clients::{Day, random};
use crate::harness::{ALICE, BOSS, Cluster, DEMO, EchoBackend, Setup, free_port};

const LIMITS: Limits = Limits {
    grace: Duration::from_secs(2),
    max_staleness: Duration::from_secs(3),
    // Requests to the store have 2 s each, a refresh needs several; and the machine may be busy.
    patience: Duration::from_secs(12),
};
const CONFIG: &str = "rotation: { grace: 2s }\nrevocation: { max_staleness: 3s }\naccess_token: { lifetime: 20s }\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_invariant_breaks_over_two_proxies_on_one_redis_under_faults() {
    a_day(Setup::TwoOnRedis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_invariant_breaks_over_the_embedded_store_under_faults() {
    a_day(Setup::Embedded).await;
}

async fn a_day(setup: Setup) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("HISTORY_SEED").unwrap_or_else(|| u64::from(free_port()) << 32 | u64::from(std::process::id()));
    let length = Duration::from_secs(number("SOAK_S").unwrap_or(10));
    println!("{setup:?} for {length:?}: HISTORY_SEED={seed}");

    let app = EchoBackend::start().await;
    let mut cluster = Cluster::start(setup, &format!("upstream: {}\n{CONFIG}", app.url())).await;
    let day = Day::new(&cluster, length);
    let mut people = Vec::new();
    for client in 0..6 {
        let account = [ALICE, BOSS, DEMO][client % 3];
        people.push(tokio::spawn(day.clone().browser(client, account, seed ^ client as u64)));
    }
    for client in 6..8 {
        people.push(tokio::spawn(day.clone().thief(client, seed ^ client as u64)));
    }

    let mut dice = seed;
    while !day.is_over() {
        tokio::time::sleep(Duration::from_millis(500 + random(&mut dice) % 1500)).await;
        let last = cluster.gates.len() - 1;
        match (random(&mut dice) % 3, cluster.redis.as_mut()) {
            (0, Some(redis)) => {
                println!("{:?}: redis stands still", day.now());
                redis.pause();
                tokio::time::sleep(Duration::from_secs(1)).await;
                redis.resume();
            }
            (1, _) => {
                println!("{:?}: proxy {last} is killed", day.now());
                cluster.gates[last].kill().await;
                cluster.gates[last].start_again().await;
                println!("{:?}: and is back", day.now());
            }
            _ => {}
        }
    }
    for person in join_all(people).await {
        person.expect("nobody in this story panics");
    }
    // After all that, the day goes on.
    day.clone().one_more_login(9).await;

    let history = day.history();
    let problems = check(&history, &LIMITS);
    let tally = tally(&history);
    println!("{} operations: {tally:?}", history.len());
    if !problems.is_empty() {
        let lines: Vec<String> = history.iter().map(|done| format!("{done:?}")).collect();
        panic!("HISTORY_SEED={seed}, {setup:?}:\n{}\n--- the day\n{}", problems.join("\n"), lines.join("\n"));
    }
    assert!(tally.all_is_tried(), "something was never tried: {tally:?}");
}
