//! Everything that requests are judged and forwarded by, compiled once from the configuration.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use ipnet::IpNet;

use super::addresses::Rate;
use super::app_session::KeptCookies;
use super::facts::{RequestFacts, Verifier};
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
    /// HTTP/1: names of fields are passed on in the case that they came in.
    pub preserve_header_case: bool,
}

/// Bounds on what clients may send and hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections, over all listeners.
    pub connections_max: usize,
    /// Those of one address; none for no bound.
    pub connections_per_address: Option<u32>,
    /// Requests under way.
    pub requests_max: usize,
    /// The rate of the requests of one address; none for no bound.
    pub requests_per_address: Option<Rate>,
    /// Streams of an HTTP/2 connection at a time.
    pub streams_max: u32,
    /// How long a client may take for a TLS handshake.
    pub tls_timeout: Duration,
    /// How long it may take for a head.
    pub header_timeout: Duration,
    /// Bytes of target and fields together.
    pub header_bytes_max: usize,
    /// Fields.
    pub header_fields_max: usize,
    /// Bytes of a request body that is forwarded; none for no bound.
    pub body_bytes_max: Option<u64>,
    /// How long a client may pause within a body.
    pub body_timeout: Duration,
    /// How many bytes a second it must send, on average; none for no bound.
    pub body_rate: Option<u64>,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
}

impl Compiled {
    /// May a cookie be what a request with this grant has its identity from?
    pub(super) fn may_speak_by_cookie(&self, grant: &Grant) -> bool {
        let route = self.policy.routes.routes().get(grant.route());
        grant.identity().is_some() && route.is_none_or(|route| route.credentials.cookie)
    }

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

    /// Is this one of the proxies in front of us?
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
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
