//! Upstreams: groups of servers, of which each request gets one that works.
//!
//! Names are resolved and servers are checked beside the requests; a request only picks, from memory. A server that a
//! request could not reach is passed over until it has been reached again.
//!
//! What must never happen in here: a request waits for a name server or a health check; a certificate goes unverified; a
//! connection without a timeout; one upstream uses a connection of another.

mod endpoint;
mod inherit;
mod peer;
mod probe;
mod spec;
#[cfg(test)]
mod tests;
mod upgrade;
mod upstreams;
mod watch;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use pingora::upstreams::peer::HttpPeer;

use self::endpoint::{Endpoint, State};
use self::peer::Peers;
pub use self::spec::{Balance, HealthCheckSpec, ServerSpec, UpstreamError, UpstreamSpec};
pub(super) use self::upgrade::prepare as prepare_for_upgrade;
pub use self::upstreams::Upstreams;

/// A group of servers.
pub struct Upstream {
    name: String,
    servers: Box<[Server]>,
    balance: Balance,
    health_check: Option<HealthCheckSpec>,
    peers: Peers,
    /// Every address of every server, as last resolved.
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    turn: AtomicUsize,
}

struct Server {
    spec: ServerSpec,
    /// The field `Host` of health checks.
    host_field: String,
    resolved: AtomicBool,
}

impl Server {
    /// Notes whether the name resolves. True if that is news.
    fn set_resolved(&self, resolved: bool) -> bool {
        self.resolved.swap(resolved, Ordering::Relaxed) != resolved
    }
}

impl Upstream {
    /// Checks `spec` and reads its CA file. Servers that are given by address can be picked at once, others after
    /// [`Upstream::resolve`].
    pub fn new(spec: UpstreamSpec) -> Result<Upstream, UpstreamError> {
        spec.check()?;
        let spec = Arc::new(spec);
        let servers = spec.servers.iter().map(|server| Server {
            host_field: server.host_field(spec.server_name.as_deref()),
            spec: server.clone(),
            resolved: AtomicBool::new(true),
        });
        let upstream = Upstream {
            name: spec.name.clone(),
            servers: servers.collect(),
            balance: spec.balance,
            health_check: spec.health_check.clone(),
            peers: Peers::new(Arc::clone(&spec))?,
            endpoints: ArcSwap::default(),
            turn: AtomicUsize::new(0),
        };
        let literals = spec
            .servers
            .iter()
            .enumerate()
            .filter_map(|(number, server)| server.literal().map(|address| (number, (address, server.port).into())));
        upstream.use_addresses(&literals.collect::<Vec<_>>());
        Ok(upstream)
    }

    /// The configured name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn checks_http(&self) -> bool {
        self.health_check.as_ref().is_some_and(|check| check.path.is_some())
    }

    /// A server for a request; none if no server is up, or no name has been resolved yet.
    pub fn pick(self: &Arc<Self>) -> Option<Picked> {
        let endpoints = self.endpoints.load();
        let chosen = self.choose(&endpoints, State::Up).or_else(|| self.choose(&endpoints, State::Suspect))?;
        chosen.begin();
        Some(Picked { upstream: Arc::clone(self), endpoint: Arc::clone(chosen) })
    }

    fn choose<'a>(&self, endpoints: &'a [Arc<Endpoint>], state: State) -> Option<&'a Arc<Endpoint>> {
        let able = || endpoints.iter().filter(|endpoint| endpoint.state() == state);
        let count = able().count();
        if count == 0 {
            return None;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % count;
        match self.balance {
            // A state can change between two looks: then the first that is left will do.
            Balance::RoundRobin => able().nth(turn).or_else(|| able().next()),
            // Among equals, one after the other.
            Balance::LeastBusy => able().cycle().skip(turn).take(count).min_by_key(|endpoint| endpoint.busy()),
        }
    }
}

/// A server that was picked for a request. It counts as busy until this is dropped.
pub struct Picked {
    upstream: Arc<Upstream>,
    endpoint: Arc<Endpoint>,
}

impl Picked {
    /// The server's host and port, as in a URL.
    pub fn authority(&self) -> &str {
        &self.upstream.servers[self.endpoint.server].host_field
    }

    /// No connection could be made: others are preferred until the server has been reached again.
    pub fn connect_failed(&self) {
        if self.endpoint.connect_failed() {
            let Endpoint { server, address, .. } = *self.endpoint;
            let server = &self.upstream.servers[server].spec;
            tracing::warn!(upstream = self.upstream.name, %server, %address, "the server takes no connections");
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
        self.endpoint.end();
    }
}
