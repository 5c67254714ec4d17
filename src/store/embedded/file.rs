//! The file of a store while it passes from one process to another: only one of them can have it open.

use std::sync::Arc;
use std::time::Duration;

use super::shelf::Shelf;
use crate::store::Mirror;

/// How often it is tried whether the other process has closed the file.
const TRY_EVERY: Duration = Duration::from_millis(100);

/// A file of sessions that this process has open.
#[derive(Clone)]
pub struct StoreFile {
    shelf: Arc<Shelf>,
    mirror: Arc<Mirror>,
}

impl StoreFile {
    pub(in crate::store) fn new(shelf: &Arc<Shelf>, mirror: &Arc<Mirror>) -> StoreFile {
        StoreFile { shelf: Arc::clone(shelf), mirror: Arc::clone(mirror) }
    }

    /// Closes it, so that another process can open it. Waits for the steps under way.
    pub async fn let_go(&self) {
        let shelf = Arc::clone(&self.shelf);
        // A panic has nothing to do with who has the file.
        drop(tokio::task::spawn_blocking(move || shelf.let_go()).await);
    }

    /// Opens it again, as soon as the other process has closed it, and lists the revocations that it holds.
    pub async fn take_back(&self) {
        self.shelf.take_back();
        while !self.shelf.is_open() {
            let (shelf, mirror) = (Arc::clone(&self.shelf), Arc::clone(&self.mirror));
            drop(tokio::task::spawn_blocking(move || shelf.reopen_if_broken(&mirror)).await);
            if !self.shelf.is_open() {
                tokio::time::sleep(TRY_EVERY).await;
            }
        }
    }
}
