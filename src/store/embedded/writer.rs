//! The one thread that writes to a file: steps that arrive together share a transaction, and so an fsync, and each is judged
//! on its own.
//!
//! What must never happen in here: a reply before the transaction is on disk; an ending on disk that the mirror does not hear of.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use redb::{Durability, WriteTransaction};
use tokio::sync::oneshot;

use super::shelf::Shelf;
use super::tables::{self, Change, Now};
use crate::store::{Committed, Mirror, StoreError};

/// How often the thread looks up when nothing arrives.
const LOOK_UP_EVERY: Duration = Duration::from_millis(500);
/// How often surplus sessions are looked for, and how many are forgotten in one step.
const FORGET_EVERY: Duration = Duration::from_secs(2);
const FORGET_AT_MOST: usize = 512;

/// Something to be written.
pub(in crate::store) trait Step {
    /// How many steps share a transaction, at most: it bounds how long the first of them waits.
    const BATCH_MAX: usize = 256;
    /// How long steps that nobody waits for are gathered.
    const GATHER: Duration = Duration::ZERO;
    /// How many sessions the file may hold.
    const SESSIONS_MAX: u64 = u64::MAX;

    /// Does somebody wait for it?
    fn is_urgent(&self) -> bool {
        true
    }
    /// Does it, inside the transaction that the batch shares. Has it changed anything?
    fn apply(&mut self, transaction: &WriteTransaction) -> Result<bool, redb::Error>;
    /// The transaction is on disk; or it could not be written, and why.
    fn finish(self, written: Result<(), &str>, mirror: &Mirror);
}

/// A commit, and who waits for it.
pub(super) struct Job {
    change: Change,
    outcome: Committed,
    reply: oneshot::Sender<Result<Committed, StoreError>>,
}

impl Job {
    pub(super) fn new(change: Change, reply: oneshot::Sender<Result<Committed, StoreError>>) -> Job {
        Job { change, outcome: Committed::Conflict, reply }
    }
}

impl Step for Job {
    fn apply(&mut self, transaction: &WriteTransaction) -> Result<bool, redb::Error> {
        self.outcome = tables::apply(transaction, &self.change)?;
        Ok(self.outcome == Committed::Yes)
    }

    fn finish(self, written: Result<(), &str>, mirror: &Mirror) {
        if let (Ok(()), Committed::Yes, Some(until)) = (written, self.outcome, self.change.revoked_until) {
            // Here and not only in `Sessions`: the caller may have gone while the disk was slow.
            mirror.revocations.insert(self.change.next.id, until);
        }
        let answer = written.map(|()| self.outcome).map_err(|error| StoreError::Unavailable(error.to_owned()));
        drop(self.reply.send(answer));
    }
}

/// Writes until the sending side is gone.
pub(in crate::store) fn run<S: Step>(shelf: &Shelf, mirror: &Arc<Mirror>, steps: &Receiver<S>) {
    let mut forgot_at: Option<Instant> = None;
    loop {
        let Ok(batch) = next_batch(steps) else { return };
        if shelf.is_away() {
            batch.into_iter().for_each(|step| step.finish(Err("another process has the file"), mirror));
            continue;
        }
        shelf.reopen_if_broken(mirror);
        if !batch.is_empty() {
            commit(shelf, mirror, batch);
        }
        if forgot_at.is_none_or(|at| at.elapsed() >= FORGET_EVERY) {
            let now =
                Now { for_sessions: mirror.time_to_forget(), for_revocations: mirror.time_to_forget_revocations() };
            match guarded(shelf, || forget(shelf, now, S::SESSIONS_MAX)) {
                Ok(true) => forgot_at = None, // more is left, after the steps that wait
                Ok(false) => forgot_at = Some(Instant::now()),
                Err(error) => {
                    tracing::warn!(%error, path = %shelf.path().display(), "expired sessions could not be removed");
                    forgot_at = Some(Instant::now());
                }
            }
        }
    }
}

/// What has arrived, nothing after a while. An error once the sending side is gone.
fn next_batch<S: Step>(steps: &Receiver<S>) -> Result<Vec<S>, RecvTimeoutError> {
    let first = match steps.recv_timeout(LOOK_UP_EVERY) {
        Ok(step) => step,
        Err(RecvTimeoutError::Timeout) => return Ok(Vec::new()),
        Err(gone) => return Err(gone),
    };
    let gathered_at = Instant::now() + S::GATHER;
    let mut is_urgent = first.is_urgent();
    let mut batch = vec![first];
    while batch.len() < S::BATCH_MAX {
        let patience = if is_urgent { Duration::ZERO } else { gathered_at.saturating_duration_since(Instant::now()) };
        // Gone or empty: what has been taken is written first.
        let Ok(step) = steps.recv_timeout(patience) else { break };
        is_urgent |= step.is_urgent();
        batch.push(step);
    }
    Ok(batch)
}

fn commit<S: Step>(shelf: &Shelf, mirror: &Mirror, mut batch: Vec<S>) {
    let written = guarded(shelf, || write(shelf, &mut batch));
    if let Err(error) = &written {
        tracing::error!(%error, path = %shelf.path().display(), "sessions could not be written");
    }
    let why = written.err();
    batch.into_iter().for_each(|step| step.finish(why.as_deref().map_or(Ok(()), Err), mirror));
}

fn write<S: Step>(shelf: &Shelf, batch: &mut [S]) -> Result<(), redb::Error> {
    shelf.with(|database| {
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        // After a crash the file is ready at once instead of being read from end to end.
        transaction.set_quick_repair(true);
        let mut changed = false;
        for step in batch {
            changed |= step.apply(&transaction)?;
        }
        match changed {
            true => transaction.commit()?,
            false => transaction.abort()?,
        }
        Ok(())
    })
}

/// One bounded step. Is there more?
fn forget(shelf: &Shelf, now: Now, sessions_max: u64) -> Result<bool, redb::Error> {
    shelf.with(|database| {
        if !tables::has_surplus(database, now, sessions_max)? {
            return Ok(false);
        }
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        tables::forget_surplus(&transaction, now, sessions_max, FORGET_AT_MOST)?;
        transaction.commit()?;
        tables::has_surplus(database, now, sessions_max)
    })
}

/// Any failure, a panic of the database included, has the file closed and opened anew before the next step.
fn guarded<T>(shelf: &Shelf, step: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, String> {
    let result = match catch_unwind(AssertUnwindSafe(step)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the database is damaged (it panicked)".to_owned()),
    };
    if result.is_err() {
        shelf.mark_broken();
    }
    result
}
