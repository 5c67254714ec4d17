//! Keeps sessions and publishes their endings.
//!
//! A [`Backend`] can read a record and compare-and-swap it, nothing more: the rules live in `session`.
//! [`Sessions`] is the door everybody uses: it adds the deadline, the measurements, and the local mirror.
//!
//! What must never happen in here: a session that has ended is overwritten by a live one; a commit is
//! reported that was not made durable; a call outlives its deadline.

mod change;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod lending;
mod mirror;
mod movable;
mod page;
mod peers;
mod record;
mod sessions;
mod tickets;
mod used;

pub mod embedded;
pub mod memory;
pub mod redis;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use change::{ChangeError, Changed};
pub use mirror::{Freshness, Mirror};
pub use movable::{Movable, Moving};
pub use page::{Cursor, Page};
pub use peers::{Announcement, Disagreement};
pub use sessions::{Observe, Operation, OperationOutcome, Sessions};
pub use used::{UsedMarks, UsedMarksWriter};

use crate::session::{Session, SessionId};

/// How long an announcement holds: a proxy that is gone is waited for no longer.
pub const ANNOUNCEMENT_LEASE: std::time::Duration = std::time::Duration::from_secs(15);

/// A session as it was read, with the exact bytes that the next commit is compared against.
#[derive(Clone, Debug)]
pub struct Stored {
    /// What the bytes say.
    pub session: Session,
    /// The record as the store holds it.
    pub record: Bytes,
}

/// What became of a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Committed {
    /// It is written, durably, and so is the revocation if the session ended.
    Yes,
    /// The record is not the expected one any more: read again and decide again.
    Conflict,
}

/// Why a store cannot tell or cannot write. All of them mean 503 to a client: never a 4xx, never a pass.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It did not answer within the deadline. A commit may have happened.
    #[error("the store did not answer within {0:?}")]
    TimedOut(std::time::Duration),
    /// It cannot be reached, or refuses.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// It lost its memory, and the proxies have not merged back what they hold.
    #[error("the store has lost its memory and is being restored")]
    Amnesia,
    /// It has no record of a session, and whoever may hold a copy has not had the time to give it back.
    #[error("the store has no record of session {0}, and has not been in line for long enough to be sure of that")]
    Unsure(SessionId),
    /// A list was asked to go on from where no page of it ended. The one fault in here that the caller is to blame for.
    #[error("no page of this store's sessions ended there; begin without a cursor")]
    CursorUnknown,
    /// It holds a record that cannot be read.
    #[error("the store holds a record of session {0} that cannot be read: {1}")]
    Corrupt(SessionId, String),
}

/// One place to keep sessions.
///
/// The contract suite in `tests/store` runs over every implementation.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Reads the record of a session.
    async fn get(&self, id: &SessionId) -> Result<Option<Stored>, StoreError>;

    /// Makes sure that there is no record of the session, where [`Backend::get`] has found none; false: there is one. To
    /// tell a client that its session is unknown has it throw the session away, so nobody must be able to know it: the
    /// store is one that takes writes, and whoever may hold a copy has had the time to give it back. A store that nobody
    /// else writes to has nothing to doubt.
    async fn is_absent(&self, _id: &SessionId) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// Keeps `value` under `ticket` for `lifetime`, to be taken once. In memory only: a ticket may be lost.
    async fn put_ticket(&self, ticket: &SessionId, value: Bytes, lifetime: Duration) -> Result<(), StoreError>;

    /// Takes what is kept under `ticket`; none if it was taken before, at whichever proxy, or is too old.
    async fn take_ticket(&self, ticket: &SessionId) -> Result<Option<Bytes>, StoreError>;

    /// Replaces the record by `next`, in one atomic and durable step, if it is still exactly `expected` (none: there
    /// is no record). If `next` has ended and `expected` had not, the same step publishes the revocation.
    /// The step also keeps the list of the subject's sessions.
    ///
    /// A living session can be committed as it is: its `Yes` says that it is so at a store that takes writes.
    /// An ended session can be committed again as it is. That publishes nothing twice, and its `Yes` says once more that
    /// the ending is as durable as the store can make it: who finds a session ended has not been told so.
    async fn commit(&self, expected: Option<&Stored>, next: &Session) -> Result<Committed, StoreError>;

    /// The subject's sessions that have neither ended nor passed their absolute end.
    async fn sessions_of(&self, subject: &str) -> Result<Vec<SessionId>, StoreError>;

    /// The records of sessions, about `at_most` of them: from the beginning, or from where another page ended. Every session
    /// that is kept from the first page to the last is on one of them. A record that cannot be read is left out.
    async fn list(&self, from: Option<&Cursor>, at_most: usize) -> Result<Page, StoreError>;

    /// Tells the other proxies on this store which keys this one has, for [`ANNOUNCEMENT_LEASE`], or takes that back (none); and
    /// hears what they have. A store that is not shared has nobody to tell.
    async fn announce(
        &self,
        _proxy: u64,
        _announcement: Option<&Announcement>,
    ) -> Result<Vec<Announcement>, StoreError> {
        Ok(Vec::new())
    }

    /// Follows the published revocations into `mirror` until the process ends, through every fault. A local store loads
    /// what it holds once; everything after that reaches the mirror with the commit itself.
    async fn follow(&self, mirror: &Mirror);
}
