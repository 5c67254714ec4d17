//! `make floods`: slow and flooding clients beside one that behaves, and how long that one has to wait.
//!
//! Prints the table of `docs/limits.md`, and fails if a well-behaved request failed. It takes about four minutes. With words as
//! arguments, only the rows whose names contain one of them are run. Every load is bounded in number, rate and time; all of it
//! comes from this machine, so what the attackers take of its processors is in the figures.

#[path = "../blackbox/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the stories of the other suite use the rest")]
mod harness;

mod app;
mod attacks;
mod victim;

use std::process::ExitCode;
use std::time::Duration;

use harness::{ALICE, Browser, Portcullis};

use crate::attacks::{Attack, Target};
use crate::victim::Waits;

/// How long each row is measured.
const MEASURED: Duration = Duration::from_secs(15);
/// For so long an attack runs before that.
const BUILT_UP: Duration = Duration::from_secs(3);

/// The default of what one address may ask, which other tests are without. The rest is as it comes.
const CONFIG: &str = "limits: { requests_per_address: 1000/s }
routes:
  - { name: public, path_prefix: /public, upstream: app, auth: public }
  - { name: app, upstream: app }
";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    println!(
        "| beside | p50 | p99 | p99.9 | worst | new connection p99 | failed | CPU of the proxy | what the attackers got |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut failed = 0;
    for attack in Attack::ALL {
        if wanted.is_empty() || wanted.iter().any(|word| attack.name().contains(word.as_str())) {
            failed += row(attack).await;
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Measures beside one attack, on a proxy of its own, and says how many requests of the well-behaved client failed.
async fn row(attack: Attack) -> usize {
    let app = app::start().await;
    let config = format!("upstreams: {{ app: {{ servers: [\"http://{app}\"] }} }}\n{CONFIG}");
    let gate = Portcullis::start(&config).await;
    let alice = Browser::logged_in(&gate, &ALICE).await;
    let target = Target::new(gate.listen);
    let attackers = attack.begin(&target);
    tokio::time::sleep(BUILT_UP).await;

    let before = gate.cpu();
    let (address, token) = (gate.listen, alice.token().to_owned());
    let waits = tokio::task::spawn_blocking(move || victim::run(address, &token, MEASURED));
    let Waits { mut kept, mut new, failed } = waits.await.expect("the client does not panic");
    let used = (gate.cpu() - before).as_secs_f64() / MEASURED.as_secs_f64() * 100.0;
    drop(attackers);
    kept.sort();
    new.sort();
    println!(
        "| {} | {} | {} | {} | {} | {} | {failed} of {} | {used:.0} % | {} |",
        attack.name(),
        time(&kept, 0.5),
        time(&kept, 0.99),
        time(&kept, 0.999),
        time(&kept, 1.0),
        time(&new, 0.99),
        kept.len() + new.len() + failed,
        attack.told(&target, &gate.metrics().await),
    );
    failed
}

fn time(sorted: &[Duration], share: f64) -> String {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    let wait = sorted.get(place.saturating_sub(1)).copied().unwrap_or_default();
    format!("{:.1} ms", wait.as_secs_f64() * 1000.0)
}
