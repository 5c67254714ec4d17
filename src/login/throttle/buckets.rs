//! Budgets that fill up again, and a bounded table of them.
//!
//! A budget that is full is the same as one that is not there, so only those are kept that lack something.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::Exhausted;
use crate::login::limits::Budget;

/// What is missing from one budget: always `missing + under way <= attempts`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// When nothing will be missing any more. The budget fills up evenly until then.
    full_at: Instant,
    /// Attempts whose outcome is not known yet.
    under_way: u32,
}

impl Bucket {
    pub(super) fn full(now: Instant) -> Bucket {
        Bucket { full_at: now, under_way: 0 }
    }

    /// Is there room for one attempt more, if all that are under way fail?
    pub(super) fn check(&self, budget: Budget, now: Instant) -> Result<(), Exhausted> {
        let room = budget.attempts.max(1).saturating_sub(self.under_way);
        let missing = self.full_at.saturating_duration_since(now);
        if room == 0 {
            // Most attempts are right, so it is likely to be soon.
            return Err(Exhausted { retry_after: Duration::from_secs(1) });
        }
        match missing.checked_sub(budget.refill.saturating_mul(room - 1)) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(retry_after) => Err(Exhausted { retry_after }),
        }
    }

    pub(super) fn begin(&mut self) {
        self.under_way += 1;
    }

    pub(super) fn end(&mut self, budget: Budget, failed: bool, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        if failed {
            let from = self.full_at.max(now);
            self.full_at = from.checked_add(budget.refill).unwrap_or(from);
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way == 0
    }

    fn is_full(&self, now: Instant) -> bool {
        self.is_idle() && self.full_at <= now
    }
}

/// Budgets of one size by key.
pub(super) struct Buckets<K> {
    budget: Budget,
    entries_max: usize,
    entries: HashMap<K, Bucket>,
}

impl<K: Copy + Eq + Hash> Buckets<K> {
    pub(super) fn new(budget: Budget, entries_max: usize) -> Buckets<K> {
        Buckets { budget, entries_max: entries_max.max(16), entries: HashMap::new() }
    }

    pub(super) fn limit(&mut self, budget: Budget, entries_max: usize) {
        self.budget = budget;
        self.entries_max = entries_max.max(16);
    }

    pub(super) fn check(&self, key: &K, now: Instant) -> Result<(), Exhausted> {
        self.entries.get(key).map_or(Ok(()), |bucket| bucket.check(self.budget, now))
    }

    pub(super) fn begin(&mut self, key: K, now: Instant) {
        if self.entries.len() >= self.entries_max && !self.entries.contains_key(&key) {
            self.make_room(now);
        }
        self.entries.entry(key).or_insert_with(|| Bucket::full(now)).begin();
    }

    pub(super) fn end(&mut self, key: &K, failed: bool, now: Instant) {
        if let Some(bucket) = self.entries.get_mut(key) {
            bucket.end(self.budget, failed, now);
            if bucket.is_full(now) {
                self.entries.remove(key);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets what is full, and if that is not enough the sixteenth part that lacks least: whoever guessed most is
    /// forgotten last. What is under way stays; there is never more of it than logins may wait and run.
    fn make_room(&mut self, now: Instant) {
        self.entries.retain(|_, bucket| !bucket.is_full(now));
        let wanted = self.entries_max - self.entries_max / 16;
        let Some(excess @ 1..) = self.entries.len().checked_sub(wanted) else { return };
        let mut idle: Vec<_> = self.entries.iter().filter(|(_, bucket)| bucket.is_idle()).collect();
        idle.sort_unstable_by_key(|(_, bucket)| bucket.full_at);
        let forgotten: Vec<K> = idle.into_iter().take(excess).map(|(key, _)| *key).collect();
        forgotten.iter().for_each(|key| {
            self.entries.remove(key);
        });
    }
}
