//! What has been logged already, so that a long fault is one line and not a thousand, nor one for each partition.

use std::sync::atomic::{AtomicU16, Ordering};

use crate::session::PARTITIONS;

const _: () = assert!(PARTITIONS <= u16::BITS as usize, "there is a bit for each");

/// Which followers have a fault of some kind: each goes by its first partition.
#[derive(Default)]
pub(super) struct Told(AtomicU16);

impl Told {
    /// This follower has it. Says whether that is to be logged: no other has it.
    pub(super) fn begins(&self, follower: usize) -> bool {
        self.0.fetch_or(1 << follower, Ordering::AcqRel) == 0
    }

    /// This follower does not have it any more, if it had. Says whether that is to be logged: it was the last one.
    pub(super) fn ends(&self, follower: usize) -> bool {
        let bit = 1 << follower;
        self.0.load(Ordering::Acquire) & bit != 0 && self.0.fetch_and(!bit, Ordering::AcqRel) == bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_to_begin_and_the_last_to_end_are_logged() {
        let told = Told::default();
        assert!(!told.ends(0));
        assert!(told.begins(3) && !told.begins(3) && !told.begins(15));
        assert!(!told.ends(3) && !told.ends(3) && told.ends(15) && !told.ends(15));
        assert!(told.begins(3));
    }
}
