//! Ends one session: read, end, write against exactly what was read, again after a lost race.
//!
//! A session that the store has no record of is ended all the same: the store may have lost it, while access tokens of it
//! still live. The record is then made from what the presented token says.

use super::refused::Refused;
use super::{ATTEMPTS, Endpoints};
use crate::gate::{Identity, Reason};
use crate::session::{EndReason, Session, SessionId};
use crate::store::Committed;
use crate::time::Timestamp;
use crate::token::RefreshToken;

/// What is known of a session without asking the store.
pub(super) struct Witness<'a> {
    id: SessionId,
    /// Empty if it is not known: a refresh token does not say. Nobody's session has an empty subject.
    subject: &'a str,
    ends_at: Timestamp,
}

impl<'a> Witness<'a> {
    pub fn refresh_token(token: &RefreshToken) -> Witness<'static> {
        Witness { id: token.session, subject: "", ends_at: token.ends_at }
    }

    pub fn access_token(identity: &'a Identity) -> Witness<'a> {
        Witness { id: identity.session, subject: &identity.subject, ends_at: identity.session_ends_at }
    }

    pub fn record(session: &'a Session) -> Witness<'a> {
        Witness { id: session.id, subject: &session.subject, ends_at: session.ends_at }
    }

    /// Another session of the same subject, of which the store only says that it exists.
    pub fn sibling(session: &'a Session, id: SessionId) -> Witness<'a> {
        Witness { id, ..Witness::record(session) }
    }
}

/// The session has ended, durably.
#[derive(Debug)]
pub(super) enum Ended {
    /// By this call.
    Now(Session),
    /// Before it.
    Before,
}

impl Endpoints {
    /// Ends the session, if it has not ended. When this returns, the store holds it as ended, and this proxy refuses it.
    pub(super) async fn end(&self, witness: &Witness<'_>, reason: EndReason) -> Result<Ended, Refused> {
        for _ in 0..ATTEMPTS {
            let stored = self.sessions.get(&witness.id).await?;
            let now = self.now();
            let next = match &stored {
                Some(stored) => stored.session.end(now, reason),
                None => self.begun_as(witness, now).end(now, reason),
            };
            let before = stored.as_ref().is_some_and(|stored| stored.session.ended.is_some());
            // Also what has ended before is committed: that one proxy found it ended does not prove that a replica of the
            // store has it.
            match self.sessions.commit(stored.as_ref(), &next).await? {
                Committed::Yes if before => return Ok(Ended::Before),
                Committed::Yes => return Ok(Ended::Now(next)),
                Committed::Conflict => continue,
            }
        }
        Err(Refused::request(Reason::Overloaded))
    }

    /// The least record that says what the witness knows. A copy with more, if one turns up, merges with it.
    fn begun_as(&self, witness: &Witness<'_>, now: Timestamp) -> Session {
        let mac_key = self.keys.mac_key_id().clone();
        Session::begin(witness.id, witness.subject, now, witness.ends_at, mac_key)
    }
}
