//! What this proxy knows of revocations, and how fresh that knowledge is. Read on every request, without waiting.
//!
//! Freshness is measured on this machine's monotonic clock, so that clocks that are apart cannot fake it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::session::{PARTITIONS, RevocationList, SessionId};
use crate::time::Timestamp;

/// How old the knowledge of revocations is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Freshness {
    /// The newest heartbeat was written this long ago, at most.
    Age(Duration),
    /// Nothing has been loaded yet, or the store has lost its memory: infinitely old.
    Unknown,
}

/// The revocation list, and for each partition when it was last known to be complete.
pub struct Mirror {
    /// The ended sessions.
    pub revocations: RevocationList,
    started: Instant,
    started_at: Timestamp,
    /// Milliseconds since `started`; `NEVER` before the first load, `ALWAYS` when this process is the only writer.
    synced_ms: [AtomicU64; PARTITIONS],
    /// Milliseconds since `started` before which no revocation is forgotten.
    held_until_ms: AtomicU64,
    /// That there are too many revocations has been said.
    was_full: AtomicBool,
}

const NEVER: u64 = u64::MAX;
const ALWAYS: u64 = u64::MAX - 1;

impl Mirror {
    /// An empty mirror that knows nothing: its freshness is [`Freshness::Unknown`].
    pub fn new() -> Mirror {
        Mirror {
            revocations: RevocationList::new(),
            started: Instant::now(),
            started_at: Timestamp::now(),
            synced_ms: std::array::from_fn(|_| AtomicU64::new(NEVER)),
            held_until_ms: AtomicU64::new(0),
            was_full: AtomicBool::new(false),
        }
    }

    /// How old is what is known of the partition that `session` lives in?
    pub fn freshness(&self, session: &SessionId, now: Instant) -> Freshness {
        self.partition_freshness(session.partition(), now)
    }

    /// The age of the partition that lags most.
    pub fn worst_freshness(&self, now: Instant) -> Freshness {
        let ages = (0..PARTITIONS).map(|partition| self.partition_freshness(partition, now));
        ages.max().unwrap_or(Freshness::Unknown)
    }

    /// The time by which something may be forgotten for good: the clock's, unless it has leapt ahead since this process
    /// started. When such a clock leaps back, tokens that seemed to have expired are alive again, and so must be what was
    /// known of them.
    pub fn time_to_forget(&self) -> Timestamp {
        self.started_at.plus(self.started.elapsed()).min(Timestamp::now())
    }

    /// Forgets no revocation for as long as an access token lives: they have been read from a disk, and the clock by which
    /// they seem to be over may be ahead, as it may have been since before this process was started.
    pub fn hold(&self, access_tail: Duration) {
        let until_ms = (self.started.elapsed() + access_tail).as_millis() as u64;
        self.held_until_ms.store(until_ms, Ordering::Release);
    }

    /// The time by which revocations may be forgotten: see [`Mirror::time_to_forget`] and [`Mirror::hold`].
    pub fn time_to_forget_revocations(&self) -> Timestamp {
        match self.started.elapsed().as_millis() as u64 >= self.held_until_ms.load(Ordering::Acquire) {
            true => self.time_to_forget(),
            false => Timestamp::EPOCH,
        }
    }

    /// Forgets revocations that no longer matter. To be called now and then: it also says when there are too many.
    pub fn remove_expired(&self) {
        self.revocations.remove_expired(self.time_to_forget_revocations());
        let is_full = !self.revocations.is_complete();
        if self.was_full.swap(is_full, Ordering::Relaxed) != is_full {
            let count = self.revocations.len();
            match is_full {
                true => tracing::error!(
                    count,
                    "more sessions have ended than `revocation.max_entries`: protected routes answer 503 until those beyond it do not matter"
                ),
                false => tracing::warn!(count, "all sessions that have ended are listed again"),
            }
        }
    }

    /// How old is what is known of a partition? Nothing is known of any while there are more revocations than there is room for.
    pub fn partition_freshness(&self, partition: usize, now: Instant) -> Freshness {
        match self.revocations.is_complete() {
            true => self.stream_freshness(partition, now),
            false => Freshness::Unknown,
        }
    }

    /// How long ago was the stream of a partition read to its end, whether or not there was room for what it told?
    pub fn stream_freshness(&self, partition: usize, now: Instant) -> Freshness {
        match self.synced_ms[partition].load(Ordering::Acquire) {
            NEVER => Freshness::Unknown,
            ALWAYS => Freshness::Age(Duration::ZERO),
            synced => Freshness::Age(now.duration_since(self.started).saturating_sub(Duration::from_millis(synced))),
        }
    }

    /// Everything that was published in `partition` before `at` is listed.
    pub fn synced(&self, partition: usize, at: Instant) {
        let millis = at.duration_since(self.started).as_millis() as u64;
        self.synced_ms[partition].store(millis, Ordering::Release);
    }

    /// This process is the only one that ends sessions, and all that it knew has been loaded.
    pub fn always_fresh(&self) {
        self.synced_ms.iter().for_each(|synced| synced.store(ALWAYS, Ordering::Release));
    }

    /// Another process ends sessions from now on; until now all is known.
    pub fn no_longer_alone(&self, now: Instant) {
        (0..PARTITIONS).for_each(|partition| self.synced(partition, now));
    }

    /// The store has lost its memory: nothing is known of `partition` until it has been restored and read again.
    pub fn forget(&self, partition: usize) {
        self.synced_ms[partition].store(NEVER, Ordering::Release);
    }
}

impl Default for Mirror {
    fn default() -> Mirror {
        Mirror::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_more_than_there_is_room_for_nothing_is_known() {
        let mirror = Mirror::new();
        mirror.always_fresh();
        mirror.revocations.limit(1);
        let session = |number| SessionId::from_bytes([number; 16]);
        let fresh = || mirror.freshness(&session(9), Instant::now()) != Freshness::Unknown;
        mirror.revocations.insert(session(1), Timestamp::from_secs(1 << 40));
        assert!(fresh());
        mirror.revocations.insert(session(2), Timestamp::from_secs(1));
        assert!(!fresh(), "no session can be said not to have ended");
        assert_eq!(mirror.worst_freshness(Instant::now()), Freshness::Unknown);
        // It was over long ago.
        mirror.remove_expired();
        assert!(fresh());
    }
}
