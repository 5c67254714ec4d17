//! The Unix socket of the admin: its folder is ours alone, and what a proxy that was killed has left there is cleared away.
//!
//! What must never happen in here: a file that is no socket is removed; the socket of a proxy that runs is taken from it.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Why there cannot be a socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The folder or the socket cannot be made.
    #[error("the admin socket {path} cannot be made: {source}; write another path as admin.socket, or `none`")]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Anybody could put a socket of their own in its place.
    #[error(
        "everybody may write to the folder of the admin socket {0}; run `chmod o-w` on it, or write another admin.socket"
    )]
    FolderOpen(PathBuf),
    /// A proxy answers there.
    #[error("another proxy answers on the admin socket {0}; give this one a data_dir or an admin.socket of its own")]
    InUse(PathBuf),
    /// Something else is there.
    #[error("{0} is to be the admin socket, and another file is there; remove it, or write another admin.socket")]
    NotASocket(PathBuf),
}

/// Makes the folder, removes a socket that nobody answers on, and tries whether one can be made.
pub fn prepare(path: &Path) -> Result<(), SocketError> {
    let failed = |source: io::Error| SocketError::Io { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    if fs::metadata(folder).map_err(failed)?.mode() & 0o002 != 0 {
        return Err(SocketError::FolderOpen(path.to_owned()));
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(SocketError::NotASocket(path.to_owned())),
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => return Err(SocketError::InUse(path.to_owned())),
            Err(_) => fs::remove_file(path).map_err(failed)?,
        },
    }
    drop(UnixListener::bind(path).map_err(failed)?);
    fs::remove_file(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_folder_is_private_and_a_stale_socket_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data").join("admin.sock");
        prepare(&path).unwrap();
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a socket outlives its process");
        prepare(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn what_is_not_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let running = UnixListener::bind(&path).unwrap();
        assert!(matches!(prepare(&path), Err(SocketError::InUse(_))));
        assert!(UnixStream::connect(&path).is_ok());
        drop(running);

        let file = folder.path().join("file");
        fs::write(&file, "precious").unwrap();
        assert!(matches!(prepare(&file), Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(prepare(&path), Err(SocketError::FolderOpen(_))));
    }
}
