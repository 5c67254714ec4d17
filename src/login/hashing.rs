//! Where passwords are hashed: a few at a time on threads of their own, with a short queue before them.
//!
//! What must never happen in here: hashing takes the cores that requests need; a hash that has begun gives up its place
//! before it is done, just because the client has gone away.

use super::LoginError;
use super::limits::LoginLimits;
use super::turns::Turns;

/// A bound on how many passwords are hashed, and how many wait for that.
pub struct HashingPool {
    turns: Turns,
}

impl HashingPool {
    /// As large as the limits say.
    pub fn new(limits: &LoginLimits) -> HashingPool {
        HashingPool { turns: Turns::new(limits.concurrent_hashes, limits.queued_logins, limits.queue_wait_max) }
    }

    /// Does `work` when it is its turn. If this future is dropped before that, `work` is dropped; once begun it is done.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, LoginError> {
        let turn = self.turns.turn().await.ok_or(LoginError::Overloaded)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        done.await.map_err(|_panicked| LoginError::Unavailable("checking the password went wrong".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    use super::*;

    fn pool(concurrent_hashes: usize, queued_logins: usize, queue_wait_max: Duration) -> Arc<HashingPool> {
        let limits = LoginLimits { concurrent_hashes, queued_logins, queue_wait_max, ..LoginLimits::default() };
        Arc::new(HashingPool::new(&limits))
    }

    /// Work that says when it begins and ends when it is told.
    fn work() -> (impl FnOnce() -> u8 + Send, tokio::sync::oneshot::Receiver<()>, mpsc::Sender<()>) {
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (finish, wait) = mpsc::channel::<()>();
        let work = move || {
            let _ = begun.send(());
            let _ = wait.recv();
            7
        };
        (work, has_begun, finish)
    }

    #[tokio::test]
    async fn beyond_the_queue_nobody_waits() {
        let pool = pool(1, 1, Duration::from_secs(60));
        let (first, begun, finish) = work();
        let running = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.run(first).await }
        });
        begun.await.unwrap();
        let mut queued = Box::pin(pool.run(|| 8));
        assert!(futures::poll!(&mut queued).is_pending());
        assert_eq!(pool.run(|| 9).await, Err(LoginError::Overloaded));
        drop(finish);
        assert_eq!(running.await.unwrap(), Ok(7));
        assert_eq!(queued.await, Ok(8));
        assert_eq!(pool.run(|| 9).await, Ok(9));
    }

    #[tokio::test]
    async fn waiting_has_an_end() {
        let pool = pool(1, 1, Duration::from_millis(1));
        let (first, begun, finish) = work();
        let running = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.run(first).await }
        });
        begun.await.unwrap();
        assert_eq!(pool.run(|| 8).await, Err(LoginError::Overloaded));
        drop(finish);
        assert_eq!(running.await.unwrap(), Ok(7));
    }

    #[tokio::test]
    async fn a_hash_under_way_keeps_its_place_when_the_client_leaves() {
        let pool = pool(1, 0, Duration::from_secs(60));
        let (first, begun, finish) = work();
        let mut leaving = Box::pin(pool.run(first));
        assert!(futures::poll!(&mut leaving).is_pending());
        begun.await.unwrap();
        drop(leaving);
        assert_eq!(pool.run(|| 8).await, Err(LoginError::Overloaded));
        drop(finish);
        let place = Arc::clone(&pool.turns.places).acquire_owned().await;
        drop(place);
        assert_eq!(pool.run(|| 8).await, Ok(8));
    }

    #[tokio::test]
    async fn a_panic_is_not_an_answer_and_costs_no_place() {
        let pool = pool(1, 0, Duration::from_secs(60));
        assert!(matches!(pool.run(|| panic!("on purpose")).await, Err(LoginError::Unavailable(_))));
        assert_eq!(pool.run(|| 8).await, Ok(8));
    }
}
