//! What an app has made of its own sessions since their cookies were sealed: a newer cookie, or an end.
//!
//! Kept in memory, by the proxy that saw the answer: another one, or this one after a restart, goes by what was sealed at login.
//! An end is an end for all: it ends our session, too.
//!
//! What must never happen in here: memory grows with what apps set; a cookie is shown.

use http::{HeaderMap, HeaderValue};
use quick_cache::sync::Cache;

use super::end::{Ended, Witness};
use super::{Audit, Endpoints};
use crate::gate::Identity;
use crate::login::AppCookies;
use crate::session::{EndReason, SessionId};

/// How many sessions may be known to differ from what was sealed.
const ENTRIES: usize = 50_000;

/// Sessions that differ from what was sealed.
pub struct AppSessions {
    /// None: it is over.
    newest: Cache<SessionId, Option<HeaderValue>>,
}

impl Default for AppSessions {
    fn default() -> AppSessions {
        AppSessions { newest: Cache::new(ENTRIES) }
    }
}

impl AppSessions {
    /// What is known of this one since: newer cookies, or that it is over (none). None if nothing is.
    pub(super) fn newest(&self, session: &SessionId) -> Option<Option<HeaderValue>> {
        if self.newest.is_empty() { None } else { self.newest.get(session) }
    }

    /// The cookies to present for this identity, as they stand in a `Cookie` field.
    pub fn of(&self, identity: &Identity) -> Option<HeaderValue> {
        let sealed = identity.app_session()?;
        self.newest(&identity.session).unwrap_or_else(|| Some(sealed.clone()))
    }

    /// Takes up what the app has set of the cookies that were presented for this identity. True if that ends its session.
    pub fn has_set(&self, identity: &Identity, set: &HeaderMap) -> bool {
        let Some(presented) = self.of(identity) else { return false };
        let Ok(text) = presented.to_str() else { return false };
        let mut cookies = AppCookies::of(text);
        cookies.update(set);
        let newest = cookies.field(None).and_then(|field| HeaderValue::try_from(field).ok()).map(|mut field| {
            field.set_sensitive(true);
            field
        });
        let is_over = newest.is_none();
        if newest.as_ref() != Some(&presented) {
            self.newest.insert(identity.session, newest);
        }
        is_over
    }
}

impl Endpoints {
    /// The app has ended its own session: its user has logged out there, or it has run out. Ours ends with it.
    pub async fn app_session_is_over(&self, identity: &Identity, address: std::net::IpAddr) {
        match self.end(&Witness::access_token(identity), EndReason::Logout).await {
            Ok(Ended::Now(session)) => {
                let subject = Some(&*session.subject);
                self.events.audit(Audit::LoggedOut { subject, session: session.id, address, transport: None });
            }
            Ok(Ended::Before) => {}
            Err(refused) => {
                let reason = refused.reason.as_str();
                tracing::warn!(reason, session = %identity.session, "the app has ended its session, and ours could not be ended");
            }
        }
    }
}
