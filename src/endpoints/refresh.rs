//! `/refresh`: trades the refresh token, in the cookie or in the body, for new tokens that come back the same way.
//!
//! Read, judge (`session::rotate`), write against exactly what was read, answer. A lost race is read and judged again.
//! What is answered without a change is committed as it is: so it was true at a store that takes writes.
//! User and roles are read anew before anything is written: while it cannot be told who may log in, nothing changes.

use std::net::IpAddr;

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue};

use super::end::Witness;
use super::refused::Refused;
use super::tokens::{Issued, key_unknown};
use super::transport::Presented;
use super::{ATTEMPTS, Audit, Endpoints, RefreshOutcome, Request, Transport};
use crate::gate::{Reason, Reply};
use crate::login::{self, Principal};
use crate::session::{Attempt, EndReason, Outcome, Refusal, Session, rotate};
use crate::store::Committed;
use crate::time::Timestamp;
use crate::token::RefreshToken;

/// What a worn out access token was renewed to. It has no `Debug`: all of it is secret.
pub struct Renewed {
    /// The new access token.
    pub access_token: String,
    /// `Set-Cookie` fields for the answer, whatever that will be.
    pub cookies: Vec<HeaderValue>,
}

impl Endpoints {
    pub(super) async fn refresh(&self, request: &Request<'_>) -> Result<(RefreshOutcome, Reply), Refused> {
        let Presented { transport, token } = self.presented(request)?;
        let presented = token.map_err(Refused::grant)?;
        let client = Client { address: request.address, user_agent: user_agent(request.headers), transport };
        let (outcome, issued) = self.trade(&presented, &client).await?;
        Ok((outcome, self.token_response(&issued, transport)))
    }

    /// Trades the refresh token in the cookie of a request for a page, whose access token has worn out.
    /// Whoever calls has checked where the request comes from.
    pub async fn renew(&self, headers: &HeaderMap, address: IpAddr) -> Result<Renewed, Reason> {
        let client = Client { address, user_agent: user_agent(headers), transport: Transport::Cookie };
        let traded = match self.in_cookie(headers) {
            Ok(presented) => self.trade(&presented, &client).await,
            Err(reason) => Err(Refused::grant(reason)),
        };
        let (outcome, renewed) = match traded {
            Ok((outcome, issued)) => {
                let cookies = self.cookies(&issued);
                (outcome, Ok(Renewed { cookies, access_token: issued.into_access_token() }))
            }
            Err(refused) => (RefreshOutcome::Refused(refused.reason), Err(refused.reason)),
        };
        self.events.refresh(outcome);
        renewed
    }

    async fn trade(&self, presented: &RefreshToken, client: &Client<'_>) -> Result<(RefreshOutcome, Issued), Refused> {
        let traded = self.judge_and_commit(presented, client).await;
        if let Err(Refused { reason, .. }) = traded
            // Those have an event of their own; and of what cannot be told, nothing can be said.
            && !matches!(reason, Reason::TokenReused | Reason::SubjectRemoved)
            && !reason.status().is_server_error()
        {
            let (session, address, transport) = (presented.session, client.address, client.transport);
            self.events.audit(Audit::RefreshRefused { session, reason, address, transport });
        }
        traded
    }

