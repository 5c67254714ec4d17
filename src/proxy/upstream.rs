//! Upstreams: groups of servers, of which each request gets one that works.
//!
//! Names are resolved and servers are checked beside the requests; a request only picks, from memory. A server that a
//! request could not reach is passed over until it has been reached again, and one whose requests fail in a row for a while.
//!
//! What must never happen in here: a request waits for a name server or a health check; a certificate goes unverified; a
//! connection without a timeout; one upstream uses a connection of another.

mod ejection;
mod endpoint;
mod inherit;
mod peer;
mod pick;
mod probe;
mod spec;
#[cfg(test)]
mod tests;
mod upgrade;
mod upstreams;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

pub use self::ejection::Ejection;
use self::endpoint::Endpoint;
use self::peer::Peers;
pub use self::pick::{Picked, Unavailable};
pub use self::spec::{
    Balance, ClientCertificate, HealthCheckSpec, RETRIES_MAX, ServerSpec, UpstreamError, UpstreamSpec,
};
pub(super) use self::upgrade::{own_connection, prepare as prepare_for_upgrade};
pub use self::upstreams::{News, Upstreams};

/// A group of servers.
pub struct Upstream {
    spec: Arc<UpstreamSpec>,
    servers: Box<[Server]>,
    peers: Peers,
    /// Every address of every server, as last resolved.
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    turn: AtomicUsize,
    /// Requests under way. After a reload those are still there that began before it.
    under_way: Arc<AtomicUsize>,
    /// Some server has failed so often that it is to be judged.
    failing: Notify,
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
    /// Checks `spec` and reads its files. Servers that are given by address can be picked at once, others after
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
            servers: servers.collect(),
            peers: Peers::new(Arc::clone(&spec))?,
            endpoints: ArcSwap::default(),
            turn: AtomicUsize::new(0),
            under_way: Arc::default(),
            failing: Notify::new(),
            spec,
        };
        let literals = upstream
            .spec
            .servers
            .iter()
            .enumerate()
            .filter_map(|(number, server)| server.literal().map(|address| (number, (address, server.port).into())));
        upstream.use_addresses(&literals.collect::<Vec<_>>());
        Ok(upstream)
    }

    /// The configured name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Requests under way.
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Checks with a path speak HTTP, and whether a TLS server can be reached is told by its certificate, too.
    fn needs_connector(&self) -> bool {
        let has_path = self.spec.health_check.as_ref().is_some_and(|check| check.path.is_some());
        has_path || self.spec.servers.iter().any(|server| server.tls)
    }
}
