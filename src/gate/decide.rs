//! The decision on a request: one pure, synchronous function.
//!
//! What must never happen in here: a [`Grant`] for a request that no rule lets pass. There is no other way to make one,
//! and no upstream can be reached without it.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::Reason;
use super::cookies::is_navigation;
use super::credentials::bearer_of;
use super::endpoint::Endpoint;
use super::head::RequestHead;
use super::identity::Identity;
use super::origin::Sender;
use super::policy::{ENDPOINT_TOKEN_HEADER, Policy};
use super::reply::Reply;
use super::route::{Auth, Match, Route};
use super::who::{identify_bearer, in_cookie, verify_bearer, who};
use crate::session::SessionId;
use crate::time::Timestamp;

/// What is known about revocations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Knowledge {
    /// Recent enough.
    Fresh,
    /// Once loaded, but older than allowed.
    Stale,
    /// Never loaded, or known to be wrong.
    None,
}

/// What the decision needs to know of the world, and takes as given.
pub trait Facts {
    /// The time.
    fn now(&self) -> Timestamp;
    /// Whose token this is, if these very bytes were verified before and are remembered.
    fn remembered(&self, _token: &[u8]) -> Option<Arc<Identity>> {
        None
    }
    /// Whose token this is, if its signature and claims are good. It may have expired since it was first seen.
    fn verify(&self, token: &str) -> Result<Arc<Identity>, Reason>;
    /// Is this a token that names a key of ours, good or not?
    fn is_ours(&self, token: &str) -> bool;
    /// Is the session known to have ended?
    fn has_ended(&self, session: &SessionId) -> bool;
    /// How well are endings known where this session lives?
    fn knowledge(&self, session: &SessionId) -> Knowledge;
    /// The answer to the question, once it has been asked: an access token, or why there is none.
    fn answer(&self) -> Option<Result<&str, Reason>> {
        None
    }
}

/// What has to be found out before a request can be decided on. It is asked once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// What does the refresh token in the request's cookie yield?
    Renew,
    /// What was the ticket in the request's query got for?
    Redeem,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Decision {
    /// It goes to an upstream.
    Forward(Grant),
    /// An endpoint of ours answers it.
    Serve(Service),
    /// It is a preflight, and answered by the proxy.
    Preflight,
    /// It is refused.
    Refuse(Denial),
    /// That depends.
    Ask(Question),
}

/// The right to reach an upstream. Only [`decide`] makes one.
#[derive(Clone, Debug)]
pub struct Grant {
    route: usize,
    upstream: usize,
    identity: Option<Arc<Identity>>,
    token_header: Option<HeaderName>,
    drop_authorization: bool,
}

impl Grant {
    /// The rule that let it pass: an index into the policy's routes.
    pub fn route(&self) -> usize {
        self.route
    }

    /// Which upstream it opens.
    pub fn upstream(&self) -> usize {
        self.upstream
    }

    /// Who asks, if that is known.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// The names of the client's headers that the upstream must not see.
    pub fn dropped(&self) -> impl Iterator<Item = &HeaderName> {
        static AUTHORIZATION_FIELD: HeaderName = AUTHORIZATION;
        self.drop_authorization.then_some(&AUTHORIZATION_FIELD).into_iter().chain(&self.token_header)
    }
}

/// A request for one of our endpoints.
#[derive(Debug)]
pub struct Service {
    /// Which.
    pub endpoint: Endpoint,
    /// The access token that came with it, if any: whose it is, or why it does not count.
    pub bearer: Option<Result<Arc<Identity>, Reason>>,
    /// Who sends it.
    pub sender: Sender,
}

/// A refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// The rule that refused it, if one matched.
    pub route: Option<usize>,
    /// The methods that would be allowed.
    pub allow: Option<HeaderValue>,
    /// What somebody who looks at the answer gets in its place.
    pub instead: Option<Instead>,
}

