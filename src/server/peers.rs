//! Staying in touch with the other proxies on the store: all of them must be able to verify what each signs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
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
    /// Held while the store is asked, so that an older one never lands on a newer one.
    announcement: Mutex<Announcement>,
}

/// Why keys are not taken up.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeysRefused {
    #[error(transparent)]
    Disagreement(#[from] Disagreement),
    #[error("the store cannot be asked whether the other proxies know these keys: {0}")]
    Store(#[from] StoreError),
}

impl Peers {
    pub(super) fn new(state: &State, keys: &KeySet) -> Peers {
        let (backend, announcement) = (Arc::clone(&state.backend), Mutex::new(announcement(keys)));
        Peers { backend, process: state.process, announcement }
    }

    /// Tells the others that this proxy has these keys from now on. If they do not understand one another, nothing has changed.
    pub(super) async fn take_up(&self, keys: &KeySet) -> Result<(), KeysRefused> {
        let mut announced = self.announcement.lock().await;
        let next = announcement(keys);
        let refused = match self.compare(&next).await {
            Ok(None) => {
                *announced = next;
                return Ok(());
            }
            Ok(Some(disagreement)) => disagreement.into(),
            Err(error) => error.into(),
        };
        if let Err(error) = self.compare(&announced).await {
            warn!(%error, "the other proxies cannot be told that this one keeps its keys");
        }
        Err(refused)
    }

    /// Returns once this proxy and all others understand one another. Ends the process if they do not: a proxy that went on
    /// would refuse tokens that are good.
    pub(super) async fn agree(&self) {
        let mut said = false;
        loop {
            let compared = self.compare(&*self.announcement.lock().await).await;
            match compared {
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
            let compared = self.compare(&*self.announcement.lock().await).await;
            match compared {
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

    async fn compare(&self, announcement: &Announcement) -> Result<Option<Disagreement>, StoreError> {
        let others = self.backend.announce(self.process, Some(announcement)).await?;
        Ok(others.iter().find_map(|other| announcement.disagreement(other)))
    }
}

fn announcement(keys: &KeySet) -> Announcement {
    Announcement {
        signing_key: keys.signing_key_id().clone(),
        mac_key: keys.mac_key_id().clone(),
        keys: keys.key_ids().cloned().collect(),
    }
}
