//! Who asks: the credentials that a route takes, and whether they are good now.
//!
//! What must never happen in here: a choice between two identities; a session that is known to have ended counts.

use std::sync::Arc;

use super::Reason;
use super::cookies::{cookie, may_speak_by_cookie};
use super::credentials::{Bearer, bearer_of};
use super::decide::{Facts, Knowledge, Question};
use super::head::RequestHead;
use super::identity::Identity;
use super::origin::Sender;
use super::policy::{Policy, WhenStale};
use super::route::Route;
use super::ticket::ticket;
use crate::session::SessionId;

/// Who asks, by the credentials that the route takes; none if there are none.
pub(super) fn who(
    policy: &Policy,
    route: &Route,
    head: &RequestHead<'_>,
    facts: &impl Facts,
) -> Result<Result<Option<Arc<Identity>>, Question>, Reason> {
    let from_header = match route.credentials.header {
        true => bearer_of(head, &route.token_header)?,
        false => None,
    };
    let from_header = from_header.map(|token| identify_bearer(policy, token, facts)).transpose()?;
    let ticket = match route.credentials.ticket {
        true => ticket(head.target)?,
        false => None,
    };
    let known = match (from_header, ticket) {
        (Some(_), Some(_)) => return Err(Reason::CredentialsAmbiguous),
        (None, Some(_)) => {
            if policy.origins.sender(head) == Sender::OtherSite {
                return Err(Reason::CrossSite);
            }
            let Some(answer) = facts.answer() else { return Ok(Err(Question::Redeem)) };
            Some(identify(policy, answer?, facts)?)
        }
        (from_header, None) => from_header,
    };
    let Some(cookies) = policy.cookies.as_ref().filter(|_| route.credentials.cookie) else { return Ok(Ok(known)) };
    let from_cookie = cookie(head.headers, &cookies.access)?;
    if let Some(identity) = known {
        let other = from_cookie.and_then(|token| verify_now(policy, token, facts).ok());
        return match other {
            Some(other) if !other.is_same_as(&identity) => Err(Reason::CredentialsAmbiguous),
            _ => Ok(Ok(Some(identity))),
        };
    }

    let answer = facts.answer();
    let token = match answer {
        Some(Ok(renewed)) => Some(renewed),
        // It cannot be told. Whoever is sent to the login page for that has lost a session that is well.
        Some(Err(reason)) if reason.status().is_server_error() => return Err(reason),
        Some(Err(_)) | None => from_cookie,
    };
    let can_be_renewed = || answer.is_none() && matches!(cookie(head.headers, &cookies.refresh), Ok(Some(_)));
    if (token.is_some() || can_be_renewed()) && !may_speak_by_cookie(&policy.origins, head) {
        return Err(Reason::CrossSite);
    }
    let identified = token.map(|token| identify(policy, token, facts)).transpose();
    let is_worn_out = match &identified {
        Ok(None) => true,
        Err(Reason::TokenExpired | Reason::TokenInvalid | Reason::TokenMalformed) => true,
        Ok(Some(_)) | Err(_) => false,
    };
    match identified {
        _ if is_worn_out && can_be_renewed() => Ok(Err(Question::Renew)),
        identified => identified.map(Ok),
    }
}

/// Whose token is this, and is it good now? The order matters: a session that is known to have ended stays ended however
/// stale the rest of our knowledge is.
pub(super) fn identify(policy: &Policy, token: &str, facts: &impl Facts) -> Result<Arc<Identity>, Reason> {
    let identity = verify_now(policy, token, facts)?;
    may_go_on(policy, &identity.session, facts)?;
    Ok(identity)
}

/// The same of a token that came in a header.
pub(super) fn identify_bearer(policy: &Policy, token: Bearer<'_>, facts: &impl Facts) -> Result<Arc<Identity>, Reason> {
    let identity = verify_bearer(policy, token, facts)?;
    may_go_on(policy, &identity.session, facts)?;
    Ok(identity)
}

/// Does nothing that is known of the session speak against it? Asked again and again of requests that last: a WebSocket, a
/// stream of events, a download.
pub fn may_go_on(policy: &Policy, session: &SessionId, facts: &impl Facts) -> Result<(), Reason> {
    if facts.has_ended(session) {
        return Err(Reason::SessionEnded);
    }
    match (facts.knowledge(session), policy.when_stale) {
        (Knowledge::Fresh, _) | (Knowledge::Stale, WhenStale::Allow) => Ok(()),
        (Knowledge::Stale, WhenStale::Deny) | (Knowledge::None, _) => Err(Reason::RevocationsStale),
    }
}

/// Whom the access cookie speaks for, if it is good: a page has nothing else to show once its refresh cookie is no good.
pub(super) fn in_cookie(policy: &Policy, head: &RequestHead<'_>, facts: &impl Facts) -> Option<Arc<Identity>> {
    let token = cookie(head.headers, &policy.cookies.as_ref()?.access).ok()??;
    verify_now(policy, token, facts).ok()
}

pub(super) fn verify_now(policy: &Policy, token: &str, facts: &impl Facts) -> Result<Arc<Identity>, Reason> {
    is_current(policy, facts.verify(token)?, facts)
}

pub(super) fn verify_bearer(policy: &Policy, token: Bearer<'_>, facts: &impl Facts) -> Result<Arc<Identity>, Reason> {
    let identity = match facts.remembered(token.as_bytes()) {
        Some(identity) => identity,
        None => facts.verify(token.text()?)?,
    };
    is_current(policy, identity, facts)
}

fn is_current(policy: &Policy, identity: Arc<Identity>, facts: &impl Facts) -> Result<Arc<Identity>, Reason> {
    match facts.now() < identity.expires_at.plus(policy.skew) {
        true => Ok(identity),
        false => Err(Reason::TokenExpired),
    }
}
