//! Where lines go: a standard stream, or a file that others may rename.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Where lines go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The end of a file. It is made if it is not there, readable for its group.
    File(PathBuf),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Stdout => f.write_str("standard output"),
            Destination::Stderr => f.write_str("standard error"),
            Destination::File(path) => path.display().fmt(f),
        }
    }
}

/// How often it is looked after whether the file has been renamed.
const LOOK_AFTER: Duration = Duration::from_secs(1);
/// How long to wait for a stream that somebody has made non-blocking.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// A destination that has been opened.
pub(super) struct Output {
    out: Box<dyn Write + Send>,
    /// What tells two destinations apart: device and inode. Unknown for what only a test has.
    identity: Option<(u64, u64)>,
    path: Option<PathBuf>,
    looked: Instant,
    is_terminal: bool,
}

impl Output {
    pub(super) fn open(destination: &Destination) -> io::Result<Output> {
        let (file, is_terminal) = match destination {
            // Not through the standard library's own buffers, which others may hold.
            Destination::Stdout => (io::stdout().as_fd().try_clone_to_owned()?.into(), io::stdout().is_terminal()),
            Destination::Stderr => (io::stderr().as_fd().try_clone_to_owned()?.into(), io::stderr().is_terminal()),
            Destination::File(path) => (append(path)?, false),
        };
        let metadata = file.metadata()?;
        let path = match destination {
            // Nobody renames a pipe or a device to rotate it.
            Destination::File(path) if metadata.is_file() => Some(path.clone()),
            _ => None,
        };
        let identity = Some((metadata.dev(), metadata.ino()));
        Ok(Output { out: Box::new(file), identity, path, looked: Instant::now(), is_terminal })
    }

    #[cfg(test)]
    pub(super) fn to(out: impl Write + Send + 'static) -> Output {
        Output { out: Box::new(out), identity: None, path: None, looked: Instant::now(), is_terminal: false }
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Do both write to the same place?
    pub(super) fn identity(&self) -> Option<(u64, u64)> {
        self.identity
    }

    /// Opens the file anew if that was asked for, or if another, or none, has its name now. If that fails, lines go on to where
    /// they went.
    pub(super) fn refresh(&mut self, asked: bool) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        if !asked && self.looked.elapsed() < LOOK_AFTER {
            return Ok(());
        }
        self.looked = Instant::now();
        let named = path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
        if asked || named != self.identity {
            let file = append(path)?;
            let metadata = file.metadata()?;
            self.identity = Some((metadata.dev(), metadata.ino()));
            self.out = Box::new(file);
        }
        Ok(())
    }

    /// Writes whole lines. Returns how many of them could not be written.
    pub(super) fn write(&mut self, mut lines: &[u8]) -> u64 {
        while !lines.is_empty() {
            match self.out.write(lines) {
                Ok(0) => break,
                Ok(written) => lines = &lines[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(FULL_PAUSE),
                Err(_) => break,
            }
        }
        lines.iter().filter(|&&byte| byte == b'\n').count() as u64
    }

    pub(super) fn flush(&mut self) {
        // What cannot be written has nobody to tell.
        let _ = self.out.flush();
    }
}

fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // A pipe that nobody reads yet would stop the process here: opened for reading too, it does not.
    let is_pipe = path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo());
    options.append(true).read(is_pipe).create(true).mode(0o640).open(path)
}
