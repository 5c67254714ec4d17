//! Everything that requests are judged and forwarded by, compiled once from the configuration.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use ipnet::IpNet;

use super::app_session::KeptCookies;
use super::facts::{RequestFacts, Verifier};
use super::service::ConnectionLimits;
use super::upstream::{Picked, Unavailable, Upstreams};
use crate::endpoints::Endpoints;
use crate::gate::{Client, Grant, Policy, client};
use crate::store::Mirror;
use crate::telemetry::{AccessLog, Metrics, RouteTable, UpstreamMetrics, UpstreamTable};
use crate::time::Timestamp;

/// One configuration, compiled. A request keeps the one that it began with.
pub struct Compiled {
    /// What decisions are made by.
    pub policy: Policy,
    /// What forwarding needs to know of each route, in the order of the policy's routes.
    pub routes: Vec<RouteExtras>,
    /// Our own endpoints.
    pub endpoints: Arc<Endpoints>,
    /// The names of our cookies: apps neither see nor set them.
    pub own_cookies: Vec<Box<str>>,
    /// The cookies of an app's own session that are kept for users.
    pub kept_cookies: Option<KeptCookies>,
    /// Verified tokens. It goes from one configuration to the next as long as keys and policy are the same.
    pub verifier: Arc<Verifier>,
    /// Revocations.
    pub mirror: Arc<Mirror>,
    /// How old the knowledge of revocations may be.
    pub max_staleness: Duration,
    /// The proxies in front of us that are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Bounds on requests.
    pub limits: Limits,
    /// Bounds on connections. A connection keeps those that it began with.
    pub connections: ConnectionLimits,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// Where a line is written for each request, if anywhere.
    pub access: Option<Arc<AccessLog>>,
    /// A trace that begins here is to be recorded by the apps.
    pub new_traces_sampled: bool,
    /// The counters of each route.
    pub route_metrics: RouteTable,
    /// Where grants lead.
    pub upstreams: Arc<Upstreams>,
    /// What is measured there.
    pub upstream_metrics: Arc<UpstreamTable>,
}

/// What forwarding needs to know of a route.
#[derive(Clone, Copy, Debug)]
pub struct RouteExtras {
    /// The upstream sees the client's `Host`.
    pub preserve_host: bool,
}

/// Bounds on what a client may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of target and fields together.
    pub header_bytes_max: usize,
    /// Bytes of a request body that is forwarded; none for no bound.
    pub body_bytes_max: Option<u64>,
    /// How long a client may pause within a body.
    pub body_timeout: Duration,
    /// How long an idle connection is kept, in seconds.
    pub keep_alive_s: u64,
}

impl Compiled {
    /// What is known now, as far as requests are concerned.
    pub(super) fn facts(&self, now: Timestamp, instant: Instant) -> RequestFacts<'_> {
        RequestFacts {
            verifier: &self.verifier,
            mirror: &self.mirror,
            max_staleness: self.max_staleness,
            now,
            instant,
            answer: None,
        }
    }

    /// Who the client is.
    pub(super) fn client(&self, peer: IpAddr, tls: bool, headers: &HeaderMap) -> Client {
        client(peer, tls, headers, &self.trusted_proxies)
    }

    /// Opens the upstream that the grant is for. There is no other way to reach one.
    pub(super) fn open(&self, grant: &Grant) -> Result<Picked, Unavailable> {
        self.upstreams.get(grant.upstream()).map_or(Err(Unavailable::Down), |upstream| upstream.open())
    }

    /// What is measured of the upstream that the grant is for.
    pub(super) fn upstream_metrics(&self, grant: &Grant) -> Option<&UpstreamMetrics> {
        self.upstream_metrics.upstream(grant.upstream())
    }
}
