//! The faults of the long run, in the order of the table.

use std::time::Duration;

use crate::faulty::fault::Fault;
use crate::faulty::rig::{Plan, Rig};
use crate::faulty::steady::Steady;
use crate::faulty::watch::{Outcome, Times, watch};
use crate::report::Promise;

/// One row.
pub struct Case {
    pub name: &'static str,
    pub fault: Fault,
    pub plan: Plan,
    pub lasts: Duration,
    pub promise: Promise,
    /// Redis saves a snapshot this long before the fault, and has it when it comes back.
    pub snapshot: Option<Duration>,
}

const SECOND: Duration = Duration::from_secs(1);

impl Case {
    fn new(name: &'static str, fault: Fault, lasts: Duration) -> Case {
        Case { name, fault, plan: Plan::redis(2), lasts, promise: Promise::default(), snapshot: None }
    }

    /// Starts everything, and lets it happen.
    pub async fn run(&self) -> Outcome {
        let mut rig = Rig::start(&self.plan).await;
        let mut steady = Steady::start(&rig).await;
        let mut before = 2 * SECOND;
        if let Some(earlier) = self.snapshot {
            tokio::time::sleep(before).await;
            let _: () = rig.redis().command(&["SAVE"]);
            steady.newcomers().await;
            before = earlier;
        }
        let times = Times { before, lasts: self.lasts, after: 6 * SECOND, tried: 1000 };
        let outcome = watch(&mut rig, &steady, self.fault, times).await;
        steady.stop().await;
        outcome
    }
}

/// Faults of Redis and of the way to it, with two proxies.
pub fn redis() -> Vec<Case> {
    let stale = |mut case: Case| {
        (case.plan.max_staleness, case.promise.max_staleness) = ("5s", 5 * SECOND);
        case
    };
    // The proxies give one another three seconds to give back what they hold.
    let loses = |mut case: Case| {
        case.promise.back_within = 5 * SECOND;
        case
    };
    let undurable = |mut case: Case| {
        case.plan.durable = false;
        loses(case)
    };
    let later = |mut case: Case| {
        case.snapshot = Some(2 * SECOND);
        undurable(case)
    };
    vec![
        Case::new("no fault", Fault::None, 5 * SECOND),
        Case::new("Redis killed, back after 3 s with its data", Fault::Killed, 3 * SECOND),
        Case::new("Redis paused for 1 s", Fault::Paused, SECOND),
        Case::new("Redis paused for 10 s", Fault::Paused, 10 * SECOND),
        stale(Case::new("Redis paused for 10 s, max_staleness 5 s", Fault::Paused, 10 * SECOND)),
        Case::new("Redis answers 500 ms late, for 5 s", Fault::Slow(SECOND / 2), 5 * SECOND),
        Case::new("answers of Redis are lost, for 5 s", Fault::Deaf, 5 * SECOND),
        stale(Case::new("one proxy of two is cut off for 10 s, max_staleness 5 s", Fault::FirstCutOff, 10 * SECOND)),
        Case::new("Redis closes all connections", Fault::Disconnected, Duration::ZERO),
        Case::new("Redis answers LOADING for 3 s", Fault::Answers(LOADING), 3 * SECOND),
        Case::new("Redis answers garbage for 3 s", Fault::Answers(GARBAGE), 3 * SECOND),
        Case::new("Redis is a replica for 3 s (READONLY)", Fault::ReadOnly, 3 * SECOND),
        Case::new("Redis is full for 3 s (OOM)", Fault::OutOfMemory, 3 * SECOND),
        Case::new("Redis forgets our scripts (NOSCRIPT)", Fault::NoScript, Duration::ZERO),
        loses(Case::new("Redis is emptied (FLUSHALL)", Fault::Emptied, Duration::ZERO)),
        undurable(Case::new("Redis restarts without its data", Fault::Restarted, SECOND)),
        later(Case::new("Redis restarts with a snapshot 2 s old", Fault::Restarted, SECOND)),
    ]
}

const LOADING: &[u8] = b"-LOADING Redis is loading the dataset in memory\r\n";
const GARBAGE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes";
