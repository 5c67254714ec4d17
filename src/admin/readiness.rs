//! Should a load balancer send requests here?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::store::{Freshness, Mirror};

/// Why this proxy should be sent no requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unready {
    /// Configuration and keys are not loaded yet.
    Starting,
    /// The revocations have not been loaded once.
    RevocationsUnknown,
    /// The process is about to end; it answers what it has and wants nothing new.
    Draining,
}

impl Unready {
    /// In a line, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Unready::Starting => "starting: configuration and keys are not loaded yet",
            Unready::RevocationsUnknown => "starting: the revocations have not been loaded from the store yet",
            Unready::Draining => "draining: the process is about to end",
        }
    }
}

/// What readiness depends on. Shared with the server, which says when it starts and ends.
pub struct Readiness {
    mirror: Arc<Mirror>,
    configured: AtomicBool,
    /// Stays set: a store that fails later is no reason to send public requests elsewhere. Freshness is checked
    /// where it matters, in the decision.
    mirror_loaded: AtomicBool,
    draining: AtomicBool,
}

impl Readiness {
    /// Not ready: nothing is loaded.
    pub fn new(mirror: Arc<Mirror>) -> Readiness {
        Readiness {
            mirror,
            configured: AtomicBool::new(false),
            mirror_loaded: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }

    /// Configuration and keys are loaded.
    pub fn set_configured(&self) {
        self.configured.store(true, Ordering::Relaxed);
    }

    /// The process is about to end. There is no way back.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// May requests come?
    pub fn check(&self) -> Result<(), Unready> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(Unready::Draining);
        }
        if !self.configured.load(Ordering::Relaxed) {
            return Err(Unready::Starting);
        }
        if !self.mirror_loaded.load(Ordering::Relaxed) {
            if self.mirror.worst_freshness(Instant::now()) == Freshness::Unknown {
                return Err(Unready::RevocationsUnknown);
            }
            self.mirror_loaded.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::PARTITIONS;

    #[test]
    fn ready_needs_configuration_and_every_partition_once() {
        let mirror = Arc::new(Mirror::new());
        let readiness = Readiness::new(Arc::clone(&mirror));
        assert_eq!(readiness.check(), Err(Unready::Starting));
        readiness.set_configured();
        assert_eq!(readiness.check(), Err(Unready::RevocationsUnknown));
        (1..PARTITIONS).for_each(|partition| mirror.synced(partition, Instant::now()));
        assert_eq!(readiness.check(), Err(Unready::RevocationsUnknown));
        mirror.synced(0, Instant::now());
        assert_eq!(readiness.check(), Ok(()));
    }

    #[test]
    fn a_store_that_fails_later_leaves_it_ready() {
        let mirror = Arc::new(Mirror::new());
        let readiness = Readiness::new(Arc::clone(&mirror));
        readiness.set_configured();
        mirror.always_fresh();
        assert_eq!(readiness.check(), Ok(()));
        (0..PARTITIONS).for_each(|partition| mirror.forget(partition));
        assert_eq!(readiness.check(), Ok(()));
    }

    #[test]
    fn draining_is_the_end() {
        let mirror = Arc::new(Mirror::new());
        mirror.always_fresh();
        let readiness = Readiness::new(mirror);
        readiness.set_configured();
        readiness.set_draining();
        assert_eq!(readiness.check(), Err(Unready::Draining));
    }
}
