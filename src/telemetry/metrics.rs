//! The metrics of the contract, in a registry of their own.
//!
//! A new metric is declared in [`Metrics::new`], where its name, its help and its labels stand side by side.

mod labels;
mod limits;
mod lost;
mod registrar;
mod routes;
mod scraped;
mod upstreams;

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::{Gauge, GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder};

use self::labels::{Counters, Label};
pub use self::limits::Limit;
use self::registrar::Registrar;
use self::routes::RouteFamilies;
pub use self::routes::{RouteCounters, RouteTable};
use self::scraped::Scraped;
use self::upstreams::UpstreamFamilies;
pub use self::upstreams::{UpstreamMetrics, UpstreamTable};
use super::audit;
use super::log::Logs;
use crate::endpoints::{AppLogoutOutcome, Audit, Events, LoginOutcome, LogoutOutcome, RefreshOutcome};
use crate::gate::Reason;
use crate::store::{Freshness, Mirror, Observe, Operation, OperationOutcome};
use crate::time::Timestamp;

/// A metric could not be made: a mistake of ours in a name or in a number of labels.
#[derive(Debug, thiserror::Error)]
#[error("a metric cannot be made: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

/// All metrics of this process.
pub struct Metrics {
    registry: Registry,
    routes: RouteFamilies,
    auth_decision_seconds: Histogram,
    upstreams: UpstreamFamilies,
    logins: IntCounterVec,
    refreshes: IntCounterVec,
    logouts: IntCounterVec,
    app_logouts: IntCounterVec,
    revocations_active: Scraped,
    revocation_last_sync: Scraped,
    revocation_propagation_seconds: Histogram,
    store_up: IntGauge,
    /// By operation.
    store_requests: Box<[Counters<OperationOutcome>]>,
    /// By operation.
    store_request_seconds: Box<[Histogram]>,
    token_cache_entries: Scraped,
    connections: IntGauge,
    requests_refused_by_parser: IntCounter,
    limit_refusals: Counters<Limit>,
    tls_handshakes_failed: IntCounter,
    requests_cut: Counters<Reason>,
    config_last_reload_successful: IntGauge,
    config_last_reload_success: Gauge,
    certificate_not_after: GaugeVec,
}

/// From 1 us, which a decision on a cached token takes, to what a signature and a busy machine take.
const DECISION_BUCKETS_S: &[f64] =
    &[1e-6, 2.5e-6, 5e-6, 10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 5e-3, 25e-3, 100e-3];
