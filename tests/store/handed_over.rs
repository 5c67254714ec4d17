//! The embedded store while its file goes from one process to another. That a store which was handed over keeps the contract is
//! tried with all of its cases (`Rig::handed_over`); here is what happens on the way.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use portcullis::session::EndReason;
use portcullis::store::embedded::{Embedded, EmbeddedError};
use portcullis::store::lending::{Answer, Call, Lender, Lent};
use portcullis::store::{Backend, Committed, Mirror, Movable};
use portcullis::time::Timestamp;

use crate::support::{ACCESS_TAIL, DEADLINE, Proxy, new_id, until};

/// A process, and its store.
pub struct Process {
    pub store: Arc<Movable>,
    pub mirror: Arc<Mirror>,
}

impl Process {
    pub fn open(path: &Path) -> Result<Process, EmbeddedError> {
        let mirror = Arc::new(Mirror::new());
        let store = Embedded::open(path, Arc::clone(&mirror), ACCESS_TAIL)?;
        Ok(Process { store: Arc::new(Movable::new(store, Arc::clone(&mirror))), mirror })
    }

    pub fn proxy(&self) -> Proxy {
        Proxy::new(Arc::clone(&self.store) as _, Arc::clone(&self.mirror), Arc::default())
    }
}

/// `new` answers for whoever asks, as from another process: in JSON. Until the returned task is aborted.
pub fn lend(new: &Process) -> (Lent, tokio::task::JoinHandle<()>) {
    let lender = Arc::new(Lender::new(Arc::clone(&new.store) as _, Arc::clone(&new.mirror)));
    let (lent, mut asked) = Lent::new();
    let answers = tokio::spawn(async move {
        while let Some((call, reply)) = asked.recv().await {
            let call: Call = serde_json::from_slice(&serde_json::to_vec(&call).unwrap()).unwrap();
            let lender = Arc::clone(&lender);
            tokio::spawn(async move {
                let answer = serde_json::to_vec(&lender.answer(call).await).unwrap();
                let _ = reply.send(serde_json::from_slice::<Answer>(&answer).unwrap());
            });
        }
    });
    (lent, answers)
}

#[tokio::test]
async fn who_asks_while_the_file_moves_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.redb");
    let old = Process::open(&path).unwrap();
    let proxy = old.proxy();
    let session = proxy.begin("demo").await;
    assert!(matches!(Process::open(&path), Err(EmbeddedError::InUse { .. })));

    let moving = old.store.let_go().await;
    let sessions = Arc::clone(&proxy.sessions);
    let asks = tokio::spawn(async move { sessions.get(&session.id).await });
    let new = Process::open(&path).unwrap();
    assert!(!asks.is_finished());
    let (lent, _answers) = lend(&new);
    moving.lend(lent);
    assert!(asks.await.unwrap().unwrap().is_some());
}

#[tokio::test]
async fn nobody_waits_longer_than_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let old = Process::open(&folder.path().join("sessions.redb")).unwrap();
    let proxy = old.proxy();
    let session = proxy.begin("demo").await;
    let moving = old.store.let_go().await;
    assert!(proxy.sessions.get(&session.id).await.is_err());
    moving.take_back().await;
    assert!(proxy.sessions.get(&session.id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_file_that_comes_back_holds_what_was_done_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.redb");
    let old = Process::open(&path).unwrap();
    let proxy = old.proxy();
    let (leaves, stays) = (proxy.begin("demo").await, proxy.begin("demo").await);

    let moving = old.store.let_go().await;
    let new = Process::open(&path).unwrap();
    let (lent, answers) = lend(&new);
    moving.lend(lent);
    let there = new.proxy();
    let stored = there.sessions.get(&leaves.id).await.unwrap().unwrap();
    let ended = leaves.end(Timestamp::now(), EndReason::Logout);
    assert_eq!(there.sessions.commit(Some(&stored), &ended).await.unwrap(), Committed::Yes);
    until("it is heard of", async || proxy.lists(&leaves.id)).await;

    // The other process dies, while somebody waits for its answer.
    answers.abort();
    let sessions = Arc::clone(&proxy.sessions);
    let asks = tokio::spawn(async move { sessions.get(&stays.id).await });
    drop((there, new));
    old.store.take_back().await;
    assert!(asks.await.unwrap().unwrap().is_some());
    let stored = proxy.sessions.get(&leaves.id).await.unwrap().unwrap();
    assert!(stored.session.ended.is_some() && proxy.age() == Some(Duration::ZERO));
    proxy.begin("demo").await;
}

#[tokio::test]
async fn knowledge_grows_old_when_the_other_process_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.redb");
    let old = Process::open(&path).unwrap();
    let proxy = old.proxy();
    let moving = old.store.let_go().await;
    let new = Process::open(&path).unwrap();
    let (lent, answers) = lend(&new);
    moving.lend(lent);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(proxy.age().is_some_and(|age| age < DEADLINE), "it hears from the other");
    answers.abort();
    until("it knows that it knows nothing new", async || proxy.age().is_some_and(|age| age > DEADLINE)).await;
}

#[tokio::test]
async fn a_ticket_is_good_once_wherever_the_file_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.redb");
    let old = Process::open(&path).unwrap();
    let [taken, left] = [new_id("demo"), new_id("demo")];
    for ticket in [&taken, &left] {
        old.store.put_ticket(ticket, Bytes::from_static(b"somebody"), Duration::from_secs(60)).await.unwrap();
    }
    let kept = old.store.tickets();
    assert_eq!(kept.len(), 2);
    let moving = old.store.let_go().await;
    let new = Process::open(&path).unwrap();
    let lender = Lender::new(Arc::clone(&new.store) as _, Arc::clone(&new.mirror));
    for call in kept {
        assert!(matches!(lender.answer(call).await, Answer::Kept));
    }
    let (lent, answers) = lend(&new);
    moving.lend(lent);
    assert_eq!(old.store.take_ticket(&taken).await.unwrap().as_deref(), Some(&b"somebody"[..]));
    assert_eq!(new.store.take_ticket(&taken).await.unwrap(), None);
    answers.abort();
    drop((new, lender));
    old.store.take_back().await;
    assert_eq!(old.store.take_ticket(&taken).await.unwrap(), None);
    assert!(old.store.take_ticket(&left).await.unwrap().is_some());
}