/// What a navigation gets in place of a bare 401.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Instead {
    /// The way to the login page.
    Login(HeaderValue),
    /// A page that says that what was sent went nowhere, and how to send it again.
    NotSent,
}

impl Denial {
    /// A refusal before any rule matched.
    pub fn new(reason: Reason) -> Denial {
        Denial { reason, route: None, allow: None, instead: None }
    }

    /// The answer.
    pub fn reply(&self) -> Reply {
        let reply = Reply::refusal(self.reason);
        match &self.allow {
            Some(methods) => reply.with_allow(methods.clone()),
            None => reply,
        }
    }
}

/// Decides on one request.
pub fn decide(policy: &Policy, head: &RequestHead<'_>, facts: &impl Facts) -> Decision {
    let target = match find_target(policy, head) {
        Ok(target) => target,
        Err(reason) => return Decision::Refuse(Denial::new(reason)),
    };
    let decision = match target {
        Target::Rule(Match::None) => Err(Denial::new(Reason::RouteUnknown)),
        _ if policy.origins.is_preflight(head) => Ok(Decision::Preflight),
        Target::Rule(Match::OtherMethods(rules)) => Err(Denial {
            reason: Reason::MethodNotAllowed,
            route: rules.first().copied(),
            allow: Some(allowed_methods(policy, rules)),
            instead: None,
        }),
        Target::Rule(Match::Route(index)) => {
            let route = &policy.routes.routes()[index];
            forward(policy, index, route, head, facts).map_err(|reason| Denial {
                reason,
                route: Some(index),
                allow: None,
                instead: instead(policy, route, head, reason),
            })
        }
        Target::Endpoint(endpoint) => serve(policy, endpoint, head, facts),
    };
    decision.unwrap_or_else(Decision::Refuse)
}

/// What a request is aimed at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target<'t> {
    Endpoint(Endpoint),
    Rule(Match<'t>),
}

/// Finds what the request is aimed at, and refuses if a backend that reads the path differently could see another rule.
fn find_target<'t>(policy: &'t Policy, head: &RequestHead<'_>) -> Result<Target<'t>, Reason> {
    let host = head.host.name();
    let aim = |path: &[u8], case_is_folded| {
        let (endpoint, rule) = match case_is_folded {
            false => (policy.endpoints.find(host, path), policy.routes.find(host, path, head.method)),
            true => (policy.endpoints.find_folded(host, path), policy.routes.find_folded(host, path, head.method)),
        };
        endpoint.map_or(Target::Rule(rule), Target::Endpoint)
    };
    let target = aim(head.path.decoded(), false);
    let has_upper_case = policy.routes.has_upper_case();
    if head.path.is_plain() && !has_upper_case {
        return Ok(target);
    }
    let takes_encoded_slashes = match target {
        Target::Rule(Match::Route(index)) => policy.routes.routes()[index].encoded_slashes,
        _ => false,
    };
    let ambiguous = (head.path.has_encoded_slash() && !takes_encoded_slashes)
        || head.path.other_readings(has_upper_case).any(|reading| aim(&reading.path, reading.case_is_folded) != target);
    if ambiguous { Err(Reason::PathAmbiguous) } else { Ok(target) }
}

