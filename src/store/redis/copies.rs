//! What this proxy knows of the sessions in Redis, in a file of its own: Redis can lose its memory, this must not.
//!
//! A session is copied when this proxy has read or committed it, an ending also when it is heard of: each is published
//! with its record, so that every proxy's file holds every ending until the session's absolute end. Copies are joined
//! (`session::merge`), so an older one never replaces a newer one. The file has the format of the embedded store's.
//!
//! Sessions are written in the background, and a copy that gets lost costs little: a client whose token is ahead of the
//! store is believed. An ending is written before the logout is acknowledged: nobody comes back to say it again. But a
//! disk that fails refuses no logout that Redis has recorded: the file is the second line, not the first.
//!
//! What must never happen in here: a request waits for the disk, but for an ending and for that not long; the file is
//! taken for the truth where Redis knows more.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use redb::WriteTransaction;
use tokio::sync::oneshot;

use super::feed::Revocation;
use crate::session::{PARTITIONS, Session, SessionId};
use crate::store::embedded::shelf::Shelf;
use crate::store::embedded::tables;
use crate::store::embedded::writer::{self, Step};
use crate::store::embedded::{EmbeddedError, StoreFile};
use crate::store::{Mirror, record};
use crate::time::Timestamp;

/// As many notes may wait for the disk.
const QUEUE: usize = 65_536;
/// How long a logout waits for its copy, at most.
const ENDING_PATIENCE: Duration = Duration::from_millis(500);

/// This proxy's copies.
pub struct Copies {
    shelf: Arc<Shelf>,
    mirror: Arc<Mirror>,
    /// Taken when this is dropped: the writer finishes what it has and leaves.
    notes: Option<SyncSender<Note>>,
    writer: Option<JoinHandle<()>>,
    /// A note was lost: the queue was full, or the disk failed.
    behind: Arc<AtomicBool>,
}

/// Something to be kept.
struct Note {
    copies: Vec<Session>,
    endings: Vec<Heard>,
    /// Who waits until it is on disk.
    written: Option<oneshot::Sender<()>>,
    behind: Arc<AtomicBool>,
}

/// An ending.
struct Heard {
    session: SessionId,
    ended_at: Timestamp,
    /// Until when access tokens of it have to be refused.
    until: Timestamp,
    /// The ended record, if it is known.
    record: Option<Bytes>,
}

impl Copies {
    /// Opens the file at `path`, or begins a new one there, and lists in `mirror` the revocations that it holds; how fresh
    /// the mirror is remains to be seen. `access_tail` is how long after its end a session's access tokens can be alive.
    pub fn open(path: &Path, mirror: Arc<Mirror>, access_tail: Duration) -> Result<Copies, EmbeddedError> {
        let shelf = Arc::new(Shelf::open(path, &mirror, access_tail)?);
        let (notes, waiting): (_, mpsc::Receiver<Note>) = sync_channel(QUEUE);
        let writer = std::thread::Builder::new()
            .name("copies-writer".to_owned())
            .spawn({
                let (shelf, mirror) = (Arc::clone(&shelf), Arc::clone(&mirror));
                move || writer::run(&shelf, &mirror, &waiting)
            })
            .map_err(|source| EmbeddedError::Io { path: path.to_owned(), source })?;
        Ok(Copies { shelf, mirror, notes: Some(notes), writer: Some(writer), behind: Arc::default() })
    }

    /// The file, for the time at which another process takes it over. Redis alone has to do from then on.
    pub fn file(&self) -> StoreFile {
        StoreFile::new(&self.shelf, &self.mirror)
    }

    /// The copy of a session, as bytes. None also if the file cannot be read: Redis alone has to do then.
    pub(super) async fn get(&self, id: &SessionId) -> Option<Bytes> {
        let id = *id;
        self.read(move |database| tables::read(database, &id)).await.flatten()
    }

    /// The copies of a partition that come after `after`, in the order of their ids; none at the end.
    pub(super) async fn page(
        &self,
        partition: usize,
        after: Option<SessionId>,
        at_most: usize,
    ) -> Vec<(SessionId, Bytes)> {
        self.read(move |database| tables::page(database, partition, after, at_most)).await.unwrap_or_default()
    }

