//! The timer of a connection.
//!
//! What must never happen in here: it rings too late.

use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

/// One timer for all that is waited for on a connection. It may ring too soon, and never rings too late.
pub(super) struct Alarm {
    pub(super) rings: Instant,
    sleep: Pin<Box<Sleep>>,
    /// Whom it wakes, once it is set.
    waker: Option<Waker>,
}

impl Alarm {
    /// One that rings then.
    pub(super) fn at(rings: Instant) -> Alarm {
        Alarm { rings, sleep: Box::pin(sleep_until(rings.into())), waker: None }
    }

    /// From now on it rings then.
    pub(super) fn set(&mut self, rings: Instant) {
        self.rings = rings;
        self.sleep.as_mut().reset(rings.into());
        self.waker = None;
    }

    /// Has it rung? If not, it wakes the task when it does. To ask a timer that is set costs more than to know that it is.
    pub(super) fn has_rung(&mut self, context: &mut Context<'_>) -> bool {
        let is_set = self.waker.as_ref().is_some_and(|known| known.will_wake(context.waker()));
        if is_set && !self.sleep.is_elapsed() {
            return false;
        }
        if self.sleep.as_mut().poll(context).is_ready() {
            return true;
        }
        self.waker = Some(context.waker().clone());
        false
    }
}
