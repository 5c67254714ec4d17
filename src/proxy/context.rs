//! What is known of one request, from its first byte to its last.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use http::header::SET_COOKIE;
use http::{HeaderValue, StatusCode};

use super::compiled::Compiled;
use super::live::Listed;
use super::shutdown::Flying;
use super::upstream::{Picked, Unavailable};
use crate::gate::{Client, CorsAnswer, Grant, Reason, Reply, Scheme};

/// What is known of one request.
pub(super) struct Context {
    pub(super) began: Instant,
    pub(super) peer: IpAddr,
    pub(super) client: Client,
    pub(super) route: Option<usize>,
    pub(super) grant: Option<Grant>,
    pub(super) picked: Option<Picked>,
    pub(super) asked_upstream: Option<Instant>,
    pub(super) request_id: Option<HeaderValue>,
    pub(super) cors: Option<CorsAnswer>,
    pub(super) body_bytes: u64,
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
    _flying: Flying,
}

impl Context {
    /// A request that has just begun, of which nothing is known.
    pub(super) fn new(compiled: Arc<Compiled>, flying: Flying) -> Context {
        let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Context {
            began: Instant::now(),
            peer: nobody,
            client: Client { address: nobody, scheme: Scheme::Http, by_trusted_proxy: false },
            route: None,
            grant: None,
            picked: None,
            asked_upstream: None,
            request_id: None,
            cors: None,
            body_bytes: 0,
            failure: None,
            new_cookies: Vec::new(),
            status: None,
            counted: false,
            listed: None,
            compiled,
            _flying: flying,
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

    /// Counts the request as ended, once.
    pub(super) fn count_once(&mut self) {
        if !std::mem::replace(&mut self.counted, true) {
            self.compiled.route_metrics.route(self.route).ended(self.status);
        }
    }
}

/// An answer, and not what only announces one (100, 103).
pub(super) fn is_answer(status: StatusCode) -> bool {
    !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS
}

impl Drop for Context {
    fn drop(&mut self) {
        self.count_once();
    }
}