fn allowed_methods(policy: &Policy, rules: &[usize]) -> HeaderValue {
    let methods = rules.iter().flat_map(|&rule| &policy.routes.routes()[rule].methods);
    let names: Vec<&str> = methods.map(|method| method.as_str()).collect();
    HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

/// May the request pass by this rule?
fn forward(
    policy: &Policy,
    index: usize,
    route: &Route,
    head: &RequestHead<'_>,
    facts: &impl Facts,
) -> Result<Decision, Reason> {
    let grant = |identity, token_header, drop_authorization| {
        Decision::Forward(Grant { route: index, upstream: route.upstream, identity, token_header, drop_authorization })
    };
    let is_ours = |name: &HeaderName| {
        head.headers.get_all(name).iter().any(|field| {
            let text = field.to_str().unwrap_or_default();
            text.split([' ', ',', '\t']).any(|part| facts.is_ours(part))
        })
    };
    if route.auth == Auth::Public {
        // The app's own business, unless the client sent our token along: the app has no right to that.
        let token_header =
            (route.token_header != AUTHORIZATION && is_ours(&route.token_header)).then(|| route.token_header.clone());
        return Ok(grant(None, token_header, is_ours(&AUTHORIZATION)));
    }

    let identity = match who(policy, route, head, facts)? {
        Ok(identity) => identity,
        Err(question) => return Ok(Decision::Ask(question)),
    };
    match &identity {
        Some(identity) => check_rights(route, identity)?,
        None if route.auth == Auth::Required => return Err(Reason::TokenMissing),
        None => {}
    }
    if !route.credentials.header {
        // What the app reads in there is its own, unless a client sends our token all the same.
        return Ok(grant(identity, None, is_ours(&AUTHORIZATION)));
    }
    let own_header = route.token_header != AUTHORIZATION;
    let keeps = own_header || route.keep_authorization;
    Ok(grant(identity, own_header.then(|| route.token_header.clone()), !keeps))
}

/// What somebody gets who looks at the answer, if a login would help.
fn instead(policy: &Policy, route: &Route, head: &RequestHead<'_>, reason: Reason) -> Option<Instead> {
    let page = policy.cookies.as_ref().filter(|_| route.credentials.cookie)?.login_page.as_ref()?;
    if reason.status() != StatusCode::UNAUTHORIZED || !is_navigation(head.headers) {
        return None;
    }
    match *head.method == Method::GET || *head.method == Method::HEAD {
        true => Some(Instead::Login(page.location(head.target))),
        false => Some(Instead::NotSent),
    }
}

fn check_rights(route: &Route, identity: &Identity) -> Result<(), Reason> {
    let has_role = |role: &String| identity.rights().roles.iter().any(|own| **own == **role);
    let has_scope = |scope: &String| identity.rights().scopes.iter().any(|own| **own == **scope);
    let any = route.roles_any.is_empty() || route.roles_any.iter().any(has_role);
    let all = route.roles_all.iter().all(has_role);
    let scopes = route.scopes.iter().all(has_scope);
    match (any && all, scopes) {
        (true, true) => Ok(()),
        (false, _) => Err(Reason::RoleMissing),
        (true, false) => Err(Reason::ScopeMissing),
    }
}

/// May the request reach this endpoint of ours?
fn serve(policy: &Policy, endpoint: Endpoint, head: &RequestHead<'_>, facts: &impl Facts) -> Result<Decision, Denial> {
    let endpoint = policy
        .endpoints
        .answering(endpoint, head.method)
        .map_err(|allow| Denial { allow: Some(allow), ..Denial::new(Reason::MethodNotAllowed) })?;
    let sender = policy.origins.sender(head);
    if endpoint.changes_state() && sender == Sender::OtherSite {
        return Err(Denial::new(Reason::CrossSite));
    }
    let token = || bearer_of(head, &ENDPOINT_TOKEN_HEADER);
    let bearer = match endpoint {
        Endpoint::Login | Endpoint::LoginPage | Endpoint::Refresh | Endpoint::LogoutAll | Endpoint::Jwks => None,
        // Ending a session needs no fresh knowledge of endings.
        Endpoint::Logout => {
            let in_header = token()
                .and_then(|token| token.map(|token| verify_bearer(policy, token, facts)).transpose())
                .transpose();
            in_header.or_else(|| Some(Ok(in_cookie(policy, head, facts)?)))
        }
        Endpoint::Userinfo | Endpoint::Ticket => {
            let token = token().and_then(|token| token.ok_or(Reason::TokenMissing));
            let identity = token.and_then(|token| identify_bearer(policy, token, facts)).map_err(Denial::new)?;
            Some(Ok(identity))
        }
    };
    Ok(Decision::Serve(Service { endpoint, bearer, sender }))
}
