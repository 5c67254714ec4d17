//! What steady clients saw, call by call.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What was asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// A public page.
    Public,
    /// A page for those with a token.
    Protected,
    /// New tokens for the cookie.
    Refresh,
    /// The end of a session.
    Logout,
    /// A new session.
    Login,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [Kind::Public, Kind::Protected, Kind::Refresh, Kind::Logout, Kind::Login];
}

/// One call and its answer.
#[derive(Clone, Debug)]
pub struct Call {
    pub kind: Kind,
    /// The number of the proxy.
    pub gate: usize,
    pub began: Instant,
    pub ended: Instant,
    /// 0: the connection ended without an answer, or nothing came for ten seconds.
    pub status: u16,
    /// `reason` in the problem document, if there is one.
    pub reason: String,
}

impl Call {
    fn worked(&self) -> bool {
        self.status == 200 || self.status == 204
    }
}

/// A logout that was answered with 204.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    pub at: Instant,
    /// An access token of the session.
    pub token: String,
    /// Its refresh token.
    pub cookie: String,
}

/// See the module.
#[derive(Default)]
pub struct Book {
    calls: Mutex<Vec<Call>>,
    logouts: Mutex<Vec<Acknowledged>>,
    thrown_out: Mutex<Vec<(Instant, String)>>,
    revived: Mutex<Vec<(Instant, Duration)>>,
}

impl Book {
    /// A call was answered.
    pub fn call(&self, call: Call) {
        held(&self.calls).push(call);
    }

    /// A logout was acknowledged.
    pub fn logout(&self, logout: Acknowledged) {
        held(&self.logouts).push(logout);
    }

    /// All logouts that were acknowledged.
    pub fn logouts(&self) -> Vec<Acknowledged> {
        held(&self.logouts).clone()
    }

    /// A logout that was acknowledged: the newest, or any.
    pub fn some_logout(&self, number: usize) -> Option<Acknowledged> {
        let logouts = held(&self.logouts);
        let place =
            if number.is_multiple_of(2) { logouts.len().checked_sub(1)? } else { number % logouts.len().max(1) };
        logouts.get(place).cloned()
    }

    /// Somebody who did nothing wrong has lost the session.
    pub fn thrown_out(&self, how: String) {
        held(&self.thrown_out).push((Instant::now(), how));
    }

    /// A session was let in, so long after its logout had been acknowledged.
    pub fn revived(&self, after: Duration) {
        held(&self.revived).push((Instant::now(), after));
    }

    /// What was seen since `from`, of a fault that ended at `fault_ended`.
    pub fn since(&self, from: Instant, fault_ended: Instant) -> Seen {
        let mut calls: Vec<Call> = held(&self.calls).iter().filter(|call| from < call.ended).cloned().collect();
        calls.sort_by_key(|call| call.ended);
        let mut seen = Seen { kinds: BTreeMap::new(), ..Seen::default() };
        let mut outages: BTreeMap<(Kind, usize), Instant> = BTreeMap::new();
        for call in &calls {
            let kind = seen.kinds.entry(call.kind).or_default();
            kind.latencies.push(call.ended - call.began);
            let place = (call.kind, call.gate);
            if call.worked() {
                kind.worked += 1;
                if let Some(began) = outages.remove(&place) {
                    kind.outage = kind.outage.max(call.ended - began);
                }
            } else {
                *kind.failed.entry((call.status, call.reason.clone())).or_default() += 1;
                outages.entry(place).or_insert(call.began);
                seen.back_after = seen.back_after.max(call.ended.saturating_duration_since(fault_ended));
                seen.failed_at.insert(call.gate);
            }
        }
        seen.never_back = outages.keys().copied().collect();
        seen.kinds.values_mut().for_each(|kind| kind.latencies.sort());
        seen.thrown_out =
            held(&self.thrown_out).iter().filter(|(at, _)| *at > from).map(|(_, how)| how.clone()).collect();
        seen.revived = held(&self.revived).iter().filter(|(at, _)| *at > from).map(|(_, after)| *after).collect();
        seen
    }
}

/// What was seen during one fault and after it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub kinds: BTreeMap<Kind, OfKind>,
    /// From the end of the fault to the last answer that was not what it should be.
    pub back_after: Duration,
    /// Kinds of calls that did not work again at a proxy before the watch ended.
    pub never_back: Vec<(Kind, usize)>,
    /// The proxies at which something failed.
    pub failed_at: std::collections::BTreeSet<usize>,
    /// Those who lost a session through no fault of theirs, and how they were told.
    pub thrown_out: Vec<String>,
    /// Sessions that were let in so long after their logout was acknowledged.
    pub revived: Vec<Duration>,
}

/// The calls of one kind.
#[derive(Clone, Debug, Default)]
pub struct OfKind {
    /// 200, or 204 of a logout.
    pub worked: usize,
    /// Everything else, by status and reason.
    pub failed: BTreeMap<(u16, String), usize>,
    /// At one proxy: from the first call that failed to the next that worked.
    pub outage: Duration,
    /// Sorted.
    pub latencies: Vec<Duration>,
}

impl OfKind {
    /// The latency that so many percent of the calls do not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        percentile(&self.latencies, percent)
    }

    /// The longest that a client waited.
    pub fn slowest(&self) -> Duration {
        self.latencies.last().copied().unwrap_or_default()
    }
}

/// Of sorted durations, the one that so many percent do not exceed.
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

impl fmt::Display for OfKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ok", self.worked)?;
        for ((status, reason), count) in &self.failed {
            match (status, reason.as_str()) {
                (0, _) => write!(f, ", {count} no answer")?,
                (status, "") => write!(f, ", {count} × {status}")?,
                (status, reason) => write!(f, ", {count} × {status} {reason}")?,
            }
        }
        Ok(())
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
