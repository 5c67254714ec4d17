//! A connection that is made when it is needed and thrown away when it is in doubt.
//!
//! It is one for each runtime of this process that asks: a connection is driven by the runtime in which it was made, and to
//! wake another thread for each command, and to be woken by it, would cost more than the command.
//!
//! What must never happen in here: a call waits on a connection that has stopped answering after another call has found
//! that out; a caller that gives up leaves anything locked.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind};
use tokio::runtime;

use super::batch::Shared;
use super::dialer::{Dialed, Dialer};
use crate::store::StoreError;

/// A shared connection to Redis. Calls on it are pipelined.
pub(super) struct Link {
    dialer: Arc<Dialer>,
    config: AsyncConnectionConfig,
    /// One for each runtime, at most.
    current: Mutex<Vec<Numbered>>,
    /// Held while a connection is made, so that a crowd of callers makes one and not one each.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Numbered {
    number: u64,
    term: u64,
    runtime: Option<runtime::Id>,
    shared: Shared,
}

impl Link {
    /// No connection yet. `deadline` is what callers allow a call; the link notices silence a little earlier, so that it
    /// is the link that gives up the connection and not only the caller that gives up the call.
    pub(super) fn new(dialer: Arc<Dialer>, deadline: Duration) -> Link {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(deadline.min(Duration::from_secs(1))))
            .set_response_timeout(Some(deadline * 3 / 4));
        Link { dialer, config, current: Mutex::default(), connecting: tokio::sync::Mutex::new(()) }
    }

    /// Does `call`, on a new connection if there is none. If the connection turns out to have been closed, by a restart
    /// say, or if another server has become the primary, or if the slot belongs to another node, `call` is done once more: to
    /// repeat a read is harmless, and a commit whose first try did arrive finds another record than it expected, a conflict,
    /// which has the caller read and decide again.
    pub(super) async fn call<T, Answer>(&self, call: impl Fn(MultiplexedConnection) -> Answer) -> Result<T, StoreError>
    where
        Answer: Future<Output = RedisResult<T>>,
    {
        self.call_shared(|shared| call(shared.connection)).await
    }

    /// The same for one command, which goes with those that others ask for at the same moment.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.call_shared(|shared| async move { shared.ask(command.clone()).await }).await
    }

    /// The same for a call that begins with such a command.
    pub(super) async fn call_shared<T, Answer>(&self, call: impl Fn(Shared) -> Answer) -> Result<T, StoreError>
    where
        Answer: Future<Output = RedisResult<T>>,
    {
        let mut repeated = false;
        loop {
            let Numbered { number, term, shared, .. } = self.connection().await.map_err(unavailable)?;
            self.dialer.confirmed_lately().and_then(|()| self.dialer.is_compared(term)).map_err(unavailable)?;
            let error = match call(shared).await {
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
        let runtime = runtime::Handle::try_current().ok().map(|runtime| runtime.id());
        if let Some(current) = self.usable(runtime) {
            return Ok(current);
        }
        let _connecting = self.connecting.lock().await;
        if let Some(current) = self.usable(runtime) {
            return Ok(current);
        }
        let Dialed { connection, term } = self.dialer.connect(&self.config).await?;
        let made = Numbered { number: next_number(), term, runtime, shared: Shared::new(connection) };
        let mut current = self.current();
        current.retain(|other| other.runtime != runtime && other.term == term);
        current.push(made.clone());
        Ok(made)
    }

    fn usable(&self, runtime: Option<runtime::Id>) -> Option<Numbered> {
        let term = self.dialer.term();
        self.current().iter().find(|current| current.runtime == runtime && current.term == term).cloned()
    }

    /// The next call connects anew. Calls that are under way on the connection are left to it.
    fn discard(&self, number: u64) {
        self.current().retain(|current| current.number != number);
    }

    fn current(&self) -> MutexGuard<'_, Vec<Numbered>> {
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
