//! An open-addressed table of ended sessions that is written in place while it is read.
//!
//! A slot is empty until it gets an entry, and never again: what has run out is marked as gone, and the slot can take another. So
//! whoever looks for an entry passes the same slots as whoever wrote it, and finds it. A reader that meets a slot while it is
//! written for another session compares its id with a mixture of two random ones, and goes on.
//!
//! What must never happen in here: two writers at once; a slot becomes empty again.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::session::SessionId;

/// `until_s` of a slot that was never used.
const EMPTY: u32 = 0;
/// `until_s` of a slot whose entry has run out.
const GONE: u32 = 1;

/// One entry: until when (s, rounded up) it matters, and the session's id.
#[derive(Default)]
pub(super) struct Slot {
    until_s: AtomicU32,
    id: [AtomicU32; 4],
}

/// See the module.
pub(super) struct Slots(Box<[Slot]>);

impl Slots {
    /// So many, all empty.
    pub(super) fn new(len: usize) -> Slots {
        Slots((0..len).map(|_| Slot::default()).collect())
    }

    /// How many slots so many entries get, with some room to grow.
    pub(super) const fn len_for(entries: usize) -> usize {
        entries + entries.div_ceil(2) + 1
    }

    /// How many they need.
    pub(super) const fn tight_len_for(entries: usize) -> usize {
        entries + entries.div_ceil(3) + 2
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// So many may be used: three quarters. Beyond them what is not listed takes long to be looked for.
    pub(super) fn room(&self) -> usize {
        self.0.len() - self.0.len().div_ceil(4)
    }

    /// The slot of this session.
    pub(super) fn find(&self, session: &SessionId) -> Option<&Slot> {
        let words = words(session);
        let (before, after) = self.0.split_at(self.place(session));
        let looked = after.iter().chain(before).try_for_each(|slot| {
            let Slot { until_s, id: [_, _, _, last] } = slot;
            // Before the id: whoever writes an entry writes this last.
            match until_s.load(Ordering::Acquire) {
                EMPTY => ControlFlow::Break(None),
                // The last word tells nearly all others apart: the first of its bytes are shared by all sessions of a user, and by a part.
                until_s if last.load(Ordering::Relaxed) == words[3] && until_s != GONE && slot.is(words) => {
                    ControlFlow::Break(Some(slot))
                }
                _ => ControlFlow::Continue(()),
            }
        });
        looked.break_value().flatten()
    }

    /// Writes an entry that is not there yet. Did it use an empty slot?
    pub(super) fn put(&self, session: &SessionId, until_s: u32) -> bool {
        let (before, after) = self.0.split_at(self.place(session));
        for slot in after.iter().chain(before) {
            let found = slot.until_s.load(Ordering::Relaxed);
            if found > GONE {
                continue;
            }
            for (word, value) in slot.id.iter().zip(words(session)) {
                word.store(value, Ordering::Relaxed);
            }
            slot.until_s.store(until_s.max(GONE + 1), Ordering::Release);
            return found == EMPTY;
        }
        false
    }

    /// Marks what matters no more at `now_s`: how much that was, and when the next one runs out.
    pub(super) fn remove_expired(&self, now_s: u32) -> (usize, u32) {
        let (mut removed, mut earliest_s) = (0, u32::MAX);
        for slot in &self.0 {
            match slot.until_s.load(Ordering::Relaxed) {
                EMPTY | GONE => {}
                until_s if until_s < now_s => {
                    slot.until_s.store(GONE, Ordering::Release);
                    removed += 1;
                }
                until_s => earliest_s = earliest_s.min(until_s),
            }
        }
        (removed, earliest_s)
    }

    /// All entries.
    pub(super) fn listed(&self) -> impl Iterator<Item = (SessionId, u32)> + '_ {
        self.0.iter().filter(|slot| slot.until_s() > GONE).map(|slot| (slot.session(), slot.until_s()))
    }

    fn place(&self, session: &SessionId) -> usize {
        let [_, _, random @ ..] = *session.as_bytes();
        let random = random.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        ((u128::from(random) * self.0.len() as u128) >> 64) as usize
    }
}

impl Slot {
    pub(super) fn until_s(&self) -> u32 {
        self.until_s.load(Ordering::Relaxed)
    }

    /// It matters until then, or longer.
    pub(super) fn extend(&self, until_s: u32) {
        self.until_s.fetch_max(until_s, Ordering::Release);
    }

    fn is(&self, words: [u32; 4]) -> bool {
        self.id.iter().zip(words).all(|(word, value)| word.load(Ordering::Relaxed) == value)
    }

    fn session(&self) -> SessionId {
        let mut bytes = [0; 16];
        for (bytes, word) in bytes.chunks_exact_mut(4).zip(&self.id) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        SessionId::from_bytes(bytes)
    }
}

fn words(session: &SessionId) -> [u32; 4] {
    let bytes = session.as_bytes();
    std::array::from_fn(|word| bytes[word * 4..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)))
}
