//! The database file: opened, used, and opened anew after the disk failed it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redb::Database;

use super::EmbeddedError;
use super::tables::{self, FORMAT};
use crate::store::Mirror;

/// Sessions are small and the operating system caches the file as well.
const CACHE_BYTES: usize = 64 * 1024 * 1024;
/// For reading many revocations once: what that leaves in the cache would only take up memory.
const LOADING_CACHE_BYTES: usize = 1024 * 1024;
const MANY_REVOCATIONS: u64 = 10_000;

pub(in crate::store) struct Shelf {
    path: PathBuf,
    /// None while the file could not be opened anew.
    database: RwLock<Option<Database>>,
    /// A step has failed. The database then refuses everything until the file is opened anew.
    broken: AtomicBool,
    /// That it cannot be opened again has been said.
    complained: AtomicBool,
    /// Another process has the file, or is about to get it: see [`Shelf::let_go`].
    away: AtomicBool,
    access_tail: Duration,
}

impl Shelf {
    /// Opens or creates the file, and lists in `mirror` the revocations that it holds.
    pub(in crate::store) fn open(path: &Path, mirror: &Mirror, access_tail: Duration) -> Result<Shelf, EmbeddedError> {
        let shelf = Shelf {
            path: path.to_owned(),
            database: RwLock::new(Some(open(path, CACHE_BYTES)?)),
            broken: AtomicBool::new(false),
            complained: AtomicBool::new(false),
            away: AtomicBool::new(false),
            access_tail,
        };
        let of_file = |error| EmbeddedError::of(path, error);
        let many = shelf.with(tables::revocations_len).map_err(of_file)? > MANY_REVOCATIONS;
        if many {
            shelf.open_again(LOADING_CACHE_BYTES)?;
        }
        shelf.load(mirror).map_err(of_file)?;
        if many {
            shelf.open_again(CACHE_BYTES)?;
        }
        Ok(shelf)
    }

    fn open_again(&self, cache_bytes: usize) -> Result<(), EmbeddedError> {
        let mut slot = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // The file is locked by the database that is being replaced, so that one goes first.
        drop(slot.take());
        *slot = Some(open(&self.path, cache_bytes)?);
        Ok(())
    }

    /// Where the file is.
    pub(in crate::store) fn path(&self) -> &Path {
        &self.path
    }

    /// How long after its end a session's access tokens can be alive.
    pub(in crate::store) fn access_tail(&self) -> Duration {
        self.access_tail
    }

    /// Does a step on the database.
    pub(in crate::store) fn with<T>(
        &self,
        step: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        match &*self.database.read().unwrap_or_else(PoisonError::into_inner) {
            Some(database) => step(database),
            None => Err(redb::Error::DatabaseClosed),
        }
    }

    /// A read, off the threads that serve requests: it may have to wait for the disk.
    pub(in crate::store) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        step: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, String> {
        let shelf = Arc::clone(self);
        let error = match tokio::task::spawn_blocking(move || shelf.with(step)).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the database is damaged (it panicked)".to_owned(),
        };
        self.mark_broken();
        Err(error)
    }

    /// Closes the file, so that another process can open it. Waits for the steps under way. Until [`Shelf::take_back`] all
    /// others fail.
    pub(super) fn let_go(&self) {
        self.away.store(true, Ordering::Release);
        drop(self.database.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The file is ours again. It is open after the next [`Shelf::reopen_if_broken`] that finds it closed by the other.
    pub(super) fn take_back(&self) {
        self.mark_broken();
        self.away.store(false, Ordering::Release);
    }

    /// Does another process have the file?
    pub(in crate::store) fn is_away(&self) -> bool {
        self.away.load(Ordering::Acquire)
    }

    /// Is it open, and good?
    pub(super) fn is_open(&self) -> bool {
        !self.is_away() && !self.broken.load(Ordering::Acquire)
    }

    /// The database is not to be trusted until it has been opened anew.
    pub(in crate::store) fn mark_broken(&self) {
        self.broken.store(true, Ordering::Release);
    }

    /// Closes and opens the file if a step has failed. The commit that failed may be on disk all the same, so the
    /// revocations are read again.
    pub(in crate::store) fn reopen_if_broken(&self, mirror: &Mirror) {
        if !self.broken.load(Ordering::Acquire) || self.is_away() {
            return;
        }
        // Said once, however often it is tried.
        let say = |error: &dyn std::fmt::Display| {
            if !self.complained.swap(true, Ordering::AcqRel) {
                tracing::error!(%error, path = %self.path.display(), "the file of sessions cannot be opened again; trying on");
            }
        };
        if let Err(error) = self.open_again(CACHE_BYTES) {
            return say(&error);
        }
        match self.load(mirror) {
            Ok(()) => {
                self.broken.store(false, Ordering::Release);
                self.complained.store(false, Ordering::Release);
                tracing::info!(path = %self.path.display(), "the file of sessions is open again");
            }
            Err(error) => say(&error),
        }
    }

    fn load(&self, mirror: &Mirror) -> Result<(), redb::Error> {
        mirror.hold(self.access_tail);
        self.with(|database| tables::list_revocations(database, &mirror.revocations))
    }
}

fn open(path: &Path, cache_bytes: usize) -> Result<Database, EmbeddedError> {
    create_private(path).map_err(|source| EmbeddedError::Io { path: path.to_owned(), source })?;
    // The database panics on some damaged files.
    let opened = std::panic::catch_unwind(|| Database::builder().set_cache_size(cache_bytes).create(path));
    let database = match opened {
        Ok(opened) => opened.map_err(|error| EmbeddedError::of_open(path, error))?,
        Err(_) => return Err(EmbeddedError::damaged(path, "the database panicked while reading it")),
    };
    match tables::prepare(&database).map_err(|error| EmbeddedError::of(path, error))? {
        FORMAT => Ok(database),
        found => Err(EmbeddedError::OtherVersion { path: path.to_owned(), found, known: FORMAT }),
    }
}

/// Who logs in here, and when, is nobody else's business.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::SessionId;
    use crate::time::Timestamp;

    #[test]
    fn however_many_revocations_there_are_all_are_listed_and_the_file_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessions.redb");
        let until = Timestamp::from_secs(1 << 31);
        let id = |number: u64| SessionId::from_bytes((u128::from(number) << 64 | u128::from(number)).to_be_bytes());
        let open = || {
            let mirror = Mirror::new();
            let shelf = Shelf::open(&path, &mirror, Duration::from_secs(900)).unwrap();
            (shelf, mirror)
        };
        let end = |shelf: &Shelf, numbers: std::ops::Range<u64>| {
            shelf
                .with(|database| {
                    let transaction = database.begin_write()?;
                    tables::tests::revoke_all(&transaction, numbers.map(id), until)?;
                    Ok(transaction.commit()?)
                })
                .unwrap();
        };
        for (known, next) in [(0, 10), (10, MANY_REVOCATIONS + 1), (MANY_REVOCATIONS + 1, MANY_REVOCATIONS + 2)] {
            let (shelf, mirror) = open();
            assert_eq!(mirror.revocations.len() as u64, known);
            assert!((0..known).all(|number| mirror.revocations.until(&id(number)) == Some(until)));
            end(&shelf, known..next);
        }
        let (_shelf, mirror) = open();
        assert_eq!(mirror.revocations.len() as u64, MANY_REVOCATIONS + 2);
    }
}