    /// The subject's sessions that live as far as the copies say.
    pub(super) async fn sessions_of(&self, subject: &str) -> Vec<SessionId> {
        let subject = subject.to_owned();
        let now = Timestamp::now();
        self.read(move |database| tables::sessions_of(database, &subject, now)).await.unwrap_or_default()
    }

    /// Keeps what Redis holds. Never waits.
    pub(super) fn keep(&self, copies: Vec<Session>) {
        if !copies.is_empty() {
            self.send(Note { copies, ..self.note() });
        }
    }

    /// Keeps the ending that Redis has recorded, and waits until it is on disk, but not for long.
    pub(super) async fn keep_ending(&self, ended: &Session) {
        let (Some(ending), Some(until)) = (ended.ended, ended.revoked_until(self.shelf.access_tail())) else { return };
        let (written, is_written) = oneshot::channel();
        let heard = Heard { session: ended.id, ended_at: ending.at, until, record: None };
        let note = Note { copies: vec![ended.clone()], endings: vec![heard], written: Some(written), ..self.note() };
        self.send(note);
        // What failed has been logged, or is a disk that hangs.
        let _ = tokio::time::timeout(ENDING_PATIENCE, is_written).await;
    }

    /// Keeps endings that were heard of. Never waits.
    pub(super) fn heard(&self, revocations: impl Iterator<Item = (Revocation, Timestamp)>) {
        let endings: Vec<Heard> = revocations
            .map(|(Revocation { session, ended_at, record, .. }, until)| Heard { session, ended_at, until, record })
            .collect();
        if !endings.is_empty() {
            self.send(Note { endings, ..self.note() });
        }
    }

    /// If a note was lost, keeps at least the endings that the mirror still lists. To be called now and then.
    pub(super) fn catch_up(&self) {
        if !self.behind.swap(false, Ordering::AcqRel) {
            return;
        }
        let listed = (0..PARTITIONS).flat_map(|partition| self.mirror.revocations.of_partition(partition));
        let tail = self.shelf.access_tail();
        let endings = listed
            .map(|(session, until)| Heard { session, ended_at: until.minus(tail), until, record: None })
            .collect();
        self.send(Note { endings, ..self.note() });
    }

    fn note(&self) -> Note {
        Note { copies: Vec::new(), endings: Vec::new(), written: None, behind: Arc::clone(&self.behind) }
    }

    fn send(&self, note: Note) {
        let sent = self.notes.as_ref().is_some_and(|notes| notes.try_send(note).is_ok());
        if !sent && !self.behind.swap(true, Ordering::AcqRel) {
            tracing::warn!(path = %self.shelf.path().display(), "the disk is too slow for the copies of sessions");
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        step: impl FnOnce(&redb::Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Option<T> {
        match self.shelf.read(step).await {
            Ok(value) => Some(value),
            Err(_) if self.shelf.is_away() => None,
            Err(error) => {
                tracing::error!(%error, path = %self.shelf.path().display(), "copies of sessions cannot be read");
                None
            }
        }
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        drop(self.notes.take());
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}

impl Step for Note {
    const BATCH_MAX: usize = 1024;
    /// A crash loses as much, of what may get lost.
    const GATHER: Duration = Duration::from_millis(100);
    /// About 400 MB.
    const SESSIONS_MAX: u64 = 1_000_000;

    fn is_urgent(&self) -> bool {
        self.written.is_some()
    }

    fn apply(&mut self, transaction: &WriteTransaction) -> Result<bool, redb::Error> {
        let mut changed = false;
        for copy in &self.copies {
            changed |= tables::join(transaction, copy)?;
        }
        for Heard { session, ended_at, until, record } in &self.endings {
            if let Some(record) = record
                && let Ok(stored) = record::decode(session, record.clone())
            {
                changed |= tables::join(transaction, &stored.session)?;
            }
            changed |= tables::end(transaction, session, *ended_at, *until)?;
        }
        Ok(changed)
    }

    fn finish(self, written: Result<(), &str>, _: &Mirror) {
        match (written, self.written) {
            (Ok(()), Some(waiting)) => drop(waiting.send(())),
            (Ok(()), None) => {}
            (Err(_), _) => self.behind.store(true, Ordering::Release),
        }
    }
}
