//! Ends the sessions of those who may no longer log in, without waiting until they ask for a refresh.
//!
//! Every proxy does: whoever comes second finds the sessions ended.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Audit, Endpoints};
use crate::session::EndReason;
use crate::store::ChangeError;

/// How many names may wait. Whoever finds more waits with them.
const QUEUE: usize = 64;
/// When to try again what the store did not take.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Those who are removed, until their sessions have ended. It outlives configurations.
pub struct Removed {
    told: mpsc::Receiver<String>,
}

impl Removed {
    /// Nobody yet, and where to tell of somebody.
    pub fn new() -> (mpsc::Sender<String>, Removed) {
        let (tell, told) = mpsc::channel(QUEUE);
        (tell, Removed { told })
    }

    /// Ends their sessions until nobody is left who could tell of one more. `current` gives the endpoints of today.
    pub async fn end_sessions<E: Deref<Target = Endpoints>>(mut self, current: impl Fn() -> E) {
        // Those whose sessions are not all over yet, and whether that was logged.
        let mut removed: BTreeMap<String, bool> = BTreeMap::new();
        loop {
            if removed.is_empty() {
                let Some(subject) = self.told.recv().await else { return };
                removed.insert(subject, false);
            }
            while let Ok(subject) = self.told.try_recv() {
                removed.insert(subject, false);
            }
            let mut left = BTreeMap::new();
            for (subject, logged) in removed {
                // One whose sessions cannot be ended does not keep the others from being thrown out.
                if let Err(error) = current().end_if_removed(&subject).await {
                    if !logged {
                        tracing::warn!(%error, ?subject, "the sessions of a removed user cannot be ended; trying again");
                    }
                    left.insert(subject, true);
                }
            }
            removed = left;
            if !removed.is_empty() {
                tokio::time::sleep(TRY_AGAIN).await;
            }
        }
    }
}

impl Endpoints {
    async fn end_if_removed(&self, subject: &str) -> Result<(), ChangeError> {
        // The store may have been down for long enough that somebody put the account back.
        if let Ok(Some(_)) = self.login.current(subject).await {
            return Ok(());
        }
        let audit = |session: &crate::session::Session| {
            let (session, address, transport) = (session.id, None, None);
            self.events.audit(Audit::SubjectRemoved { subject, session, address, transport });
        };
        self.sessions.end_all_of(subject, || self.now(), EndReason::SubjectRemoved, audit).await
    }
}
