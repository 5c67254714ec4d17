//! The store in Redis (or Valkey): many proxies, one truth.
//!
//! A commit is one script. Endings go to a stream per partition, which every proxy follows into its mirror (see
//! `follow`). Each partition carries an epoch: a store without the epoch that this proxy knows has lost its memory, and
//! is neither read nor written until what the proxies hold has been given back (see `recover`, and `copies` for what they
//! hold).
//!
//! One server has all partitions. In a cluster each is where its slot is, and has connections and a follower of its own: see
//! [`Shard`].

mod absence;
mod advice;
mod batch;
mod cluster;
mod copies;
mod dialer;
mod feed;
mod follow;
#[cfg(any(test, fuzzing))]
pub(in crate::store) mod fuzz;
mod give_back;
mod keys;
mod link;
mod list;
mod options;
mod recover;
mod sentinels;
mod shard;
mod told;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::{ErrorKind, RedisResult, ServerErrorKind};

use self::absence::InLine;
use self::batch::Shared;
pub use self::copies::Copies;
pub use self::dialer::FAILOVER_NOTICE;
use self::give_back::Held;
use self::keys::{Keys, PROXIES_IN, Scripts, evalsha};
pub use self::options::{Password, RedisOptions, RedisOptionsError, SentinelOptions};
use self::shard::Shard;
use self::told::Told;
use super::{
    ANNOUNCEMENT_LEASE, Announcement, Backend, Committed, Cursor, Mirror, Observe, Page, StoreError, Stored, record,
};
use crate::session::{PARTITIONS, Session, SessionId};
use crate::time::Timestamp;

/// Sessions in Redis.
pub struct Redis {
    /// One, or one for each partition.
    shards: Vec<Shard>,
    keys: Keys,
    scripts: Scripts,
    known: [Mutex<Known>; PARTITIONS],
    in_line: [InLine; PARTITIONS],
    mirror: Arc<Mirror>,
    access_tail: Duration,
    deadline: Duration,
    observe: Arc<dyn Observe>,
    /// None: this proxy can give back no more than the mirror holds.
    copies: Option<Copies>,
    told_of_fault: Told,
    told_of_loss: Told,
}

/// What this proxy knows of a partition's epoch.
#[derive(Clone, PartialEq, Eq)]
enum Known {
    /// The partition has not been read yet.
    NotYet,
    /// The store has lost its memory.
    Lost,
    /// The store was rolled back in this epoch. What the mirror holds is still right.
    RolledBack(Arc<str>),
    /// The mirror is in line with this epoch.
    Epoch(Arc<str>),
}

/// What the scripts answer that compare a record.
enum Verdict {
    Yes,
    Conflict,
    Closed,
    Amnesia,
}

impl Verdict {
    fn of(answer: &str) -> RedisResult<Verdict> {
        match answer {
            "yes" => Ok(Verdict::Yes),
            "conflict" => Ok(Verdict::Conflict),
            "closed" => Ok(Verdict::Closed),
            "amnesia" => Ok(Verdict::Amnesia),
            _ => Err((redis::ErrorKind::UnexpectedReturnType, "an answer that the script does not give").into()),
        }
    }
}

impl Redis {
    /// Prepares the store; connections are made when they are needed. `mirror` is filled by [`Backend::follow`], which has to
    /// run before anything can be read or written. `access_tail` is how long after its end a session's access tokens can
    /// be alive: their lifetime and the clock skew.
    pub fn new(
        options: &RedisOptions,
        mirror: Arc<Mirror>,
        access_tail: Duration,
        observe: Arc<dyn Observe>,
    ) -> Result<Redis, RedisOptionsError> {
        Ok(Redis {
            shards: Shard::all(options)?,
            keys: Keys::new(options.key_prefix.clone()),
            scripts: Scripts::new(),
            known: std::array::from_fn(|_| Mutex::new(Known::NotYet)),
            in_line: std::array::from_fn(|_| InLine::default()),
            mirror,
            access_tail,
            deadline: options.deadline,
            observe,
            copies: None,
            told_of_fault: Told::default(),
            told_of_loss: Told::default(),
        })
    }

