//! Proxies that are killed at random moments, and clients that go away in the middle of a refresh.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::faulty::book::percentile;
use crate::faulty::caller::{Caller, Jar};
use crate::faulty::rig::{Plan, Rig};
use crate::faulty::watch::forgotten;
use crate::report::{Report, time};

const CYCLES: usize = 200;
/// Sessions that are being refreshed when the proxy is killed.
const BROWSERS: usize = 4;
/// The kill comes within this time after the calls. They take a few milliseconds.
const KILL_WITHIN_US: u64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(10);

/// Random enough to hit every moment, and the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Both stores.
pub async fn kills(report: &mut Report) {
    println!(
        "\n| store | kills | refreshes in flight: answered, cut off | logouts in flight: acknowledged, cut off | sessions \
         lost | logouts forgotten | first good answer after the restart: p50, worst |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (name, plan) in [("embedded", Plan::embedded()), ("Redis, one of two proxies", Plan::redis(2))] {
        store(report, name, &plan).await;
    }
}

#[derive(Default)]
struct Tally {
    refreshed: usize,
    refreshes_cut: usize,
    acknowledged: usize,
    logouts_cut: usize,
    lost: usize,
    back: Vec<Duration>,
}

async fn store(report: &mut Report, name: &str, plan: &Plan) {
    let mut rig = Rig::start(plan).await;
    let caller = Caller::of(&rig);
    let mut dice = Dice(0x5eed_0000_0003);
    let mut tally = Tally::default();
    let mut jars = Vec::new();
    for _ in 0..BROWSERS {
        jars.push(caller.login_at_last(0).await);
    }
    for cycle in 0..CYCLES {
        let victim = cycle % rig.gates.len();
        let visitor = caller.login_at_last(victim).await;
        let refreshes: Vec<_> = std::mem::take(&mut jars)
            .into_iter()
            .map(|mut jar| {
                let caller = caller.clone();
                tokio::spawn(async move {
                    let status = caller.refresh(victim, &mut jar).await.status;
                    (jar, status)
                })
            })
            .collect();
        let leaving = tokio::spawn({
            let (caller, visitor) = (caller.clone(), visitor.clone());
            async move { caller.logout(victim, &visitor).await.status }
        });
        tokio::time::sleep(Duration::from_micros(dice.below(KILL_WITHIN_US))).await;
        rig.gates[victim].kill().await;
        for refresh in refreshes {
            let (jar, status) = refresh.await.expect("a browser does not panic");
            *if status == 200 { &mut tally.refreshed } else { &mut tally.refreshes_cut } += 1;
            jars.push(jar);
        }
        let acknowledged = leaving.await.expect("a visitor does not panic") == 204;
        *if acknowledged { &mut tally.acknowledged } else { &mut tally.logouts_cut } += 1;

        let began = Instant::now();
        rig.gates[victim].start_again_unready();
        for (number, jar) in jars.iter_mut().enumerate() {
            // With two proxies, some are sent to the other one.
            let gate = (victim + number) % caller.gates();
            let status = until_told(async || caller.refresh(gate, jar).await.status).await;
            if number == 0 {
                tally.back.push(began.elapsed());
            }
            if status != 200 {
                tally.lost += 1;
                *jar = caller.login_at_last(gate).await;
            }
        }
        if !acknowledged {
            let status = until_told(async || caller.logout(victim, &visitor).await.status).await;
            assert_eq!(status, 204, "a logout that was not acknowledged can be asked for again");
        }
    }
    // The last news is on its way to the other proxy for a moment.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (tried, forgotten) = forgotten(&caller, CYCLES).await;
    tally.back.sort();
    println!(
        "| {name} | {CYCLES} | {}, {} | {}, {} | {} | {forgotten} of {tried} | {}, {} |",
        tally.refreshed,
        tally.refreshes_cut,
        tally.acknowledged,
        tally.logouts_cut,
        tally.lost,
        time(percentile(&tally.back, 50)),
        time(percentile(&tally.back, 100)),
    );
    let mut broken = Vec::new();
    if tally.lost > 0 || forgotten > 0 {
        broken.push(format!("{} sessions lost, {forgotten} logouts forgotten", tally.lost));
    }
    report.broken(&format!("proxies killed, {name}"), broken);
}

/// Asks again while the answer is none, or 503.
async fn until_told(mut ask: impl AsyncFnMut() -> u16) -> u16 {
    let began = Instant::now();
    loop {
        let status = ask().await;
        if !matches!(status, 0 | 503) || began.elapsed() > PATIENCE {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A client that closes its connection in the middle of a refresh, and asks again.
pub async fn gone(report: &mut Report) {
    println!("\n| store | clients gone in mid-refresh | sessions lost |\n|---|---|---|");
    for (name, plan) in [("embedded", Plan::embedded()), ("Redis", Plan::redis(2))] {
        let rig = Rig::start(&plan).await;
        let caller = Caller::of(&rig);
        let mut dice = Dice(0x5eed_0000_0005);
        let mut jar: Jar = caller.login_at_last(0).await;
        let mut lost = 0;
        for cycle in 0..CYCLES {
            let gate = cycle % rig.gates.len();
            let request = format!(
                "POST /refresh HTTP/1.1\r\nHost: {}\r\nUser-Agent: SteadyBrowser/1.0\r\nCookie: __Host-refresh={}\r\n\
                 Content-Length: 0\r\n\r\n",
                rig.gates[gate].listen, jar.cookie
            );
            let mut connection = TcpStream::connect(rig.gates[gate].listen).await.expect("the proxy listens");
            connection.write_all(request.as_bytes()).await.expect("the request is sent");
            tokio::time::sleep(Duration::from_micros(dice.below(5000))).await;
            drop(connection);
            // Now and then only when the grace of the rotation (1 s) is over.
            if cycle % 20 == 19 {
                tokio::time::sleep(Duration::from_millis(1200)).await;
            }
            let status = until_told(async || caller.refresh((gate + 1) % caller.gates(), &mut jar).await.status).await;
            if status != 200 {
                lost += 1;
                jar = caller.login_at_last(0).await;
            }
        }
        println!("| {name} | {CYCLES} | {lost} |");
        let broken = if lost > 0 { vec![format!("{lost} sessions lost")] } else { Vec::new() };
        report.broken(&format!("clients gone, {name}"), broken);
    }
}
