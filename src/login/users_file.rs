//! The users file: read, and read again as soon as it changes.
//!
//! A change is seen by the next login or refresh: each looks at the file's metadata first. A file that can no longer be
//! read or understood makes all of them fail as unavailable (503), which keeps sessions; its last good state is not used
//! on, because what was removed since must not pass. It is logged once per change, and the next good edit recovers.
//!
//! The file must not be writable for everybody. A file that group or others can read is accepted, because mounted
//! secrets often are like that; one that everybody can read is warned of, at start by the configuration.
//!
//! What must never happen in here: an executor thread waits for a disk; a half-written file logs everybody out.

pub mod parse;

use std::fmt;
use std::fs::{self, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::Mutex;

use super::LoginError;
use super::limits::HashLimits;
use super::users::Users;
use crate::time::Timestamp;

/// A users file is not larger.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A file rests this long before it is believed. A shorter rest can hide an edit, as clocks of file systems tick every
/// 10 ms, or show the half of one.
const SETTLED_AFTER: Duration = Duration::from_millis(30);

/// A file that never rests is believed after so many looks.
const LOOKS_MAX: usize = 10;

/// How long a login or refresh waits for the disk.
const CHECK_DEADLINE: Duration = Duration::from_secs(2);

/// The file cannot be used: which, where in it, and what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct UsersFileError {
    /// The file.
    pub path: PathBuf,
    /// Line and column, both from 1, if it is about a place in it.
    pub position: Option<(usize, usize)>,
    /// What is wrong, and what to do or write instead.
    pub problem: String,
}

impl fmt::Display for UsersFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// A users file that is followed.
pub struct UsersFile {
    state: Arc<Mutex<State>>,
}

struct State {
    path: PathBuf,
    limits: HashLimits,
    stamp: Option<Stamp>,
    users: Result<Arc<Users>, UsersFileError>,
}

/// What changes when a file does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl UsersFile {
    /// Reads the file for the first time; it must be good.
    pub fn open(path: &Path, limits: HashLimits) -> Result<UsersFile, UsersFileError> {
        let unread = UsersFileError { path: path.to_owned(), position: None, problem: "it was not read".to_owned() };
        let mut state = State { path: path.to_owned(), limits, stamp: None, users: Err(unread) };
        state.load();
        state.users.clone()?;
        Ok(UsersFile { state: Arc::new(Mutex::new(state)) })
    }

    /// The users as the file has them now.
    pub async fn users(&self) -> Result<Arc<Users>, LoginError> {
        // The lock goes along to the blocking thread: a disk that hangs holds one thread, not one for each request.
        let check = async {
            let mut state = Arc::clone(&self.state).lock_owned().await;
            tokio::task::spawn_blocking(move || state.refresh()).await
        };
        match tokio::time::timeout(CHECK_DEADLINE, check).await {
            Ok(Ok(users)) => users.map_err(|error| LoginError::Unavailable(error.to_string())),
            Ok(Err(_panicked)) => Err(LoginError::Unavailable("reading the users file went wrong".to_owned())),
            Err(_elapsed) => {
                Err(LoginError::Unavailable(format!("the users file was not read within {CHECK_DEADLINE:?}")))
            }
        }
    }
}

impl State {
    fn refresh(&mut self) -> Result<Arc<Users>, UsersFileError> {
        let stamp = fs::metadata(&self.path).ok().map(|metadata| Stamp::of(&metadata));
        if stamp.is_some() && stamp == self.stamp {
            return self.users.clone();
        }
        let last_error = self.users.as_ref().err().cloned();
        self.load();
        match &self.users {
            Ok(users) => {
                tracing::info!(file = %self.path.display(), users = users.entries().len(), "users file read anew");
                // At start the configuration says so.
                if self.stamp.is_some_and(|stamp| stamp.mode & 0o004 != 0) {
                    tracing::warn!(file = %self.path.display(), "everybody on this machine can read the password hashes; chmod 640 the file");
                }
            }
            Err(error) if last_error.as_ref() == Some(error) => {}
            Err(error) => {
                tracing::error!(%error, "users file cannot be used: logins and refreshes are answered 503 until it can");
            }
        }
        self.users.clone()
    }

    /// A file that cannot be read has no stamp, so that the next look reads it again.
    fn load(&mut self) {
        self.stamp = None;
        self.users = read(&self.path).and_then(|(stamp, text)| {
            self.stamp = stamp;
            let users = parse::parse(&text, &self.limits).map_err(|problem| UsersFileError {
                path: self.path.clone(),
                position: problem.position,
                problem: problem.text,
            })?;
            Ok(Arc::new(users))
        });
    }
}

/// Reads the text of a users file, once it rests. Refuses what should not be trusted as one.
pub fn read_text(path: &Path) -> Result<String, UsersFileError> {
    read(path).map(|(_, text)| text)
}

/// The text, and its stamp if the file rested while it was read.
fn read(path: &Path) -> Result<(Option<Stamp>, String), UsersFileError> {
    let refuse = |problem: String| UsersFileError { path: path.to_owned(), position: None, problem };
    let unreadable = |error: std::io::Error| {
        refuse(match error.kind() {
            ErrorKind::NotFound => {
                "there is no such file; make it with `portcullis user add NAME --file FILE`".to_owned()
            }
            ErrorKind::PermissionDenied => "it may not be read; give it to the user that portcullis runs as".to_owned(),
            ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
            _ => format!("it cannot be read: {error}"),
        })
    };
    let mut look = 0;
    loop {
        look += 1;
        // Before it is opened: opening a pipe would wait for its other end.
        let before = fs::metadata(path).map_err(unreadable)?;
        if !before.is_file() {
            return Err(refuse("it is not a regular file".to_owned()));
        }
        if before.len() > FILE_BYTES_MAX {
            return Err(refuse(format!("it has {} bytes; at most {FILE_BYTES_MAX} are read", before.len())));
        }
        if before.mode() & 0o002 != 0 {
            return Err(refuse("everybody may write to it, and so make accounts; chmod o-w it".to_owned()));
        }
        let mut text = String::new();
        let file = fs::File::open(path).map_err(unreadable)?;
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
        let after = Stamp::of(&fs::metadata(path).map_err(unreadable)?);
        let settled = after == Stamp::of(&before) && after.rests(Timestamp::now());
        if settled || look >= LOOKS_MAX {
            return Ok((settled.then_some(after), text));
        }
        thread::sleep(SETTLED_AFTER);
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mode: metadata.mode(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Was the last change long enough ago? A change in the future comes from another clock and says nothing.
    fn rests(&self, now: Timestamp) -> bool {
        let (secs, nanos) = self.changed;
        let changed = Timestamp::from_millis((secs.max(0) as u64).saturating_mul(1000) + nanos as u64 / 1_000_000);
        now.since(changed) >= SETTLED_AFTER || changed.since(now) >= SETTLED_AFTER
    }
}

#[cfg(test)]
mod tests;
