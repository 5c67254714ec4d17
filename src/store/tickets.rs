//! What is kept for a moment, and given out once: in the memory of a store that has one process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::StoreError;
use crate::session::SessionId;

/// As many are kept at most: they live for seconds.
const TICKETS_MAX: usize = 65_536;

/// Values, and until when each can be taken.
#[derive(Default)]
pub(super) struct Tickets(Mutex<HashMap<SessionId, (Bytes, Instant)>>);

impl Tickets {
    pub(super) fn put(&self, ticket: &SessionId, value: Bytes, lifetime: Duration) -> Result<(), StoreError> {
        let now = Instant::now();
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tickets.len() >= TICKETS_MAX {
            tickets.retain(|_, (_, until)| now < *until);
        }
        if tickets.len() >= TICKETS_MAX {
            return Err(StoreError::Unavailable("too many tickets wait to be used".to_owned()));
        }
        tickets.insert(*ticket, (value, now + lifetime));
        Ok(())
    }

    pub(super) fn take(&self, ticket: &SessionId) -> Option<Bytes> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(ticket);
        taken.filter(|(_, until)| Instant::now() < *until).map(|(value, _)| value)
    }

    /// All that can still be taken, and for how long.
    pub(super) fn all(&self) -> Vec<(SessionId, Bytes, Duration)> {
        let now = Instant::now();
        let tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |until: &Instant| until.checked_duration_since(now);
        tickets.iter().filter_map(|(ticket, (value, until))| Some((*ticket, value.clone(), left(until)?))).collect()
    }
}
