//! How fast a logout travels, and what "used" marks cost.

use std::time::{Duration, Instant};

use crate::faulty::book::percentile;
use crate::faulty::caller::{Caller, Jar};
use crate::faulty::rig::{Plan, Rig};
use crate::faulty::steady::Steady;
use crate::report::{Report, time};

const PROXIES: usize = 5;
const LOGOUTS: usize = 250;
const FIRST_SIGHTS: usize = 300;

/// From the 204 of one of five proxies to the first refusal by each of the other four.
pub async fn propagation(report: &mut Report) {
    println!(
        "\n| logouts at one of five proxies | until the other four refuse: p50 | p99 | worst | refused before the 204 |"
    );
    println!("|---|---|---|---|---|");
    let rig = Rig::start(&Plan::redis(PROXIES)).await;
    let caller = Caller::of(&rig);
    travel(report, &caller, "idle").await;
    let steady = Steady::start(&rig).await;
    travel(report, &caller, "under load").await;
    steady.stop().await;
}

async fn travel(report: &mut Report, caller: &Caller, name: &str) {
    let (mut delays, mut never) = (Vec::new(), 0);
    for number in 0..LOGOUTS {
        let gate = number % PROXIES;
        let jar = caller.login_at_last(gate).await;
        let mut watchers = Vec::new();
        for other in (0..PROXIES).filter(|other| *other != gate) {
            // Once before, so that what is measured is the news and not the first look at the token.
            assert_eq!(caller.status_of(other, &jar.token).await, 200, "a new session is let in everywhere");
            let (caller, token) = (caller.clone(), jar.token.clone());
            watchers.push(tokio::spawn(async move {
                let began = Instant::now();
                while began.elapsed() < Duration::from_secs(10) {
                    if caller.status_of(other, &token).await == 401 {
                        return Some(Instant::now());
                    }
                    // Asking without a pause would itself be the load.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                None
            }));
        }
        assert_eq!(caller.logout(gate, &jar).await.status, 204, "nothing is wrong here");
        let acknowledged = Instant::now();
        for watcher in watchers {
            match watcher.await.expect("a watcher does not panic") {
                Some(refused) => delays.push(refused.saturating_duration_since(acknowledged)),
                None => never += 1,
            }
        }
    }
    delays.sort();
    let before = delays.iter().filter(|delay| delay.is_zero()).count();
    println!(
        "| {LOGOUTS}, {name} | {} | {} | {} | {before} of {} |",
        time(percentile(&delays, 50)),
        time(percentile(&delays, 99)),
        time(percentile(&delays, 100)),
        delays.len(),
    );
    let broken = if never > 0 { vec![format!("{never} refusals never came")] } else { Vec::new() };
    report.broken(&format!("logouts, {name}"), broken);
}

/// What was used up between two moments.
#[derive(Clone, Copy)]
struct Used {
    gate_cpu: Duration,
    redis_cpu: Duration,
    reads: u64,
    scripts: u64,
    at: Instant,
}

/// The same calls three times: the first sight of each token, its first sight at another proxy, and a sight like any other.
pub async fn marks() {
    println!(
        "\n| {FIRST_SIGHTS} calls, each with an access token | reads | scripts | CPU of Redis for each | CPU of the proxy for each |"
    );
    println!("|---|---|---|---|---|");
    let rig = Rig::start(&Plan::redis(2)).await;
    let caller = Caller::of(&rig);
    let mut jars = Vec::new();
    for _ in 0..FIRST_SIGHTS {
        jars.push(caller.login_at_last(0).await);
    }
    // What goes on without any call is taken off.
    let began = used(&rig, 0);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let idle = [rate(&began, &used(&rig, 0)), {
        let began = used(&rig, 1);
        tokio::time::sleep(Duration::from_secs(5)).await;
        rate(&began, &used(&rig, 1))
    }];
    for (gate, name) in [
        (0, "first sight: the mark is written"),
        (1, "first sight at another proxy: marked already"),
        (0, "second sight: no mark"),
        (0, "third sight: no mark"),
    ] {
        let began = used(&rig, gate);
        for jar in &jars {
            assert_eq!(call(&caller, gate, jar).await, 200, "a living session is let in");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // Marks are written behind the requests.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (ended, idle) = (used(&rig, gate), &idle[gate]);
        let seconds = (ended.at - began.at).as_secs_f64();
        let of = |total: f64, idle: f64| (total - idle * seconds) / FIRST_SIGHTS as f64;
        let total = [
            (ended.reads - began.reads) as f64,
            (ended.scripts - began.scripts) as f64,
            (ended.redis_cpu - began.redis_cpu).as_secs_f64() * 1e6,
            (ended.gate_cpu - began.gate_cpu).as_secs_f64() * 1e6,
        ];
        println!(
            "| {name} | {:.2} | {:.2} | {:.0} µs | {:.0} µs |",
            of(total[0], idle[0]),
            of(total[1], idle[1]),
            of(total[2], idle[2]),
            of(total[3], idle[3]),
        );
    }
}

async fn call(caller: &Caller, gate: usize, jar: &Jar) -> u16 {
    caller.status_of(gate, &jar.token).await
}

/// In a second without calls.
fn rate(began: &Used, ended: &Used) -> [f64; 4] {
    let seconds = (ended.at - began.at).as_secs_f64();
    [
        (ended.reads - began.reads) as f64 / seconds,
        (ended.scripts - began.scripts) as f64 / seconds,
        (ended.redis_cpu - began.redis_cpu).as_secs_f64() * 1e6 / seconds,
        (ended.gate_cpu - began.gate_cpu).as_secs_f64() * 1e6 / seconds,
    ]
}

fn used(rig: &Rig, gate: usize) -> Used {
    let redis = rig.redis.as_ref().expect("this rig has a Redis");
    let info: String = redis.command(&["INFO", "everything"]);
    let calls = |command: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
    };
    let seconds = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.and_then(|seconds| seconds.trim().parse().ok()).map_or(Duration::ZERO, Duration::from_secs_f64)
    };
    Used {
        gate_cpu: rig.gates[gate].cpu(),
        redis_cpu: seconds("used_cpu_user") + seconds("used_cpu_sys"),
        reads: calls("mget"),
        scripts: calls("evalsha"),
        at: Instant::now(),
    }
}
