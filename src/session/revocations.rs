//! Which sessions have ended, as far as access tokens still matter.
//!
//! Read on every request: a lookup takes no lock and allocates nothing. Ids are random, so a table is found by them as they
//! are: 256 parts, each an open-addressed table of 20 bytes an entry, at most three quarters full. Writers take turns at a part
//! and write in place; a part that is full is built anew, and readers get the new one by an atomic pointer. The size of the list
//! is the rate of logouts times the life of an access token, whatever the number of users.
//!
//! What must never happen in here: an entry is missed that was listed, while it matters; one that found no room is not told of.

mod slots;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;

use self::slots::Slots;
use super::SessionId;
use crate::time::Timestamp;

const PARTS: usize = 256;

/// The ended sessions that a living access token could still name.
pub struct RevocationList {
    parts: Box<[Part]>,
    len: AtomicUsize,
    len_max: AtomicUsize,
    /// How many have ever been added.
    added: AtomicU64,
    /// Until when (s) something matters that found no room; 0 if all that matters is listed.
    missing_until_s: AtomicU64,
}

/// One of the parts. What is here can be read at any time; who writes holds `writing`.
#[derive(Default)]
struct Part {
    slots: ArcSwapOption<Slots>,
    writing: Mutex<Written>,
}

/// What writers know of a part.
#[derive(Default)]
struct Written {
    listed: usize,
    /// Slots that are not empty: what is listed, and what was.
    used: usize,
    /// Nothing here runs out before this (s).
    earliest_s: u32,
}

impl RevocationList {
    /// An empty list with room for any number.
    pub fn new() -> RevocationList {
        RevocationList {
            parts: (0..PARTS).map(|_| Part::default()).collect(),
            len: AtomicUsize::new(0),
            len_max: AtomicUsize::new(usize::MAX),
            added: AtomicU64::new(0),
            missing_until_s: AtomicU64::new(0),
        }
    }

    /// No more than so many are listed from now on. What is listed stays.
    pub fn limit(&self, len_max: usize) {
        self.len_max.store(len_max, Ordering::Relaxed);
    }

    /// Is `session` listed?
    pub fn contains(&self, session: &SessionId) -> bool {
        self.until_s(session).is_some()
    }

    /// Until when `session` is listed, if it is.
    pub fn until(&self, session: &SessionId) -> Option<Timestamp> {
        self.until_s(session).map(|until_s| Timestamp::from_secs(until_s.into()))
    }

    fn until_s(&self, session: &SessionId) -> Option<u32> {
        let slots = self.part(session).slots.load();
        Some(slots.as_ref()?.find(session)?.until_s())
    }

    /// Makes room for so many at once: what is then listed takes no more memory than it has to.
    pub fn reserve(&self, count: usize) {
        // They are spread at random: three standard deviations are room for nearly all parts.
        let each = count.min(self.len_max.load(Ordering::Relaxed)) / PARTS;
        let each = each + 3 * each.isqrt();
        for part in &self.parts {
            let mut written = part.write();
            if Slots::len_for(written.listed.max(each)) > part.slots.load().as_ref().map_or(0, |slots| slots.len()) {
                part.rebuild(&mut written, Slots::tight_len_for(each));
            }
        }
    }

    /// Lists `session` until `until`. Listing it again keeps the later time. If there is no room, the list is incomplete from now
    /// on: see [`RevocationList::is_complete`].
    pub fn insert(&self, session: SessionId, until: Timestamp) {
        let until_s = u32::try_from(until.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        let part = self.part(&session);
        let mut written = part.write();
        if let Some(slots) = &*part.slots.load()
            && let Some(slot) = slots.find(&session)
        {
            return slot.extend(until_s);
        }
        if self.len.fetch_add(1, Ordering::Relaxed) >= self.len_max.load(Ordering::Relaxed) {
            self.len.fetch_sub(1, Ordering::Relaxed);
            self.missing_until_s.fetch_max(until_s.into(), Ordering::Release);
        } else {
            part.insert(&mut written, &session, until_s);
        }
        self.added.fetch_add(1, Ordering::Release);
    }

    /// Is everything listed that matters? If something found no room, nobody can say of any session that it has not ended, until
    /// the last of what is missing does not matter any more.
    pub fn is_complete(&self) -> bool {
        self.missing_until_s.load(Ordering::Acquire) == 0
    }

    /// How many sessions have ever been listed. Whoever finds this as it was has missed none.
    pub fn added(&self) -> u64 {
        self.added.load(Ordering::Acquire)
    }

    /// Drops what no living access token can name any more.
    pub fn remove_expired(&self, now: Timestamp) {
        let now_s = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        for part in &self.parts {
            let removed = part.remove_expired(now_s);
            self.len.fetch_sub(removed, Ordering::Relaxed);
        }
        let is_over = |until_s| (until_s < u64::from(now_s)).then_some(0);
        // An error means that something missing matters still.
        let _ = self.missing_until_s.fetch_update(Ordering::AcqRel, Ordering::Acquire, is_over);
    }

    /// How many sessions are listed.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// No session is listed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is listed of one partition, with the time until which it matters: what a proxy gives back to a
    /// store that lost its memory.
    pub fn of_partition(&self, partition: usize) -> Vec<(SessionId, Timestamp)> {
        let mut listed = Vec::new();
        for part in &self.parts {
            // So that nothing is written while it is copied.
            let _writing = part.write();
            if let Some(slots) = &*part.slots.load() {
                let entries = slots.listed().filter(|(id, _)| id.partition() == partition);
                listed.extend(entries.map(|(id, until_s)| (id, Timestamp::from_secs(until_s.into()))));
            }
        }
        listed
    }

    fn part(&self, session: &SessionId) -> &Part {
        // A random byte of the id: the first one is not.
        &self.parts[usize::from(session.as_bytes()[1])]
    }
}

impl Part {
    fn write(&self) -> MutexGuard<'_, Written> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists one that is not listed.
    fn insert(&self, written: &mut Written, session: &SessionId, until_s: u32) {
        let room = self.slots.load().as_ref().map_or(0, |slots| slots.room());
        if written.used + 1 > room {
            self.rebuild(written, Slots::len_for(written.listed + 1));
        }
        if let Some(slots) = &*self.slots.load() {
            written.used += usize::from(slots.put(session, until_s));
        }
        written.earliest_s = if written.listed == 0 { until_s } else { written.earliest_s.min(until_s) };
        written.listed += 1;
    }

    /// The same entries in a table of so many slots, or of as many as they need.
    fn rebuild(&self, written: &mut Written, len: usize) {
        let slots = Slots::new(len.max(Slots::tight_len_for(written.listed)));
        if let Some(old) = &*self.slots.load() {
            for (id, until_s) in old.listed() {
                slots.put(&id, until_s);
            }
        }
        written.used = written.listed;
        self.slots.store(Some(Arc::new(slots)));
    }

    fn remove_expired(&self, now_s: u32) -> usize {
        let mut written = self.write();
        if written.listed == 0 || written.earliest_s >= now_s {
            return 0;
        }
        let (mut removed, mut len) = (0, 0);
        if let Some(slots) = &*self.slots.load() {
            (removed, written.earliest_s) = slots.remove_expired(now_s);
            len = slots.len();
        }
        written.listed -= removed;
        let needed = Slots::len_for(written.listed);
        if written.listed == 0 {
            self.slots.store(None);
            written.used = 0;
        } else if len > needed + needed / 8 {
            self.rebuild(&mut written, needed);
        }
        removed
    }
}

impl Default for RevocationList {
    fn default() -> RevocationList {
        RevocationList::new()
    }
}

#[cfg(test)]
mod tests;
