//! Changes a session: read, decide, write against exactly what was read, again after a lost race.
//!
//! Whoever ends a session (a logout, an operator, the removal of its subject) does it through here.

use super::{Committed, Sessions, StoreError};
use crate::session::{EndReason, Session, SessionId};
use crate::time::Timestamp;

/// How often a lost race is run again. Each loss means that another request has won: more than two in a row are hardly possible.
const ATTEMPTS: usize = 16;

/// How often the list of a subject's sessions is read until nothing on it is alive. More rounds are only needed while the subject
/// logs in faster than it is logged out.
const ROUNDS: usize = 16;

/// A change that was committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changed {
    /// The session as it was; none if the store had no record of it.
    pub before: Option<Session>,
    /// The session as it is.
    pub after: Session,
}

impl Changed {
    /// Has this change ended the session, which lived before or was not known?
    pub fn has_ended(&self) -> bool {
        self.after.ended.is_some() && self.before.as_ref().is_none_or(|before| before.ended.is_none())
    }
}

/// Why a session was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The store cannot tell or cannot write.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Every time, somebody else was faster.
    #[error("the session is being changed by others all the time")]
    Contended,
}

impl Sessions {
    /// Commits what `decide` makes of the session; none: it wants no change, and there is none. `decide` is asked again
    /// after each lost race, with what is there now.
    ///
    /// A session that has ended is best committed again as it is: that one proxy found it ended does not prove that a
    /// replica of the store has it.
    pub async fn change(
        &self,
        id: &SessionId,
        decide: impl Fn(Option<&Session>) -> Option<Session>,
    ) -> Result<Option<Changed>, ChangeError> {
        for _ in 0..ATTEMPTS {
            let stored = self.get(id).await?;
            let Some(after) = decide(stored.as_ref().map(|stored| &stored.session)) else { return Ok(None) };
            match self.commit(stored.as_ref(), &after).await? {
                Committed::Yes => return Ok(Some(Changed { before: stored.map(|stored| stored.session), after })),
                Committed::Conflict => continue,
            }
        }
        Err(ChangeError::Contended)
    }

    /// Ends a session. None: the store knows of none.
    pub async fn end(
        &self,
        id: &SessionId,
        now: impl Fn() -> Timestamp,
        reason: EndReason,
    ) -> Result<Option<Changed>, ChangeError> {
        self.change(id, |known| known.map(|session| session.end(now(), reason))).await
    }

    /// Ends all sessions of a subject, those that begin meanwhile as well. `ended` is told of each that lived.
    pub async fn end_all_of(
        &self,
        subject: &str,
        now: impl Fn() -> Timestamp,
        reason: EndReason,
        mut ended: impl FnMut(&Session),
    ) -> Result<(), ChangeError> {
        for _ in 0..ROUNDS {
            let mut all_over = true;
            for id in self.sessions_of(subject).await? {
                if let Some(changed) = self.end(&id, &now, reason).await?.filter(Changed::has_ended) {
                    ended(&changed.after);
                    all_over = false;
                }
            }
            if all_over {
                return Ok(());
            }
        }
        Err(ChangeError::Contended)
    }
}
