//! The public listeners.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;

use super::addresses::Addresses;
use super::certificates::Certificates;
use super::compiled::Compiled;
use super::edge::{Connections, Open};
use super::live::Live;
use super::phases::Phases;
use super::shutdown::InFlight;
use super::undeclared::Undeclared;
use crate::telemetry::Metrics;

/// One address to listen on.
#[derive(Clone)]
pub struct Binding {
    /// The address.
    pub address: SocketAddr,
    /// Its certificates; none for plain http.
    pub certificates: Option<Arc<Certificates>>,
    /// Plain http: HTTP/2 with prior knowledge is taken too.
    pub h2c: bool,
}

/// What all public listeners share.
pub struct Shared {
    /// The configuration that requests begin with from now on.
    pub current: Arc<ArcSwap<Compiled>>,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// The requests under way.
    pub in_flight: InFlight,
    /// Those of them that end with their session.
    pub live: Arc<Live>,
    /// What is known of clients.
    pub edge: Edge,
    /// Names this process in request ids.
    pub process: u64,
}

/// What limits are held against: it outlives every configuration.
#[derive(Clone, Default)]
pub struct Edge {
    /// The open connections.
    pub(super) open: Arc<Open>,
    /// What each address holds and asks for.
    pub(super) addresses: Arc<Addresses>,
    /// Load balancers that nobody has declared.
    pub(super) undeclared: Arc<Undeclared>,
}

/// The service that answers on all `bindings`, which must agree on `h2c`.
pub fn proxy_service(
    conf: &Arc<ServerConf>,
    shared: &Shared,
    bindings: &[Binding],
) -> pingora::Result<Service<Connections>> {
    let proxy = Arc::new(http_proxy(conf, Phases::new(shared)));
    let mut service = Service::new("proxy".to_owned(), Connections::new(proxy, shared, bindings)?);
    for binding in bindings {
        // Also with certificates: TLS is spoken by `Connections`.
        service.add_tcp(&binding.address.to_string());
    }
    Ok(service)
}
