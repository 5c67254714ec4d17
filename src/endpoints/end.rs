//! Ends one session, for somebody who shows a token of it.
//!
//! A session that the store has no record of is ended all the same: the store may have lost it, while access tokens of it
//! still live. The record is then made from what the presented token says.

use super::Endpoints;
use super::refused::Refused;
use crate::gate::Identity;
use crate::session::{EndReason, Session, SessionId};
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
        Witness { id: identity.session, subject: identity.subject(), ends_at: identity.session_ends_at() }
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
        let end = |known: Option<&Session>| {
            let now = self.now();
            Some(match known {
                Some(session) => session.end(now, reason),
                None => self.begun_as(witness, now).end(now, reason),
            })
        };
        match self.sessions.change(&witness.id, end).await? {
            Some(changed) if changed.has_ended() => {
                self.end_app_session(&changed.after);
                Ok(Ended::Now(changed.after))
            }
            Some(_) | None => Ok(Ended::Before),
        }
    }

    /// The least record that says what the witness knows. A copy with more, if one turns up, merges with it.
    fn begun_as(&self, witness: &Witness<'_>, now: Timestamp) -> Session {
        let mac_key = self.keys.mac_key_id().clone();
        Session::begin(witness.id, witness.subject, now, witness.ends_at, mac_key)
    }
}
