//! The one thread that writes: commits that arrive together share a transaction, and so an fsync, and each is judged
//! on its own.
//!
//! What must never happen in here: a reply before the transaction is on disk; an ending on disk that the mirror does not hear of.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use redb::Durability;
use tokio::sync::oneshot;

use super::shelf::Shelf;
use super::tables::{self, Change};
use crate::store::{Committed, Mirror, StoreError};
use crate::time::Timestamp;

/// How many commits share a transaction, at most: it bounds how long the first of them waits.
const BATCH_MAX: usize = 256;
/// How often the thread looks up when nothing arrives.
const LOOK_UP_EVERY: Duration = Duration::from_millis(500);
/// How often expired sessions are looked for, and how many are forgotten in one step.
const FORGET_EVERY: Duration = Duration::from_secs(2);
const FORGET_AT_MOST: usize = 512;

/// A commit, and who waits for it.
pub(super) struct Job {
    pub change: Change,
    pub reply: oneshot::Sender<Result<Committed, StoreError>>,
}

/// Writes until the sending side is gone.
pub(super) fn run(shelf: &Shelf, mirror: &Arc<Mirror>, jobs: &Receiver<Job>) {
    let mut forgot_at: Option<Instant> = None;
    loop {
        let mut batch = Vec::new();
        match jobs.recv_timeout(LOOK_UP_EVERY) {
            Ok(job) => batch.push(job),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while batch.len() < BATCH_MAX
            && let Ok(job) = jobs.try_recv()
        {
            batch.push(job);
        }
        shelf.reopen_if_broken(mirror);
        if !batch.is_empty() {
            commit(shelf, mirror, batch);
        }
        if forgot_at.is_none_or(|at| at.elapsed() >= FORGET_EVERY) {
            match guarded(shelf, || forget(shelf, mirror.time_to_forget())) {
                Ok(true) => forgot_at = None, // more is left, after the commits that wait
                Ok(false) => forgot_at = Some(Instant::now()),
                Err(error) => {
                    tracing::warn!(%error, "expired sessions could not be removed from the embedded store");
                    forgot_at = Some(Instant::now());
                }
            }
        }
    }
}

fn commit(shelf: &Shelf, mirror: &Mirror, batch: Vec<Job>) {
    let changes: Vec<&Change> = batch.iter().map(|job| &job.change).collect();
    let outcome = guarded(shelf, || write(shelf, &changes));
    drop(changes);
    match outcome {
        Ok(outcomes) => {
            for (job, outcome) in batch.into_iter().zip(outcomes) {
                if let (Committed::Yes, Some(until)) = (outcome, job.change.revoked_until) {
                    // Here and not only in `Sessions`: the caller may have gone while the disk was slow.
                    mirror.revocations.insert(job.change.next.id, until);
                }
                drop(job.reply.send(Ok(outcome)));
            }
        }
        Err(error) => {
            tracing::error!(%error, "the embedded store could not be written");
            for job in batch {
                drop(job.reply.send(Err(StoreError::Unavailable(error.clone()))));
            }
        }
    }
}

fn write(shelf: &Shelf, changes: &[&Change]) -> Result<Vec<Committed>, redb::Error> {
    shelf.with(|database| {
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        // After a crash the file is ready at once instead of being read from end to end.
        transaction.set_quick_repair(true);
        let mut outcomes = Vec::with_capacity(changes.len());
        for change in changes {
            outcomes.push(tables::apply(&transaction, change)?);
        }
        match outcomes.contains(&Committed::Yes) {
            true => transaction.commit()?,
            false => transaction.abort()?,
        }
        Ok(outcomes)
    })
}

/// One bounded step. Is there more?
fn forget(shelf: &Shelf, now: Timestamp) -> Result<bool, redb::Error> {
    shelf.with(|database| {
        if !tables::has_expired(database, now)? {
            return Ok(false);
        }
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        tables::forget_expired(&transaction, now, FORGET_AT_MOST)?;
        transaction.commit()?;
        tables::has_expired(database, now)
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
