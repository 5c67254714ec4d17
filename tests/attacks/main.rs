//! `make attacks`: every class of attack as data, over HTTP/1.1 and HTTP/2, against real backends and a lenient one.
//!
//! In `cargo test` a selection is run, with `--all` the whole. The oracle is in `oracle.rs`, the cases are in
//! `tests/cases/attacks`, what they stand for is told in `docs/attacks.md`. Words as arguments choose classes by name.

#[path = "../blackbox/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the stories of the other suite use the rest")]
mod harness;

mod backends;
mod cases;
mod forge;
mod lenient;
mod naive;
mod oracle;
mod record;
mod report;
mod send;
mod sequences;
mod stage;

use std::process::ExitCode;

/// About so many cases of each group: all that matter, and more than a person would write by hand.
const WHOLE: usize = 40;
/// In a selection.
const SELECTED: usize = 5;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let whole = arguments.iter().any(|argument| argument == "--all");
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |class: &str| wanted.is_empty() || wanted.iter().any(|word| class.contains(word.as_str()));
    let mut cases = cases::all(if whole { WHOLE } else { SELECTED });
    cases.retain(|case| is_wanted(&case.class));
    let sequences = ["verified-token cache", "junk", "brute force", "logs and metrics"].map(is_wanted);
    if cases.is_empty() && sequences == [false; 4] {
        return ExitCode::SUCCESS;
    }
    let mut order: Vec<String> = cases.iter().map(|case| case.class.clone()).collect();
    order.dedup();
    let stage = stage::Stage::start().await;
    let series = sequences::series_of(&stage.gate.metrics().await.text);
    let outcomes = stage.run(&cases).await;
    let mut extras = Vec::new();
    let [remembered, junk, guessing, left_behind] = sequences;
    if remembered {
        extras.push(sequences::remembered(&stage, if whole { 1 } else { 20 }).await);
    }
    if junk {
        extras.push(sequences::junk(&stage, if whole { 100_000 } else { 2_000 }).await);
    }
    if guessing {
        extras.push(sequences::guessing().await);
    }
    if left_behind {
        let requests = outcomes.values().map(|outcome| outcome.requests).sum();
        extras.push(sequences::left_behind(&stage, &series, requests).await);
    }
    let well = report::report(&outcomes, &order, &extras, whole && wanted.is_empty());
    ExitCode::from(u8::from(!well))
}
