//! One fault under the eyes of steady clients, and what has to hold whatever the fault.

use std::time::{Duration, Instant};

use super::book::{Kind, Seen};
use super::caller::Caller;
use super::fault::Fault;
use super::rig::Rig;
use super::steady::Steady;

/// The deadline of the store is 2 s. A logout reads and then writes; a busy machine needs something on top.
pub const NOT_HANGING: Duration = Duration::from_millis(4500);

/// When what happens.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// All is well.
    pub before: Duration,
    /// From the beginning of the fault to its end.
    pub lasts: Duration,
    /// All should be well again.
    pub after: Duration,
    /// As many of all acknowledged logouts are tried at the end, at every proxy.
    pub tried: usize,
}

/// What was seen of one fault.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub seen: Seen,
    /// Logouts that were acknowledged and are not known any more.
    pub forgotten: usize,
    /// Logouts that were tried for that.
    pub tried: usize,
}

/// Lets it happen.
pub async fn watch(rig: &mut Rig, steady: &Steady, fault: Fault, times: Times) -> Outcome {
    tokio::time::sleep(times.before).await;
    let began = Instant::now();
    // Starting and stopping a Redis waits for it; the clients go on meanwhile.
    tokio::task::block_in_place(|| fault.begin(rig));
    tokio::time::sleep(times.lasts).await;
    tokio::task::block_in_place(|| fault.end(rig));
    let ended = Instant::now();
    tokio::time::sleep(times.after).await;
    outcome(&steady.caller, began, ended, times.tried).await
}

/// What was seen since the fault began, and whether its logouts are known.
pub async fn outcome(caller: &Caller, began: Instant, ended: Instant, at_most: usize) -> Outcome {
    let seen = caller.book.since(began, ended);
    let (tried, forgotten) = forgotten(caller, at_most).await;
    Outcome { seen, forgotten, tried }
}

/// How many acknowledged logouts were tried, spread over all, and how many of them are accepted by some proxy.
pub async fn forgotten(caller: &Caller, at_most: usize) -> (usize, usize) {
    let logouts = caller.book.logouts();
    let (mut tried, mut forgotten) = (0, 0);
    for logout in logouts.iter().step_by(logouts.len().div_ceil(at_most).max(1)) {
        let mut accepted = false;
        for gate in 0..caller.gates() {
            accepted |= caller.status_of(gate, &logout.token).await == 200;
        }
        accepted |= caller.status_of_refresh(tried % caller.gates(), &logout.cookie).await == 200;
        tried += 1;
        forgotten += usize::from(accepted);
    }
    (tried, forgotten)
}

impl Outcome {
    /// What broke a promise that holds for every fault, in words; that sessions stay is promised for most.
    /// `heard_within` is how old the news of logouts may be.
    pub fn broken_promises(&self, heard_within: Duration) -> Vec<String> {
        let mut broken = Vec::new();
        for (kind, calls) in &self.seen.kinds {
            for (status, reason) in calls.failed.keys() {
                // Who was told 4xx in place of what is his has lost his session: see `thrown_out`.
                let told_no = matches!(kind, Kind::Protected | Kind::Refresh) && (400..500).contains(status);
                if *kind == Kind::Public || !(told_no || *status == 503) {
                    broken.push(format!("{kind:?} was answered with {status} {reason}"));
                }
            }
            if calls.slowest() > NOT_HANGING {
                broken.push(format!("{kind:?} hung for {:?}", calls.slowest()));
            }
        }
        if self.forgotten > 0 {
            broken.push(format!("{} acknowledged logouts are forgotten", self.forgotten));
        }
        if let Some(after) = self.seen.revived.iter().max().filter(|after| **after > heard_within) {
            broken.push(format!("a session was let in {after:?} after its logout was acknowledged"));
        }
        if !self.seen.never_back.is_empty() {
            broken.push(format!("never worked again: {:?}", self.seen.never_back));
        }
        for kind in Kind::ALL.iter().filter(|kind| self.seen.kinds.get(kind).is_none_or(|calls| calls.worked == 0)) {
            broken.push(format!("{kind:?} did not work once"));
        }
        broken
    }
}
