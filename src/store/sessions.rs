//! The door to the sessions: deadline, measurements, and the local mirror in one place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Backend, Committed, Cursor, Mirror, Page, StoreError, Stored};
use crate::session::{Session, SessionId};

/// How many sessions are on a page: few enough that nobody who asks for one session waits for it.
const PAGE: usize = 256;

/// What is asked of the store: a metric label.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// Read a session.
    Get,
    /// Compare and swap a session.
    Commit,
    /// List a subject's sessions.
    SessionsOf,
    /// List the sessions of everybody.
    List,
    /// Read the revocation feed.
    Follow,
    /// Keep or take a ticket.
    Ticket,
}

impl Operation {
    /// All of them: what metrics are made of at start.
    pub const ALL: &[Operation] = &[
        Operation::Get,
        Operation::Commit,
        Operation::SessionsOf,
        Operation::List,
        Operation::Follow,
        Operation::Ticket,
    ];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Operation::Get => "get",
            Operation::Commit => "commit",
            Operation::SessionsOf => "sessions_of",
            Operation::List => "list",
            Operation::Follow => "follow",
            Operation::Ticket => "ticket",
        }
    }
}

/// How it went: a metric label.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OperationOutcome {
    /// Done.
    Ok,
    /// A lost race.
    Conflict,
    /// No answer within the deadline.
    Timeout,
    /// Any other failure.
    Error,
}

impl OperationOutcome {
    /// All of them: what metrics are made of at start.
    pub const ALL: &[OperationOutcome] =
        &[OperationOutcome::Ok, OperationOutcome::Conflict, OperationOutcome::Timeout, OperationOutcome::Error];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            OperationOutcome::Ok => "ok",
            OperationOutcome::Conflict => "conflict",
            OperationOutcome::Timeout => "timeout",
            OperationOutcome::Error => "error",
        }
    }
}

/// Is told of every request to the store.
pub trait Observe: Send + Sync + 'static {
    /// A request to the store has ended.
    fn store_request(&self, operation: Operation, outcome: OperationOutcome, elapsed: Duration);
    /// How long a revocation took from its publication to this mirror.
    fn revocation_propagated(&self, delay: Duration);
}

/// Sessions, as everybody uses them.
pub struct Sessions {
    backend: Arc<dyn Backend>,
    mirror: Arc<Mirror>,
    deadline: Duration,
    /// How long after a session's end an access token of it could still be alive: its lifetime and the clock skew.
    access_tail: Duration,
    observe: Arc<dyn Observe>,
}

impl Sessions {
    /// Opens the door. No request to `backend` takes longer than `deadline`.
    pub fn new(
        backend: Arc<dyn Backend>,
        mirror: Arc<Mirror>,
        deadline: Duration,
        access_tail: Duration,
        observe: Arc<dyn Observe>,
    ) -> Sessions {
        Sessions { backend, mirror, deadline, access_tail, observe }
    }

    /// Reads a session. If it has ended, this proxy refuses its access tokens from then on, whether or not it has heard of
    /// that before.
    pub async fn get(&self, id: &SessionId) -> Result<Option<Stored>, StoreError> {
        let stored = self.measured(Operation::Get, self.backend.get(id), |_| OperationOutcome::Ok).await?;
        if let Some(stored) = &stored {
            self.list_if_ended(&stored.session);
        }
        Ok(stored)
    }

    /// Makes sure that there is no record of the session: see [`Backend::is_absent`].
    pub async fn is_absent(&self, id: &SessionId) -> Result<bool, StoreError> {
        self.measured(Operation::Get, self.backend.is_absent(id), |_| OperationOutcome::Ok).await
    }

    /// Commits `next` against `expected`. When it returns [`Committed::Yes`] for an ended session, this proxy refuses the
    /// session's access tokens already.
    pub async fn commit(&self, expected: Option<&Stored>, next: &Session) -> Result<Committed, StoreError> {
        let committed = self
            .measured(Operation::Commit, self.backend.commit(expected, next), |committed| match committed {
                Committed::Yes => OperationOutcome::Ok,
                Committed::Conflict => OperationOutcome::Conflict,
            })
            .await?;
        if committed == Committed::Yes {
            self.list_if_ended(next);
        }
        Ok(committed)
    }

    fn list_if_ended(&self, session: &Session) {
        // What is over for long has no living access token, and comes back as often as somebody asks.
        if let Some(until) = session.revoked_until(self.access_tail).filter(|it| *it >= self.mirror.time_to_forget()) {
            self.mirror.revocations.insert(session.id, until);
        }
    }

    /// The subject's living sessions.
    pub async fn sessions_of(&self, subject: &str) -> Result<Vec<SessionId>, StoreError> {
        self.measured(Operation::SessionsOf, self.backend.sessions_of(subject), |_| OperationOutcome::Ok).await
    }

    /// A page of everybody's sessions: see [`Backend::list`].
    pub async fn list(&self, from: Option<&Cursor>) -> Result<Page, StoreError> {
        self.measured(Operation::List, self.backend.list(from, PAGE), |_| OperationOutcome::Ok).await
    }

    /// Keeps `value` under `ticket`: see [`Backend::put_ticket`].
    pub async fn put_ticket(&self, ticket: &SessionId, value: Bytes, lifetime: Duration) -> Result<(), StoreError> {
        let put = self.backend.put_ticket(ticket, value, lifetime);
        self.measured(Operation::Ticket, put, |()| OperationOutcome::Ok).await
    }

    /// Takes what is kept under `ticket`: see [`Backend::take_ticket`].
    pub async fn take_ticket(&self, ticket: &SessionId) -> Result<Option<Bytes>, StoreError> {
        self.measured(Operation::Ticket, self.backend.take_ticket(ticket), |_| OperationOutcome::Ok).await
    }

    /// What this proxy knows of revocations.
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    async fn measured<T>(
        &self,
        operation: Operation,
        request: impl Future<Output = Result<T, StoreError>>,
        outcome_of: impl FnOnce(&T) -> OperationOutcome,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let result = match tokio::time::timeout(self.deadline, request).await {
            Ok(result) => result,
            Err(_) => Err(StoreError::TimedOut(self.deadline)),
        };
        let outcome = match &result {
            Ok(value) => outcome_of(value),
            Err(StoreError::TimedOut(_)) => OperationOutcome::Timeout,
            Err(_) => OperationOutcome::Error,
        };
        self.observe.store_request(operation, outcome, began.elapsed());
        result
    }
}
