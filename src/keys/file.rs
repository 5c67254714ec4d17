//! The file itself: who may read it, and how it is replaced as a whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::KeysError;
use crate::token::{KeySetError, PrivateJwkSet};

/// Far more than a set of keys needs.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads the file, if nobody but its owner can.
pub(super) fn read(path: &Path) -> Result<PrivateJwkSet, KeysError> {
    let file = File::open(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => KeysError::Missing { path: path.into() },
        _ => io_error(path, "cannot be opened", source),
    })?;
    // The open file is asked, not the path: it cannot become another one in between.
    let metadata = file.metadata().map_err(|source| io_error(path, "cannot be examined", source))?;
    if !metadata.is_file() {
        return Err(io_error(path, "cannot be read", io::Error::other("not a regular file")));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    // A group may read: mounted secrets often belong to one.
    if mode & 0o037 != 0 {
        return Err(KeysError::Exposed { path: path.into(), mode });
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|source| io_error(path, "cannot be read", source))?;
    let text = SecretString::from(text);
    serde_json::from_str(text.expose_secret())
        .map_err(|source| KeysError::Unusable { path: path.into(), source: KeySetError::Malformed(source) })
}

/// Writes a new file. If there is one, it stays and this is an error.
pub(super) fn create(path: &Path, set: &PrivateJwkSet) -> Result<(), KeysError> {
    let temporary = Temporary::write(path, set, 0o600)?;
    // A link, unlike a rename, fails if the name is taken.
    fs::hard_link(&temporary.path, path).map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => KeysError::Exists { path: path.into() },
        _ => io_error(path, "cannot be made", source),
    })?;
    sync_folder(path)
}

/// Changes the file: reads it, lets `change` have it, and puts the outcome in its place, with the owner it had. Nobody
/// else can change it in between; whoever reads it sees the old file or the new one.
pub(super) fn replace<T>(
    path: &Path,
    change: impl FnOnce(&mut PrivateJwkSet) -> Result<T, KeysError>,
) -> Result<T, KeysError> {
    // Where a symbolic link points to is replaced, not the link.
    let path = &fs::canonicalize(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => KeysError::Missing { path: path.into() },
        _ => io_error(path, "cannot be found", source),
    })?;
    let folder = File::open(folder_of(path)).map_err(|source| io_error(path, "its folder cannot be opened", source))?;
    folder.lock().map_err(|source| io_error(path, "its folder cannot be locked", source))?;

    let mut set = read(path)?;
    let metadata = fs::metadata(path).map_err(|source| io_error(path, "cannot be examined", source))?;
    let outcome = change(&mut set)?;

    let temporary = Temporary::write(path, &set, metadata.mode() & 0o700)?;
    // An operator may be root where the proxy is not: the proxy must still be able to read it.
    fchown(&temporary.file, Some(metadata.uid()), Some(metadata.gid()))
        .map_err(|source| io_error(path, "its owner cannot be kept; run this as its owner or as root", source))?;
    fs::rename(&temporary.path, path).map_err(|source| io_error(path, "cannot be replaced", source))?;
    sync_folder(path)?;
    Ok(outcome)
}

/// A file beside the one that is to be written. Dropped, it is gone; if it was renamed, there is nothing left to remove.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    fn write(beside: &Path, set: &PrivateJwkSet, mode: u32) -> Result<Temporary, KeysError> {
        let mut name = OsString::from(".");
        name.push(beside.file_name().unwrap_or_default());
        // Random: what a crash left behind must not be in the way of the next try.
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_| io_error(beside, "no random bytes", io::Error::other("failed")))?;
        name.push(format!(".{:016x}.tmp", u64::from_ne_bytes(random)));
        let path = beside.with_file_name(name);

        let failed = |source| io_error(&path, "cannot be written", source);
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).map_err(failed)?;
        let mut temporary = Temporary { path: path.clone(), file };
        let json = serde_json::to_string_pretty(set).map_err(|source| failed(source.into()))?;
        let json = SecretString::from(json + "\n");
        temporary.file.write_all(json.expose_secret().as_bytes()).map_err(failed)?;
        temporary.file.sync_all().map_err(failed)?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes a new name durable.
fn sync_folder(path: &Path) -> Result<(), KeysError> {
    File::open(folder_of(path))
        .and_then(|folder| folder.sync_all())
        .map_err(|source| io_error(path, "its folder cannot be synced", source))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn io_error(path: &Path, doing: &'static str, source: io::Error) -> KeysError {
    KeysError::Io { path: path.into(), doing, source }
}
