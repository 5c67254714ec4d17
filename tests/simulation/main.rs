//! The pure rules under several proxies, a store that fails over, forgets and rolls back, a network that loses, repeats and
//! reorders, tabs and thieves: virtual time, one seed a schedule, the contract's invariants at every step.
//!
//! No sockets, no threads inside a schedule, no clock: `PORTCULLIS_SEED=... cargo test --test simulation` plays exactly one
//! schedule again and prints it. `SCHEDULES=...` says how many are tried; `FLAWS=...` which flaws have to be found.

mod client;
mod clients;
mod faults;
mod follow;
mod judge;
mod proxy;
mod random;
mod rules;
mod serve;
mod store;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::random::Random;
use crate::rules::Flaw;
use crate::world::{Broken, Counts, Mirrors, World};

/// How many schedules, unless `SCHEDULES` says so.
const SCHEDULES: u64 = 10_000;
/// As many to find a flaw at most.
const SCHEDULES_PER_FLAW: u64 = 8_000;
/// How much of a broken schedule is printed.
const LINES: usize = 80;

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let hex = text.strip_prefix("0x").map(|hex| u64::from_str_radix(hex, 16));
    Some(hex.unwrap_or_else(|| text.parse()).unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

fn threads() -> u64 {
    std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64)
}

fn seed_of(base: u64, schedule: u64) -> u64 {
    Random::new(base ^ schedule.wrapping_mul(0x2545_f491_4f6c_dd1d)).bits()
}

/// The first broken schedule of `schedules`, and what was tried until then.
fn search(base: u64, schedules: std::ops::Range<u64>, flaw: Flaw) -> (Counts, Option<(u64, Broken)>) {
    let mut mirrors = Mirrors::new();
    let mut counts = Counts::default();
    for schedule in schedules {
        match World::run(seed_of(base, schedule), flaw, &mut mirrors, false) {
            Ok(more) => counts.add(&more),
            Err(broken) => return (counts, Some((schedule, broken))),
        }
    }
    (counts, None)
}

/// What happens in a schedule until an invariant breaks.
fn story(seed: u64, flaw: Flaw) -> String {
    match World::run(seed, flaw, &mut Mirrors::new(), true) {
        Ok(_) => String::new(),
        Err(broken) => broken.lines[broken.lines.len().saturating_sub(LINES)..].join("\n"),
    }
}

/// Plays a schedule again, and fails with what happened in it.
fn replay(seed: u64, schedule: Option<u64>, flaw: Flaw) {
    if let Err(broken) = World::run(seed, flaw, &mut Mirrors::new(), true) {
        let lines = broken.lines[broken.lines.len().saturating_sub(LINES)..].join("\n");
        let schedule = schedule.map_or_else(String::new, |schedule| format!(" (schedule {schedule})"));
        panic!(
            "seed {seed:#x}{schedule}: after {} ms: {}\n{lines}\n=> {}\nplay it again: PORTCULLIS_SEED={seed:#x} cargo test --test simulation",
            broken.at, broken.what, broken.what
        );
    }
}

#[test]
fn no_schedule_breaks_an_invariant() {
    if let Some(seed) = number_from("PORTCULLIS_SEED") {
        return replay(seed, None, Flaw::None);
    }
    let base = number_from("SIMULATION_BASE").unwrap_or(0);
    let schedules = number_from("SCHEDULES").unwrap_or(SCHEDULES);
    let threads = threads();
    let share = schedules.div_ceil(threads);
    let results = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let range = worker * share..((worker + 1) * share).min(schedules);
                scope.spawn(move || search(base, range, Flaw::None))
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).collect::<Vec<_>>()
    });
    let mut counts = Counts::default();
    for (more, broken) in results {
        counts.add(&more);
        if let Some((schedule, _)) = broken {
            replay(seed_of(base, schedule), Some(schedule), Flaw::None);
        }
    }
    println!("{schedules} schedules from base {base:#x}: {counts:?}");
    let Counts { refreshed, retried, passed, refused, unknown, logged_out, reused, given_back, reopened, .. } = counts;
    let rare = [refreshed, retried, passed, refused, unknown, logged_out, reused, given_back, reopened];
    assert!(rare.iter().all(|count| *count > schedules / 100), "something is hardly ever tried: {counts:?}");
}

#[test]
fn every_flaw_is_found() {
    let only = std::env::var("FLAWS").ok();
    let at_most = number_from("SCHEDULES").unwrap_or(SCHEDULES_PER_FLAW);
    let next = AtomicUsize::new(0);
    let missed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                while let Some(flaw) = Flaw::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let wanted = match &only {
                        Some(only) => only.contains(&format!("{flaw:?}")),
                        None => !Flaw::RARE.contains(flaw),
                    };
                    if !wanted {
                        continue;
                    }
                    match search(1, 0..at_most, *flaw) {
                        (_, Some((schedule, broken))) => {
                            println!("{flaw:?}: schedule {schedule}: {}", broken.what);
                            if only.is_some() {
                                println!("{}", story(seed_of(1, schedule), *flaw));
                            }
                        }
                        (_, None) => missed.lock().expect("nobody panics").push(flaw),
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().expect("nobody panics");
    assert!(missed.is_empty(), "not found in {at_most} schedules each: {missed:?}");
}

#[test]
fn a_seed_is_the_same_schedule_every_time() {
    for schedule in 0..20 {
        let seed = seed_of(2, schedule);
        let play = || match World::run(seed, Flaw::EpochUnchecked, &mut Mirrors::new(), true) {
            Ok(counts) => format!("{counts:?}"),
            Err(broken) => broken.lines.join("\n"),
        };
        assert_eq!(play(), play());
    }
}
