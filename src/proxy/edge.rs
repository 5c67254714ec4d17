//! The outermost layer: connections are counted and capped, and a head must arrive before its deadline.
//!
//! Pingora bounds each read of a head, not the head: one byte a minute would hold a connection for ever. And it waits without
//! end for the bytes that tell HTTP/2 from HTTP/1, and for the preface of HTTP/2.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;

use super::access;
use super::compiled::Compiled;
use super::head::{self, Stage};
use super::live::until_cut;
use super::phases::Phases;
use super::service::{ConnectionLimits, Shared};
use super::watched::Watched;
use crate::telemetry::{AccessLog, Metrics};

/// Requests, with a deadline for their heads. Made anew when limits change, and kept by the connections that it serves.
struct Requests {
    proxy: Arc<HttpProxy<Phases>>,
    limits: ConnectionLimits,
    options: HttpServerOptions,
    metrics: Arc<Metrics>,
    access: Option<Arc<AccessLog>>,
}

impl Requests {
    fn new(proxy: Arc<HttpProxy<Phases>>, h2c: bool, compiled: &Compiled) -> Requests {
        let limits = compiled.connections;
        let mut options = HttpServerOptions::default();
        options.h2c = h2c;
        options.h2_idle_timeout = Some(limits.keep_alive);
        let (metrics, access) = (Arc::clone(&compiled.metrics), compiled.access.clone());
        Requests { proxy, limits, options, metrics, access }
    }
}

#[async_trait]
impl HttpServerApp for Requests {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        head::reached(Stage::Open);
        if session.is_http2() {
            return until_cut(self.proxy.process_new_http(session, shutdown)).await;
        }
        let context = session.take_connection_user_context();
        let idle = if context.is_some() { self.limits.keep_alive } else { Duration::ZERO };
        session.set_connection_user_context(context);
        let received_before = head::received();
        let client = self.access.as_ref().and_then(|_| session.client_addr()?.as_inet().map(|address| address.ip()));
        let serve = async {
            let mut work = std::pin::pin!(until_cut(self.proxy.process_new_http(session, shutdown)));
            let done = tokio::select! {
                biased;
                done = &mut work => done,
                () = tokio::time::sleep(idle + self.limits.header_timeout) => if head::is_read() { work.await } else { None },
            };
            if !head::is_read() && head::received() > received_before {
                self.metrics.refused_by_parser();
                if let Some(log) = &self.access {
                    access::write_unparsed(log, client);
                }
            }
            done
        };
        head::expected(serve).await
    }

    /// Asked for right before the preface is read.
    fn h2_options(&self) -> Option<H2Options> {
        head::reached(Stage::Preface);
        Some(default_h2_options())
    }

    /// Asked for before, and again right after the preface was read.
    fn server_options(&self) -> Option<&HttpServerOptions> {
        if head::stage() == Stage::Preface {
            head::reached(Stage::Open);
        }
        Some(&self.options)
    }

    async fn http_cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}

/// Connections, counted and capped.
pub struct Connections {
    current: Arc<ArcSwap<Compiled>>,
    requests: ArcSwap<Requests>,
    open: AtomicUsize,
}

impl Connections {
    pub(super) fn new(proxy: Arc<HttpProxy<Phases>>, h2c: bool, shared: &Shared) -> Connections {
        let current = Arc::clone(&shared.current);
        let requests = Requests::new(proxy, h2c, &current.load());
        Connections { current, requests: ArcSwap::from_pointee(requests), open: AtomicUsize::new(0) }
    }

    /// What serves a connection that begins now.
    fn requests(&self) -> Arc<Requests> {
        let requests = self.requests.load_full();
        let current = self.current.load();
        if requests.limits == current.connections {
            return requests;
        }
        let requests = Arc::new(Requests::new(Arc::clone(&requests.proxy), requests.options.h2c, &current));
        self.requests.store(Arc::clone(&requests));
        requests
    }
}

#[async_trait]
impl ServerApp for Connections {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        struct Open<'a>(&'a AtomicUsize);
        impl Drop for Open<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let _open = Open(&self.open);
        let requests = self.requests();
        if before >= requests.limits.open_max {
            return None;
        }
        let _counted = requests.metrics.connected();
        let received = Arc::new(AtomicU64::new(0));
        let stream = Box::new(Watched::new(stream, Arc::clone(&received)));
        let serve = async {
            let mut work = std::pin::pin!(requests.process_new(stream, shutdown));
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(requests.limits.header_timeout) => {}
            }
            if head::stage() == Stage::Open { work.await } else { None }
        };
        head::connection(received, serve).await
    }

    async fn cleanup(&self) {
        self.requests.load_full().cleanup().await;
    }
}
