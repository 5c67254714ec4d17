//! Everybody's sessions, for an operator: a walk over all keys, in steps that nobody notices.
//!
//! There is no index of all sessions: it could be out of step with the records, after a rollback say, and a thief's
//! session that is on no list would not be revoked. What `SCAN` walks over are the records themselves.

//!
//! In a cluster it is one walk for each partition, so that no partition is left out wherever it moves meanwhile. How far a
//! walk has come means something to one server only: when another has taken over, the walk over what it has begins again.

use bytes::Bytes;

use super::Redis;
use crate::session::SessionId;
use crate::store::{Cursor, Page, StoreError, record};

/// One step of the walk.
pub(super) async fn list(store: &Redis, from: Option<&Cursor>, at_most: usize) -> Result<Page, StoreError> {
    // Which shard, its term, and what `SCAN` said there.
    let [number, term, scanned] = from.map_or(Ok([0; 3]), Cursor::numbers)?;
    let shard = usize::try_from(number).ok().and_then(|number| store.shards.get(number));
    let shard = shard.ok_or(StoreError::CursorUnknown)?;
    let epochs = shard.partitions.clone().map(|partition| store.epoch(partition)).collect::<Result<Vec<_>, _>>()?;
    let term_now = shard.dialer.term();
    let begin = if term == term_now { scanned } else { 0 };

    let mut scan = redis::cmd("SCAN");
    let only = (store.shards.len() > 1).then_some(shard.partitions.start);
    scan.arg(begin).arg("MATCH").arg(store.keys.sessions(only)).arg("COUNT").arg(at_most);
    let scan = &scan;
    let (scanned, names): (u64, Vec<String>) =
        shard.calls.call(|mut connection| async move { scan.query_async(&mut connection).await }).await?;
    let id_in = |name: &String| {
        let id = SessionId::parse(name.rsplit(':').next()?).ok()?;
        (store.keys.session(&id) == *name).then_some(id)
    };
    let ids: Vec<SessionId> = names.iter().filter_map(id_in).collect();

    // The epochs after the walk: a store that lost its memory before or in it must not pass for an empty one.
    let mut read = redis::pipe();
    for id in &ids {
        read.get(store.keys.session(id));
    }
    for partition in shard.partitions.clone() {
        read.get(store.keys.epoch(partition));
        // While a slot is on its way to another node, what has left already is not in the walk. To ask for a key that is
        // nowhere is an error then.
        read.get(store.keys.nowhere(partition));
    }
    let read = &read;
    let mut records: Vec<Option<Bytes>> =
        shard.calls.call(|mut connection| async move { read.query_async(&mut connection).await }).await?;
    if shard.dialer.term() != term_now {
        return Ok(Page { sessions: Vec::new(), next: Some(Cursor::from([number, 0, 0])) });
    }
    let found = records.split_off(ids.len());
    for ((partition, known), found) in shard.partitions.clone().zip(&epochs).zip(found.chunks(2)) {
        store.check_epoch(partition, known, found[0].as_deref())?;
    }
    // A record can have expired since the walk.
    let found = ids.into_iter().zip(records).filter_map(|(id, record)| Some((id, record?)));
    let next = match scanned {
        0 => (number + 1 < store.shards.len() as u64).then(|| Cursor::from([number + 1, 0, 0])),
        scanned => Some(Cursor::from([number, term_now, scanned])),
    };
    Ok(Page { sessions: record::readable(found), next })
}
