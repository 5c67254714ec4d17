//! One request over the admin socket: HTTP/1.1, an answer in JSON, no connection kept.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

/// How long the proxy may be silent. To revoke a million sessions takes minutes.
const PATIENCE: Duration = Duration::from_secs(600);
/// No answer is longer.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Where a proxy can be asked.
pub(super) struct Socket {
    path: PathBuf,
}

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody is there.
    #[error("no proxy answers on {0}: is it running, and is this its admin socket?")]
    Nobody(PathBuf),
    /// Somebody else's socket.
    #[error("{0} may only be used by whoever runs the proxy: use that account (sudo -u ...)")]
    Forbidden(PathBuf),
    /// The connection failed.
    #[error("the proxy on {path} cannot be asked: {source}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What came is no answer of ours.
    #[error("what answers on {0} is not the admin socket of a proxy of this version")]
    Foreign(PathBuf),
    /// The proxy says no.
    #[error("{0}")]
    Refused(String),
}

impl Socket {
    pub(super) fn at(path: PathBuf) -> Socket {
        Socket { path }
    }

    pub(super) fn get(&self, target: &str) -> Result<Value, AskError> {
        self.ask("GET", target, "")
    }

    pub(super) fn post(&self, target: &str, body: &Value) -> Result<Value, AskError> {
        self.ask("POST", target, &body.to_string())
    }

    fn ask(&self, method: &str, target: &str, body: &str) -> Result<Value, AskError> {
        let answer = self.exchange(method, target, body).map_err(|source| match source.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => AskError::Nobody(self.path.clone()),
            ErrorKind::PermissionDenied => AskError::Forbidden(self.path.clone()),
            _ => AskError::Io { path: self.path.clone(), source },
        })?;
        let read = || {
            let (head, body) = answer.split_once("\r\n\r\n")?;
            let status: u16 = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
            Some((status, serde_json::from_str::<Value>(body).ok()?))
        };
        let (status, body) = read().ok_or_else(|| AskError::Foreign(self.path.clone()))?;
        match (status, body["detail"].as_str()) {
            (200, _) => Ok(body),
            (_, Some(detail)) => Err(AskError::Refused(detail.to_owned())),
            (_, None) => Err(AskError::Foreign(self.path.clone())),
        }
    }

    fn exchange(&self, method: &str, target: &str, body: &str) -> io::Result<String> {
        let mut stream = UnixStream::connect(&self.path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
        Ok(answer)
    }
}
