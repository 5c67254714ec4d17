//! Follows every partition's stream into the mirror, through every fault.
//!
//! Once a second: is this still the primary, a heartbeat if nobody else has written one, and a read of everything. In
//! between the connection sleeps in Redis until there is news, so that a logout is heard in milliseconds.
//!
//! What must never happen in here: the mirror is called fresher than it is; a fault ends the loop.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::ops::Range;
use std::task::Poll;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisError, RedisResult, Value, from_redis_value};

use super::dialer::Dialed;
use super::feed::{Feed, Page, Revocation};
use super::keys::evalsha;
use super::recover::Progress;
use super::{Known, Redis, Shard, nonce};
use crate::session::PARTITIONS;
use crate::store::{Mirror, Operation, OperationOutcome};
use crate::time::Timestamp;

/// How often this proxy looks after everything.
const TICK: Duration = Duration::from_secs(1);
/// A heartbeat is not written sooner than this after the last one. A little less than a tick, so that one proxy alone
/// writes one at each of its ticks.
const HEARTBEAT_MIN_MS: u64 = 800;
/// How often a partition that is lost is looked at.
const RECOVER_EVERY: Duration = Duration::from_millis(200);
/// How often revocations that no longer matter leave the mirror.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Entries are kept this much longer than they matter: clocks can be apart.
pub(super) const KEPT_LONGER: Duration = Duration::from_secs(60);
/// No command takes longer; one that sleeps for news sleeps for less than a tick.
const PATIENCE: Duration = Duration::from_secs(2);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_millis(500);

/// Follows all streams, each shard by itself. Never returns.
pub(super) async fn follow(store: &Redis, mirror: &Mirror) {
    let follow_one = |shard| Box::pin(async move { Follower::new(store, mirror, shard).run().await });
    let mut followers: Vec<_> = store.shards.iter().map(follow_one).collect();
    let follow_all = poll_fn(|context| {
        for follower in &mut followers {
            match follower.as_mut().poll(context) {
                Poll::Pending => {}
                Poll::Ready(never) => match never {},
            }
        }
        Poll::<()>::Pending
    });
    tokio::join!(follow_all, sweep(store, mirror));
}

/// Forgets what no longer matters.
async fn sweep(store: &Redis, mirror: &Mirror) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        mirror.remove_expired();
        if let Some(copies) = &store.copies {
            copies.catch_up();
        }
    }
}

/// The reader of the streams of a shard.
pub(super) struct Follower<'a> {
    pub(super) store: &'a Redis,
    pub(super) mirror: &'a Mirror,
    shard: &'a Shard,
    /// What other proxies know this one by.
    pub(super) proxy: String,
    pub(super) feeds: [Feed; PARTITIONS],
    /// This partition has been loaded, and the mirror holds everything that the feed has read.
    pub(super) loaded: [bool; PARTITIONS],
    /// How far what this proxy holds has been given back to a partition that is not loaded.
    pub(super) progress: [Option<Progress>; PARTITIONS],
    /// There is more to give back, and nothing to wait for.
    pub(super) in_a_hurry: bool,
    /// The primary is another server than before, and what it holds has not been compared with the copies.
    server_is_new: bool,
    /// The term of the primary that was read last.
    pub(super) term: u64,
    backoff: Duration,
}

