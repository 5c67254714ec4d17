//! The embedded store of a process that can hand its file over, and still finish its requests: they are then answered by
//! the process that has the file.
//!
//! What must never happen in here: two processes that believe to have the file; a request that fails because the file is
//! between two processes; endings at the other process that are not heard of, while the mirror claims to be fresh.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};

use super::embedded::Embedded;
use super::lending::{Answer, Call, Lent};
use super::{Backend, Committed, Cursor, Mirror, Page, StoreError, Stored};
use crate::session::{PARTITIONS, Session, SessionId};

/// How often the other process is asked what has ended.
const LISTEN_EVERY: Duration = Duration::from_millis(25);
/// How often expired revocations are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How long is waited before a question is asked again whose answer was lost with the other process.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// An embedded store that can move to another process.
pub struct Movable {
    here: Embedded,
    mirror: Arc<Mirror>,
    /// None: it is here. Held for writing while it moves: then everybody waits, each for its own deadline.
    place: Arc<RwLock<Option<Lent>>>,
}

/// The store moves. Everybody who needs it waits until this is over.
pub struct Moving<'a> {
    store: &'a Movable,
    place: OwnedRwLockWriteGuard<Option<Lent>>,
}

impl Movable {
    /// It is here.
    pub fn new(here: Embedded, mirror: Arc<Mirror>) -> Movable {
        Movable { here, mirror, place: Arc::default() }
    }

    /// Closes the file, once nobody is at it.
    pub async fn let_go(&self) -> Moving<'_> {
        let place = Arc::clone(&self.place).write_owned().await;
        // Nobody else can end a session before the file is closed.
        self.here.file().let_go().await;
        self.mirror.no_longer_alone(Instant::now());
        Moving { store: self, place }
    }

    /// The other process is gone, or gives up: the file is ours again.
    pub async fn take_back(&self) {
        let place = Arc::clone(&self.place).write_owned().await;
        Moving { store: self, place }.take_back().await;
    }

    /// The tickets that can still be taken, as what the other process is to be asked to keep.
    pub fn tickets(&self) -> Vec<Call> {
        let tickets = self.here.tickets().into_iter();
        tickets.map(|(ticket, value, lifetime)| Call::PutTicket(ticket, value, lifetime)).collect()
    }

    /// Asks the other process, if it has the file. None: it is here. `here` is held until the returned value is dropped.
    async fn elsewhere(
        &self,
        call: impl Fn() -> Call,
    ) -> Result<Answer, tokio::sync::RwLockReadGuard<'_, Option<Lent>>> {
        loop {
            let place = self.place.read().await;
            let Some(lent) = &*place else { return Err(place) };
            if let Some(answer) = lent.ask(call()).await {
                return Ok(answer);
            }
            // It is gone. Whoever notices takes the file back; what was asked may have been done, as after any lost answer.
            drop(place);
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
    }

    /// Hears of what ends elsewhere.
    async fn listen(&self) {
        loop {
            tokio::time::sleep(LISTEN_EVERY).await;
            let asked_at = Instant::now();
            let place = self.place.read().await.clone();
            let Some(lent) = place else { continue };
            if let Some(Answer::Endings(endings, age)) = lent.ask(Call::Endings).await {
                endings.into_iter().for_each(|(session, until)| self.mirror.revocations.insert(session, until));
                let known_at = age.and_then(|age| asked_at.checked_sub(age));
                // If the file has come back meanwhile, this process knows better.
                let place = self.place.read().await;
                if place.is_none() {
                    continue;
                }
                (0..PARTITIONS).for_each(|partition| match known_at {
                    Some(known_at) => self.mirror.synced(partition, known_at),
                    // The other process cannot say who is still logged in, so neither can this one.
                    None => self.mirror.forget(partition),
                });
            }
        }
    }
}

impl Moving<'_> {
    /// The other process has opened the file: it is asked from now on.
    pub fn lend(mut self, lent: Lent) {
        *self.place = Some(lent);
    }

    /// The other process is gone, or gives up: the file is ours again.
    pub async fn take_back(mut self) {
        self.store.here.file().take_back().await;
        self.store.mirror.always_fresh();
        *self.place = None;
    }
}

#[async_trait]
impl Backend for Movable {
    async fn get(&self, id: &SessionId) -> Result<Option<Stored>, StoreError> {
        match self.elsewhere(|| Call::Get(*id)).await {
            Ok(answer) => answer.record(id),
            Err(_here) => self.here.get(id).await,
        }
    }

    async fn put_ticket(&self, ticket: &SessionId, value: Bytes, lifetime: Duration) -> Result<(), StoreError> {
        match self.elsewhere(|| Call::PutTicket(*ticket, value.clone(), lifetime)).await {
            Ok(answer) => answer.kept(),
            Err(_here) => self.here.put_ticket(ticket, value, lifetime).await,
        }
    }

    async fn take_ticket(&self, ticket: &SessionId) -> Result<Option<Bytes>, StoreError> {
        match self.elsewhere(|| Call::TakeTicket(*ticket)).await {
            Ok(answer) => {
                // Should the file come back, it must not be taken twice.
                self.here.forget_ticket(ticket);
                answer.ticket()
            }
            Err(_here) => self.here.take_ticket(ticket).await,
        }
    }

    async fn commit(&self, expected: Option<&Stored>, next: &Session) -> Result<Committed, StoreError> {
        let call = || Call::Commit(expected.map(|stored| stored.record.clone()), Box::new(next.clone()));
        match self.elsewhere(call).await {
            Ok(answer) => answer.committed(),
            Err(_here) => self.here.commit(expected, next).await,
        }
    }

    async fn sessions_of(&self, subject: &str) -> Result<Vec<SessionId>, StoreError> {
        match self.elsewhere(|| Call::SessionsOf(subject.to_owned())).await {
            Ok(answer) => answer.sessions(),
            Err(_here) => self.here.sessions_of(subject).await,
        }
    }

    async fn list(&self, from: Option<&Cursor>, at_most: usize) -> Result<Page, StoreError> {
        match self.elsewhere(|| Call::List(from.map(ToString::to_string), at_most)).await {
            Ok(answer) => answer.page(),
            Err(_here) => self.here.list(from, at_most).await,
        }
    }

    async fn follow(&self, mirror: &Mirror) {
        let sweep = async {
            loop {
                tokio::time::sleep(SWEEP_EVERY).await;
                mirror.remove_expired();
            }
        };
        tokio::join!(sweep, self.listen());
    }
}
