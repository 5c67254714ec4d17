//! The store in Redis (or Valkey): many proxies, one truth.
//!
//! A commit is one script. Endings go to a stream per partition, which every proxy follows into its mirror (see
//! `follow`). Each partition carries an epoch: a store without the epoch that this proxy knows has lost its memory, and
//! is neither read nor written until what the proxies hold has been merged back.

mod feed;
mod follow;
mod keys;
mod link;
mod list;
mod options;
mod recover;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{Client, RedisResult, Value};

use self::follow::Follower;
use self::keys::{Keys, Scripts};
use self::link::Link;
pub use self::options::{RedisOptions, RedisOptionsError};
use super::{
    ANNOUNCEMENT_LEASE, Announcement, Backend, Committed, Cursor, Mirror, Observe, Page, StoreError, Stored, record,
};
use crate::session::{PARTITIONS, Session, SessionId};
use crate::time::Timestamp;

/// Sessions in Redis.
pub struct Redis {
    client: Client,
    keys: Keys,
    scripts: Scripts,
    known: [Mutex<Known>; PARTITIONS],
    mirror: Arc<Mirror>,
    access_tail: Duration,
    deadline: Duration,
    observe: Arc<dyn Observe>,
    calls: Link,
    /// Commits that end a session have a connection of their own: they wait for a replica, and nobody else should.
    endings: Link,
}

/// What this proxy knows of a partition's epoch.
#[derive(Clone, PartialEq, Eq)]
enum Known {
    /// The partition has not been read yet.
    NotYet,
    /// The store has lost its memory.
    Lost,
    /// The mirror is in line with this epoch.
    Epoch(Arc<str>),
}

