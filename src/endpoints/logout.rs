//! `/logout`: ends one session. The cookie names it, or else the bearer token.
//!
//! Any generation of the refresh token will do: whoever holds an old one may end the session, and nothing else.
//! A 204 says that the session is over: a token that could not be verified might name one that is not.

use http::StatusCode;
use http::header::SET_COOKIE;

use super::end::{Ended, Witness};
use super::refused::Refused;
use super::{Audit, Endpoints, LogoutOutcome, Request};
use crate::gate::{Reason, Reply};
use crate::session::EndReason;

impl Endpoints {
    pub(super) async fn logout(&self, request: &Request<'_>) -> Result<LogoutOutcome, Refused> {
        let cookie = match self.presented(request.headers) {
            Err(Reason::CredentialsAmbiguous) => return Err(Refused::cookie(Reason::CredentialsAmbiguous)),
            // A cookie that names no session, or one that is past its end, leaves nothing to end.
            cookie => cookie.ok(),
        };
        let witness = match (&cookie, request.identity, request.bearer_refused) {
            (Some(token), _, _) => Witness::refresh_token(token),
            (None, Some(identity), _) => Witness::access_token(identity, &self.keys),
            // Asked again: the answer is still true.
            (None, None, Some(Reason::SessionEnded)) => return Ok(LogoutOutcome::AlreadyEnded),
            (None, None, Some(reason)) => return Err(Refused::request(reason)),
            (None, None, None) => return Ok(LogoutOutcome::NoSession),
        };
        match self.end(&witness, EndReason::Logout).await? {
            Ended::Now(session) => {
                let subject = Some(&*session.subject).filter(|subject| !subject.is_empty());
                self.events.audit(Audit::LoggedOut { subject, session: session.id, address: request.address });
                Ok(LogoutOutcome::Ended)
            }
            Ended::Before => Ok(LogoutOutcome::AlreadyEnded),
        }
    }

    /// The answer to a logout that was recorded, here or before.
    pub(super) fn logged_out(&self) -> Reply {
        Reply::empty(StatusCode::NO_CONTENT).with(SET_COOKIE, self.cookie.clear())
    }
}
