//! A connection that is made when it is needed and thrown away when it is in doubt.
//!
//! What must never happen in here: a call waits on a connection that has stopped answering after another call has found
//! that out; a caller that gives up leaves anything locked.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisError, RedisResult, ServerErrorKind};

use super::dialer::{Dialed, Dialer};
use crate::store::StoreError;

/// A shared connection to Redis. Calls on it are pipelined.
pub(super) struct Link {
    dialer: Arc<Dialer>,
    config: AsyncConnectionConfig,
    current: Mutex<Option<Numbered>>,
    /// Held while a connection is made, so that a crowd of callers makes one and not one each.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Numbered {
    number: u64,
    term: u64,
    connection: MultiplexedConnection,
}

impl Link {
    /// No connection yet. `deadline` is what callers allow a call; the link notices silence a little earlier, so that it
    /// is the link that gives up the connection and not only the caller that gives up the call.
    pub(super) fn new(dialer: Arc<Dialer>, deadline: Duration) -> Link {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(deadline.min(Duration::from_secs(1))))
            .set_response_timeout(Some(deadline * 3 / 4));
        Link { dialer, config, current: Mutex::new(None), connecting: tokio::sync::Mutex::new(()) }
    }

    /// Does `call`, on a new connection if there is none. If the connection turns out to have been closed, by a restart
    /// say, or if another server has become the primary, or if the slot belongs to another node, `call` is done once more: to
    /// repeat a read is harmless, and a commit whose first try did arrive finds another record than it expected, a conflict,
    /// which has the caller read and decide again.
    pub(super) async fn call<T, Answer>(&self, call: impl Fn(MultiplexedConnection) -> Answer) -> Result<T, StoreError>
    where
        Answer: Future<Output = RedisResult<T>>,
    {
        let mut repeated = false;
        loop {
            let Numbered { number, term, connection } = self.connection().await.map_err(unavailable)?;
            self.dialer.confirmed_lately().and_then(|()| self.dialer.is_compared(term)).map_err(unavailable)?;
            let error = match call(connection).await {
                Ok(value) if term == self.dialer.term() => return Ok(value),
                // What a primary of the past says may be out of date, and what it writes is lost.
                Ok(_) => RedisError::from(io::Error::from(io::ErrorKind::ConnectionReset)),
                Err(error) => error,
            };
            if puts_connection_in_doubt(&error) {
                self.discard(number);
            }
            let moved = error.kind() == ErrorKind::Server(ServerErrorKind::Moved);
            if repeated || !(error.is_connection_dropped() || moved) {
                return Err(unavailable(error));
            }
            repeated = true;
        }
    }

    async fn connection(&self) -> RedisResult<Numbered> {
        if let Some(current) = self.usable() {
            return Ok(current);
        }
        let _connecting = self.connecting.lock().await;
        if let Some(current) = self.usable() {
            return Ok(current);
        }
        let Dialed { connection, term } = self.dialer.connect(&self.config).await?;
        let made = Numbered { number: next_number(), term, connection };
        *self.current() = Some(made.clone());
        Ok(made)
    }

    fn usable(&self) -> Option<Numbered> {
        self.current().clone().filter(|current| current.term == self.dialer.term())
    }

    /// The next call connects anew. Calls that are under way on the connection are left to it.
    fn discard(&self, number: u64) {
        let mut current = self.current();
        if current.as_ref().is_some_and(|current| current.number == number) {
            *current = None;
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<Numbered>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn next_number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// Is the connection broken, silent, out of step, or to a server that is no primary any more?
fn puts_connection_in_doubt(error: &RedisError) -> bool {
    match error.kind() {
        // Redis is there and says why not. A new connection would be told the same. The last two are said while a slot is on
        // its way to another node; once it has arrived, that it was moved, and then it is time to look for the other.
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::NoScript
            | ServerErrorKind::NoPerm
            | ServerErrorKind::ExecAbort
            | ServerErrorKind::TryAgain
            | ServerErrorKind::Ask,
        ) => false,
        // Older versions wrap a script's READONLY into a plain error. A new connection has the password of now.
        ErrorKind::Server(ServerErrorKind::ResponseError) | ErrorKind::Extension => {
            matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) || error.to_string().contains("READONLY")
        }
        _ => true,
    }
}

/// Whatever it is: nobody knows, so it is a 503.
pub(super) fn unavailable(error: RedisError) -> StoreError {
    StoreError::Unavailable(format!("Redis: {error}"))
}
