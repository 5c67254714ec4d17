//! The outermost layer: connections are counted and capped, and a head must arrive before its deadline.
//!
//! Pingora bounds each read of a head, not the head: one byte a minute would hold a connection for ever. And it waits without
//! end for the first byte, which tells HTTP/2 from HTTP/1, and for the preface of HTTP/2.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;

use super::phases::Phases;
use crate::telemetry::Metrics;

tokio::task_local! {
    /// Whether the head of the request that this task serves has been read.
    static HEAD_READ: Cell<bool>;

    /// How far the connection that this task serves has come.
    static STAGE: Cell<Stage>;
}

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nobody knows yet which protocol the client speaks.
    Silent,
    /// HTTP/2: its preface is awaited.
    Preface,
    /// Requests can come. They have deadlines of their own.
    Open,
}

fn reached(stage: Stage) {
    // The streams of HTTP/2 are tasks of their own.
    let _ = STAGE.try_with(|now| now.set(stage));
}

/// The head of the current request has been read.
pub(super) fn head_read() {
    // Outside of the scope there is no deadline either.
    let _ = HEAD_READ.try_with(|read| read.set(true));
}

/// Marks a connection that has served a request before.
pub(super) struct Reused;

/// Requests, with a deadline for their heads.
pub(super) struct Requests {
    pub(super) proxy: Arc<HttpProxy<Phases>>,
    pub(super) header_timeout: Duration,
    pub(super) keep_alive: Duration,
}

#[async_trait]
impl HttpServerApp for Requests {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        reached(Stage::Open);
        if session.is_http2() {
            return self.proxy.process_new_http(session, shutdown).await;
        }
        let context = session.take_connection_user_context();
        let idle = if context.is_some() { self.keep_alive } else { Duration::ZERO };
        session.set_connection_user_context(context);
        let serve = async {
            let mut work = std::pin::pin!(self.proxy.process_new_http(session, shutdown));
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(idle + self.header_timeout) => {}
            }
            if HEAD_READ.with(Cell::get) { work.await } else { None }
        };
        HEAD_READ.scope(Cell::new(false), serve).await
    }

    /// Asked for right before the preface is read.
    fn h2_options(&self) -> Option<H2Options> {
        reached(Stage::Preface);
        Some(default_h2_options())
    }

    /// Asked for right after the preface was read, and before.
    fn server_options(&self) -> Option<&HttpServerOptions> {
        if STAGE.try_with(Cell::get) == Ok(Stage::Preface) {
            reached(Stage::Open);
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
        let serve = async {
            let mut work = std::pin::pin!(self.requests.process_new(stream, shutdown));
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(self.requests.header_timeout) => {}
            }
            if STAGE.with(Cell::get) == Stage::Open { work.await } else { None }
        };
        STAGE.scope(Cell::new(Stage::Silent), serve).await
    }

    async fn cleanup(&self) {
        self.requests.cleanup().await;
    }
}
