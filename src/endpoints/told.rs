//! What was told at login and is kept with the session, for those ways to log in that cannot be asked again.
//!
//! What must never happen in here: the app's own session is kept readable.

use std::sync::Arc;

use secrecy::ExposeSecret;

use super::refused::Refused;
use super::tokens::random;
use super::{AppLogoutOutcome, Endpoints};
use crate::gate::Reason;
use crate::login::{AppSession, LoggedIn, Principal};
use crate::session::{Session, SessionId, ToldAtLogin};

impl Endpoints {
    /// What is to be kept of a login.
    pub(super) fn told_at_login(&self, session: SessionId, logged_in: &LoggedIn) -> Result<ToldAtLogin, Refused> {
        let LoggedIn { principal, app_session } = logged_in;
        let app_session = match app_session {
            None => None,
            Some(cookies) => {
                let sealed = self.keys.seal(&session, cookies.expose_secret(), random()?);
                Some(sealed.ok_or_else(|| Refused::request(Reason::Internal))?)
            }
        };
        Ok(ToldAtLogin { roles: principal.roles.clone(), scopes: principal.scopes.clone(), app_session })
    }

    /// What was kept.
    pub(super) fn was_told(&self, session: &Session) -> Option<LoggedIn> {
        let told = session.told.as_ref()?;
        let (subject, roles, scopes) = (session.subject.clone(), told.roles.clone(), told.scopes.clone());
        let principal = Principal { subject, roles, scopes };
        Some(LoggedIn { principal, app_session: self.app_session(session) })
    }

    /// The app's own session, if it is kept, not over, and a key of ours still opens it.
    pub(super) fn app_session(&self, session: &Session) -> Option<AppSession> {
        let sealed = session.told.as_ref()?.app_session.as_deref()?;
        if let Some(newest) = self.app_sessions.newest(&session.id) {
            return newest.and_then(|field| Some(AppSession::from(field.to_str().ok()?)));
        }
        let cookies = self.keys.open(&session.id, sealed);
        if cookies.is_none() {
            tracing::warn!(session = %session.id, "the app's own session is sealed with a key that is not in the key file");
        }
        cookies.map(AppSession::from)
    }

    /// Tells the app, behind the answer, that its own session is over. Our logout neither waits for it nor depends on it.
    pub(super) fn end_app_session(&self, session: &Session) {
        let Some(app_session) = self.app_session(session) else { return };
        let (login, events) = (Arc::clone(&self.login), Arc::clone(&self.events));
        tokio::spawn(async move {
            match login.log_out(app_session).await {
                None => {}
                Some(Ok(())) => events.app_logout(AppLogoutOutcome::Told),
                Some(Err(error)) => {
                    tracing::warn!(%error, "the app could not be told of a logout");
                    events.app_logout(AppLogoutOutcome::Failed);
                }
            }
        });
    }
}
