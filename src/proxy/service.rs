//! The public listeners.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::listeners::tls::TlsSettings;
use pingora::protocols::ALPN;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;

use super::certificates::Certificates;
use super::compiled::Compiled;
use super::edge::Connections;
use super::live::Live;
use super::phases::Phases;
use super::shutdown::InFlight;
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

/// What bounds connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionLimits {
    /// Open connections.
    pub open_max: usize,
    /// How long a client may take for a head.
    pub header_timeout: Duration,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
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
    /// Names this process in request ids.
    pub process: u64,
}

/// The service that answers on all `bindings`, which must agree on `h2c`.
pub fn proxy_service(
    conf: &Arc<ServerConf>,
    shared: &Shared,
    bindings: &[Binding],
) -> pingora::Result<Service<Connections>> {
    let proxy = Arc::new(http_proxy(conf, Phases::new(shared)));
    let h2c = bindings.iter().any(|binding| binding.h2c);
    let mut service = Service::new("proxy".to_owned(), Connections::new(proxy, h2c, shared));
    for binding in bindings {
        let address = binding.address.to_string();
        match &binding.certificates {
            None => service.add_tcp(&address),
            Some(certificates) => {
                let mut settings = TlsSettings::intermediate("", "")?;
                settings.set_cert_resolver(Arc::clone(certificates) as _);
                settings.set_alpn(ALPN::H2H1);
                service.add_tls_with_settings(&address, None, settings);
            }
        }
    }
    Ok(service)
}
