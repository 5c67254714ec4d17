//! What an operator asks is done here, through the store's door. Nothing in here is on the way of a client's request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Response, StatusCode};
use serde_json::json;
use tokio::task::JoinSet;

use super::api::{Call, Problem, Selector, View, answer};
use crate::endpoints::{Audit, Events};
use crate::session::{EndReason, Session, SessionId};
use crate::store::{ChangeError, Changed, Cursor, Sessions, StoreError};
use crate::time::Timestamp;

/// Lists, shows and revokes sessions.
pub struct Operator {
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// Who keeps the audit log.
    pub events: Arc<dyn Events>,
}

impl Operator {
    /// Answers a call. `body` is read only by those that have one.
    pub async fn answer(&self, call: Call, body: &[u8]) -> Response<Vec<u8>> {
        let answered = match call {
            Call::List { subject: Some(subject), from: None } => self.list_of(&subject).await,
            Call::List { subject: Some(_), from: Some(_) } => {
                Err(Problem::new(StatusCode::BAD_REQUEST, "the sessions of one subject are on one page"))
            }
            Call::List { subject: None, from } => self.list(from.as_ref()).await,
            Call::Show(id) => self.show(&id).await,
            Call::Revoke => match Selector::read(body) {
                Ok(selector) => self.revoke(selector).await,
                Err(problem) => Err(problem),
            },
        };
        answered.unwrap_or_else(|problem| problem.response())
    }

    async fn list_of(&self, subject: &str) -> Result<Response<Vec<u8>>, Problem> {
        let mut found = Vec::new();
        for id in self.sessions.sessions_of(subject).await? {
            found.extend(self.sessions.get(&id).await?.map(|stored| stored.session));
        }
        Ok(page(&found, None))
    }

    async fn list(&self, from: Option<&Cursor>) -> Result<Response<Vec<u8>>, Problem> {
        let found = self.sessions.list(from).await?;
        Ok(page(&found.sessions, found.next.as_ref()))
    }

    async fn show(&self, id: &SessionId) -> Result<Response<Vec<u8>>, Problem> {
        let stored = self.sessions.get(id).await?.ok_or_else(|| unknown(id))?;
        Ok(answer(StatusCode::OK, &View::of(&stored.session, Timestamp::now())))
    }

    async fn revoke(&self, selector: Selector) -> Result<Response<Vec<u8>>, Problem> {
        let revoked = AtomicUsize::new(0);
        let done = match selector {
            Selector::Session(id) => match self.sessions.end(&id, Timestamp::now, EndReason::Revoked).await {
                Ok(Some(changed)) => {
                    self.count(&changed, &revoked);
                    Ok(())
                }
                Ok(None) => return Err(unknown(&id)),
                Err(error) => Err(error),
            },
            Selector::Subject(subject) => {
                let ended = |session: &Session| {
                    self.audit(session);
                    revoked.fetch_add(1, Ordering::Relaxed);
                };
                self.sessions.end_all_of(&subject, Timestamp::now, EndReason::Revoked, ended).await
            }
            Selector::Key(key) => self.revoke_all(|session| session.mac_key == key, &revoked).await,
            Selector::All => self.revoke_all(|_| true, &revoked).await,
        };
        let revoked = revoked.into_inner();
        match done {
            Ok(()) => Ok(answer(StatusCode::OK, &json!({ "revoked": revoked }))),
            // Each that was ended stays so, and asking again goes on with the others.
            Err(error) => {
                let problem = Problem::from(error);
                let detail = format!("{}; not all sessions were revoked ({revoked} were): ask again", problem.detail);
                Err(Problem { detail, ..problem })
            }
        }
    }

    /// Page by page; those on a page at once, so that they share what a commit costs.
    async fn revoke_all(&self, which: impl Fn(&Session) -> bool, revoked: &AtomicUsize) -> Result<(), ChangeError> {
        let mut from = None;
        loop {
            let page = self.sessions.list(from.as_ref()).await?;
            let mut endings = JoinSet::new();
            for session in page.sessions.into_iter().filter(|session| session.ended.is_none() && which(session)) {
                let sessions = Arc::clone(&self.sessions);
                endings.spawn(async move { sessions.end(&session.id, Timestamp::now, EndReason::Revoked).await });
            }
            let mut fault = None;
            while let Some(ended) = endings.join_next().await {
                match ended {
                    Ok(Ok(changed)) => changed.iter().for_each(|changed| self.count(changed, revoked)),
                    Ok(Err(error)) => fault = Some(error),
                    Err(_panicked) => fault = Some(ChangeError::Contended),
                }
            }
            if let Some(fault) = fault {
                return Err(fault);
            }
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    fn count(&self, changed: &Changed, revoked: &AtomicUsize) {
        if changed.has_ended() {
            self.audit(&changed.after);
            revoked.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn audit(&self, session: &Session) {
        self.events.audit(Audit::Revoked { subject: &session.subject, session: session.id });
    }
}

/// The living sessions of a page. There can be none on one, and more on the next.
fn page(found: &[Session], next: Option<&Cursor>) -> Response<Vec<u8>> {
    let now = Timestamp::now();
    let living: Vec<View<'_>> =
        found.iter().filter(|session| session.is_live(now)).map(|session| View::of(session, now)).collect();
    let next = next.map(ToString::to_string);
    answer(StatusCode::OK, &json!({ "sessions": living, "next": next }))
}

fn unknown(id: &SessionId) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("the store knows of no session {id}"))
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        let status = match error {
            StoreError::CursorUnknown => StatusCode::BAD_REQUEST,
            StoreError::TimedOut(_)
            | StoreError::Unavailable(_)
            | StoreError::Amnesia
            | StoreError::Unsure(_)
            | StoreError::Corrupt(..) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Problem::new(status, error.to_string())
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Problem {
        match error {
            ChangeError::Store(error) => error.into(),
            ChangeError::Contended => Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }
}
