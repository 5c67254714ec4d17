//! Which server a request gets: from memory, in a few loads, without an allocation.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use pingora::upstreams::peer::HttpPeer;

use super::endpoint::Endpoint;
use super::{Balance, Upstream};

/// Why a request gets no server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unavailable {
    /// None is up, or no name has been resolved yet.
    Down,
    /// As many requests are under way as may be.
    Busy,
}

impl Upstream {
    /// A server for a request, which counts as under way until what is given here is dropped.
    pub fn open(self: &Arc<Self>) -> Result<Picked, Unavailable> {
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let endpoint = match self.spec.requests_max {
            Some(most) if before >= most => Err(Unavailable::Busy),
            _ => self.pick(None).ok_or(Unavailable::Down),
        };
        match endpoint {
            Ok(endpoint) => {
                Ok(Picked { upstream: Arc::clone(self), endpoint, attempts: 0, wants_own_connection: false })
            }
            Err(why) => {
                self.under_way.fetch_sub(1, Ordering::Relaxed);
                Err(why)
            }
        }
    }

    /// One that nothing speaks against, and not `tried`, if there is such a one; else any that is not down.
    fn pick(&self, tried: Option<&Arc<Endpoint>>) -> Option<Arc<Endpoint>> {
        let endpoints = self.endpoints.load();
        let chosen = match &endpoints[..] {
            [] => None,
            [only] => Some(only).filter(|only| only.is_not_down()),
            several => {
                let other = |endpoint: &Endpoint| tried.is_none_or(|tried| !std::ptr::eq(&raw const **tried, endpoint));
                self.choose(several, |endpoint| endpoint.is_able() && other(endpoint))
                    .or_else(|| self.choose(several, Endpoint::is_able))
                    .or_else(|| self.choose(several, Endpoint::is_not_down))
            }
        }?;
        if self.counts_busy() {
            chosen.begin();
        }
        Some(Arc::clone(chosen))
    }

    /// Of one endpoint or more, the next that fits.
    fn choose<'a>(
        &self,
        endpoints: &'a [Arc<Endpoint>],
        fits: impl Fn(&Endpoint) -> bool,
    ) -> Option<&'a Arc<Endpoint>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let (round, place) = (turn / endpoints.len(), turn % endpoints.len());
        match self.spec.balance {
            Balance::RoundRobin => endpoints.get(place).filter(|next| fits(next)).or_else(|| {
                // The others take over in turn what would have been its share. A state can change between two looks: then the
                // first that is left will do.
                let able = || endpoints.iter().filter(|endpoint| fits(endpoint));
                able().nth(round % able().count().max(1)).or_else(|| able().next())
            }),
            Balance::LeastBusy => {
                // Among equals, one after the other.
                let (before, after) = endpoints.split_at_checked(place)?;
                after.iter().chain(before).filter(|endpoint| fits(endpoint)).min_by_key(|endpoint| endpoint.busy())
            }
        }
    }

    /// Only where it is asked for, as each count is a write that other processors see.
    fn counts_busy(&self) -> bool {
        self.spec.balance == Balance::LeastBusy
    }
}

/// A server that was picked for a request. The request counts as under way until this is dropped.
pub struct Picked {
    upstream: Arc<Upstream>,
    pub(super) endpoint: Arc<Endpoint>,
    attempts: usize,
    wants_own_connection: bool,
}

impl Picked {
    /// The server's host and port, as in a URL.
    pub fn authority(&self) -> &str {
        &self.upstream.servers[self.endpoint.server].host_field
    }

    /// Begins an attempt: the first with the server that was picked, each other with another one, if one is able.
    pub fn begin_attempt(&mut self) {
        if self.attempts > 0
            && let Some(other) = self.upstream.pick(Some(&self.endpoint))
        {
            let old = std::mem::replace(&mut self.endpoint, other);
            if self.upstream.counts_busy() {
                old.end();
            }
        }
        self.attempts += 1;
    }

    /// May there be another attempt?
    pub fn has_attempts_left(&self) -> bool {
        self.attempts <= self.upstream.spec.retries
    }

    /// The next attempt gets a connection of its own: others that were kept may have ended, too.
    pub fn want_own_connection(&mut self) {
        self.wants_own_connection = true;
    }

    /// Does this attempt want a connection of its own?
    pub fn wants_own_connection(&self) -> bool {
        self.wants_own_connection
    }

    /// No connection could be made: others are preferred until the server has been reached again.
    pub fn connect_failed(&self) {
        if self.endpoint.connect_failed() {
            let Endpoint { server, address, .. } = *self.endpoint;
            let server = &self.upstream.servers[server].spec;
            tracing::warn!(upstream = self.upstream.name(), %server, %address, "the server takes no connections");
        }
        self.failed();
    }

    /// The server did not answer the request, by its own fault.
    pub fn failed(&self) {
        self.upstream.failed(&self.endpoint);
    }

    /// The server answered with this status.
    pub fn answered(&self, status: http::StatusCode) {
        if status.is_server_error() && self.upstream.is_failure(status.as_u16()) {
            self.failed();
        } else {
            self.endpoint.answered();
        }
    }
}

impl Deref for Picked {
    type Target = HttpPeer;

    fn deref(&self) -> &HttpPeer {
        &self.endpoint.peer
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        if self.upstream.counts_busy() {
            self.endpoint.end();
        }
        self.upstream.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
