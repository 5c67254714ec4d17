//! Makes metrics with our prefix and registers them.

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use super::MetricsError;
use super::scraped::Scraped;

/// Names are given without the prefix. Each kind of metric has a method, so that a declaration is one line.
pub(super) struct Registrar {
    pub(super) registry: Registry,
}

impl Registrar {
    pub(super) fn new() -> Registrar {
        Registrar { registry: Registry::new() }
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter, MetricsError> {
        self.register(IntCounter::with_opts(opts(name, help))?)
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, MetricsError> {
        self.register(IntCounterVec::new(opts(name, help), labels)?)
    }

    /// Counters by outcome, all of which exist from now on. For what is too rare to be worth a table.
    pub(super) fn outcomes(&self, name: &str, help: &str, outcomes: &[&str]) -> Result<IntCounterVec, MetricsError> {
        let counters = self.counters(name, help, &["outcome"])?;
        for outcome in outcomes {
            counters.get_metric_with_label_values(&[outcome])?;
        }
        Ok(counters)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, MetricsError> {
        self.register(IntGauge::with_opts(opts(name, help))?)
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, MetricsError> {
        self.register(IntGaugeVec::new(opts(name, help), labels)?)
    }

    /// A gauge that holds a Unix time.
    pub(super) fn time(&self, name: &str, help: &str) -> Result<Gauge, MetricsError> {
        self.register(Gauge::with_opts(opts(name, help))?)
    }

    /// Gauges that hold Unix times.
    pub(super) fn times(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, MetricsError> {
        self.register(GaugeVec::new(opts(name, help), labels)?)
    }

    pub(super) fn scraped(&self, name: &str, help: &str) -> Result<Scraped, MetricsError> {
        self.register(Scraped::new(Gauge::with_opts(opts(name, help))?))
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, MetricsError> {
        self.register(Histogram::with_opts(histogram_opts(name, help, buckets))?)
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, MetricsError> {
        self.register(HistogramVec::new(histogram_opts(name, help, buckets), labels)?)
    }

    pub(super) fn register<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C, MetricsError> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

pub(super) fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("portcullis")
}

fn histogram_opts(name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::new(name, help).namespace("portcullis").buckets(buckets.to_vec())
}
