//! The outermost layer: connections are counted and capped, their TLS handshake and their heads must be done before a deadline.
//!
//! Pingora bounds each read of a head, not the head: one byte a minute would hold a connection for ever. It waits without end
//! for the bytes that tell HTTP/2 from HTTP/1, and for the preface of HTTP/2. And its listeners would take a minute for a TLS
//! handshake, before anybody has counted the connection; so TLS is spoken in here.
//!
//! What must never happen in here: a connection holds memory or a task without being counted.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::listeners::tls::{Acceptor, TlsSettings};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::protocols::{ALPN, Stream};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tracing::debug;

use super::access;
use super::addresses::{Addresses, Connected};
use super::compiled::{Compiled, Limits};
use super::phases::Phases;
use super::service::{Binding, Shared};
use super::shutdown::InFlight;
use super::watch::{self, Watch};
use super::watched::{Link, Watched};
use crate::telemetry::{Limit, Metrics};

/// Requests, and what becomes of them before and after the hooks. Made anew when `keep_alive` changes, and kept by the
/// connections that it serves.
struct Requests {
    proxy: Arc<HttpProxy<Phases>>,
    options: HttpServerOptions,
    current: Arc<ArcSwap<Compiled>>,
    metrics: Arc<Metrics>,
    in_flight: InFlight,
}

impl Requests {
    fn new(
        proxy: Arc<HttpProxy<Phases>>,
        h2c: bool,
        current: Arc<ArcSwap<Compiled>>,
        metrics: Arc<Metrics>,
        in_flight: InFlight,
    ) -> Requests {
        let mut options = HttpServerOptions::default();
        options.h2c = h2c;
        options.h2_idle_timeout = Some(current.load().limits.keep_alive);
        Requests { proxy, options, current, metrics, in_flight }
    }

    /// A head on an HTTP/1 connection never became a request.
    fn head_failed(&self, client: Option<IpAddr>) {
        self.metrics.refused_by_parser(1);
        if let Some(log) = &self.current.load().access {
            access::write_unparsed(log, client);
        }
    }
}

#[async_trait]
impl HttpServerApp for Requests {
    /// Not an `async fn`: that would be one more future on the heap for each request, which the session, large as it is, is moved
    /// into and out of.
    fn process_new_http<'a, 's, 'f>(
        self: &'a Arc<Self>,
        session: ServerSession,
        shutdown: &'s ShutdownWatch,
    ) -> Pin<Box<dyn Future<Output = Option<ReusedHttpStream>> + Send + 'f>>
    where
        'a: 'f,
        's: 'f,
    {
        if !session.is_http2() {
            watch::head_expected();
            return self.proxy.process_new_http(session, shutdown);
        }
        Box::pin(async move {
            if let Some(link) = link(&session) {
                link.served();
            }
            let expired = |limit| self.metrics.limit_refused(limit);
            watch::over(Watch::stream(), expired, self.proxy.process_new_http(session, shutdown)).await
        })
    }

    /// Asked for right before the preface is read.
    fn h2_options(&self) -> Option<H2Options> {
        watch::preface_expected();
        let limits = self.current.load().limits;
        let mut options = default_h2_options();
        options.max_concurrent_streams(limits.streams_max);
        // With the overhead that a field counts as (RFC 9113 section 6.5.2), and a margin: who is only a little above our
        // limits gets our answer.
        let fields = limits.header_fields_max.saturating_mul(64);
        let bytes = limits.header_bytes_max.saturating_add(fields);
        options.max_header_list_size(u32::try_from(bytes).unwrap_or(u32::MAX));
        Some(options)
    }

    /// Asked for before, and again right after the preface was read.
    fn server_options(&self) -> Option<&HttpServerOptions> {
        watch::preface_read();
        Some(&self.options)
    }

    /// Cuts idle connections, unless there is the time to wait for the last request of each: a client that sends it this
    /// moment would have to guess what became of it.
    async fn http_cleanup(&self) {
        if !self.in_flight.is_handed_over() {
            self.proxy.http_cleanup().await;
        }
    }
}

/// The connection of a stream of HTTP/2.
fn link(session: &ServerSession) -> Option<&Arc<Link>> {
    session.digest()?.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
}

/// The connections of all listeners.
#[derive(Default)]
pub(super) struct Open(AtomicUsize);

/// One open connection.
struct Opened<'a>(&'a AtomicUsize);

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Connections, counted and capped.
pub struct Connections {
    current: Arc<ArcSwap<Compiled>>,
    requests: ArcSwap<Requests>,
    metrics: Arc<Metrics>,
    open: Arc<Open>,
    addresses: Arc<Addresses>,
    /// The listeners that speak TLS.
    tls: Vec<(SocketAddr, Acceptor)>,
    in_flight: InFlight,
}

