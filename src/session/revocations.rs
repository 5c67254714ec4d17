//! Which sessions have ended, as far as access tokens still matter.
//!
//! Read on every request: a lookup takes no lock and allocates nothing. The list is cut into shards, each an
//! immutable sorted array behind an atomic pointer; a writer copies one shard and swaps it in. Its size
//! is the rate of logouts times the life of an access token, whatever the number of users.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;

use super::SessionId;
use crate::time::Timestamp;

/// A million entries make shards of 256: small to copy, and few to search.
const SHARDS: usize = 4096;

/// An ended session, and the second (rounded up) after which no access token of it can be alive.
type Entry = (SessionId, u32);

/// The ended sessions that a living access token could still name.
pub struct RevocationList {
    shards: Box<[ArcSwap<Box<[Entry]>>]>,
    len: AtomicUsize,
    /// How many have ever been added.
    added: AtomicU64,
}

impl RevocationList {
    /// An empty list.
    pub fn new() -> RevocationList {
        let shards = (0..SHARDS).map(|_| ArcSwap::from_pointee(Box::default())).collect();
        RevocationList { shards, len: AtomicUsize::new(0), added: AtomicU64::new(0) }
    }

    /// Is `session` listed?
    pub fn contains(&self, session: &SessionId) -> bool {
        let shard = self.shard(session).load();
        !shard.is_empty() && shard.binary_search_by(|(id, _)| id.cmp(session)).is_ok()
    }

    /// Until when `session` is listed, if it is.
    pub fn until(&self, session: &SessionId) -> Option<Timestamp> {
        let shard = self.shard(session).load();
        let place = shard.binary_search_by(|(id, _)| id.cmp(session)).ok()?;
        Some(Timestamp::from_secs(shard[place].1.into()))
    }

    /// Lists `session` until `until`. Listing it again keeps the later time.
    pub fn insert(&self, session: SessionId, until: Timestamp) {
        let until_s = u32::try_from(until.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        let mut added = 0;
        self.shard(&session).rcu(|shard| {
            let mut entries = Vec::with_capacity(shard.len() + 1);
            entries.extend_from_slice(shard);
            match entries.binary_search_by(|(id, _)| id.cmp(&session)) {
                Ok(place) => {
                    entries[place].1 = entries[place].1.max(until_s);
                    added = 0;
                }
                Err(place) => {
                    entries.insert(place, (session, until_s));
                    added = 1;
                }
            }
            entries.into_boxed_slice()
        });
        self.len.fetch_add(added, Ordering::Relaxed);
        self.added.fetch_add(added as u64, Ordering::Release);
    }

    /// How many sessions have ever been listed. Whoever finds this as it was has missed none.
    pub fn added(&self) -> u64 {
        self.added.load(Ordering::Acquire)
    }

    /// Drops what no living access token can name any more.
    pub fn remove_expired(&self, now: Timestamp) {
        let now_s = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        for shard in &self.shards {
            if !shard.load().iter().any(|(_, until_s)| *until_s < now_s) {
                continue;
            }
            let mut removed = 0;
            shard.rcu(|entries| {
                let kept: Box<[Entry]> = entries.iter().filter(|(_, until_s)| *until_s >= now_s).copied().collect();
                removed = entries.len() - kept.len();
                kept
            });
            self.len.fetch_sub(removed, Ordering::Relaxed);
        }
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
        let shards = self.shards.iter().map(ArcSwap::load);
        shards
            .flat_map(|shard| shard.to_vec())
            .filter(|(id, _)| id.partition() == partition)
            .map(|(id, until_s)| (id, Timestamp::from_secs(until_s.into())))
            .collect()
    }

    fn shard(&self, session: &SessionId) -> &ArcSwap<Box<[Entry]>> {
        let bytes = session.as_bytes();
        // Random bytes of the id: the first one is not.
        &self.shards[usize::from(u16::from_le_bytes([bytes[1], bytes[2]])) % SHARDS]
    }
}

impl Default for RevocationList {
    fn default() -> RevocationList {
        RevocationList::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn id(number: u64) -> SessionId {
        let mut random = [0; 15];
        random[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        SessionId::new("demo", random)
    }

    #[test]
    fn lists_exactly_what_was_inserted_until_it_expires() {
        let list = RevocationList::new();
        let now = Timestamp::from_secs(1_700_000_000);
        for number in 0..10_000 {
            list.insert(id(number), now.plus(Duration::from_secs(number % 10)));
        }
        assert_eq!(list.len(), 10_000);
        assert!((0..10_000).all(|number| list.contains(&id(number))));
        assert!((10_000..20_000).all(|number| !list.contains(&id(number))));

        list.remove_expired(now.plus(Duration::from_secs(5)));
        assert_eq!(list.len(), 5_000);
        assert!((0..10_000).all(|number| list.contains(&id(number)) == (number % 10 >= 5)));
    }

    #[test]
    fn listing_again_never_shortens() {
        let list = RevocationList::new();
        let now = Timestamp::from_secs(1_700_000_000);
        list.insert(id(1), now.plus(Duration::from_secs(900)));
        list.insert(id(1), now);
        list.remove_expired(now.plus(Duration::from_secs(899)));
        assert!(list.contains(&id(1)));
        assert_eq!((list.until(&id(1)), list.until(&id(2))), (Some(now.plus(Duration::from_secs(900))), None));
        assert_eq!(list.len(), 1);
    }

    #[test]
    fn an_entry_stays_through_the_second_it_names() {
        let list = RevocationList::new();
        list.insert(id(1), Timestamp::from_millis(1_700_000_000_001));
        list.remove_expired(Timestamp::from_millis(1_700_000_001_999));
        assert!(list.contains(&id(1)), "a part of a second is rounded up");
        list.remove_expired(Timestamp::from_secs(1_700_000_002));
        assert!(!list.contains(&id(1)));
    }

    #[test]
    fn readers_never_miss_an_entry_while_others_are_written() {
        let list = RevocationList::new();
        let until = Timestamp::from_secs(1_700_000_000);
        list.insert(id(0), until);
        std::thread::scope(|scope| {
            for writer in 0..2 {
                let list = &list;
                scope.spawn(move || (1..5_000).for_each(|number| list.insert(id(number * 2 + writer), until)));
            }
            scope.spawn(|| (0..200_000).for_each(|_| assert!(list.contains(&id(0)))));
        });
        assert_eq!(list.len(), 1 + 2 * 4_999);
    }
}
