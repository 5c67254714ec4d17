//! Bare Pingora: it takes a request and passes it on, and nothing else. What Portcullis is measured against.
//!
//! `bare LISTEN UPSTREAM`. It is an example of this package, so that it is built from the same crates, in the same versions, with
//! the same features and the same profile.

use std::net::SocketAddr;

use async_trait::async_trait;
use pingora::modules::http::HttpModules;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;

struct Forward(HttpPeer);

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) {}

    /// As Portcullis: no compression.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn upstream_peer(&self, _session: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(self.0.clone()))
    }
}

/// See the module.
///
/// # Errors
/// Arguments that are no addresses.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(upstream)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bare LISTEN UPSTREAM".into());
    };
    // One worker on one CPU, as Portcullis does.
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    let mut server = Server::new_with_opt_and_conf(None, ServerConf { threads, ..ServerConf::default() });
    server.bootstrap();
    let upstream: SocketAddr = upstream.parse()?;
    #[expect(clippy::disallowed_methods, reason = "it is given an address, so nothing is resolved")]
    let forward = Forward(HttpPeer::new(upstream, false, String::new()));
    let mut service = http_proxy_service(&server.configuration, forward);
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever()
}
