//! `make reliability`: faults, injected for real, and what clients saw of them; how fast logouts travel; what marks cost.
//!
//! Prints the tables of `docs/reliability.md` and fails if a promise was broken. It takes about twelve minutes. With words
//! as arguments, only the rows whose names contain one of them are run.

#[path = "../blackbox/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the stories of the other suite use the rest")]
mod harness;

mod catalogue;
mod cycles;
mod faulty;
mod machine;
mod measure;
mod report;

use std::process::ExitCode;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
    let mut report = report::Report::default();
    report.heading();
    for case in catalogue::redis() {
        if is_wanted(case.name) {
            report.row(case.name, case.promise, &case.run().await);
        }
    }
    machine::run(&mut report, is_wanted).await;
    if is_wanted("proxies killed") {
        cycles::kills(&mut report).await;
    }
    if is_wanted("clients gone") {
        cycles::gone(&mut report).await;
    }
    if is_wanted("propagation") {
        measure::propagation(&mut report).await;
    }
    if is_wanted("marks") {
        measure::marks().await;
    }
    report.end()
}
