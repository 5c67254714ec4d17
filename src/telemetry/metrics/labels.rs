//! Closed enums as labels, and counters that are found by their number.

use std::marker::PhantomData;

use prometheus::{IntCounter, IntCounterVec};

use super::{Limit, MetricsError};
use crate::gate::Reason;
use crate::store::{Operation, OperationOutcome};

/// A closed enum whose members are values of a label.
pub(super) trait Label: Copy + 'static {
    /// All of them, in the order of [`Label::index`].
    const ALL: &'static [Self];
    /// The label's value.
    fn as_str(self) -> &'static str;
    /// Its place in [`Label::ALL`].
    fn index(self) -> usize;
}

/// Makes fieldless enums with `ALL` (in the order of declaration) and `as_str` into labels.
macro_rules! labels {
    ($($label:ty),+) => {
        $(impl Label for $label {
            const ALL: &'static [Self] = <$label>::ALL;

            fn as_str(self) -> &'static str {
                <$label>::as_str(self)
            }

            fn index(self) -> usize {
                self as usize
            }
        })+

        #[cfg(test)]
        mod tests {
            use super::*;

            #[test]
            fn the_index_is_the_place_in_all() {
                $(for (place, label) in <$label as Label>::ALL.iter().enumerate() {
                    assert_eq!(label.index(), place, "{}", label.as_str());
                    assert!(!label.as_str().is_empty());
                })+
            }
        }
    };
}

labels!(Reason, Operation, OperationOutcome, Limit);

/// One counter for each member of a closed enum.
#[derive(Debug)]
pub(super) struct Counters<L> {
    counters: Box<[IntCounter]>,
    label: PhantomData<fn(L)>,
}

impl<L: Label> Counters<L> {
    /// Resolves the counters of `family` whose label values are `leading`, and then a member of `L`.
    pub(super) fn resolve(family: &IntCounterVec, leading: &[&str]) -> Result<Counters<L>, MetricsError> {
        let counters = L::ALL.iter().map(|label| {
            let values = [leading, &[label.as_str()]].concat();
            family.get_metric_with_label_values(&values)
        });
        Ok(Counters { counters: counters.collect::<Result<_, _>>()?, label: PhantomData })
    }

    /// Counts one.
    pub(super) fn inc(&self, label: L) {
        self.counters[label.index()].inc();
    }
}