impl<'a> Follower<'a> {
    fn new(store: &'a Redis, mirror: &'a Mirror, shard: &'a Shard) -> Follower<'a> {
        Follower {
            store,
            mirror,
            shard,
            proxy: nonce().unwrap_or_default(),
            feeds: std::array::from_fn(|_| Feed::default()),
            loaded: [false; PARTITIONS],
            progress: std::array::from_fn(|_| None),
            in_a_hurry: false,
            server_is_new: false,
            term: 0,
            backoff: BACKOFF_MIN,
        }
    }

    /// The partitions that this one follows.
    pub(super) fn partitions(&self) -> Range<usize> {
        self.shard.partitions.clone()
    }

    fn loaded(&self) -> Vec<usize> {
        self.partitions().filter(|partition| self.loaded[*partition]).collect()
    }

    async fn run(&mut self) -> Infallible {
        loop {
            let began = Instant::now();
            let fault = match self.connect().await {
                Err(fault) => fault,
                Ok(mut connection) => match self.follow(&mut connection).await {
                    Err(fault) => fault,
                },
            };
            let outcome = if fault.is_timeout() { OperationOutcome::Timeout } else { OperationOutcome::Error };
            self.store.observe.store_request(Operation::Follow, outcome, began.elapsed());
            if self.store.told_of_fault.begins(self.partitions().start) {
                tracing::warn!(
                    error = %fault, partitions = ?self.partitions(),
                    "the revocations in Redis cannot be followed; trying again"
                );
            }
            tokio::time::sleep(self.backoff).await;
            self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
        }
    }

    async fn connect(&mut self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(Some(PATIENCE));
        let Dialed { mut connection, term } = self.shard.dialer.connect(&config).await?;
        let term_before = std::mem::replace(&mut self.term, term);
        // Another server than the one that acknowledged what the mirror holds: it may have to be given back. First the
        // streams are read on, where they had been read to: that tells a rollback.
        self.server_is_new |= term_before != term && term_before != 0;
        let scripts = &self.store.scripts;
        for script in [&scripts.heartbeat, &scripts.reopen, &scripts.close, &scripts.commit] {
            script.load_async(&mut connection).await?;
        }
        self.feeds.iter_mut().for_each(Feed::reconnected);
        // It may be another server, or the same with another memory.
        self.progress = std::array::from_fn(|_| None);
        Ok(connection)
    }

    async fn follow(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<Infallible> {
        let mut tick_at = Instant::now();
        loop {
            self.notice_losses();
            self.recover(connection).await?;
            let is_open = self.loaded().len() == self.partitions().len();
            if is_open && self.store.told_of_loss.ends(self.partitions().start) {
                tracing::info!("the store in Redis is open");
            }
            if tick_at <= Instant::now() {
                tick_at = Instant::now() + TICK;
                let began = Instant::now();
                self.tick(connection).await?;
                self.shard.dialer.compared(self.term);
                if std::mem::take(&mut self.server_is_new) {
                    // What was lost with the last moments of the server before need not show in the streams.
                    self.loaded = [false; PARTITIONS];
                }
                self.store.observe.store_request(Operation::Follow, OperationOutcome::Ok, began.elapsed());
                self.backoff = BACKOFF_MIN;
                if self.store.told_of_fault.ends(self.partitions().start) {
                    tracing::info!("the revocations in Redis are followed again");
                }
            }
            self.sleep_until_news(connection, tick_at.saturating_duration_since(Instant::now())).await?;
        }
    }

    /// A call may have found that the store has lost its memory.
    fn notice_losses(&mut self) {
        for partition in self.partitions() {
            if self.loaded[partition] && matches!(*self.store.known(partition), Known::Lost | Known::RolledBack(_)) {
                self.loaded[partition] = false;
            }
        }
    }

    async fn tick(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        self.shard.dialer.confirm_once_a_tick().await?;
        if self.term != self.shard.dialer.term() {
            return Err((ErrorKind::Io, "another Redis is the primary now").into());
        }
        let keep = (self.store.access_tail + KEPT_LONGER).as_millis() as u64;
        let mut pipe = redis::pipe();
        pipe.cmd("ROLE");
        let mut asked = Vec::new();
        for partition in self.loaded() {
            let Ok(epoch) = self.store.epoch(partition) else { continue };
            let keys = self.store.keys.for_heartbeat(partition);
            let arguments = (&*epoch, nonce()?, HEARTBEAT_MIN_MS, keep);
            pipe.add_command(evalsha(&self.store.scripts.heartbeat, keys, arguments));
            asked.push((partition, epoch));
        }
        let mut replies: std::vec::IntoIter<Value> = pipe.query_async::<Vec<Value>>(connection).await?.into_iter();
        is_primary(replies.next()).inspect_err(|_| self.shard.dialer.demoted())?;
        for ((partition, epoch), reply) in asked.into_iter().zip(replies) {
            match from_redis_value::<i64>(reply)? {
                1 => {}
                answer => drop(self.store.lost(partition, &epoch, answer == -1)),
            }
        }
        self.notice_losses();
        self.read(connection, self.loaded()).await
    }

    /// Sleeps in Redis until an entry arrives, and reads the partitions that have one.
    async fn sleep_until_news(&mut self, connection: &mut MultiplexedConnection, at_most: Duration) -> RedisResult<()> {
        let loaded = self.loaded().into_iter();
        let names: HashMap<_, _> =
            loaded.map(|partition| (self.store.keys.revocations(partition), partition)).collect();
        let at_most = match std::mem::take(&mut self.in_a_hurry) {
            true => at_most.min(Duration::from_millis(1)),
            false if names.len() < self.partitions().len() => at_most.min(RECOVER_EVERY),
            false => at_most,
        };
        if names.is_empty() {
            tokio::time::sleep(at_most).await;
            return Ok(());
        }
        let mut command = redis::cmd("XREAD");
        // 0 would be for ever.
        command.arg("COUNT").arg(1).arg("BLOCK").arg(at_most.as_millis().max(1) as u64).arg("STREAMS");
        for name in names.keys() {
            command.arg(name);
        }
        for partition in names.values() {
            command.arg(self.feeds[*partition].last_id());
        }
        let news: Option<Vec<(String, Value)>> = command.query_async(connection).await?;
        let news = news.unwrap_or_default();
        let changed: Vec<usize> = news.iter().filter_map(|(name, _)| names.get(name).copied()).collect();
        self.read(connection, changed).await
    }

    /// Reads what is new in the partitions, to the end.
    async fn read(&mut self, connection: &mut MultiplexedConnection, mut partitions: Vec<usize>) -> RedisResult<()> {
        while !partitions.is_empty() {
            let asked_at = Instant::now();
            let mut pipe = redis::pipe();
            for partition in &partitions {
                pipe.add_command(self.feeds[*partition].read(&self.store.keys.revocations(*partition)));
            }
            pipe.cmd("TIME");
            let mut replies: Vec<Value> = pipe.query_async(connection).await?;
            let server_now = replies.pop().map(server_time).transpose()?.unwrap_or(Timestamp::EPOCH);

            let (mut unfinished, mut gaps) = (Vec::new(), Vec::new());
            for (partition, page) in partitions.into_iter().zip(replies) {
                match self.feeds[partition].take(page, asked_at)? {
                    Page::Gap => {
                        tracing::warn!(
                            partition,
                            "the revocation stream is not the one that was read; reading it again"
                        );
                        self.loaded[partition] = false;
                        gaps.push(partition);
                    }
                    Page::News { revocations, more, known_until } => {
                        for revocation in &revocations {
                            // On one clock, Redis's: ours may be apart from it.
                            self.store.observe.revocation_propagated(server_now.since(revocation.published_at));
                        }
                        self.list(revocations);
                        if let Some(known_until) = known_until {
                            self.synced(partition, known_until);
                        }
                        if more {
                            unfinished.push(partition);
                        }
                    }
                }
            }
            for partition in gaps {
                self.close(connection, partition).await?;
            }
            partitions = unfinished;
        }
        Ok(())
    }

    /// Takes in what the stream says.
    pub(super) fn list(&self, revocations: Vec<Revocation>) {
        let listed = revocations.into_iter().filter_map(|revocation| {
            let until = revocation.until(self.store.access_tail);
            let is_news = !self.mirror.revocations.contains(&revocation.session);
            self.mirror.revocations.insert(revocation.session, until);
            is_news.then_some((revocation, until))
        });
        match &self.store.copies {
            Some(copies) => copies.heard(listed),
            None => listed.for_each(drop),
        }
    }

    /// Unless a call has found meanwhile that the store has lost its memory.
    pub(super) fn synced(&self, partition: usize, at: Instant) {
        let known = self.store.known(partition);
        if matches!(*known, Known::Epoch(_)) {
            self.mirror.synced(partition, at);
        }
    }
}

/// A replica, or a primary that was demoted, can be read for ever and tells nothing.
fn is_primary(role: Option<Value>) -> RedisResult<()> {
    match role {
        Some(Value::Array(role)) if role.first() == Some(&Value::BulkString(b"master".to_vec())) => Ok(()),
        _ => Err(RedisError::from((ErrorKind::Io, "this Redis is not the primary"))),
    }
}

fn server_time(reply: Value) -> RedisResult<Timestamp> {
    let (seconds, micros): (u64, u64) = from_redis_value(reply)?;
    Ok(Timestamp::from_millis(seconds * 1000 + micros / 1000))
}
