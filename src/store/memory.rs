//! The memory store: one process, and everybody logs in again after a restart.
//!
//! For trials and tests. There is no feed to follow: this process is the only one that ends sessions, and the
//! mirror hears of it with the commit.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::tickets::Tickets;
use super::{Backend, Committed, Cursor, Mirror, Page, StoreError, Stored, record};
use crate::session::{Session, SessionId};
use crate::time::Timestamp;

/// How many forgotten sessions one commit pays for, at most.
const FORGOTTEN_PER_COMMIT_MAX: usize = 16;

/// How often revocations that no longer matter leave the mirror.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Sessions in this process's memory.
pub struct Memory {
    kept: Mutex<Kept>,
    tickets: Tickets,
}

#[derive(Default)]
struct Kept {
    records: BTreeMap<SessionId, Bytes>,
    /// Living sessions and when they pass their absolute end, by subject.
    subjects: HashMap<String, HashMap<SessionId, Timestamp>>,
    /// When to forget which session; the subject finds its entry above.
    expiries: BTreeSet<(Timestamp, SessionId, String)>,
}

impl Memory {
    /// An empty store. `mirror` is fresh from now on: nobody else ends sessions.
    pub fn new(mirror: Arc<Mirror>) -> Memory {
        mirror.always_fresh();
        Memory { kept: Mutex::default(), tickets: Tickets::default() }
    }

    /// How many sessions are kept, living or not.
    pub fn len(&self) -> usize {
        self.kept().records.len()
    }

    /// No session is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nothing in here can leave a half-made change behind, so a panic elsewhere while the lock was held is harmless.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Backend for Memory {
    async fn get(&self, id: &SessionId) -> Result<Option<Stored>, StoreError> {
        let record = self.kept().records.get(id).cloned();
        record.map(|record| record::decode(id, record)).transpose()
    }

    async fn put_ticket(&self, ticket: &SessionId, value: Bytes, lifetime: Duration) -> Result<(), StoreError> {
        self.tickets.put(ticket, value, lifetime)
    }

    async fn take_ticket(&self, ticket: &SessionId) -> Result<Option<Bytes>, StoreError> {
        Ok(self.tickets.take(ticket))
    }

    async fn commit(&self, expected: Option<&Stored>, next: &Session) -> Result<Committed, StoreError> {
        let record = record::encode(next)?;
        let mut kept = self.kept();
        kept.forget_expired(Timestamp::now(), FORGOTTEN_PER_COMMIT_MAX);
        let unchanged = kept.records.get(&next.id) == expected.map(|expected| &expected.record);
        if !unchanged || record::overwrites_ending(expected, next) {
            return Ok(Committed::Conflict);
        }
        if let Some(Stored { session, .. }) = expected {
            kept.unlist(session.ends_at, session.id, &session.subject);
        }
        kept.records.insert(next.id, record);
        kept.list(next);
        Ok(Committed::Yes)
    }

    async fn sessions_of(&self, subject: &str) -> Result<Vec<SessionId>, StoreError> {
        let now = Timestamp::now();
        let kept = self.kept();
        let sessions = kept.subjects.get(subject).into_iter().flatten();
        Ok(sessions.filter(|(_, ends_at)| now < **ends_at).map(|(id, _)| *id).collect())
    }

    async fn list(&self, from: Option<&Cursor>, at_most: usize) -> Result<Page, StoreError> {
        let begin = from.map(Cursor::session).transpose()?.map_or(Bound::Unbounded, Bound::Excluded);
        let kept = self.kept();
        let records = kept.records.range((begin, Bound::Unbounded)).take(at_most);
        let records: Vec<_> = records.map(|(id, record)| (*id, record.clone())).collect();
        Ok(record::page(records, at_most))
    }

    async fn follow(&self, mirror: &Mirror) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            mirror.remove_expired();
            self.kept().forget_expired(Timestamp::now(), usize::MAX);
        }
    }
}

impl Kept {
    fn list(&mut self, session: &Session) {
        self.expiries.insert((session.ends_at, session.id, session.subject.clone()));
        if session.ended.is_none() {
            self.subjects.entry(session.subject.clone()).or_default().insert(session.id, session.ends_at);
        }
    }

    fn unlist(&mut self, ends_at: Timestamp, id: SessionId, subject: &str) {
        self.expiries.remove(&(ends_at, id, subject.to_owned()));
        if let Some(sessions) = self.subjects.get_mut(subject) {
            sessions.remove(&id);
            if sessions.is_empty() {
                self.subjects.remove(subject);
            }
        }
    }

    fn forget_expired(&mut self, now: Timestamp, at_most: usize) {
        for _ in 0..at_most {
            match self.expiries.first() {
                Some((ends_at, ..)) if ends_at.plus(record::KEPT_AFTER_END) < now => {}
                _ => break,
            }
            if let Some((ends_at, id, subject)) = self.expiries.pop_first() {
                self.records.remove(&id);
                self.unlist(ends_at, id, &subject);
            }
        }
    }
}
