//! How many lines of log were lost, counted where they are lost, and read when somebody looks.

use std::sync::{Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec};

use super::MetricsError;
use super::registrar::opts;
use crate::telemetry::log::{Kind, Logs};

pub(super) struct LostLines {
    family: IntCounterVec,
    counters: Vec<(Kind, IntCounter)>,
    logs: Logs,
    /// Two who look at once would count lines twice.
    looking: Mutex<()>,
}

impl LostLines {
    pub(super) fn new(logs: Logs) -> Result<LostLines, MetricsError> {
        let help = "Lines of log that were lost: they could not be written, or came faster than they were read.";
        let family = IntCounterVec::new(opts("log_lines_lost_total", help), &["log"])?;
        let counters = Kind::ALL.iter().map(|kind| Ok((*kind, family.get_metric_with_label_values(&[kind.as_str()])?)));
        Ok(LostLines {
            counters: counters.collect::<Result<_, MetricsError>>()?,
            family,
            logs,
            looking: Mutex::default(),
        })
    }
}

impl Collector for LostLines {
    fn desc(&self) -> Vec<&Desc> {
        self.family.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _one = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        for (kind, counter) in &self.counters {
            counter.inc_by(self.logs.lost(*kind).saturating_sub(counter.get()));
        }
        self.family.collect()
    }
}
