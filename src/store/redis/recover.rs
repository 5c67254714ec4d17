//! Loads a partition, and gives a store that has lost something back what this proxy holds.
//!
//! A store without an epoch knows nothing, and "nothing" must not be read as "nothing is revoked". Every proxy gives back
//! the revocations that its mirror holds and its copies of sessions; when all have had the time for that, one of them
//! opens a new epoch, and everybody reads the stream anew. A store that was rolled back still has its epoch, and a
//! stream that is not the one that was read: whoever notices closes the epoch, and then it is the same, but for the
//! mirrors: they hold what they held, and protected routes are served on.
//!
//! What must never happen in here: a partition is called loaded before all that this proxy holds of it has been given back.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};

use super::feed::{Feed, Page};
use super::follow::Follower;
use super::give_back::{CHUNK, Held};
use super::keys::evalsha;
use super::{Known, nonce};
use crate::session::SessionId;
use crate::store::Freshness;

/// How long proxies have, after the store lost its memory, to say that they have something to give back. They look once a
/// second.
pub(super) const LEASE: Duration = Duration::from_secs(3);
/// The same after a rollback: all have been connected, or they would not know that it was one.
const LEASE_AFTER_ROLLBACK: Duration = Duration::from_millis(1500);
/// Proxies that are still giving back are not waited for any longer.
const LEASE_MAX: Duration = Duration::from_secs(60);
/// How many chunks of copies are given back in one step; in between the other partitions are followed.
const STEP: usize = 8;

/// How far what this proxy holds has been given back to a partition.
pub(super) struct Progress {
    /// The loss that it is given back for: since when the partition waits (0 if it is open), on Redis's clock.
    since: u64,
    /// All that the stream has published.
    published: HashSet<SessionId>,
    /// The last copy that was given back.
    after: Option<SessionId>,
    /// How many copies the store lacked something of.
    given: usize,
    done: bool,
}

/// How a partition stands.
enum Standing {
    /// In this epoch.
    Open(String),
    /// Proxies have time to give back what they hold.
    Waiting {
        since: u64,
        /// The epoch that was rolled back, if that is what happened.
        closed: Option<String>,
    },
}

