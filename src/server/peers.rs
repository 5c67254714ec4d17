//! Staying in touch with the other proxies on the store: all of them must be able to verify what each signs.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, warn};

use super::state::State;
use crate::store::{ANNOUNCEMENT_LEASE, Announcement, Backend, Disagreement, StoreError};
use crate::token::KeySet;

/// How long to wait for a store that does not answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// This proxy, among its peers.
pub(super) struct Peers {
    backend: Arc<dyn Backend>,
    process: u64,
    announcement: Announcement,
}

impl Peers {
    pub(super) fn new(state: &State) -> Peers {
        Peers { backend: Arc::clone(&state.backend), process: state.process, announcement: announcement(&state.keys) }
    }

    /// Returns once this proxy and all others understand one another. Ends the process if they do not: a proxy that went on
    /// would refuse tokens that are good.
    pub(super) async fn agree(&self) {
        let mut said = false;
        loop {
            match self.compare().await {
                Ok(None) => return,
                Ok(Some(disagreement)) => {
                    self.withdraw().await;
                    eprintln!("portcullis: {disagreement}");
                    std::process::exit(1);
                }
                Err(error) => {
                    if !std::mem::replace(&mut said, true) {
                        warn!(%error, "the store cannot be used yet; only public routes are served until it can");
                    }
                    tokio::time::sleep(PATIENCE).await;
                }
            }
        }
    }

    /// Renews the announcement until the process ends. A proxy that starts later with other keys is the one to leave.
    pub(super) async fn stay_in_touch(&self) {
        loop {
            tokio::time::sleep(ANNOUNCEMENT_LEASE / 3).await;
            match self.compare().await {
                Ok(None) => {}
                Ok(Some(disagreement)) => error!("{disagreement}"),
                Err(error) => warn!(%error, "the other proxies cannot be told which keys this one has"),
            }
        }
    }

    /// Takes back what was announced, so that nobody waits for its lease to run out.
    pub(super) async fn withdraw(&self) {
        let withdrawn = tokio::time::timeout(PATIENCE, self.backend.announce(self.process, None)).await;
        if !matches!(withdrawn, Ok(Ok(_))) {
            warn!(
                "the store does not answer; other proxies will wait up to {ANNOUNCEMENT_LEASE:?} before they forget this one's keys"
            );
        }
    }

    async fn compare(&self) -> Result<Option<Disagreement>, StoreError> {
        let others = self.backend.announce(self.process, Some(&self.announcement)).await?;
        Ok(others.iter().find_map(|other| self.announcement.disagreement(other)))
    }
}

fn announcement(keys: &KeySet) -> Announcement {
    Announcement {
        signing_key: keys.signing_key_id().clone(),
        mac_key: keys.mac_key_id().clone(),
        keys: keys.key_ids().cloned().collect(),
    }
}
