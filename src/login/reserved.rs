//! An attempt to log in, counted from its beginning to its end by the throttle.
//!
//! What must never happen in here: an attempt stays open because nobody settled it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::LoginError;
use super::throttle::{Attempt, Exhausted, Reservation, Throttle};

/// A reservation that is settled in any case: withdrawn, if it is dropped while the attempt still waits.
pub(super) struct Reserved {
    throttle: Arc<Mutex<Throttle>>,
    reservation: Option<Reservation>,
}

impl Reserved {
    pub fn new(throttle: &Arc<Mutex<Throttle>>, account: &str, address: IpAddr) -> Result<Reserved, LoginError> {
        let mut locked = throttle.lock().unwrap_or_else(PoisonError::into_inner);
        match locked.reserve(account, address, Instant::now()) {
            Ok(reservation) => Ok(Reserved { throttle: Arc::clone(throttle), reservation: Some(reservation) }),
            Err(Exhausted { retry_after }) => {
                let retry_after_s = u32::try_from(retry_after.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1);
                Err(LoginError::TooManyAttempts { retry_after_s })
            }
        }
    }

    pub fn settle(mut self, attempt: Attempt) {
        self.settle_as(attempt);
    }

    fn settle_as(&mut self, attempt: Attempt) {
        if let Some(reservation) = self.reservation.take() {
            let mut locked = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
            locked.settle(reservation, attempt, Instant::now());
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.settle_as(Attempt::Withdrawn);
    }
}
