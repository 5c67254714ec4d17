//! Ends one session: read, end, write against exactly what was read, again after a lost race.
//!
//! A session that the store has no record of is ended all the same: the store may have lost it, while access tokens of it
//! still live. The record is then made from what the presented token says.

use std::borrow::Cow;

use super::refused::Refused;
use super::{ATTEMPTS, Endpoints};
use crate::gate::{Identity, Reason};
use crate::session::{EndReason, KeyId, Session, SessionId};
use crate::store::Committed;
use crate::time::Timestamp;
use crate::token::{KeySet, RefreshToken};

/// What is known of a session without asking the store.
pub(super) struct Witness<'a> {
    pub id: SessionId,
    /// Empty if it is not known: a refresh token does not say. Nobody's session has an empty subject.
    pub subject: &'a str,
    generation: u32,
    ends_at: Timestamp,
    mac_key: Cow<'a, KeyId>,
}

impl<'a> Witness<'a> {
    pub fn refresh_token(token: &'a RefreshToken) -> Witness<'a> {
        Witness {
            id: token.session,
            subject: "",
            generation: token.generation,
            ends_at: token.ends_at,
            mac_key: Cow::Borrowed(&token.key),
        }
    }

    pub fn access_token(identity: &'a Identity, keys: &'a KeySet) -> Witness<'a> {
        Witness {
            id: identity.session,
            subject: &identity.subject,
            generation: identity.generation,
            ends_at: identity.session_ends_at,
            mac_key: Cow::Borrowed(keys.mac_key_id()),
        }
    }

    pub fn record(session: &'a Session) -> Witness<'a> {
        Witness {
            id: session.id,
            subject: &session.subject,
            generation: session.generation,
            ends_at: session.ends_at,
            mac_key: Cow::Borrowed(&session.mac_key),
        }
    }

    /// Another session of the same subject, of which the store only says that it exists.
    pub fn sibling(session: &'a Session, id: SessionId) -> Witness<'a> {
        Witness { id, ..Witness::record(session) }
    }

    fn session(&self, now: Timestamp) -> Session {
        let session = Session::begin(self.id, self.subject, now, self.ends_at, self.mac_key.clone().into_owned());
        Session { generation: self.generation, ..session }
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
                Some(stored) if stored.session.ended.is_some() => return Ok(Ended::Before),
                Some(stored) => stored.session.end(now, reason),
                None => witness.session(now).end(now, reason),
            };
            match self.sessions.commit(stored.as_ref(), &next).await? {
                Committed::Yes => return Ok(Ended::Now(next)),
                Committed::Conflict => continue,
            }
        }
        Err(Refused::request(Reason::Overloaded))
    }
}
