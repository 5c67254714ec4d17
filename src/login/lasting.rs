//! What logins know that outlives a configuration: wrong passwords, hashes under way, accounts that were there.
//!
//! What must never happen in here: a reload gives somebody who guesses passwords a new budget, or makes a removal unseen.

use std::sync::{Arc, Mutex, PoisonError};

use super::hashing::HashingPool;
use super::limits::{LoginLimits, ThrottleLimits};
use super::throttle::Throttle;
use super::watch::Watch;

/// One per process. Every way to log in that a configuration brings is given it.
pub struct Lasting {
    pub(super) throttle: Arc<Mutex<Throttle>>,
    pub(super) watch: Arc<tokio::sync::Mutex<Watch>>,
    pool: Mutex<Option<(LoginLimits, Arc<HashingPool>)>>,
}

impl Lasting {
    /// Nothing has happened yet. None if the operating system gives no randomness: attempts are counted under a key that nobody
    /// knows.
    pub fn new(limits: ThrottleLimits) -> Option<Lasting> {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).ok()?;
        let throttle = Arc::new(Mutex::new(Throttle::new(limits, &key)));
        Some(Lasting { throttle, watch: Arc::default(), pool: Mutex::default() })
    }

    /// So many wrong passwords are borne from now on. What was counted before counts.
    pub fn limit(&self, limits: ThrottleLimits) {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner).limit(limits);
    }

    /// Where passwords are hashed: the same place for the same limits.
    pub(super) fn pool(&self, limits: &LoginLimits) -> Arc<HashingPool> {
        let mut kept = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((of, pool)) if of == limits => Arc::clone(pool),
            _ => {
                let pool = Arc::new(HashingPool::new(limits));
                *kept = Some((limits.clone(), Arc::clone(&pool)));
                pool
            }
        }
    }
}
