//! So many at a time, a short queue before them, and nobody beyond that.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bound on how many work, and how many wait for that.
pub(super) struct Turns {
    /// One for each that works or waits.
    pub(super) places: Arc<Semaphore>,
    /// One for each that works.
    working: Arc<Semaphore>,
    wait_max: Duration,
}

/// The right to work, until it is dropped.
pub(super) struct Turn {
    _place: OwnedSemaphorePermit,
    _working: OwnedSemaphorePermit,
}

impl Turns {
    pub fn new(at_a_time: usize, queue: usize, wait_max: Duration) -> Turns {
        let at_a_time = at_a_time.clamp(1, Semaphore::MAX_PERMITS / 2);
        let queue = queue.min(Semaphore::MAX_PERMITS / 2);
        Turns {
            places: Arc::new(Semaphore::new(at_a_time + queue)),
            working: Arc::new(Semaphore::new(at_a_time)),
            wait_max,
        }
    }

    /// Waits for a turn. None if the queue is full, or the wait too long.
    pub async fn turn(&self) -> Option<Turn> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let working = tokio::time::timeout(self.wait_max, Arc::clone(&self.working).acquire_owned()).await;
        Some(Turn { _place: place, _working: working.ok()?.ok()? })
    }
}