/// What the commit script answers.
enum Verdict {
    Yes,
    Conflict,
    Amnesia,
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
        let client = options.client()?;
        Ok(Redis {
            calls: Link::new(client.clone(), options.deadline),
            endings: Link::new(client.clone(), options.deadline),
            client,
            keys: Keys::new(options.key_prefix.clone()),
            scripts: Scripts::new(),
            known: std::array::from_fn(|_| Mutex::new(Known::NotYet)),
            mirror,
            access_tail,
            deadline: options.deadline,
            observe,
        })
    }

    fn known(&self, partition: usize) -> MutexGuard<'_, Known> {
        self.known[partition].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The epoch that calls have to find.
    fn epoch(&self, partition: usize) -> Result<Arc<str>, StoreError> {
        match &*self.known(partition) {
            Known::Epoch(epoch) => Ok(Arc::clone(epoch)),
            Known::Lost => Err(StoreError::Amnesia),
            Known::NotYet => Err(StoreError::Unavailable("Redis: it has not been read yet".to_owned())),
        }
    }

    /// The partition is not in the epoch `expected`. Unless the follower has moved on meanwhile, nothing is known any more.
    fn lost(&self, partition: usize, expected: &Arc<str>) -> StoreError {
        let mut known = self.known(partition);
        if *known == Known::Epoch(Arc::clone(expected)) {
            *known = Known::Lost;
            self.mirror.forget(partition);
        }
        StoreError::Amnesia
    }

    /// Runs the commit script.
    async fn judge(
        &self,
        connection: &mut MultiplexedConnection,
        epoch: &str,
        expected: Option<&Stored>,
        next: &Session,
        next_record: &Bytes,
    ) -> RedisResult<Verdict> {
        let partition = next.id.partition();
        let ended_at = record::new_ending(expected, next).map(|ending| ending.at.as_millis().to_string());
        let verdict: String = self
            .scripts
            .commit
            .key(self.keys.epoch(partition))
            .key(self.keys.session(&next.id))
            .key(self.keys.subject(&next.subject))
            .key(self.keys.revocations(partition))
            .arg(epoch)
            .arg(expected.map_or(&[][..], |expected| &expected.record[..]))
            .arg(&next_record[..])
            .arg(next.ends_at.plus(record::KEPT_AFTER_END).as_millis())
            .arg(next.id.to_string())
            .arg(next.ends_at.as_millis())
            .arg(if next.ended.is_none() { "1" } else { "0" })
            .arg(ended_at.unwrap_or_default())
            .arg(nonce()?)
            .invoke_async(connection)
            .await?;
        match verdict.as_str() {
            "yes" => Ok(Verdict::Yes),
            "conflict" => Ok(Verdict::Conflict),
            "amnesia" => Ok(Verdict::Amnesia),
            _ => Err((redis::ErrorKind::UnexpectedReturnType, "an answer that the script does not give").into()),
        }
    }

    /// Where replicas are connected, waits until one of them has all that was written on `connection`.
    async fn replicated(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let role: Vec<Value> = redis::cmd("ROLE").query_async(connection).await?;
        let replicas = match role.get(2) {
            Some(Value::Array(replicas)) => replicas.len(),
            _ => return Err((redis::ErrorKind::Io, "this Redis is not the primary any more").into()),
        };
        if replicas == 0 {
            return Ok(());
        }
        let patience_ms = (self.deadline / 2).as_millis() as u64;
        let reached: i64 = redis::cmd("WAIT").arg(1).arg(patience_ms).query_async(connection).await?;
        match reached {
            0 => Err((redis::ErrorKind::Client, "no replica has the write yet").into()),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Backend for Redis {
    async fn get(&self, id: &SessionId) -> Result<Option<Stored>, StoreError> {
        let partition = id.partition();
        let known = self.epoch(partition)?;
        let mut read = redis::cmd("MGET");
        read.arg(self.keys.epoch(partition)).arg(self.keys.session(id));
        let read = &read;
        let (epoch, record): (Option<Bytes>, Option<Bytes>) =
            self.calls.call(|mut connection| async move { read.query_async(&mut connection).await }).await?;
        if epoch.as_deref() != Some(known.as_bytes()) {
            return Err(self.lost(partition, &known));
        }
        record.map(|record| record::decode(id, record)).transpose()
    }

    async fn commit(&self, expected: Option<&Stored>, next: &Session) -> Result<Committed, StoreError> {
        if record::overwrites_ending(expected, next) {
            return Ok(Committed::Conflict);
        }
        let partition = next.id.partition();
        let known = self.epoch(partition)?;
        let next_record = record::encode(next)?;
        let ends = next.ended.is_some();
        let link = if ends { &self.endings } else { &self.calls };
        let (epoch, next_record) = (&*known, &next_record);
        let write = |mut connection| async move {
            let verdict = self.judge(&mut connection, epoch, expected, next, next_record).await?;
            if let (Verdict::Yes, true) = (&verdict, ends) {
                self.replicated(&mut connection).await?;
            }
            Ok(verdict)
        };
        match link.call(write).await? {
            Verdict::Yes => Ok(Committed::Yes),
            Verdict::Conflict => Ok(Committed::Conflict),
            Verdict::Amnesia => Err(self.lost(partition, &known)),
        }
    }

    async fn sessions_of(&self, subject: &str) -> Result<Vec<SessionId>, StoreError> {
        let partition = SessionId::partition_of_subject(subject);
        let known = self.epoch(partition)?;
        let mut read = redis::pipe();
        read.atomic().get(self.keys.epoch(partition));
        // A session that ends this very moment is past its end.
        let after = format!("({}", Timestamp::now().as_millis());
        read.cmd("ZRANGEBYSCORE").arg(self.keys.subject(subject)).arg(after).arg("+inf");
        let read = &read;
        let (epoch, sessions): (Option<Bytes>, Vec<String>) =
            self.calls.call(|mut connection| async move { read.query_async(&mut connection).await }).await?;
        if epoch.as_deref() != Some(known.as_bytes()) {
            return Err(self.lost(partition, &known));
        }
        Ok(sessions.iter().filter_map(|id| SessionId::parse(id).ok()).collect())
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
        let call = &call;
        let others: Vec<String> =
            self.calls.call(|mut connection| async move { call.invoke_async(&mut connection).await }).await?;
        others.iter().map(|other| serde_json::from_str(other)).collect::<Result<_, _>>().map_err(unreadable)
    }

    async fn follow(&self, mirror: &Mirror) {
        debug_assert!(std::ptr::eq(mirror, &*self.mirror), "a store has one mirror");
        Follower::new(self, mirror).run().await
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
