//! `/logout/all`: ends all sessions of the subject. Only the refresh token of a living session can ask for it: a stolen
//! access token must not be enough.
//!
//! The session that asks ends last. A fault on the way leaves it alive, and so the client can ask again.

use super::end::{Ended, Witness};
use super::refused::Refused;
use super::transport::Presented;
use super::{Audit, Endpoints, LogoutOutcome, Request, Transport};
use crate::gate::Reason;
use crate::session::{EndReason, Ending, Session, SessionId};
use crate::time::Timestamp;

/// How often the list of sessions is read until nothing on it is alive. More rounds are only needed while the subject
/// logs in faster than it is logged out.
const ROUNDS: usize = 16;

impl Endpoints {
    pub(super) async fn logout_all(&self, request: &Request<'_>) -> Result<(LogoutOutcome, Transport), Refused> {
        let Presented { transport, token } = self.presented(request)?;
        let presented = token.map_err(Refused::grant)?;
        // Asked before the record is read: whatever was ended here by then, the record says so too, and why.
        let known_ended = self.sessions.mirror().revocations.contains(&presented.session);
        let Some(stored) = self.sessions.get(&presented.session).await? else {
            return Err(match self.sessions.is_absent(&presented.session).await? {
                true => Refused::grant(Reason::SessionUnknown),
                false => Refused::request(Reason::StoreUnavailable),
            });
        };
        let own = &stored.session;
        let (subject, session, address) = (&*own.subject, own.id, request.address);

        match own.ended {
            // Asked again, or another session was first. What has begun since is not meant.
            Some(Ending { at, reason: EndReason::LogoutAll }) => {
                self.end_others(own, Some(at)).await?;
                // Once more: that it was read here does not prove that a replica of the store has it.
                self.end(&Witness::record(own), EndReason::LogoutAll).await?;
                return Ok((LogoutOutcome::AlreadyEnded, transport));
            }
            Some(_) => return Err(Refused::grant(Reason::SessionEnded)),
            None if known_ended => return Err(Refused::grant(Reason::SessionEnded)),
            None if !own.is_live(self.now()) => return Err(Refused::grant(Reason::TokenExpired)),
            None => {}
        }
        if presented.generation.saturating_add(1) < own.generation {
            self.end(&Witness::record(own), EndReason::Reuse).await?;
            self.events.audit(Audit::TokenReused { subject, session, address, transport });
            return Err(Refused::grant(Reason::TokenReused));
        }

        self.end_others(own, None).await?;
        self.end(&Witness::record(own), EndReason::LogoutAll).await?;
        self.events.audit(Audit::LoggedOutAll { subject, session, address, transport });
        Ok((LogoutOutcome::EndedAll, transport))
    }

    /// Ends the subject's other sessions; only those that began at `begun_until` or earlier, if that is given.
    async fn end_others(&self, own: &Session, begun_until: Option<Timestamp>) -> Result<(), Refused> {
        for _ in 0..ROUNDS {
            let mut all_over = true;
            for id in self.sessions.sessions_of(&own.subject).await? {
                if id == own.id || self.began_after(&id, begun_until).await? {
                    continue;
                }
                if let Ended::Now(_) = self.end(&Witness::sibling(own, id), EndReason::LogoutAll).await? {
                    all_over = false;
                }
            }
            if all_over {
                return Ok(());
            }
        }
        Err(Refused::request(Reason::Overloaded))
    }

    async fn began_after(&self, id: &SessionId, until: Option<Timestamp>) -> Result<bool, Refused> {
        let Some(until) = until else { return Ok(false) };
        Ok(self.sessions.get(id).await?.is_some_and(|stored| stored.session.created_at > until))
    }
}
