//! What is measured for each upstream.

use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntGauge, IntGaugeVec};

use super::MetricsError;

/// The measurements of the upstreams of one compiled configuration, found by the upstream's number.
#[derive(Debug)]
pub struct UpstreamTable(Box<[UpstreamMetrics]>);

impl UpstreamTable {
    pub(super) fn resolve<'a>(
        response_seconds: &HistogramVec,
        up: &IntGaugeVec,
        upstreams: impl IntoIterator<Item = (&'a str, Vec<&'a str>)>,
    ) -> Result<UpstreamTable, MetricsError> {
        let resolved = upstreams.into_iter().map(|(upstream, servers)| -> Result<UpstreamMetrics, MetricsError> {
            let up = servers.iter().map(|server| up.get_metric_with_label_values(&[upstream, server]));
            Ok(UpstreamMetrics {
                response_seconds: response_seconds.get_metric_with_label_values(&[upstream])?,
                up: up.collect::<Result<_, _>>()?,
            })
        });
        Ok(UpstreamTable(resolved.collect::<Result<_, _>>()?))
    }

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
}