    /// Keeps copies of what this proxy knows, and gives them back when Redis has lost it.
    #[must_use]
    pub fn with_copies(mut self, copies: Copies) -> Redis {
        self.copies = Some(copies);
        self
    }

    /// Where the partition is.
    fn shard(&self, partition: usize) -> &Shard {
        // There is one for all, or one for each.
        &self.shards[partition % self.shards.len()]
    }

    fn known(&self, partition: usize) -> MutexGuard<'_, Known> {
        self.known[partition].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The epoch that calls have to find.
    fn epoch(&self, partition: usize) -> Result<Arc<str>, StoreError> {
        match &*self.known(partition) {
            Known::Epoch(epoch) => Ok(Arc::clone(epoch)),
            Known::Lost | Known::RolledBack(_) => Err(StoreError::Amnesia),
            Known::NotYet => Err(StoreError::Unavailable("Redis: it has not been read yet".to_owned())),
        }
    }

    /// What this proxy holds of a session.
    fn held(&self, id: SessionId, copy: Option<Bytes>) -> Held {
        let ended_at = self.mirror.revocations.until(&id).map(|until| until.minus(self.access_tail));
        Held { id, copy, ended_at, unpublished: false }
    }

    /// The partition is not in the epoch `expected`, or not open. Unless the follower has moved on meanwhile, nothing is known
    /// any more; after a rollback, what was known still is.
    fn lost(&self, partition: usize, expected: &Arc<str>, rolled_back: bool) -> StoreError {
        let mut known = self.known(partition);
        if *known == Known::Epoch(Arc::clone(expected)) {
            if rolled_back {
                *known = Known::RolledBack(Arc::clone(expected));
            } else {
                *known = Known::Lost;
                self.mirror.forget(partition);
            }
        }
        StoreError::Amnesia
    }

    /// The same, if `found` is not the epoch `expected`.
    fn check_epoch(&self, partition: usize, expected: &Arc<str>, found: Option<&[u8]>) -> Result<(), StoreError> {
        if found == Some(expected.as_bytes()) {
            return Ok(());
        }
        let rolled_back = found.and_then(|found| found.strip_prefix(b"closed:")) == Some(expected.as_bytes());
        Err(self.lost(partition, expected, rolled_back))
    }

