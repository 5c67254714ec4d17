//! The outermost layer: connections are counted and capped, and a head must arrive before its deadline.
//!
//! Pingora bounds each read of a head, not the head: one byte a minute would hold a connection for ever. And it waits without
//! end for the bytes that tell HTTP/2 from HTTP/1, and for the preface of HTTP/2.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;

use super::head::{self, Stage};
use super::live::until_cut;
use super::phases::Phases;
use super::watched::Watched;
use crate::telemetry::Metrics;

/// Requests, with a deadline for their heads.
pub(super) struct Requests {
    pub(super) proxy: Arc<HttpProxy<Phases>>,
    pub(super) header_timeout: Duration,
    pub(super) keep_alive: Duration,
    pub(super) metrics: Arc<Metrics>,
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
        let idle = if context.is_some() { self.keep_alive } else { Duration::ZERO };
        session.set_connection_user_context(context);
        let received_before = head::received();
        let serve = async {
            let mut work = std::pin::pin!(until_cut(self.proxy.process_new_http(session, shutdown)));
            let done = tokio::select! {
                biased;
                done = &mut work => done,
                () = tokio::time::sleep(idle + self.header_timeout) => if head::is_read() { work.await } else { None },
            };
            if !head::is_read() && head::received() > received_before {
                self.metrics.refused_by_parser();
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
        self.proxy.server_options()
    }

    async fn http_cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}

/// Connections, counted and capped.
pub struct Connections {
    pub(super) requests: Arc<Requests>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) open: AtomicUsize,
    pub(super) open_max: usize,
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
        if before >= self.open_max {
            return None;
        }
        let _counted = self.metrics.connected();
        let received = Arc::new(AtomicU64::new(0));
        let stream = Box::new(Watched::new(stream, Arc::clone(&received)));
        let serve = async {
            let mut work = std::pin::pin!(self.requests.process_new(stream, shutdown));
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(self.requests.header_timeout) => {}
            }
            if head::stage() == Stage::Open { work.await } else { None }
        };
        head::connection(received, serve).await
    }

    async fn cleanup(&self) {
        self.requests.cleanup().await;
    }
}
