//! What is measured for each upstream.

use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::MetricsError;
use super::registrar::Registrar;

/// All metrics of upstreams, before it is known which upstreams there are.
pub(super) struct UpstreamFamilies {
    response_seconds: HistogramVec,
    up: IntGaugeVec,
    ejections: IntCounterVec,
    retries: IntCounterVec,
    requests: IntGaugeVec,
    refused: IntCounterVec,
}

impl UpstreamFamilies {
    pub(super) fn new(make: &Registrar, response_buckets_s: &[f64]) -> Result<UpstreamFamilies, MetricsError> {
        Ok(UpstreamFamilies {
            response_seconds: make.histograms(
                "upstream_response_seconds",
                "How long an upstream took from the request to the head of its response.",
                &["upstream"],
                response_buckets_s,
            )?,
            up: make.gauges(
                "upstream_up",
                "1 if the server can be reached and gets requests, as far as is known; 0 if not, or if its name does not resolve.",
                &["upstream", "server"],
            )?,
            ejections: make.counters(
                "upstream_ejections_total",
                "How often the server got no requests for a while, since those that it got failed.",
                &["upstream", "server"],
            )?,
            retries: make.counters(
                "upstream_retries_total",
                "Requests that were tried once more, since an attempt failed in a way that made that safe.",
                &["upstream"],
            )?,
            requests: make.gauges(
                "upstream_requests",
                "Requests under way to an upstream, WebSockets included, a second ago at most.",
                &["upstream"],
            )?,
            refused: make.counters(
                "upstream_requests_refused_total",
                "Requests that were refused because the upstream had as many under way as it may.",
                &["upstream"],
            )?,
        })
    }

    /// Forgets what is true only of servers that there are. What was counted stays.
    pub(super) fn server_gone(&self, upstream: &str, server: &str) {
        // An error means that there was none.
        let _ = self.up.remove_label_values(&[upstream, server]);
    }

    pub(super) fn gone(&self, upstream: &str) {
        let _ = self.requests.remove_label_values(&[upstream]);
    }

    pub(super) fn table<'a>(
        &self,
        upstreams: impl IntoIterator<Item = (&'a str, Vec<&'a str>)>,
    ) -> Result<UpstreamTable, MetricsError> {
        let resolved = upstreams.into_iter().map(|(upstream, servers)| -> Result<UpstreamMetrics, MetricsError> {
            let up = servers.iter().map(|server| self.up.get_metric_with_label_values(&[upstream, server]));
            let ejections =
                servers.iter().map(|server| self.ejections.get_metric_with_label_values(&[upstream, server]));
            Ok(UpstreamMetrics {
                response_seconds: self.response_seconds.get_metric_with_label_values(&[upstream])?,
                up: up.collect::<Result<_, _>>()?,
                ejections: ejections.collect::<Result<_, _>>()?,
                retries: self.retries.get_metric_with_label_values(&[upstream])?,
                requests: self.requests.get_metric_with_label_values(&[upstream])?,
                refused: self.refused.get_metric_with_label_values(&[upstream])?,
            })
        });
        Ok(UpstreamTable(resolved.collect::<Result<_, _>>()?))
    }
}

/// The measurements of the upstreams of one compiled configuration, found by the upstream's number.
#[derive(Debug)]
pub struct UpstreamTable(Box<[UpstreamMetrics]>);

impl UpstreamTable {
    /// The measurements of the upstream with this number in the list that the table was made from.
    pub fn upstream(&self, upstream: usize) -> Option<&UpstreamMetrics> {
        self.0.get(upstream)
    }
}

/// The measurements of one upstream.
#[derive(Debug)]
pub struct UpstreamMetrics {
    response_seconds: Histogram,
    up: Box<[IntGauge]>,
    ejections: Box<[IntCounter]>,
    retries: IntCounter,
    requests: IntGauge,
    refused: IntCounter,
}

impl UpstreamMetrics {
    /// The head of its response came this long after the request was sent.
    pub fn responded(&self, after: Duration) {
        self.response_seconds.observe(after.as_secs_f64());
    }

    /// Whether the server with this number can be reached.
    pub fn set_up(&self, server: usize, up: bool) {
        if let Some(gauge) = self.up.get(server) {
            gauge.set(up.into());
        }
    }

    /// The server with this number gets no requests for a while.
    pub fn ejected(&self, server: usize) {
        if let Some(counter) = self.ejections.get(server) {
            counter.inc();
        }
    }

    /// A request is tried once more.
    pub fn retried(&self) {
        self.retries.inc();
    }

    /// A request was refused, since too many are under way.
    pub fn refused(&self) {
        self.refused.inc();
    }

    /// So many requests are under way.
    pub fn set_under_way(&self, requests: usize) {
        self.requests.set(i64::try_from(requests).unwrap_or(i64::MAX));
    }
}