impl Connections {
    pub(super) fn new(
        proxy: Arc<HttpProxy<Phases>>,
        shared: &Shared,
        bindings: &[Binding],
    ) -> pingora::Result<Connections> {
        let (current, metrics) = (Arc::clone(&shared.current), Arc::clone(&shared.metrics));
        let h2c = bindings.iter().any(|binding| binding.h2c);
        let mut tls = Vec::new();
        for binding in bindings {
            if let Some(certificates) = &binding.certificates {
                let mut settings = TlsSettings::intermediate("", "")?;
                settings.set_cert_resolver(Arc::clone(certificates) as _);
                settings.set_alpn(ALPN::H2H1);
                tls.push((binding.address, settings.build()));
            }
        }
        let in_flight = shared.in_flight.clone();
        let requests = Requests::new(proxy, h2c, Arc::clone(&current), Arc::clone(&metrics), in_flight.clone());
        Ok(Connections {
            requests: ArcSwap::from_pointee(requests),
            current,
            metrics,
            open: Arc::clone(&shared.edge.open),
            addresses: Arc::clone(&shared.edge.addresses),
            tls,
            in_flight,
        })
    }

    /// What serves a connection that begins now.
    fn requests(&self, limits: &Limits) -> Arc<Requests> {
        let requests = self.requests.load_full();
        if requests.options.h2_idle_timeout == Some(limits.keep_alive) {
            return requests;
        }
        let (proxy, metrics) = (Arc::clone(&requests.proxy), Arc::clone(&requests.metrics));
        let (h2c, current, in_flight) = (requests.options.h2c, Arc::clone(&self.current), self.in_flight.clone());
        let requests = Arc::new(Requests::new(proxy, h2c, current, metrics, in_flight));
        self.requests.store(Arc::clone(&requests));
        requests
    }

    /// One connection more, and one more of its address; or the limit that is in the way.
    fn count(&self, peer: Option<IpAddr>, limits: &Limits) -> Result<(Opened<'_>, Option<Connected>), Limit> {
        let before = self.open.0.fetch_add(1, Ordering::Relaxed);
        let opened = Opened(&self.open.0);
        if before >= limits.connections_max {
            return Err(Limit::Connections);
        }
        let (Some(peer), Some(most)) = (peer, limits.connections_per_address) else { return Ok((opened, None)) };
        let is_trusted = self.current.load().trusts(peer);
        let connected = (!is_trusted).then(|| self.addresses.connect(peer, most).ok_or(Limit::ConnectionsPerAddress));
        Ok((opened, connected.transpose()?))
    }

    /// What speaks TLS where this connection has come in.
    fn acceptor(&self, stream: &Stream) -> Option<&Acceptor> {
        if self.tls.is_empty() {
            return None;
        }
        let local = *stream.get_socket_digest()?.local_addr()?.as_inet()?;
        let is_exact = |bound: &SocketAddr| bound.ip() == local.ip().to_canonical() || bound.ip() == local.ip();
        let here = |at: &&(SocketAddr, Acceptor)| at.0.port() == local.port();
        let mut listeners = self.tls.iter().filter(here);
        let found = listeners.clone().find(|(bound, _)| is_exact(bound));
        found.or_else(|| listeners.find(|(bound, _)| bound.ip().is_unspecified())).map(|(_, acceptor)| acceptor)
    }

    /// Speaks TLS, if that is what the listener is for.
    async fn decrypt(&self, stream: Stream, limits: &Limits) -> Option<Stream> {
        let Some(acceptor) = self.acceptor(&stream) else { return Some(stream) };
        match tokio::time::timeout(limits.tls_timeout, acceptor.tls_handshake(Watched::encrypted(stream))).await {
            Ok(Ok(stream)) => Some(Box::new(stream)),
            Ok(Err(error)) => {
                debug!(%error, "a TLS handshake failed");
                self.metrics.tls_handshake_failed();
                None
            }
            Err(_) => {
                self.metrics.limit_refused(Limit::TlsTimeout);
                None
            }
        }
    }
}

#[async_trait]
impl ServerApp for Connections {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let limits = self.current.load().limits;
        let peer = stream.get_socket_digest().and_then(|digest| Some(digest.peer_addr()?.as_inet()?.ip()));
        let _counted = match self.count(peer, &limits) {
            Ok(counted) => counted,
            Err(limit) => {
                self.metrics.limit_refused(limit);
                return None;
            }
        };
        let _connected = self.in_flight.connected();
        let _shown = self.metrics.connected();
        let stream = self.decrypt(stream, &limits).await?;
        let link = Link::new(&self.metrics);
        let stream = Box::new(Watched::new(stream, Arc::clone(&link)));
        let watch = Watch::connection(Arc::clone(&link), limits.header_timeout);
        let requests = self.requests(&limits);
        // A connection ends with the first head that fails.
        let ended = || {
            if watch::head_failed() {
                requests.head_failed(peer);
            }
        };
        let expired = |limit| {
            self.metrics.limit_refused(limit);
            ended();
        };
        let serve = async {
            let left = requests.process_new(stream, shutdown).await;
            ended();
            left
        };
        watch::over(watch, expired, serve).await
    }

    async fn cleanup(&self) {
        self.requests.load_full().cleanup().await;
    }
}