/// From an answer out of memory to a report that takes a minute.
const RESPONSE_BUCKETS_S: &[f64] =
    &[1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// From the embedded store's cache to a store that runs into every deadline.
const STORE_BUCKETS_S: &[f64] =
    &[50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1.0, 2.5, 5.0];
/// From a stream read at once to the default of `revocation.max_staleness`, and beyond.
const PROPAGATION_BUCKETS_S: &[f64] =
    &[1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

impl Metrics {
    /// Makes every metric that needs no configuration; `version` is this build's.
    pub fn new(version: &str) -> Result<Metrics, MetricsError> {
        let make = Registrar::new();
        let store_requests = make.counters(
            "store_requests_total",
            "Requests to the store, by what was asked and how it went.",
            &["operation", "outcome"],
        )?;
        let store_request_seconds = make.histograms(
            "store_request_seconds",
            "How long requests to the store took.",
            &["operation"],
            STORE_BUCKETS_S,
        )?;
        let requests_cut = make.counters(
            "requests_cut_total",
            "Requests under way (WebSockets, streams, downloads) that were ended because they might not go on.",
            &["reason"],
        )?;
        let limit_refusals = make.counters(
            "limit_refusals_total",
            "Connections and requests that were refused or cut off by a limit, by the limit's key in the configuration.",
            &["limit"],
        )?;
        let build_info = make.gauges("build_info", "Always 1; the label says which build this is.", &["version"])?;
        build_info.get_metric_with_label_values(&[version])?.set(1);
        let metrics = Metrics {
            routes: make.register(RouteFamilies::new()?)?,
            auth_decision_seconds: make.histogram(
                "auth_decision_seconds",
                "How long the decision on a request took, the verification of its token included.",
                DECISION_BUCKETS_S,
            )?,
            upstreams: UpstreamFamilies::new(&make, RESPONSE_BUCKETS_S)?,
            logins: make.outcomes("logins_total", "Attempts to log in.", LoginOutcome::NAMES)?,
            refreshes: make.outcomes("refreshes_total", "Attempts to refresh a session.", RefreshOutcome::NAMES)?,
            logouts: make.outcomes("logouts_total", "Attempts to log out.", LogoutOutcome::NAMES)?,
            app_logouts: make.outcomes(
                "app_logouts_total",
                "Sessions of an app that were to end with ours.",
                AppLogoutOutcome::NAMES,
            )?,
            revocations_active: make.scraped(
                "revocations_active",
                "Ended sessions that an access token could still name.",
            )?,
            revocation_last_sync: make.scraped(
                "revocation_last_sync_timestamp_seconds",
                "Until when all published revocations are known here, as Unix time; 0 if nothing is known.",
            )?,
            revocation_propagation_seconds: make.histogram(
                "revocation_propagation_seconds",
                "How long revocations took from their publication to this proxy.",
                PROPAGATION_BUCKETS_S,
            )?,
            store_up: make.gauge("store_up", "1 if the last request to the store was answered.")?,
            store_requests: by_operation(|operation| Counters::resolve(&store_requests, &[operation]))?,
            store_request_seconds: by_operation(|operation| {
                Ok(store_request_seconds.get_metric_with_label_values(&[operation])?)
            })?,
            token_cache_entries: make.scraped("token_cache_entries", "Verified tokens in the cache.")?,
            connections: make.gauge("connections", "Open connections of clients.")?,
            requests_refused_by_parser: make.counter("requests_refused_by_parser_total", "Heads that never became a request: not HTTP, too large, cut off, or too slow. HTTP/2: streams that were opened in vain, counted when their connection has ended.")?,
            limit_refusals: Counters::resolve(&limit_refusals, &[])?,
            tls_handshakes_failed: make.counter("tls_handshakes_failed_total", "TLS handshakes that failed: no TLS, nothing in common, or given up by the client.")?,
            requests_cut: Counters::resolve(&requests_cut, &[])?,
            config_last_reload_successful: make.gauge("config_last_reload_successful", "1 if the configuration was valid when it was last read.")?,
            config_last_reload_success: make.time("config_last_reload_success_timestamp_seconds", "When the configuration in use was read, as Unix time.")?,
            certificate_not_after: make.times("tls_certificate_not_after_timestamp_seconds", "When a certificate of a listener expires, as Unix time.", &["certificate"])?,
            registry: make.registry,
        };
        Ok(metrics)
    }

    /// The counters of a configuration's routes, in the order of `names`. All of them exist from now on.
    pub fn routes(&self, names: &[&str]) -> Result<RouteTable, MetricsError> {
        Ok(self.routes.table(names))
    }

    /// The measurements of a configuration's upstreams and their servers, in the order given.
    pub fn upstreams<'a>(
        &self,
        upstreams: impl IntoIterator<Item = (&'a str, Vec<&'a str>)>,
    ) -> Result<UpstreamTable, MetricsError> {
        self.upstreams.table(upstreams)
    }

    /// A decision on a request took this long.
    pub fn decided(&self, after: Duration) {
        self.auth_decision_seconds.observe(after.as_secs_f64());
    }

    /// A client has connected. The connection counts as open until the guard is dropped.
    pub fn connected(&self) -> Connection {
        self.connections.inc();
        Connection(self.connections.clone())
    }

    /// The parser refused so many requests, so that no other metric counts them.
    pub fn refused_by_parser(&self, requests: u64) {
        self.requests_refused_by_parser.inc_by(requests);
    }

    /// A connection or request was refused or cut off, because of this limit.
    pub fn limit_refused(&self, limit: Limit) {
        self.limit_refusals.inc(limit);
    }

    /// A TLS handshake failed, and not because it took too long.
    pub fn tls_handshake_failed(&self) {
        self.tls_handshakes_failed.inc();
    }

    /// A request under way was ended, because it might not go on.
    pub fn cut(&self, reason: Reason) {
        self.requests_cut.inc(reason);
    }

    /// The configuration has been read: `loaded` is when, if it was valid and is now in use.
    pub fn config_read(&self, loaded: Option<Timestamp>) {
        self.config_last_reload_successful.set(loaded.is_some().into());
        if let Some(at) = loaded {
            self.config_last_reload_success.set(seconds(at));
        }
    }

    /// The certificate that the configuration calls `certificate` expires then.
    pub fn certificate_loaded(&self, certificate: &str, not_after: Timestamp) -> Result<(), MetricsError> {
        self.certificate_not_after.get_metric_with_label_values(&[certificate])?.set(seconds(not_after));
        Ok(())
    }

    /// A certificate that is not configured any more: its series goes, or it would look as if it ran out.
    pub fn certificate_gone(&self, certificate: &str) {
        // An error means that there was none.
        let _ = self.certificate_not_after.remove_label_values(&[certificate]);
    }

    /// A server that is not configured any more: its series goes, or it would look as if it were up, or down, for ever.
    pub fn server_gone(&self, upstream: &str, server: &str) {
        self.upstreams.server_gone(upstream, server);
    }

    /// This upstream is not configured any more.
    pub fn upstream_gone(&self, upstream: &str) {
        self.upstreams.gone(upstream);
    }

    /// Reads the size of the mirror and the time of its last synchronisation from here, whenever somebody looks.
    pub fn read_mirror(&self, mirror: Arc<Mirror>) {
        let list = Arc::clone(&mirror);
        self.revocations_active.read_from(move || list.revocations.len() as f64);
        self.revocation_last_sync.read_from(move || match mirror.worst_freshness(Instant::now()) {
            Freshness::Age(age) => seconds(Timestamp::now().minus(age)),
            Freshness::Unknown => 0.0,
        });
    }

    /// Reads how many lines of log were lost from here, whenever somebody looks.
    pub fn read_logs(&self, logs: Logs) -> Result<(), MetricsError> {
        Ok(self.registry.register(Box::new(lost::LostLines::new(logs)?))?)
    }

    /// Reads the number of verified tokens in the cache from here, whenever somebody looks.
    pub fn read_token_cache(&self, entries: impl Fn() -> usize + Send + Sync + 'static) {
        self.token_cache_entries.read_from(move || entries() as f64);
    }

    /// The store was opened, or could not be: what `store_up` says until the first request.
    pub fn store_opened(&self, up: bool) {
        self.store_up.set(up.into());
    }

    /// All metrics in the text format 0.0.4 of Prometheus.
    pub fn render(&self) -> String {
        let families = self.registry.gather();
        TextEncoder::new().encode_to_string(&families).unwrap_or_else(|error| format!("# {error}\n"))
    }
}

impl Observe for Metrics {
    fn store_request(&self, operation: Operation, outcome: OperationOutcome, elapsed: Duration) {
        self.store_requests[operation.index()].inc(outcome);
        self.store_request_seconds[operation.index()].observe(elapsed.as_secs_f64());
        let answered = match outcome {
            OperationOutcome::Ok | OperationOutcome::Conflict => 1,
            OperationOutcome::Timeout | OperationOutcome::Error => 0,
        };
        self.store_up.set(answered);
    }

    fn revocation_propagated(&self, delay: Duration) {
        self.revocation_propagation_seconds.observe(delay.as_secs_f64());
    }
}

impl Events for Metrics {
    fn login(&self, outcome: LoginOutcome) {
        self.logins.with_label_values(&[outcome.as_str()]).inc();
    }

    fn refresh(&self, outcome: RefreshOutcome) {
        self.refreshes.with_label_values(&[outcome.as_str()]).inc();
    }

    fn logout(&self, outcome: LogoutOutcome) {
        self.logouts.with_label_values(&[outcome.as_str()]).inc();
    }

    fn app_logout(&self, outcome: AppLogoutOutcome) {
        self.app_logouts.with_label_values(&[outcome.as_str()]).inc();
    }

    fn audit(&self, event: Audit<'_>) {
        audit::record(event);
    }
}

/// An open connection of a client.
#[derive(Debug)]
pub struct Connection(IntGauge);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millis() as f64 / 1000.0
}

fn by_operation<T>(make: impl Fn(&'static str) -> Result<T, MetricsError>) -> Result<Box<[T]>, MetricsError> {
    Operation::ALL.iter().map(|operation| make(operation.as_str())).collect()
}

#[cfg(test)]
mod tests;
