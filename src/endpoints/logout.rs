//! `/logout`: ends one session. The refresh token names it, or else the bearer token.
//!
//! Any generation of the refresh token will do: whoever holds an old one may end the session, and nothing else.
//! A 204 says that the session is over: a token that could not be verified might name one that is not.

use http::StatusCode;
use http::header::SET_COOKIE;

use super::end::{Ended, Witness};
use super::refused::Refused;
use super::transport::Presented;
use super::{Audit, Endpoints, LogoutOutcome, Request, Transport};
use crate::gate::{Reason, Reply};
use crate::session::EndReason;

impl Endpoints {
    pub(super) async fn logout(&self, request: &Request<'_>) -> Result<(LogoutOutcome, Transport), Refused> {
        let Presented { transport, token } = self.presented(request)?;
        // A token that names no session, or one that is past its end, leaves nothing to end.
        let token = token.ok();
        let witness = match (&token, request.identity, request.bearer_refused) {
            (Some(token), _, _) => Witness::refresh_token(token),
            (None, Some(identity), _) => Witness::access_token(identity),
            // Asked again: the answer is still true.
            (None, None, Some(Reason::SessionEnded)) => return Ok((LogoutOutcome::AlreadyEnded, transport)),
            (None, None, Some(reason)) => return Err(Refused::request(reason)),
            (None, None, None) => return Ok((LogoutOutcome::NoSession, transport)),
        };
        let outcome = match self.end(&witness, EndReason::Logout).await? {
            Ended::Now(session) => {
                let subject = Some(&*session.subject).filter(|subject| !subject.is_empty());
                let (session, address) = (session.id, request.address);
                let transport = token.as_ref().map(|_| transport);
                self.events.audit(Audit::LoggedOut { subject, session, address, transport });
                LogoutOutcome::Ended
            }
            Ended::Before => LogoutOutcome::AlreadyEnded,
        };
        Ok((outcome, transport))
    }

    /// The answer to a logout that was recorded, here or before.
    pub(super) fn logged_out(&self, transport: Transport) -> Reply {
        let reply = Reply::empty(StatusCode::NO_CONTENT);
        match transport {
            Transport::Cookie => {
                let cookies = [Some(&self.cookie), self.access_cookie.as_ref()].into_iter().flatten();
                cookies.fold(reply, |reply, cookie| reply.with(SET_COOKIE, cookie.clear()))
            }
            Transport::Body => reply,
        }
    }
}
