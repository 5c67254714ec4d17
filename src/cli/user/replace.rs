//! Replaces a file as one step: who reads it finds the old or the new, never a part, whatever dies when.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// A file that no other `portcullis user` edits at the same time.
pub(super) struct Exclusive {
    /// The file itself, if the given path was a link to it.
    path: PathBuf,
    /// The folder, which is what is locked: the file is another one after each edit.
    folder: File,
}

impl Exclusive {
    /// Waits until nobody else edits the file.
    pub(super) fn hold(path: &Path) -> io::Result<Exclusive> {
        let path = match fs::canonicalize(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            other => other?,
        };
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let folder = File::open(folder)?;
        folder.lock()?;
        Ok(Exclusive { path, folder })
    }

    /// Is there a file yet?
    pub(super) fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Writes the text in place of what is there. Owner and mode stay; a new file is for its owner only.
    pub(super) fn replace(self, text: &str) -> io::Result<()> {
        let name = self.path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        let temporary = Temporary(self.path.with_file_name(format!(".{name}.tmp")));
        // Nobody else writes it while the folder is held: if it is there, somebody died over it.
        let _ = fs::remove_file(&temporary.0);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary.0)?;
        if let Ok(current) = fs::metadata(&self.path) {
            // Else the proxy could not read it any more, after root has edited it.
            let made = file.metadata()?;
            if (made.uid(), made.gid()) != (current.uid(), current.gid()) {
                fchown(&file, Some(current.uid()), Some(current.gid()))?;
            }
            file.set_permissions(Permissions::from_mode(current.mode() & 0o7777))?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary.0, &self.path)?;
        std::mem::forget(temporary);
        self.folder.sync_all()
    }
}

/// A file that is removed unless it has become the real one.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
