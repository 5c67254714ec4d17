//! Everybody's sessions, for an operator: a walk over all keys, in steps that nobody notices.
//!
//! There is no index of all sessions: it could be out of step with the records, after a rollback say, and a thief's
//! session that is on no list would not be revoked. What `SCAN` walks over are the records themselves.

use bytes::Bytes;

use super::Redis;
use crate::session::{PARTITIONS, SessionId};
use crate::store::{Cursor, Page, StoreError, record};

/// One step of the walk.
pub(super) async fn list(store: &Redis, from: Option<&Cursor>, at_most: usize) -> Result<Page, StoreError> {
    let begin = from.map_or(Ok(0), Cursor::number)?;
    let known = (0..PARTITIONS).map(|partition| store.epoch(partition)).collect::<Result<Vec<_>, _>>()?;

    let mut scan = redis::cmd("SCAN");
    scan.arg(begin).arg("MATCH").arg(store.keys.sessions()).arg("COUNT").arg(at_most);
    let scan = &scan;
    let (next, names): (u64, Vec<String>) =
        store.calls.call(|mut connection| async move { scan.query_async(&mut connection).await }).await?;
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
    for partition in 0..PARTITIONS {
        read.get(store.keys.epoch(partition));
    }
    let read = &read;
    let mut records: Vec<Option<Bytes>> =
        store.calls.call(|mut connection| async move { read.query_async(&mut connection).await }).await?;
    let epochs = records.split_off(ids.len());
    for (partition, (known, epoch)) in known.iter().zip(epochs).enumerate() {
        store.check_epoch(partition, known, epoch.as_deref())?;
    }
    // A record can have expired since the walk.
    let found = ids.into_iter().zip(records).filter_map(|(id, record)| Some((id, record?)));
    Ok(Page { sessions: record::readable(found), next: (next != 0).then(|| Cursor::from(next)) })
}