    async fn judge_and_commit(
        &self,
        presented: &RefreshToken,
        client: &Client<'_>,
    ) -> Result<(RefreshOutcome, Issued), Refused> {
        let transport = client.transport;
        let mut principal = None;

        for _ in 0..ATTEMPTS {
            // Before the session is read: what is issued from it must not outlive a revocation that came since.
            let now = self.now();
            let Some(stored) = self.sessions.get(&presented.session).await? else {
                match self.sessions.is_absent(&presented.session).await? {
                    true => return Err(Refused::grant(Reason::SessionUnknown)),
                    false => continue,
                }
            };
            let session = &stored.session;
            let (outcome, change) = match self.judge(session, presented, client, now)? {
                Outcome::Kept { write } => (RefreshOutcome::Kept, write),
                Outcome::Rotated { write } => (RefreshOutcome::Rotated, Some(write)),
                Outcome::Retried { write, late: false } => (RefreshOutcome::Retried, write),
                Outcome::Retried { write, late: true } => (RefreshOutcome::RetriedLate, write),
                Outcome::Reused { write } => match self.sessions.commit(Some(&stored), &write).await? {
                    Committed::Yes => {
                        let (subject, address) = (&*session.subject, client.address);
                        self.events.audit(Audit::TokenReused { subject, session: session.id, address, transport });
                        self.end_app_session(session);
                        return Err(Refused::grant(Reason::TokenReused));
                    }
                    Committed::Conflict => continue,
                },
                Outcome::Refused(Refusal::Ended) => return Err(Refused::grant(why_ended(session))),
                Outcome::Refused(Refusal::Expired) => return Err(Refused::grant(Reason::TokenExpired)),
                Outcome::Refused(Refusal::Unknown) => return Err(Refused::grant(Reason::SessionUnknown)),
            };

            let principal = match &mut principal {
                Some(principal) => principal,
                unknown => unknown.insert(self.who_today(session, client).await?),
            };
            // Also what changes nothing: a primary of the past, which can still be read, takes no writes.
            let next = change.as_ref().unwrap_or(session);
            let issued = self.issue(next, principal, now)?;
            if self.sessions.commit(Some(&stored), next).await? == Committed::Conflict {
                continue;
            }
            let (subject, session, address) = (&*session.subject, session.id, client.address);
            self.events.audit(match outcome {
                RefreshOutcome::RetriedLate => Audit::RefreshedLate { subject, session, address, transport },
                _ => Audit::Refreshed { subject, session, address, transport },
            });
            return Ok((outcome, issued));
        }
        Err(Refused::request(Reason::Overloaded))
    }

    /// Asks the rotation rule.
    fn judge(
        &self,
        session: &Session,
        presented: &RefreshToken,
        client: &Client<'_>,
        now: Timestamp,
    ) -> Result<Outcome, Refused> {
        let active_mac_key = self.keys.mac_key_id();
        let mark = |key| self.keys.client_mark(key, client.address, client.user_agent);
        let attempt = Attempt {
            generation: presented.generation,
            now,
            mark_of_record_key: mark(&session.mac_key).ok_or_else(|| key_unknown(session))?,
            mark_of_active_key: mark(active_mac_key).ok_or_else(|| Refused::request(Reason::Internal))?,
            mark_of_presented_key: mark(&presented.key).ok_or_else(|| Refused::request(Reason::Internal))?,
            active_mac_key,
            presented_mac_key: &presented.key,
            known_ended: self.sessions.mirror().revocations.contains(&session.id),
        };
        Ok(rotate(Some(session), &attempt, &self.rotation))
    }

    /// Who the subject is today. If it may no longer log in, its session ends.
    async fn who_today(&self, session: &Session, client: &Client<'_>) -> Result<Principal, Refused> {
        let asking = login::Client {
            address: client.address,
            user_agent: HeaderValue::from_bytes(client.user_agent).ok().filter(|name| !name.is_empty()),
        };
        match self.login.today(&session.subject, self.was_told(session), asking).await {
            Ok(Some(principal)) => Ok(principal),
            Ok(None) => {
                self.end(&Witness::record(session), EndReason::SubjectRemoved).await?;
                let (address, transport) = (Some(client.address), Some(client.transport));
                let (subject, session) = (&*session.subject, session.id);
                self.events.audit(Audit::SubjectRemoved { subject, session, address, transport });
                Err(Refused::grant(Reason::SubjectRemoved))
            }
            Err(error) => {
                tracing::warn!(%error, "answered 503, because it could not be told who may log in");
                Err(Refused::request(Reason::LoginUnavailable))
            }
        }
    }
}

/// What the client looks like.
struct Client<'a> {
    address: IpAddr,
    user_agent: &'a [u8],
    transport: Transport,
}

/// What its client is told. That the subject is gone does not depend on who noticed it first.
fn why_ended(session: &Session) -> Reason {
    match session.ended.map(|ending| ending.reason) {
        Some(EndReason::SubjectRemoved) => Reason::SubjectRemoved,
        Some(EndReason::Logout | EndReason::LogoutAll | EndReason::Revoked | EndReason::Reuse) | None => {
            Reason::SessionEnded
        }
    }
}

fn user_agent(headers: &HeaderMap) -> &[u8] {
    headers.get(USER_AGENT).map_or(b"", |value| value.as_bytes())
}
