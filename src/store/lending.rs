//! The questions to a store, as data: for a process that has handed its file over, and still has requests to finish.
//!
//! What must never happen in here: a question that the store of another process answers otherwise than one's own would.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::{Backend, Committed, Cursor, Freshness, Mirror, Page, StoreError, Stored, record};
use crate::session::{PARTITIONS, Session, SessionId};
use crate::time::Timestamp;

/// A question to the store, or something to be done: see [`Backend`].
#[derive(Clone, Serialize, Deserialize, Debug)]
pub enum Call {
    /// [`Backend::get`].
    Get(SessionId),
    /// [`Backend::commit`]: the bytes that are expected, and the record to be.
    Commit(#[serde(with = "as_base64::option")] Option<Bytes>, Box<Session>),
    /// [`Backend::sessions_of`].
    SessionsOf(String),
    /// [`Backend::list`]: from where, and how many.
    List(Option<String>, usize),
    /// [`Backend::put_ticket`]: the ticket, what it stands for, and for how long.
    PutTicket(SessionId, #[serde(with = "as_base64")] Bytes, Duration),
    /// [`Backend::take_ticket`].
    TakeTicket(SessionId),
    /// Which sessions have ended since this was asked before?
    Endings,
}

/// What came of a [`Call`].
#[derive(Serialize, Deserialize, Debug)]
pub enum Answer {
    /// The record of a session.
    Record(#[serde(with = "as_base64::option")] Option<Bytes>),
    /// The commit was made; false: the record is another one.
    Committed(bool),
    /// Ids of sessions.
    Sessions(Vec<SessionId>),
    /// A page of sessions, and where the next one begins.
    Page(Vec<Session>, Option<String>),
    /// The ticket is kept.
    Kept,
    /// What the ticket stood for.
    Ticket(#[serde(with = "as_base64::option")] Option<Bytes>),
    /// Sessions that have ended, and until when that matters; and how old this knowledge is, if there is any.
    Endings(Vec<(SessionId, Timestamp)>, Option<Duration>),
    /// The cursor is none of this store's.
    CursorUnknown,
    /// The store cannot tell or cannot write.
    Unavailable(String),
}

/// The other end: answers for a store.
pub struct Lender {
    backend: Arc<dyn Backend>,
    mirror: Arc<Mirror>,
    told: Mutex<Told>,
}

/// Which endings the borrower knows.
struct Told {
    added: u64,
    endings: HashSet<SessionId>,
}

impl Lender {
    /// Answers from `backend`. Whoever asks knows already what `mirror` lists now.
    pub fn new(backend: Arc<dyn Backend>, mirror: Arc<Mirror>) -> Lender {
        let added = mirror.revocations.added();
        let endings = listed(&mirror).map(|(session, _)| session).collect();
        Lender { backend, mirror, told: Mutex::new(Told { added, endings }) }
    }

    /// Does what is asked.
    pub async fn answer(&self, call: Call) -> Answer {
        match self.try_answer(call).await {
            Ok(answer) => answer,
            Err(StoreError::CursorUnknown) => Answer::CursorUnknown,
            Err(error) => Answer::Unavailable(error.to_string()),
        }
    }

    async fn try_answer(&self, call: Call) -> Result<Answer, StoreError> {
        let backend = &self.backend;
        Ok(match call {
            Call::Get(id) => Answer::Record(backend.get(&id).await?.map(|stored| stored.record)),
            Call::Commit(expected, next) => {
                // Of another session, perhaps: then it is not what is found, and that is the answer.
                let expected = expected.map(|record| {
                    let session = serde_json::from_slice(&record);
                    let session = session.map_err(|error| StoreError::Corrupt(next.id, error.to_string()))?;
                    Ok::<_, StoreError>(Stored { session, record })
                });
                let expected = expected.transpose()?;
                Answer::Committed(backend.commit(expected.as_ref(), &next).await? == Committed::Yes)
            }
            Call::SessionsOf(subject) => Answer::Sessions(backend.sessions_of(&subject).await?),
            Call::List(from, at_most) => {
                let from = from.map(|text| Cursor::from_text(&text));
                let page = backend.list(from.as_ref(), at_most).await?;
                Answer::Page(page.sessions, page.next.map(|next| next.to_string()))
            }
            Call::PutTicket(ticket, value, lifetime) => {
                backend.put_ticket(&ticket, value, lifetime).await?;
                Answer::Kept
            }
            Call::TakeTicket(ticket) => Answer::Ticket(backend.take_ticket(&ticket).await?),
            Call::Endings => {
                let asked_at = Instant::now();
                let age = match self.mirror.worst_freshness(asked_at) {
                    Freshness::Age(age) => Some(age),
                    Freshness::Unknown => None,
                };
                Answer::Endings(self.news(), age)
            }
        })
    }

    /// What has been listed since this was asked before.
    fn news(&self) -> Vec<(SessionId, Timestamp)> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the list is read: what is added meanwhile is looked for again.
        let added = self.mirror.revocations.added();
        if added == told.added {
            return Vec::new();
        }
        let news = listed(&self.mirror).filter(|(session, _)| told.endings.insert(*session)).collect();
        told.added = added;
        news
    }
}

fn listed(mirror: &Mirror) -> impl Iterator<Item = (SessionId, Timestamp)> + '_ {
    (0..PARTITIONS).flat_map(|partition| mirror.revocations.of_partition(partition))
}

/// A question on its way, and who waits for the answer. If it is dropped, the other process is gone.
pub type Asked = (Call, oneshot::Sender<Answer>);

/// A store that another process has.
#[derive(Clone)]
pub struct Lent(mpsc::Sender<Asked>);

impl Lent {
    /// What is asked of it comes out of the other end.
    pub fn new() -> (Lent, mpsc::Receiver<Asked>) {
        let (calls, asked) = mpsc::channel(1024);
        (Lent(calls), asked)
    }

    /// None: the other process is gone. It may have done what was asked.
    pub(super) async fn ask(&self, call: Call) -> Option<Answer> {
        let (reply, answer) = oneshot::channel();
        self.0.send((call, reply)).await.ok()?;
        answer.await.ok()
    }
}

impl Answer {
    fn or<T>(self, wanted: impl FnOnce(Answer) -> Option<T>) -> Result<T, StoreError> {
        match self {
            Answer::CursorUnknown => Err(StoreError::CursorUnknown),
            Answer::Unavailable(why) => Err(StoreError::Unavailable(why)),
            other => wanted(other)
                .ok_or_else(|| StoreError::Unavailable("the new process answers something else".to_owned())),
        }
    }

    pub(super) fn record(self, id: &SessionId) -> Result<Option<Stored>, StoreError> {
        let record = self.or(|it| if let Answer::Record(record) = it { Some(record) } else { None })?;
        record.map(|record| record::decode(id, record)).transpose()
    }

    pub(super) fn committed(self) -> Result<Committed, StoreError> {
        let yes = self.or(|it| if let Answer::Committed(yes) = it { Some(yes) } else { None })?;
        Ok(if yes { Committed::Yes } else { Committed::Conflict })
    }

    pub(super) fn sessions(self) -> Result<Vec<SessionId>, StoreError> {
        self.or(|it| if let Answer::Sessions(sessions) = it { Some(sessions) } else { None })
    }

    pub(super) fn page(self) -> Result<Page, StoreError> {
        self.or(|it| match it {
            Answer::Page(sessions, next) => Some(Page { sessions, next: next.map(|text| Cursor::from_text(&text)) }),
            _ => None,
        })
    }

    pub(super) fn kept(self) -> Result<(), StoreError> {
        self.or(|it| matches!(it, Answer::Kept).then_some(()))
    }

    pub(super) fn ticket(self) -> Result<Option<Bytes>, StoreError> {
        self.or(|it| if let Answer::Ticket(value) = it { Some(value) } else { None })
    }
}

/// Bytes in JSON.
mod as_base64 {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        decode::<D::Error>(String::deserialize(from)?)
    }

    fn decode<E: Error>(text: String) -> Result<Bytes, E> {
        STANDARD.decode(text).map(Bytes::from).map_err(E::custom)
    }

    pub(super) mod option {
        use super::*;

        pub(in super::super) fn serialize<S: Serializer>(bytes: &Option<Bytes>, to: S) -> Result<S::Ok, S::Error> {
            match bytes {
                Some(bytes) => to.serialize_some(&STANDARD.encode(bytes)),
                None => to.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Bytes>, D::Error> {
            Option::<String>::deserialize(from)?.map(decode::<D::Error>).transpose()
        }
    }
}