    /// Runs the commit script.
    async fn judge(
        &self,
        shared: &Shared,
        epoch: &str,
        expected: Option<&Stored>,
        next: &Session,
        next_record: &Bytes,
    ) -> RedisResult<Verdict> {
        let published = record::new_ending(expected, next).map(|ending| ending.at);
        let expected = expected.map(|expected| &expected.record);
        let (keys, arguments) = self.commit_call(epoch.as_bytes(), expected, next, next_record, published)?;
        let call = evalsha(&self.scripts.commit, keys, &arguments[..]);
        let verdict: RedisResult<String> = shared.ask(call.clone()).await;
        match verdict {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.scripts.commit.load_async(&mut shared.connection.clone()).await?;
                Verdict::of(&shared.ask::<String>(call).await?)
            }
            verdict => Verdict::of(&verdict?),
        }
    }

    /// Keys and arguments of the commit script. It publishes an ending at `published`.
    fn commit_call(
        &self,
        epoch: &[u8],
        expected: Option<&Bytes>,
        next: &Session,
        next_record: &Bytes,
        published: Option<Timestamp>,
    ) -> RedisResult<([String; 4], [Vec<u8>; 9])> {
        let partition = next.id.partition();
        let keys = [
            self.keys.epoch(partition),
            self.keys.session(&next.id),
            self.keys.subject(&next.subject),
            self.keys.revocations(partition),
        ];
        let text = |text: &dyn ToString| text.to_string().into_bytes();
        let arguments = [
            epoch.to_vec(),
            expected.map_or_else(Vec::new, |expected| expected.to_vec()),
            next_record.to_vec(),
            text(&next.ends_at.plus(record::KEPT_AFTER_END).as_millis()),
            text(&next.id),
            text(&next.ends_at.as_millis()),
            text(&if next.ended.is_none() { 1 } else { 0 }),
            published.map_or_else(Vec::new, |at| text(&at.as_millis())),
            published.map_or_else(|| Ok(String::new()), |_| nonce())?.into_bytes(),
        ];
        Ok((keys, arguments))
    }

    /// Reads a record. What this proxy has a newer copy of is given back first: an answer is never older than what this
    /// proxy has known before.
    async fn read(&self, id: &SessionId) -> Result<Option<Stored>, StoreError> {
        let partition = id.partition();
        let known = self.epoch(partition)?;
        let calls = &self.shard(partition).calls;
        let mut read = redis::cmd("MGET");
        read.arg(self.keys.epoch(partition)).arg(self.keys.session(id));
        let read = &read;
        let answer = calls.ask(read);
        let copy = async {
            match &self.copies {
                Some(copies) => copies.get(id).await,
                None => None,
            }
        };
        let (answer, copy) = tokio::join!(answer, copy);
        let (epoch, record): (Option<Bytes>, Option<Bytes>) = answer?;
        self.check_epoch(partition, &known, epoch.as_deref())?;
        let stored = record.map(|record| record::decode(id, record)).transpose()?;

        let held = || self.held(*id, copy.clone());
        if held().is_ahead_of(stored.as_ref(), Timestamp::now()) {
            let held = &held;
            let give_back =
                |mut connection| async move { self.give_back(&mut connection, partition, vec![held()]).await };
            calls.call(give_back).await?;
            let (epoch, record): (Option<Bytes>, Option<Bytes>) = calls.ask(read).await?;
            self.check_epoch(partition, &known, epoch.as_deref())?;
            return record.map(|record| record::decode(id, record)).transpose();
        }
        if let (Some(copies), Some(stored)) = (&self.copies, &stored)
            && Some(&stored.record) != copy.as_ref()
        {
            copies.keep(vec![stored.session.clone()]);
        }
        Ok(stored)
    }
}

#[async_trait]
impl Backend for Redis {
    async fn get(&self, id: &SessionId) -> Result<Option<Stored>, StoreError> {
        self.read(id).await
    }

    async fn put_ticket(&self, ticket: &SessionId, value: Bytes, lifetime: Duration) -> Result<(), StoreError> {
        let mut set = redis::cmd("SET");
        set.arg(self.keys.ticket(ticket)).arg(&value[..]).arg("NX").arg("PX").arg(lifetime.as_millis() as u64);
        let set = &set;
        let link = &self.shard(ticket.partition()).calls;
        link.call(|mut connection| async move { set.query_async::<()>(&mut connection).await }).await
    }

    async fn take_ticket(&self, ticket: &SessionId) -> Result<Option<Bytes>, StoreError> {
        let mut take = redis::cmd("GETDEL");
        take.arg(self.keys.ticket(ticket));
        let take = &take;
        let link = &self.shard(ticket.partition()).calls;
        link.call(|mut connection| async move { take.query_async(&mut connection).await }).await
    }

    async fn is_absent(&self, id: &SessionId) -> Result<bool, StoreError> {
        absence::is_absent(self, id).await
    }