impl Follower<'_> {
    /// One step towards partitions that are loaded and open. They stay as they are while other proxies have time.
    pub(super) async fn recover(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let partitions: Vec<usize> = self.partitions().filter(|partition| !self.loaded[*partition]).collect();
        if partitions.is_empty() {
            return Ok(());
        }
        for (partition, standing) in self.look(connection, &partitions).await? {
            self.recover_partition(connection, partition, standing).await?;
        }
        Ok(())
    }

    /// How the partitions stand. Tells other proxies for which of them this one has something to give back, so that they wait.
    async fn look(
        &self,
        connection: &mut MultiplexedConnection,
        partitions: &[usize],
    ) -> RedisResult<Vec<(usize, Standing)>> {
        let mut pipe = redis::pipe();
        for &partition in partitions {
            let keys = &self.store.keys;
            let keys = [keys.epoch(partition), keys.amnesia_since(partition), keys.giving_back(partition)];
            let busy = self.progress[partition].as_ref().is_none_or(|progress| !progress.done);
            let [lease, after_rollback, longest] =
                [LEASE, LEASE_AFTER_ROLLBACK, LEASE_MAX].map(|lease| lease.as_millis() as u64);
            let arguments = (lease, after_rollback, longest, nonce()?, &self.proxy, u8::from(busy));
            pipe.add_command(evalsha(&self.store.scripts.reopen, keys, arguments));
        }
        let answers: Vec<(String, u64)> = pipe.query_async(connection).await?;
        let standings = answers.into_iter().map(|(epoch, since)| match since {
            0 => Standing::Open(epoch),
            _ => Standing::Waiting { since, closed: epoch.strip_prefix("closed:").map(str::to_owned) },
        });
        Ok(partitions.iter().copied().zip(standings).collect())
    }

    async fn recover_partition(
        &mut self,
        connection: &mut MultiplexedConnection,
        partition: usize,
        standing: Standing,
    ) -> RedisResult<()> {
        let mut since = 0;
        if let Standing::Waiting { since: waiting_since, closed } = &standing {
            since = *waiting_since;
            self.wait_for_others(partition, closed.as_deref());
            // It has lost its memory again.
            self.progress[partition].take_if(|progress| progress.since != since);
        }
        let mut progress = match self.progress[partition].take() {
            Some(progress) => progress,
            None => match self.begin(connection, partition, since).await? {
                Some(progress) => progress,
                None => return Ok(()),
            },
        };
        self.give_copies_back(connection, partition, &mut progress).await?;
        let progress = self.progress[partition].insert(progress);
        if !progress.done {
            self.in_a_hurry = true;
            return Ok(());
        }
        let Standing::Open(epoch) = standing else { return Ok(()) };

        let Some(mut progress) = self.progress[partition].take() else { return Ok(()) };
        // A heartbeat of our own first: then this is the primary, and what was published before is read now.
        let began = Instant::now();
        if !self.heartbeat(connection, partition, &epoch).await?
            || !self.read_all(connection, partition, &mut progress.published).await?
        {
            return Ok(());
        }
        self.feeds[partition].caught_up(began);
        self.store.is_in_line(partition, epoch, self.term);
        self.synced(partition, began);
        self.loaded[partition] = true;
        Ok(())
    }

    /// Reads the stream, and publishes what only this proxy's mirror knows. None if the stream changed under the reader.
    async fn begin(
        &mut self,
        connection: &mut MultiplexedConnection,
        partition: usize,
        since: u64,
    ) -> RedisResult<Option<Progress>> {
        // Before reading: what is ended from now on is in the stream anyhow.
        let tail = self.store.access_tail;
        let listed = self.mirror.revocations.of_partition(partition);
        self.feeds[partition] = Feed::default();
        let mut published = HashSet::new();
        if !self.read_all(connection, partition, &mut published).await? {
            return Ok(None);
        }
        let missing: Vec<_> = listed.into_iter().filter(|(session, _)| !published.contains(session)).collect();
        if !missing.is_empty() {
            tracing::warn!(partition, count = missing.len(), "giving revocations back to a store that has lost them");
        }
        for chunk in missing.chunks(CHUNK) {
            let held = chunk.iter().map(|&(id, until)| Held {
                id,
                copy: None,
                ended_at: Some(until.minus(tail)),
                unpublished: true,
            });
            self.store.give_back(connection, partition, held.collect()).await?;
        }
        Ok(Some(Progress { since, published, after: None, given: 0, done: false }))
    }

    /// A few chunks of the copies. What the store has already is only compared.
    async fn give_copies_back(
        &self,
        connection: &mut MultiplexedConnection,
        partition: usize,
        progress: &mut Progress,
    ) -> RedisResult<()> {
        for _ in 0..STEP {
            if progress.done {
                return Ok(());
            }
            let page = match &self.store.copies {
                Some(copies) => copies.page(partition, progress.after, CHUNK).await,
                None => Vec::new(),
            };
            let Some((last, _)) = page.last() else {
                progress.done = true;
                if progress.given > 0 {
                    tracing::warn!(
                        partition,
                        count = progress.given,
                        "gave sessions back to a store that had lost them"
                    );
                }
                return Ok(());
            };
            progress.after = Some(*last);
            // As the mirror has it now: what the stream has just told of a session may not be in its copy yet.
            let held = page.into_iter().map(|(id, copy)| self.store.held(id, Some(copy)));
            progress.given += self.store.give_back(connection, partition, held.collect()).await?;
        }
        Ok(())
    }

    /// The stream is not the one that was read. Unless this proxy has been away for so long that what it read last may have
    /// left the stream, the store was rolled back: it is closed until all proxies have given back what they hold.
    pub(super) async fn close(&self, connection: &mut MultiplexedConnection, partition: usize) -> RedisResult<()> {
        let was_away = match self.mirror.stream_freshness(partition, Instant::now()) {
            Freshness::Age(age) => age >= self.store.access_tail,
            Freshness::Unknown => true,
        };
        let Ok(epoch) = self.store.epoch(partition) else { return Ok(()) };
        if was_away {
            return Ok(());
        }
        let keys = [self.store.keys.epoch(partition), self.store.keys.amnesia_since(partition)];
        let closed: i64 = evalsha(&self.store.scripts.close, keys, &*epoch).query_async(connection).await?;
        drop(self.store.lost(partition, &epoch, closed == 1));
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
                    published.extend(revocations.iter().map(|revocation| revocation.session));
                    self.list(revocations);
                    if !more {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Nothing is read or written meanwhile.
    fn wait_for_others(&mut self, partition: usize, closed: Option<&str>) {
        let had_one = {
            let mut known = self.store.known(partition);
            let had_one = *known != Known::NotYet;
            let still_right = match &*known {
                Known::Epoch(epoch) | Known::RolledBack(epoch) if closed == Some(&**epoch) => Some(epoch.clone()),
                _ => None,
            };
            match still_right {
                Some(epoch) => *known = Known::RolledBack(epoch),
                None => {
                    *known = Known::Lost;
                    self.mirror.forget(partition);
                }
            }
            had_one
        };
        if self.store.told_of_loss.begins(self.partitions().start) {
            if had_one {
                tracing::warn!(
                    "the store has lost something; waiting until all proxies have given back what they hold"
                );
            } else {
                tracing::info!("a new store, or one that has lost its memory: waiting {LEASE:?} for other proxies");
            }
        }
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
