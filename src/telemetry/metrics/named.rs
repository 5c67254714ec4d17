//! Counters for a closed list of names, off the request path.

use prometheus::{IntCounter, IntCounterVec};

use super::MetricsError;

/// One counter for each name of a short list. It is searched, which is cheap beside a login.
pub(super) struct Named(Box<[(&'static str, IntCounter)]>);

impl Named {
    pub(super) fn resolve(family: &IntCounterVec, names: &[&'static str]) -> Result<Named, MetricsError> {
        let counters = names.iter().map(|name| Ok((*name, family.get_metric_with_label_values(&[name])?)));
        Ok(Named(counters.collect::<Result<_, MetricsError>>()?))
    }

    /// Counts one. A name that is not in the list is a mistake of ours, and counts nothing.
    pub(super) fn inc(&self, name: &str) {
        let counter = self.0.iter().find(|(known, _)| *known == name);
        debug_assert!(counter.is_some(), "`{name}` is not in the list that the metrics were made from");
        if let Some((_, counter)) = counter {
            counter.inc();
        }
    }
}
