//! What the endpoints are wired to in tests: the memory store with a script of faults, users that can be told to fail, and
//! a recorder of events.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use secrecy::ExposeSecret;

use crate::endpoints::{AppLogoutOutcome, Audit, Events, LoginOutcome, LogoutOutcome, RefreshOutcome};
use crate::login::{Authenticator, Credentials, LoggedIn, LoginError, Principal};
use crate::session::{Session, SessionId};
use crate::store::memory::Memory;
use crate::store::{
    Backend, Committed, Cursor, Mirror, Observe, Operation, OperationOutcome, Page, StoreError, Stored,
};

/// What happens at a request to the store.
pub enum Fault {
    None,
    /// Nothing is done, and it fails.
    Fail,
    /// It is done, and the answer is lost.
    LoseReply,
    /// It has lost its memory.
    Amnesia,
    /// Others may have a copy of what it has no record of.
    Unsure,
    /// Another proxy writes first.
    Meanwhile(Box<dyn FnOnce(&Session) -> Session + Send>),
    /// Another proxy begins a session first.
    Begins(Session),
}

type Script = Box<dyn FnMut(usize) -> Fault + Send>;

/// The memory store, and a script that says what happens at each request. Every request lets other tasks run first.
pub struct Rigged {
    pub memory: Memory,
    steps: AtomicUsize,
    commits: AtomicUsize,
    script: Mutex<Script>,
}

impl Rigged {
    pub fn new(memory: Memory) -> Rigged {
        Rigged {
            memory,
            steps: AtomicUsize::new(0),
            commits: AtomicUsize::new(0),
            script: Mutex::new(Box::new(|_| Fault::None)),
        }
    }

    /// From here on, `script` is asked what happens at request 0, 1, 2...
    pub fn script(&self, script: impl FnMut(usize) -> Fault + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
        self.steps.store(0, Ordering::SeqCst);
    }

    pub fn heal(&self) {
        self.script(|_| Fault::None);
    }

    /// How many requests there were since the last script.
    pub fn steps(&self) -> usize {
        self.steps.load(Ordering::SeqCst)
    }

    /// How many commits there have ever been.
    pub fn commits(&self) -> usize {
        self.commits.load(Ordering::SeqCst)
    }

    async fn step<T>(
        &self,
        id: Option<&SessionId>,
        run: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::task::yield_now().await;
        let step = self.steps.fetch_add(1, Ordering::SeqCst);
        let fault = (self.script.lock().unwrap())(step);
        match fault {
            Fault::None => run.await,
            Fault::Fail => Err(StoreError::Unavailable("told to fail".to_owned())),
            Fault::Unsure => Err(StoreError::Unsure(*id.unwrap())),
            Fault::Amnesia => Err(StoreError::Amnesia),
            Fault::LoseReply => {
                run.await?;
                Err(StoreError::TimedOut(Duration::from_secs(5)))
            }
            Fault::Begins(session) => {
                assert_eq!(self.memory.commit(None, &session).await?, Committed::Yes);
                run.await
            }
            Fault::Meanwhile(change) => {
                let stored = self.memory.get(id.unwrap()).await?.unwrap();
                assert_eq!(self.memory.commit(Some(&stored), &change(&stored.session)).await?, Committed::Yes);
                run.await
            }
        }
    }
}

#[async_trait]
impl Backend for Rigged {
    async fn get(&self, id: &SessionId) -> Result<Option<Stored>, StoreError> {
        self.step(Some(id), self.memory.get(id)).await
    }

    async fn is_absent(&self, id: &SessionId) -> Result<bool, StoreError> {
        self.step(Some(id), async { Ok(self.memory.get(id).await?.is_none()) }).await
    }

    async fn put_ticket(&self, ticket: &SessionId, value: Bytes, lifetime: Duration) -> Result<(), StoreError> {
        self.step(None, self.memory.put_ticket(ticket, value, lifetime)).await
    }

    async fn take_ticket(&self, ticket: &SessionId) -> Result<Option<Bytes>, StoreError> {
        self.step(None, self.memory.take_ticket(ticket)).await
    }

    async fn commit(&self, expected: Option<&Stored>, next: &Session) -> Result<Committed, StoreError> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.step(Some(&next.id), self.memory.commit(expected, next)).await
    }

    async fn sessions_of(&self, subject: &str) -> Result<Vec<SessionId>, StoreError> {
        self.step(None, self.memory.sessions_of(subject)).await
    }

    async fn list(&self, from: Option<&Cursor>, at_most: usize) -> Result<Page, StoreError> {
        self.step(None, self.memory.list(from, at_most)).await
    }

    async fn follow(&self, mirror: &Mirror) {
        self.memory.follow(mirror).await;
    }
}

/// Nobody measures.
pub struct Unobserved;

impl Observe for Unobserved {
    fn store_request(&self, _: Operation, _: OperationOutcome, _: Duration) {}
    fn revocation_propagated(&self, _: Duration) {}
}

/// Everybody whose password is `right`, until told otherwise.
#[derive(Default)]
pub struct Users {
    pub error: Mutex<Option<LoginError>>,
    pub removed: Mutex<Vec<String>>,
    pub roles: Mutex<Vec<String>>,
}

impl Users {
    fn principal(&self, name: &str) -> Principal {
        let roles = self.roles.lock().unwrap().clone();
        Principal { subject: name.to_lowercase(), roles, scopes: vec!["read".to_owned(), "write".to_owned()] }
    }
}

#[async_trait]
impl Authenticator for Users {
    async fn login(&self, credentials: Credentials) -> Result<LoggedIn, LoginError> {
        match self.error.lock().unwrap().clone() {
            Some(error) => Err(error),
            None if credentials.password.expose_secret() != "right" => Err(LoginError::Rejected),
            None => Ok(self.principal(&credentials.username).into()),
        }
    }

    async fn current(&self, subject: &str) -> Result<Option<Principal>, LoginError> {
        tokio::task::yield_now().await;
        match self.error.lock().unwrap().clone() {
            Some(error) => Err(error),
            None if self.removed.lock().unwrap().iter().any(|name| name == subject) => Ok(None),
            None => Ok(Some(self.principal(subject))),
        }
    }
}

/// Writes down what it is told, and insists that it is on the lists.
#[derive(Default)]
pub struct Recorder {
    lines: Mutex<Vec<String>>,
}

impl Recorder {
    /// What was heard since the last time, outcomes and audit events in order.
    pub fn drain(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }

    /// The outcomes alone.
    pub fn outcomes(&self) -> Vec<String> {
        let mut heard = self.drain();
        heard.retain(|line| !line.starts_with("audit "));
        heard
    }

    fn write(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }
}

impl Events for Recorder {
    fn login(&self, outcome: LoginOutcome) {
        assert!(LoginOutcome::ALL.contains(&outcome), "{outcome:?}");
        self.write(format!("login {}", outcome.as_str()));
    }

    fn refresh(&self, outcome: RefreshOutcome) {
        assert!(RefreshOutcome::ALL.contains(&outcome), "{outcome:?}");
        self.write(format!("refresh {}", outcome.as_str()));
    }

    fn logout(&self, outcome: LogoutOutcome) {
        assert!(LogoutOutcome::ALL.contains(&outcome), "{outcome:?}");
        self.write(format!("logout {}", outcome.as_str()));
    }

    fn app_logout(&self, outcome: AppLogoutOutcome) {
        self.write(format!("app logout {}", outcome.as_str()));
    }

    fn audit(&self, event: Audit<'_>) {
        self.write(format!("audit {} {event:?}", event.as_str()));
    }
}
