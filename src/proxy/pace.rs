//! How fast a body has to come: a pause may last as long as `limits.body_timeout`, and who sends less than `limits.body_rate`
//! uses that time up bit by bit.
//!
//! What must never happen in here: a client is blamed for the time in which an app does not read.

use std::time::{Duration, Instant};

/// The pace of one request body. Time in which we wait for the client is taken from a balance, bytes add to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How long may be waited on.
    left: Duration,
    /// As much as there can ever be left.
    most: Duration,
    /// So many bytes are worth a second; none: any is worth the whole.
    bytes_per_second: Option<u64>,
    since: Instant,
    bytes: u64,
}

impl Pace {
    /// A body begins now. `bytes_per_second`: what it must keep up; none: any rate will do.
    pub(super) fn begin(patience: Duration, bytes_per_second: Option<u64>, now: Instant) -> Pace {
        Pace { left: patience, most: patience, bytes_per_second, since: now, bytes: 0 }
    }

    /// Waits for longer from now on, once so many bytes have come.
    pub(super) fn wait_longer(&mut self, by: Duration, after_bytes: u64) {
        if self.bytes < after_bytes || self.bytes == u64::MAX {
            return;
        }
        // Once.
        self.bytes = u64::MAX;
        self.most += by;
        self.left += by;
    }

    /// When it is too late, should nothing come.
    pub(super) fn until(&self) -> Instant {
        self.since + self.left
    }

    /// Bytes have come. `waited`: for how long we have been ready for them; none: since the last ones. Says whether they
    /// came in time.
    pub(super) fn received(&mut self, bytes: usize, waited: Option<Duration>, now: Instant) -> bool {
        let waited = waited.unwrap_or(now.saturating_duration_since(self.since));
        self.since = now;
        self.bytes = self.bytes.saturating_add(bytes as u64);
        let Some(left) = self.left.checked_sub(waited) else { return false };
        self.left = match self.bytes_per_second {
            Some(rate) => {
                let earned_ns = (bytes as u64).saturating_mul(1_000_000_000) / rate.max(1);
                (left + Duration::from_nanos(earned_ns)).min(self.most)
            }
            None => self.most,
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many seconds a client lasts that sends so many bytes each second.
    fn lasts(bytes: usize, rate: Option<u64>) -> usize {
        let start = Instant::now();
        let mut pace = Pace::begin(30 * SECOND, rate, start);
        (1..=1000).take_while(|&second| pace.received(bytes, None, start + second * SECOND)).count()
    }

    #[test]
    fn who_drips_uses_its_time_up() {
        for (bytes, rate, seconds) in [
            (240, Some(240), 1000),
            (10_000, Some(240), 1000),
            (120, Some(240), 59),
            (1, Some(240), 30),
            (1, None, 1000),
        ] {
            assert_eq!(lasts(bytes, rate), seconds, "{bytes} B/s");
        }
    }

    #[test]
    fn a_pause_may_be_as_long_after_much_as_after_little() {
        let start = Instant::now();
        let mut pace = Pace::begin(30 * SECOND, Some(240), start);
        assert!(pace.received(10_000_000, None, start + SECOND));
        assert_eq!(pace.until(), start + 31 * SECOND);
        assert!(!pace.received(10_000_000, None, start + 32 * SECOND));
    }

    #[test]
    fn patience_grows_once() {
        let start = Instant::now();
        let mut pace = Pace::begin(SECOND, Some(240), start);
        for (bytes, seconds) in [(99, 1), (1, 11), (1, 11), (1000, 11)] {
            assert!(pace.received(bytes, Some(Duration::ZERO), start));
            pace.wait_longer(10 * SECOND, 100);
            assert_eq!(pace.until(), start + seconds * SECOND);
        }
    }

    #[test]
    fn only_the_time_that_we_waited_counts() {
        let start = Instant::now();
        let mut pace = Pace::begin(30 * SECOND, Some(240), start);
        for minute in 1..100 {
            assert!(pace.received(1, Some(Duration::from_millis(1)), start + minute * 60 * SECOND));
        }
    }
}
