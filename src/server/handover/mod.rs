//! Hand-over: a new process takes the place of one that runs, and no request notices.
//!
//! 1. The new process reads its configuration and everything that it names. Then it connects to `handover.sock` in the data
//!    folder and gets the listeners. Both could accept now; only the old one does.
//! 2. It asks for the store's file. The old process closes it; who needs it there waits.
//! 3. It opens the file, and says so. From then on the old process asks the new one for what it needs of the store, and
//!    hears from it which sessions end (`store::movable`). Redis needs none of that: both are proxies on it.
//! 4. When it is ready it accepts, and says so. The old process stops accepting, and leaves when its last connection is
//!    over, or its time to drain.
//!
//! If the new process ends before 4, the old one takes the file back and goes on. Connections that nobody has accepted wait
//! in the kernel, in the one queue that both share.
//!
//! What must never happen in here: the old process stops before the new one is ready; a stranger gets the listeners.

mod predecessor;
mod replace;
mod successor;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(super) use self::predecessor::{Predecessor, Taking};
pub(super) use self::replace::Replacement;
pub(super) use self::successor::{Doorstep, Keeps};
use crate::store::lending::{Answer, Call};

/// How long the other process may take to read what it is told. Then it is taken for dead.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// Raised when old and new processes would misunderstand one another.
const VERSION: u32 = 1;

/// What the new process says, a line each.
#[derive(Serialize, Deserialize, Debug)]
enum FromNew {
    /// It wants to take over.
    Hello { version: u32 },
    /// It wants the store's file.
    Release,
    /// It has opened the file, and answers questions about it.
    Open,
    /// It is ready and accepts connections.
    Taken,
    /// The answer to a question.
    Answer(u64, Answer),
}

/// What the old process says.
#[derive(Serialize, Deserialize, Debug)]
enum FromOld {
    /// With this line come the listeners of these names.
    Listeners { process: u32, names: Vec<String>, store: PathBuf },
    /// It does not hand over, or not any more.
    Refused(String),
    /// The file is closed. These were only in memory.
    Released(Vec<Call>),
    /// A question to the store.
    Call(u64, Call),
}

/// Why a process cannot take over.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// Nobody is there.
    #[error(
        "no process answers on {path}: {source}; is one running with this data_dir? Start without --take-over if not"
    )]
    Nobody {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Sessions would be lost.
    #[error("with `store: memory` sessions are in the process and would be lost with it; restart it instead")]
    Memory,
    /// They keep sessions in different places.
    #[error("the running process keeps sessions in {theirs} and this configuration in {ours}; restart it instead")]
    OtherStore {
        /// The file of the running process.
        theirs: PathBuf,
        /// The file that is configured.
        ours: PathBuf,
    },
    /// It says no.
    #[error("the running process does not hand over: {0}")]
    Refused(String),
    /// The conversation broke off.
    #[error("the running process was asked to hand over, and the conversation broke off: {0}")]
    Broken(#[from] std::io::Error),
}

/// Where the running process can be asked.
fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("handover.sock")
}
