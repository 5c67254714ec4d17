//! Loads a partition, and gives a store that has lost its memory back what this proxy holds.
//!
//! A store without an epoch knows nothing, and "nothing" must not be read as "nothing is revoked". Every proxy merges back
//! the revocations that its mirror holds; when all have had the time for that, one of them opens a new epoch, and
//! everybody reads the stream anew. The same happens in little when only the stream has lost something.
//!
//! The seam for session records: `merge_back` is where copies of them would be merged (`session::merge`) as well.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};

use super::feed::{Feed, Page};
use super::follow::Follower;
use super::keys::evalsha;
use super::{Known, nonce};
use crate::session::{EndReason, SessionId};
use crate::store::record;
use crate::time::Timestamp;

/// How long proxies have to merge back what they hold before the store opens again. They look once a second.
const LEASE: Duration = Duration::from_secs(3);
/// How many revocations are merged back in one round trip.
const CHUNK: usize = 256;

impl Follower<'_> {
    /// One step towards a partition that is loaded and open. It stays as it is while other proxies have time.
    pub(super) async fn recover(
        &mut self,
        connection: &mut MultiplexedConnection,
        partition: usize,
    ) -> RedisResult<()> {
        // Before reading: what is ended from now on is in the stream anyhow.
        let held = self.mirror.revocations.of_partition(partition);
        self.feeds[partition] = Feed::default();
        let mut published = HashSet::new();
        if !self.read_all(connection, partition, &mut published).await? {
            return Ok(());
        }
        let missing: Vec<_> = held.into_iter().filter(|(session, _)| !published.contains(session)).collect();
        if !missing.is_empty() {
            tracing::warn!(partition, count = missing.len(), "giving revocations back to a store that has lost them");
            self.merge_back(connection, partition, missing).await?;
        }

        let Some(epoch) = self.reopen(connection, partition).await? else { return Ok(()) };
        // A heartbeat of our own first: then this is the primary, and what was published before is read now.
        let began = Instant::now();
        if !self.heartbeat(connection, partition, &epoch).await? {
            return Ok(());
        }
        if !self.read_all(connection, partition, &mut published).await? {
            return Ok(());
        }
        self.feeds[partition].caught_up(began);
        *self.store.known(partition) = Known::Epoch(epoch.into());
        self.synced(partition, began);
        self.loaded[partition] = true;
        Ok(())
    }

    /// Reads the stream from where the feed stands to its end. False if the stream changed under the reader.
    async fn read_all(
        &mut self,
        connection: &mut MultiplexedConnection,
        partition: usize,
        published: &mut HashSet<SessionId>,
    ) -> RedisResult<bool> {
        let stream = self.store.keys.revocations(partition);
        loop {
            let page: Value = self.feeds[partition].read(&stream).query_async(connection).await?;
            match self.feeds[partition].take(page, Instant::now())? {
                Page::Gap => return Ok(false),
                Page::News { revocations, more, .. } => {
                    for revocation in revocations {
                        self.list(&revocation);
                        published.insert(revocation.session);
                    }
                    if !more {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Publishes the revocations again, and ends the sessions' records where the store still has them.
    async fn merge_back(
        &self,
        connection: &mut MultiplexedConnection,
        partition: usize,
        mut missing: Vec<(SessionId, Timestamp)>,
    ) -> RedisResult<()> {
        let (keys, script) = (&self.store.keys, &self.store.scripts.restore);
        while !missing.is_empty() {
            let rest = missing.split_off(missing.len().min(CHUNK));
            let names: Vec<String> = missing.iter().map(|(session, _)| keys.session(session)).collect();
            let records: Vec<Option<Bytes>> = redis::cmd("MGET").arg(names).query_async(connection).await?;
            let mut pipe = redis::pipe();
            for ((session, until), current) in missing.iter().zip(records) {
                // The mirror does not know why it ended; that it did is what counts.
                let ended_at = until.minus(self.store.access_tail);
                let living = current
                    .and_then(|current| record::decode(session, current).ok())
                    .filter(|stored| stored.session.ended.is_none());
                let (expected, subject, ended) = match living {
                    None => (Bytes::new(), String::new(), None),
                    Some(stored) => {
                        let ended = stored.session.end(ended_at, EndReason::Logout);
                        (stored.record, stored.session.subject, Some(ended))
                    }
                };
                let expires_at =
                    ended.as_ref().map_or(0, |ended| ended.ends_at.plus(record::KEPT_AFTER_END).as_millis());
                let ended = match ended.map(|ended| record::encode(&ended)).transpose() {
                    Ok(ended) => ended.unwrap_or_default(),
                    Err(_) => continue,
                };
                let subject = match subject.is_empty() {
                    // No record, so no list to take it off; but the key has to be in the slot.
                    true => keys.session(session),
                    false => keys.subject(&subject),
                };
                let arguments =
                    (&expected[..], &ended[..], expires_at, session.to_string(), ended_at.as_millis(), nonce()?);
                pipe.add_command(evalsha(
                    script,
                    [keys.session(session), subject, keys.revocations(partition)],
                    arguments,
                ));
            }
            let done: Vec<i64> = pipe.query_async(connection).await?;
            // A record that changed meanwhile is read again.
            let again = missing.iter().zip(done).filter(|(_, done)| *done == 0).map(|(entry, _)| *entry);
            missing = again.chain(rest).collect();
        }
        Ok(())
    }

    /// The store's epoch; none while it has none and other proxies have time to merge back what they hold.
    async fn reopen(
        &mut self,
        connection: &mut MultiplexedConnection,
        partition: usize,
    ) -> RedisResult<Option<String>> {
        let keys = [self.store.keys.epoch(partition), self.store.keys.amnesia_since(partition)];
        let arguments = (LEASE.as_millis() as u64, nonce()?);
        let epoch: Option<String> =
            evalsha(&self.store.scripts.reopen, keys, arguments).query_async(connection).await?;
        if epoch.is_some() {
            return Ok(epoch);
        }
        let had_one = {
            let mut known = self.store.known(partition);
            let had_one = *known != Known::NotYet;
            *known = Known::Lost;
            self.mirror.forget(partition);
            had_one
        };
        if !self.told_of_loss {
            self.told_of_loss = true;
            if had_one {
                tracing::warn!(
                    "the store has lost its memory; waiting until all proxies have given back what they hold"
                );
            } else {
                tracing::info!("a new store, or one that has lost its memory: waiting {LEASE:?} for other proxies");
            }
        }
        Ok(None)
    }

    async fn heartbeat(
        &self,
        connection: &mut MultiplexedConnection,
        partition: usize,
        epoch: &str,
    ) -> RedisResult<bool> {
        let keys = self.store.keys.for_heartbeat(partition);
        let keep = (self.store.access_tail + super::follow::KEPT_LONGER).as_millis() as u64;
        let written: i64 =
            evalsha(&self.store.scripts.heartbeat, keys, (epoch, nonce()?, 0, keep)).query_async(connection).await?;
        Ok(written == 1)
    }
}
