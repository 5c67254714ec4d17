//! `/login`: trades a user name and a password for tokens, and begins a session.
//!
//! Every login begins a session with an id of its own, so that nobody can plant one (session fixation). A refresh cookie
//! that comes along is neither needed nor looked at: the new cookie takes its place in that client, and no session
//! ends without being asked to. Whoever wants the old one ended logs out first, or logs out of all. Only a login that asks for
//! its refresh token in the body is refused if such a cookie comes along: that client would carry two from then on.

use std::sync::Arc;

use super::refused::Refused;
use super::tokens::random;
use super::{Audit, Endpoints, LoginOutcome, Request, credentials};
use crate::gate::{Reason, Reply};
use crate::login::{LoggedIn, LoginError};
use crate::session::{Session, SessionId};
use crate::store::Committed;
use crate::time::Timestamp;

/// Two ids of 15 random bytes are never equal: a conflict is a store that answers itself. Once more is enough.
const IDS: usize = 2;

impl Endpoints {
    pub(super) async fn login(&self, request: &Request<'_>) -> Result<(LoginOutcome, Reply), Refused> {
        let address = request.address;
        let (credentials, transport) = credentials::read(request).map_err(Refused::request)?;
        // Before the password is looked at: whether it is right is told to nobody who could not use it.
        self.check(request, transport).map_err(Refused::request)?;
        let account = credentials.username.clone();

        let logged_in = match self.login.login(credentials).await {
            Ok(logged_in) => logged_in,
            Err(error) => {
                let refused = refused(&error);
                // What is no account may be a password, typed into the wrong field.
                let known = matches!(self.login.current(&account).await, Ok(Some(_)));
                let account = known.then_some(&*account);
                self.events.audit(Audit::LoginRefused { account, reason: refused.reason, address, transport });
                return Err(refused);
            }
        };

        for _ in 0..IDS {
            let now = self.now();
            let session = self.begin(&logged_in, now)?;
            let issued = self.issue(&session, &logged_in.principal, now)?;
            match self.sessions.commit(None, &session).await? {
                Committed::Yes => {
                    let (subject, session) = (&*session.subject, session.id);
                    self.events.audit(Audit::LoggedIn { subject, session, address, transport });
                    return Ok((LoginOutcome::Succeeded, self.token_response(&issued, transport)));
                }
                Committed::Conflict => continue,
            }
        }
        Err(Refused::request(Reason::StoreUnavailable))
    }

    fn begin(&self, logged_in: &LoggedIn, now: Timestamp) -> Result<Session, Refused> {
        let principal = &logged_in.principal;
        let id = SessionId::new(&principal.subject, random()?);
        // Up to a whole second, so that record, refresh token and claim name the same end.
        let ends_at = Timestamp::from_secs(now.plus(self.session_lifetime).as_millis().div_ceil(1000));
        let told = match self.login.is_told_once() {
            true => Some(Arc::new(self.told_at_login(id, logged_in)?)),
            false => None,
        };
        Ok(Session { told, ..Session::begin(id, &principal.subject, now, ends_at, self.keys.mac_key_id().clone()) })
    }
}

fn refused(error: &LoginError) -> Refused {
    match error {
        LoginError::Rejected => Refused::grant(Reason::CredentialsWrong),
        LoginError::TooManyAttempts { retry_after_s } => {
            let no = Refused::request(Reason::TooManyAttempts);
            Refused { reply: no.reply.with_retry_after(*retry_after_s), ..no }
        }
        LoginError::Overloaded => Refused::request(Reason::Overloaded),
        LoginError::Unavailable(_) => {
            tracing::warn!(%error, "answered 503, because it could not be told who may log in");
            Refused::request(Reason::LoginUnavailable)
        }
    }
}