    async fn commit(&self, expected: Option<&Stored>, next: &Session) -> Result<Committed, StoreError> {
        if record::overwrites_ending(expected, next) {
            return Ok(Committed::Conflict);
        }
        let partition = next.id.partition();
        let known = self.epoch(partition)?;
        let next_record = record::encode(next)?;
        let ends = next.ended.is_some();
        let shard = self.shard(partition);
        let link = if ends { &shard.endings } else { &shard.calls };
        let (epoch, next_record) = (&*known, &next_record);
        let write = |mut shared: Shared| async move {
            let verdict = self.judge(&shared, epoch, expected, next, next_record).await?;
            if let (Verdict::Yes, true) = (&verdict, ends) {
                shard.replicated(&mut shared.connection, self.deadline / 2).await?;
            }
            Ok(verdict)
        };
        match link.call_shared(write).await? {
            Verdict::Yes => {
                match &self.copies {
                    Some(copies) if ends => copies.keep_ending(next).await,
                    // Nothing that the read before has not told.
                    Some(_) if expected.is_some_and(|expected| expected.record == *next_record) => {}
                    Some(copies) => copies.keep(vec![next.clone()]),
                    None => {}
                }
                Ok(Committed::Yes)
            }
            Verdict::Conflict => Ok(Committed::Conflict),
            Verdict::Closed => Err(self.lost(partition, &known, true)),
            Verdict::Amnesia => Err(self.lost(partition, &known, false)),
        }
    }

    async fn sessions_of(&self, subject: &str) -> Result<Vec<SessionId>, StoreError> {
        let partition = SessionId::partition_of_subject(subject);
        let known = self.epoch(partition)?;
        let mut read = redis::pipe();
        // A session that ends this very moment is past its end.
        let after = format!("({}", Timestamp::now().as_millis());
        read.cmd("ZRANGEBYSCORE").arg(self.keys.subject(subject)).arg(after).arg("+inf");
        // The epoch after it: a store that lost its memory before that must not pass for one without sessions.
        read.get(self.keys.epoch(partition));
        let (read, calls) = (&read, &self.shard(partition).calls);
        let (sessions, epoch): (Vec<String>, Option<Bytes>) =
            calls.call(|mut connection| async move { read.query_async(&mut connection).await }).await?;
        self.check_epoch(partition, &known, epoch.as_deref())?;
        let mut sessions: Vec<_> = sessions.iter().filter_map(|id| SessionId::parse(id).ok()).collect();
        if let Some(copies) = &self.copies {
            // Others that only this proxy knows: either they have ended meanwhile, or the store has lost them.
            for id in copies.sessions_of(subject).await {
                if !sessions.contains(&id)
                    && let Some(stored) = self.read(&id).await?
                    && stored.session.is_live(Timestamp::now())
                {
                    sessions.push(id);
                }
            }
        }
        Ok(sessions)
    }

    async fn list(&self, from: Option<&Cursor>, at_most: usize) -> Result<Page, StoreError> {
        list::list(self, from, at_most).await
    }

    async fn announce(&self, proxy: u64, announcement: Option<&Announcement>) -> Result<Vec<Announcement>, StoreError> {
        let unreadable = |error: serde_json::Error| StoreError::Unavailable(format!("Redis: an announcement: {error}"));
        let text = announcement.map(serde_json::to_string).transpose().map_err(unreadable)?.unwrap_or_default();
        let announce = &self.scripts.announce;
        let mut call = announce.key(self.keys.proxies());
        call.arg(format!("{proxy:016x}")).arg(text).arg(ANNOUNCEMENT_LEASE.as_millis() as u64);
        let (call, calls) = (&call, &self.shard(PROXIES_IN).calls);
        let others: Vec<String> =
            calls.call(|mut connection| async move { call.invoke_async(&mut connection).await }).await?;
        others.iter().map(|other| serde_json::from_str(other)).collect::<Result<_, _>>().map_err(unreadable)
    }

    async fn follow(&self, mirror: &Mirror) {
        debug_assert!(std::ptr::eq(mirror, &*self.mirror), "a store has one mirror");
        follow::follow(self, mirror).await
    }
}

/// 16 characters that nobody has written before.
fn nonce() -> RedisResult<String> {
    use base64::Engine;
    let mut random = [0; 12];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| redis::RedisError::from((redis::ErrorKind::Client, "the system gives no random bytes")))?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random))
}
