//! A table of fixed size for what is read by many and written by few: found without waiting, forgotten where there is no room.
//!
//! What is kept has two places to be in, chosen by its hash: two buckets of eight. A bucket has a byte for each of its eight, in
//! one word: seven bits of the hash, so that what is not there costs a comparison and no look at memory, and one bit that says
//! that it was found again. Where both buckets are full, one that was never found again makes room. With two choices that
//! begins when the table is nearly full.
//!
//! Every value is asked whether it is the one that is meant: whatever the bytes say, nothing is taken for another.
//!
//! What must never happen in here: a reader waits, for a writer or for another reader; the table grows.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use arc_swap::ArcSwapOption;

const WAYS: usize = 8;
/// So many buckets are gone through at once.
const PART: usize = 4096;
/// The lowest bit of each byte.
const ONES: u64 = 0x0101_0101_0101_0101;
/// Where a byte says which hash it is of: 1 to 127, or 0 if nothing is there.
const TAGS: u64 = 0x7f * ONES;
/// Where a byte says that it was found again.
const FOUND: u64 = 0x80 * ONES;

/// See the module.
pub(super) struct Table<T> {
    /// Made when something is put there for the first time.
    buckets: OnceLock<Box<[Bucket<T>]>>,
    buckets_max: usize,
    len: AtomicUsize,
    /// Where [`Table::retain_some`] goes on.
    next_part: AtomicUsize,
    writing: Mutex<()>,
}

struct Bucket<T> {
    bytes: AtomicU64,
    ways: [ArcSwapOption<T>; WAYS],
}

/// Two numbers by which a value is found, evenly spread.
pub(super) type Hash = [u64; 2];

impl<T> Table<T> {
    /// With room for `entries_max`, rounded up to the next eight. It takes about ten bytes for each from the first one on.
    pub(super) fn new(entries_max: usize) -> Table<T> {
        Table {
            buckets: OnceLock::new(),
            buckets_max: entries_max.div_ceil(WAYS).max(1),
            len: AtomicUsize::new(0),
            next_part: AtomicUsize::new(0),
            writing: Mutex::new(()),
        }
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// The value of this hash that `is_meant`, if it is kept.
    pub(super) fn find(&self, hash: Hash, is_meant: impl Fn(&T) -> bool) -> Option<Arc<T>> {
        let buckets = self.buckets.get()?;
        hash.iter().find_map(|&number| {
            let bucket = &buckets[place(number, buckets.len())];
            let bytes = bucket.bytes.load(Ordering::Acquire);
            let mut hits = zeros((bytes & TAGS) ^ (tag(hash) * ONES));
            while hits != 0 {
                let way = hits.trailing_zeros() as usize / 8;
                if let Some(value) = bucket.ways[way].load_full().filter(|value| is_meant(value)) {
                    let found = 0x80 << (way * 8);
                    if bytes & found == 0 {
                        bucket.bytes.fetch_or(found, Ordering::Relaxed);
                    }
                    return Some(value);
                }
                hits &= hits - 1;
            }
            None
        })
    }

    /// Keeps a value, unless one that `is_meant` is kept already or somebody else is writing this very moment: then it is for
    /// the next time. In a table that is full another one goes.
    pub(super) fn put(&self, hash: Hash, value: Arc<T>, is_meant: impl Fn(&T) -> bool) {
        let _writing = match self.writing.try_lock() {
            Ok(writing) => writing,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if self.find(hash, is_meant).is_some() {
            return;
        }
        let buckets = self.buckets.get_or_init(|| (0..self.buckets_max).map(|_| Bucket::new()).collect());
        let choice = hash.map(|number| &buckets[place(number, buckets.len())]);
        let bucket = choice[usize::from(choice[1].empty().count_ones() > choice[0].empty().count_ones())];
        let (bucket, ways) = match bucket.empty() {
            0 => {
                let (bucket, ways) = Table::may_go(choice, hash);
                (bucket, rotated(ways, hash))
            }
            empty => {
                self.len.fetch_add(1, Ordering::Relaxed);
                (bucket, empty)
            }
        };
        bucket.set(ways.trailing_zeros() as usize / 8, tag(hash), Some(value));
    }

    /// Of two full buckets one, and those in it that were never found again.
    fn may_go(choice: [&Bucket<T>; 2], hash: Hash) -> (&Bucket<T>, u64) {
        let never_found = |bucket: &&Bucket<T>| !bucket.bytes.load(Ordering::Relaxed) & FOUND != 0;
        let bucket = choice.into_iter().find(never_found).unwrap_or_else(|| {
            // All were: from now on it counts anew.
            for bucket in choice {
                bucket.bytes.fetch_and(TAGS, Ordering::Relaxed);
            }
            choice[(hash[0] >> 8 & 1) as usize]
        });
        // One may have been found since.
        match !bucket.bytes.load(Ordering::Relaxed) & FOUND {
            0 => (bucket, FOUND),
            ways => (bucket, ways),
        }
    }

    /// Forgets what is not to be kept, in the next part of the table.
    pub(super) fn retain_some(&self, keep: impl Fn(&Arc<T>) -> bool) {
        let Some(buckets) = self.buckets.get() else { return };
        let parts = buckets.len().div_ceil(PART);
        let part = self.next_part.fetch_add(1, Ordering::Relaxed) % parts;
        for bucket in buckets.iter().skip(part * PART).take(PART) {
            if bucket.empty() == FOUND {
                continue;
            }
            // Held for one bucket only: who puts something meanwhile does not do it.
            let _writing = self.write();
            for (way, value) in bucket.ways.iter().enumerate() {
                if value.load().as_ref().is_some_and(|value| !keep(value)) {
                    bucket.set(way, 0, None);
                    self.len.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn write(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Bucket<T> {
    fn new() -> Bucket<T> {
        Bucket { bytes: AtomicU64::new(0), ways: std::array::from_fn(|_| ArcSwapOption::empty()) }
    }

    /// The top bit of each byte where nothing is.
    fn empty(&self) -> u64 {
        zeros(self.bytes.load(Ordering::Relaxed) & TAGS)
    }

    fn set(&self, way: usize, tag: u64, value: Option<Arc<T>>) {
        self.ways[way].store(value);
        let change = |bytes: u64| Some(bytes & !(0xff << (way * 8)) | tag << (way * 8));
        // Readers set their bits in between. It cannot fail: `change` always has a value.
        let _ = self.bytes.fetch_update(Ordering::Release, Ordering::Relaxed, change);
    }
}

/// The top bit of each byte that is zero, of bytes below 128.
const fn zeros(bytes: u64) -> u64 {
    !(bytes + TAGS) & FOUND
}

/// Which of so many buckets.
fn place(number: u64, buckets: usize) -> usize {
    ((u128::from(number) * buckets as u128) >> 64) as usize
}

/// 1 to 127. Its bits are not those that choose a bucket.
const fn tag(hash: Hash) -> u64 {
    let tag = hash[0] & 0x7f;
    if tag == 0 { 1 } else { tag }
}

/// Begins elsewhere for each hash: it is not to be always the first one that goes.
const fn rotated(ways: u64, hash: Hash) -> u64 {
    let from = (hash[1] & 7) * 8;
    let after = ways >> from << from;
    if after == 0 { ways } else { after }
}

#[cfg(test)]
mod tests;
