//! A gauge whose value is read when somebody looks.

use std::sync::{Arc, OnceLock};

use prometheus::Gauge;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

type Read = Box<dyn Fn() -> f64 + Send + Sync>;

/// A gauge that is 0 until it is told where to read.
#[derive(Clone)]
pub(super) struct Scraped {
    gauge: Gauge,
    read: Arc<OnceLock<Read>>,
}

impl Scraped {
    pub(super) fn new(gauge: Gauge) -> Scraped {
        Scraped { gauge, read: Arc::default() }
    }

    /// Reads the value from here. The first one told wins.
    pub(super) fn read_from(&self, read: impl Fn() -> f64 + Send + Sync + 'static) {
        let _ = self.read.set(Box::new(read));
    }
}

impl Collector for Scraped {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        if let Some(read) = self.read.get() {
            self.gauge.set(read());
        }
        self.gauge.collect()
    }
}
