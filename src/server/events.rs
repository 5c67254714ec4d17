//! The labels of what the endpoints report, as the metrics want them at start.

use crate::endpoints::{LoginOutcome, LogoutOutcome, RefreshOutcome};
use crate::telemetry::Outcomes;

/// Writes the names of a closed list into an array.
macro_rules! names {
    ($outcome:ty) => {{
        const NAMES: [&str; <$outcome>::ALL.len()] = {
            let mut names = [""; <$outcome>::ALL.len()];
            let mut place = 0;
            while place < names.len() {
                names[place] = <$outcome>::ALL[place].as_str();
                place += 1;
            }
            names
        };
        &NAMES
    }};
}

pub(super) const OUTCOMES: Outcomes =
    Outcomes { logins: names!(LoginOutcome), refreshes: names!(RefreshOutcome), logouts: names!(LogoutOutcome) };
