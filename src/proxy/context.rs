//! What is known of one request, from its first byte to its last.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, StatusCode};
use pingora::http::RequestHeader;

use super::access::{self, Asked, Ending};
use super::compiled::Compiled;
use super::live::Listed;
use super::pace::Pace;
use super::request_ids::RequestIds;
use super::shutdown::Flying;
use super::trace::Trace;
use super::upstream::{Picked, Unavailable};
use crate::gate::{Client, CorsAnswer, Grant, KnownNames, Reason, Reply, Scheme};
use crate::telemetry::Outcome;
use crate::time::Timestamp;

/// What is known of one request.
pub(super) struct Context {
    pub(super) began: Instant,
    /// The same by the clock on the wall.
    pub(super) at: Timestamp,
    pub(super) peer: IpAddr,
    pub(super) client: Client,
    pub(super) tls: bool,
    /// Which of the fields that are often asked for its head can have.
    pub(super) names: KnownNames,
    /// What is kept for the access log, if there is one.
    pub(super) asked: Option<Box<Asked>>,
    pub(super) decision: Option<Outcome>,
    pub(super) decision_took: Duration,
    /// Why it was refused.
    pub(super) reason: Option<Reason>,
    pub(super) route: Option<usize>,
    pub(super) grant: Option<Grant>,
    pub(super) picked: Option<Picked>,
    pub(super) asked_upstream: Option<Instant>,
    pub(super) upstream_took: Option<Duration>,
    pub(super) request_id: Option<HeaderValue>,
    pub(super) trace: Option<Trace>,
    pub(super) cors: Option<CorsAnswer>,
    pub(super) body_bytes: u64,
    pub(super) response_bytes: u64,
    /// Why it fails, if a hook knows better than Pingora's error.
    pub(super) failure: Option<Reason>,
    /// Cookies for the answer, whatever that will be: the session was refreshed within this request.
    pub(super) new_cookies: Vec<HeaderValue>,
    /// What the client has been answered with.
    pub(super) status: Option<StatusCode>,
    /// The request has been counted. One that is cut off does not come as far as the last hook.
    counted: bool,
    /// It ends with the session that it speaks for.
    pub(super) listed: Option<Listed>,
    /// The configuration that it began with, and ends with.
    pub(super) compiled: Arc<Compiled>,
    /// How fast its body has to come.
    pub(super) pace: Option<Pace>,
    /// How long its upstream may say nothing, if it is not Pingora who looks at that.
    pub(super) answer_patience: Option<Duration>,
    /// For how long its upstream may not read.
    pub(super) app_patience: Duration,
    pub(super) flying: Flying,
}

impl Context {
    /// A request that has just begun, of which nothing is known.
    pub(super) fn new(compiled: Arc<Compiled>, flying: Flying) -> Context {
        let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Context {
            began: Instant::now(),
            at: Timestamp::now(),
            peer: nobody,
            client: Client { address: nobody, scheme: Scheme::Http, by_trusted_proxy: false },
            tls: false,
            names: KnownNames::ANY,
            asked: None,
            decision: None,
            decision_took: Duration::ZERO,
            reason: None,
            route: None,
            grant: None,
            picked: None,
            asked_upstream: None,
            upstream_took: None,
            request_id: None,
            trace: None,
            cors: None,
            body_bytes: 0,
            response_bytes: 0,
            failure: None,
            new_cookies: Vec::new(),
            status: None,
            counted: false,
            listed: None,
            compiled,
            pace: None,
            answer_patience: None,
            app_patience: Duration::ZERO,
            flying,
        }
    }

    /// Opens the upstream that the grant is for; if that cannot be, says why.
    pub(super) fn open(&mut self, grant: &Grant) -> Result<(), Reason> {
        self.picked = Some(self.compiled.open(grant).map_err(|why| match why {
            Unavailable::Down => Reason::UpstreamUnavailable,
            Unavailable::Busy => {
                if let Some(metrics) = self.compiled.upstream_metrics(grant) {
                    metrics.refused();
                }
                Reason::UpstreamBusy
            }
        })?);
        Ok(())
    }

    /// Has the upstream answered?
    pub(super) fn is_answered(&self) -> bool {
        self.status.is_some_and(is_answer)
    }

    /// An answer of ours, with the cookies that came of this request.
    pub(super) fn with_new_cookies(&mut self, reply: Reply) -> Reply {
        self.new_cookies.drain(..).fold(reply, |reply, cookie| reply.with(SET_COOKIE, cookie))
    }

    /// Gives the request its id and its trace, if it has none yet.
    pub(super) fn name(&mut self, ids: &RequestIds, headers: &HeaderMap) {
        if self.request_id.is_none() {
            let (id, trace) = ids.name(&self.client, headers, self.names, self.compiled.new_traces_sampled);
            (self.request_id, self.trace) = (Some(id), Some(trace));
        }
    }

    /// Keeps what was asked for the access log, if there is one.
    pub(super) fn keep_for_log(&mut self, header: &RequestHeader) {
        if self.compiled.access.is_some() {
            self.asked = Some(Box::new(Asked::of(header)));
        }
    }

    /// Names the request at once for the access log, if there is one: before anything is waited for, as the request may be cut off then.
    pub(super) fn name_for_log(&mut self, ids: &RequestIds, headers: &HeaderMap) {
        if self.asked.is_some() {
            self.name(ids, headers);
        }
    }

    /// Counts what was decided by the rule `route`, and how long that took; `reason` is that of a refusal.
    pub(super) fn decided(&mut self, route: Option<usize>, outcome: Outcome, reason: Option<Reason>) {
        self.route = route;
        let counters = self.compiled.route_metrics.route(route);
        match (outcome, reason) {
            (_, Some(reason)) => counters.refused(reason),
            (Outcome::Allowed, None) => counters.allowed(),
            (Outcome::Served | Outcome::Refused, None) => counters.served(),
        }
        (self.decision, self.reason) = (Some(outcome), reason);
        self.decision_took = self.began.elapsed();
        self.compiled.metrics.decided(self.decision_took);
    }

    /// Counts the request as ended and logs it, once.
    pub(super) fn end_once(&mut self, ending: impl FnOnce(&Context) -> Ending) {
        if !std::mem::replace(&mut self.counted, true) {
            self.compiled.route_metrics.route(self.route).ended(self.status);
            if self.asked.is_some() {
                access::write(self, &ending(self));
            }
        }
    }
}

/// An answer, and not what only announces one (100, 103).
pub(super) fn is_answer(status: StatusCode) -> bool {
    !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS
}

impl Drop for Context {
    fn drop(&mut self) {
        self.end_once(Ending::cut);
    }
}
