//! The private JWK set file: made, read, rotated.
//!
//! It holds everything that lets somebody be anybody, so it is readable by its owner alone, and a file that is not is
//! refused. It is only ever replaced as a whole.
//!
//! What must never happen in here: an existing file is overwritten by a new set; a crash leaves half a file; a secret is
//! printed; a key that a living token was made with is removed.

mod file;
mod generate;
mod rotate;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use generate::new_key;
pub use rotate::{Change, Rotation, Which};

pub use crate::token::{Algorithm, KeyStatus, KeyUse};

use crate::time::Timestamp;
use crate::token::{KeySet, KeySetError, PrivateJwkSet};

/// Reads a key file and judges every key in it.
///
/// # Errors
/// See [`KeysError`].
pub fn load(path: &Path) -> Result<KeySet, KeysError> {
    judge(path, &file::read(path)?)
}

/// What may be shown of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its `kid`.
    pub kid: String,
    /// What it is for.
    pub r#use: KeyUse,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// Where it is in its life.
    pub status: KeyStatus,
    /// How old it is, if it says when it was made.
    pub age: Option<Duration>,
}

/// The keys of a file, in its order.
///
/// # Errors
/// See [`KeysError`].
pub fn list(path: &Path) -> Result<Vec<Listed>, KeysError> {
    let set = file::read(path)?;
    judge(path, &set)?;
    let now = Timestamp::now();
    let listed = set.keys.iter().enumerate().map(|(index, key)| {
        let kid = key.key_id(index).map_err(|source| KeysError::Unusable { path: path.into(), source })?.to_string();
        let age = key.iat.map(|iat| now.since(Timestamp::from_secs(iat)));
        let algorithm = key.alg.unwrap_or(Algorithm::Hs256);
        Ok(Listed { kid, r#use: key.r#use, algorithm, status: key.status, age })
    });
    listed.collect()
}

/// Makes a key file with one signing key of this algorithm and one refresh key, and never overwrites one.
///
/// # Errors
/// [`KeysError::Exists`], and whatever else keeps it from being written.
pub fn create(path: &Path, algorithm: Algorithm) -> Result<KeySet, KeysError> {
    let set = new_set(algorithm, Timestamp::now())?;
    let keys = judge(path, &set)?;
    file::create(path, &set)?;
    Ok(keys)
}

/// Reads the key file, and makes it first if there is none. Whoever makes it first wins; the others read it.
///
/// # Errors
/// See [`KeysError`].
pub fn load_or_create(path: &Path, algorithm: Algorithm) -> Result<KeySet, KeysError> {
    match load(path) {
        Err(KeysError::Missing { .. }) => match create(path, algorithm) {
            Err(KeysError::Exists { .. }) => load(path),
            made => made,
        },
        loaded => loaded,
    }
}

/// Keys that live as long as the process: for the memory store, whose sessions do not live longer either.
///
/// # Errors
/// Only if the machine gives no random bytes.
pub fn ephemeral(algorithm: Algorithm) -> Result<KeySet, KeysError> {
    let set = new_set(algorithm, Timestamp::now())?;
    judge(Path::new("(keys in memory)"), &set)
}

/// Takes a key file one step further in its rotation, and says what changed: see [`Rotation`].
///
/// # Errors
/// See [`KeysError`]. The file is then as it was.
pub fn rotate(path: &Path, rotation: &Rotation) -> Result<Vec<Change>, KeysError> {
    file::replace(path, |set| {
        judge(path, set)?;
        let changes = rotation.apply(set, Timestamp::now())?;
        judge(path, set)?;
        Ok(changes)
    })
}

fn new_set(algorithm: Algorithm, now: Timestamp) -> Result<PrivateJwkSet, KeysError> {
    let keys = vec![new_key(KeyUse::Sig, algorithm, now)?, new_key(KeyUse::Refresh, Algorithm::Hs256, now)?];
    Ok(PrivateJwkSet { keys })
}

fn judge(path: &Path, set: &PrivateJwkSet) -> Result<KeySet, KeysError> {
    KeySet::from_jwks(&set.keys).map_err(|source| KeysError::Unusable { path: path.into(), source })
}

/// What is wrong with a key file, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// There is none.
    #[error("{path}: no such file; make it with `portcullis keys new --file {path}`", path = path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// There is one already.
    #[error("{path}: exists already, and is not overwritten; `portcullis keys rotate` changes it", path = path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others than its owner can read or change it.
    #[error("{path}: more people than its owner and group can use these keys, or change them (mode {mode:04o}); run `chmod 600 {path}`", path = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file system says no.
    #[error("{path}: {doing}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the file system said.
        source: std::io::Error,
    },
    /// What is in it cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeySetError,
    },
    /// The cryptographic library made no key.
    #[error("a new {0} key could not be made")]
    NotMade(Algorithm),
}

#[cfg(test)]
mod tests;
