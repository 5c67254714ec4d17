//! The embedded store: one machine, one file, nothing else to run.
//!
//! A commit is on disk when it is reported. Reads and writes never wait for one another; writes go through one thread
//! that lets commits share an fsync. The revocations that still matter are in the mirror before the first request.

mod file;
pub(super) mod shelf;
pub(super) mod tables;
pub(super) mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redb::{DatabaseError, StorageError};
use tokio::sync::oneshot;

pub use self::file::StoreFile;
use self::shelf::Shelf;
use self::tables::{Change, Expected};
use self::writer::Job;
use super::tickets::Tickets;
use super::{Backend, Committed, Cursor, Mirror, Page, StoreError, Stored, record};
use crate::session::{Session, SessionId};
use crate::time::Timestamp;

/// How often revocations that no longer matter leave the mirror.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Sessions in a file of this machine.
pub struct Embedded {
    shelf: Arc<Shelf>,
    mirror: Arc<Mirror>,
    tickets: Tickets,
    /// Taken when the store is dropped: the writer finishes what it has and leaves.
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Opens the store in the file at `path`, or begins a new one there, and loads the revocations that it holds into
    /// `mirror`, which is fresh from then on. `access_tail` is how long after its end a session's access tokens can be
    /// alive: their lifetime and the clock skew.
    pub fn open(path: &Path, mirror: Arc<Mirror>, access_tail: Duration) -> Result<Embedded, EmbeddedError> {
        let shelf = Arc::new(Shelf::open(path, &mirror, access_tail)?);
        mirror.always_fresh();
        let (jobs, waiting) = mpsc::channel();
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn({
                let (shelf, mirror) = (Arc::clone(&shelf), Arc::clone(&mirror));
                move || writer::run(&shelf, &mirror, &waiting)
            })
            .map_err(|source| EmbeddedError::Io { path: path.to_owned(), source })?;
        Ok(Embedded { shelf, mirror, tickets: Tickets::default(), jobs: Some(jobs), writer: Some(writer) })
    }

    /// The file, for the time at which another process takes it over.
    pub fn file(&self) -> StoreFile {
        StoreFile::new(&self.shelf, &self.mirror)
    }

    /// The tickets that can still be taken, and for how long.
    pub(super) fn tickets(&self) -> Vec<(SessionId, Bytes, Duration)> {
        self.tickets.all()
    }

    /// The ticket was taken elsewhere.
    pub(super) fn forget_ticket(&self, ticket: &SessionId) {
        drop(self.tickets.take(ticket));
    }

    async fn read<T: Send + 'static>(
        &self,
        step: impl FnOnce(&redb::Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.shelf.read(step).await.map_err(StoreError::Unavailable)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}

#[async_trait]
impl Backend for Embedded {
    async fn get(&self, id: &SessionId) -> Result<Option<Stored>, StoreError> {
        let key = *id;
        let record = self.read(move |database| tables::read(database, &key)).await?;
        record.map(|record| record::decode(id, record)).transpose()
    }

    async fn put_ticket(&self, ticket: &SessionId, value: Bytes, lifetime: Duration) -> Result<(), StoreError> {
        self.tickets.put(ticket, value, lifetime)
    }

    async fn take_ticket(&self, ticket: &SessionId) -> Result<Option<Bytes>, StoreError> {
        Ok(self.tickets.take(ticket))
    }

    async fn commit(&self, expected: Option<&Stored>, next: &Session) -> Result<Committed, StoreError> {
        if record::overwrites_ending(expected, next) {
            return Ok(Committed::Conflict);
        }
        let record = record::encode(next)?;
        if let Some(expected) = expected
            && expected.record == record
            && next.ended.is_none()
        {
            // Nobody else writes to the file, so that a look at it is enough. (An ending is written again: that it can be
            // read does not prove that it is on disk.)
            let id = next.id;
            let current = self.read(move |database| tables::read(database, &id)).await?;
            return Ok(if current.as_ref() == Some(&record) { Committed::Yes } else { Committed::Conflict });
        }
        let newly_ended = record::new_ending(expected, next).is_some();
        let change = Change {
            expected: expected
                .map(|expected| Expected { record: expected.record.clone(), ends_at: expected.session.ends_at }),
            record,
            revoked_until: next.revoked_until(self.shelf.access_tail()).filter(|_| newly_ended),
            next: next.clone(),
        };
        let stopped = || StoreError::Unavailable("the writer of the embedded store has stopped".to_owned());
        let (reply, answer) = oneshot::channel();
        self.jobs.as_ref().ok_or_else(stopped)?.send(Job::new(change, reply)).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    async fn sessions_of(&self, subject: &str) -> Result<Vec<SessionId>, StoreError> {
        let subject = subject.to_owned();
        self.read(move |database| tables::sessions_of(database, &subject, Timestamp::now())).await
    }

    async fn list(&self, from: Option<&Cursor>, at_most: usize) -> Result<Page, StoreError> {
        let after = from.map(Cursor::session).transpose()?;
        let records = self.read(move |database| tables::records(database, after, at_most)).await?;
        Ok(record::page(records, at_most))
    }

    async fn follow(&self, mirror: &Mirror) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            mirror.remove_expired();
        }
    }
}

/// Why the embedded store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The file is locked.
    #[error(
        "another Portcullis is running with this data folder: {path} is in use. \
         Stop that one, or give this one a data folder of its own"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is not one of ours, or not whole.
    #[error(
        "{path} is damaged or not a store of Portcullis ({detail}). Restore it from a backup; or move it away to begin \
         with an empty store, in which nobody is logged in and access tokens of sessions that were logged out \
         are accepted again until they expire"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The file was written by another version of Portcullis.
    #[error(
        "{path} was written by another version of Portcullis (its format is {found}, this one reads {known}). \
         Run the version that wrote it, or move the file away to begin with an empty store"
    )]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// The file's format.
        found: u64,
        /// The format that this version reads.
        known: u64,
    },
    /// The file cannot be opened, read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

impl EmbeddedError {
    fn damaged(path: &Path, detail: impl ToString) -> EmbeddedError {
        EmbeddedError::Damaged { path: path.to_owned(), detail: detail.to_string() }
    }

    fn of_open(path: &Path, error: DatabaseError) -> EmbeddedError {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                EmbeddedError::InUse { path: path.to_owned() }
            }
            // A file that is no database is reported as one with invalid data.
            DatabaseError::Storage(StorageError::Io(source)) if source.kind() != io::ErrorKind::InvalidData => {
                EmbeddedError::Io { path: path.to_owned(), source }
            }
            other => EmbeddedError::damaged(path, other),
        }
    }

    fn of(path: &Path, error: redb::Error) -> EmbeddedError {
        match error {
            redb::Error::Io(source) if source.kind() != io::ErrorKind::InvalidData => {
                EmbeddedError::Io { path: path.to_owned(), source }
            }
            other => EmbeddedError::damaged(path, other),
        }
    }
}
