//! All upstreams of a configuration, watched by one service.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::connectors::http::Connector;
use pingora::server::ShutdownWatch;
use pingora::services::ServiceReadyNotifier;
use pingora::services::background::BackgroundService;
use tokio::task::JoinSet;

use super::{Upstream, UpstreamError, UpstreamSpec};

/// What is told of an upstream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// Whether the server with this number can be reached.
    Up {
        /// Its number in the specification.
        server: usize,
        /// It can.
        up: bool,
    },
    /// The server with this number gets no requests for a while, since those that it got failed.
    Ejected {
        /// Its number in the specification.
        server: usize,
    },
    /// So many requests are under way.
    UnderWay(usize),
}

/// Is told news by the upstream's number.
type Report = dyn Fn(usize, News) + Send + Sync;

/// The upstreams, found by their numbers. Run it as a background service; it is ready when names have been resolved.
pub struct Upstreams {
    upstreams: Box<[Arc<Upstream>]>,
    report: Arc<Report>,
}

impl Upstreams {
    /// Makes the upstreams, which go on where those of the same names in `before` have come to. `report` is called every few
    /// seconds for each server.
    pub fn new(
        specs: impl IntoIterator<Item = UpstreamSpec>,
        before: Option<&Upstreams>,
        report: impl Fn(usize, News) + Send + Sync + 'static,
    ) -> Result<Upstreams, UpstreamError> {
        let upstreams = specs.into_iter().map(|spec| {
            let before = before.and_then(|before| before.iter().find(|upstream| upstream.name() == spec.name));
            Upstream::new(spec).map(|upstream| upstream.inherit(before))
        });
        Ok(Upstreams { upstreams: upstreams.collect::<Result<_, _>>()?, report: Arc::new(report) })
    }

    /// The upstream with this number in the list that they were made from.
    pub fn get(&self, number: usize) -> Option<&Arc<Upstream>> {
        self.upstreams.get(number)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.upstreams.iter()
    }

    /// Resolves the names of all servers once, in a few seconds at most.
    pub async fn resolve(&self) {
        let mut resolving = JoinSet::new();
        for upstream in self.iter() {
            let upstream = Arc::clone(upstream);
            resolving.spawn(async move { upstream.resolve().await });
        }
        while resolving.join_next().await.is_some() {}
    }

    /// Resolves names and checks servers until the process ends, or this is dropped.
    pub async fn run(&self, mut shutdown: ShutdownWatch) {
        // It reads the system's certificates, so it is made only if somebody needs it.
        let connector = self.iter().any(|upstream| upstream.needs_connector()).then(|| Arc::new(Connector::new(None)));
        let mut watching = JoinSet::new();
        for (number, upstream) in self.iter().cloned().enumerate() {
            let (report, connector) = (Arc::clone(&self.report), connector.clone());
            watching.spawn(async move { upstream.watch(connector, move |news| report(number, news)).await });
        }
        // An error means that nobody is left who could ask for the end.
        let _ = shutdown.wait_for(|ending| *ending).await;
    }
}

#[async_trait]
impl BackgroundService for Upstreams {
    async fn start_with_ready_notifier(&self, shutdown: ShutdownWatch, ready: ServiceReadyNotifier) {
        self.resolve().await;
        ready.notify_ready();
        self.run(shutdown).await;
    }
}
