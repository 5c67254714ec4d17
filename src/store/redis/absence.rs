//! Makes sure that a session has no record.
//!
//! To tell a client that its session is unknown has it throw the session away. After a failover another proxy may hold the only
//! copy, so nobody is told so before all have had the time to give back what they hold: one lease, from when this proxy was
//! in line with the primary. And a primary of the past can still be read, but takes no writes: so this is one.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use redis::aio::MultiplexedConnection;

use super::recover::LEASE;
use super::{Known, Redis, Verdict};
use crate::session::SessionId;
use crate::store::StoreError;

/// Since when what this proxy holds of a partition has been compared with the store, and in which term; none before the first time.
#[derive(Default)]
pub(super) struct InLine(Mutex<Option<(Instant, u64)>>);

impl InLine {
    fn begins(&self, term: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), term));
    }

    /// For a lease, with the primary of this term?
    fn is_settled(&self, term: u64) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|(since, in_term)| in_term == term && since.elapsed() >= LEASE)
    }
}

impl Redis {
    /// All that this proxy holds of the partition has been compared with the primary of this term, in this epoch.
    pub(super) fn is_in_line(&self, partition: usize, epoch: String, term: u64) {
        *self.known(partition) = Known::Epoch(epoch.into());
        self.in_line[partition].begins(term);
    }
}

/// False: there is a record.
pub(super) async fn is_absent(store: &Redis, id: &SessionId) -> Result<bool, StoreError> {
    let partition = id.partition();
    let shard = store.shard(partition);
    let known = store.epoch(partition)?;
    let is_settled = || store.in_line[partition].is_settled(shard.dialer.term());
    if !is_settled() {
        return Err(StoreError::Unsure(*id));
    }
    let (epoch, keys) = (&*known, &[store.keys.epoch(partition), store.keys.session(id)][..]);
    let look = |mut connection: MultiplexedConnection| async move {
        let mut call = store.scripts.absent.prepare_invoke();
        let verdict: String = call.key(keys).arg(epoch).invoke_async(&mut connection).await?;
        // Nobody asks often for what is lost, so that sentinels and nodes can be asked each time.
        shard.dialer.confirm().await?;
        Verdict::of(&verdict)
    };
    match shard.calls.call(look).await? {
        // Once more: the call may have found another primary.
        Verdict::Yes if is_settled() => Ok(true),
        Verdict::Yes => Err(StoreError::Unsure(*id)),
        Verdict::Conflict => Ok(false),
        Verdict::Closed => Err(store.lost(partition, &known, true)),
        Verdict::Amnesia => Err(store.lost(partition, &known, false)),
    }
}
