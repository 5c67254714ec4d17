//! Passive ejection: a server whose requests fail one after the other gets none for a while.
//!
//! Requests only count, with an atomic. Who is taken out, for how long and when it comes back is decided beside them, in one
//! place, so that no two requests can take out two servers at once.
//!
//! What must never happen in here: more than half of the servers are taken out, as an app that fails everywhere would then be
//! down by our own doing; a server stays out because nobody looks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use super::Upstream;
use super::endpoint::Endpoint;

/// However often a server is taken out, it is tried again after this long, or after `Ejection::time` if that is longer.
const TIME_MAX: Duration = Duration::from_secs(5 * 60);

/// When a server is taken out because its requests fail, without being asked whether it works.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ejection {
    /// So many requests in a row.
    pub failures: u32,
    /// For so long the first time, then twice as long each time, up to five minutes.
    pub time: Duration,
    /// Answers with these status codes are failures, too.
    pub statuses: Vec<u16>,
}

/// What has been decided on a server.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// How often it was taken out in succession.
    times: u32,
    /// Until when it is out, or was the last time.
    until: Option<Instant>,
}

impl Record {
    /// Takes it out now. A server that was in for as long as it had been out begins anew.
    fn eject(&mut self, first: Duration, now: Instant) -> Duration {
        let stood = |until: Instant| now.saturating_duration_since(until) > time(first, self.times);
        let times = if self.until.is_some_and(stood) { 1 } else { self.times.saturating_add(1) };
        let time = time(first, times);
        *self = Record { times, until: Some(now + time) };
        time
    }

    fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }
}

fn time(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.saturating_sub(1).min(16)).min(TIME_MAX.max(first))
}

impl Upstream {
    /// Takes servers out and back as it is time, and says when to look again.
    pub(super) fn judge(&self, now: Instant, mut report: impl FnMut(usize)) -> Option<Instant> {
        let ejection = self.spec.ejection.as_ref()?;
        let endpoints = self.endpoints.load();
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.is_ejected()) {
            if endpoint.record().is_over(now) {
                // On probation: one failure more is enough.
                endpoint.take_back(ejection.failures - 1);
                let (server, address) = (&self.servers[endpoint.server].spec, endpoint.address);
                tracing::info!(upstream = self.name(), %server, %address, "the server gets requests again");
            }
        }
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.failures_in_a_row() >= ejection.failures) {
            let others = endpoints.iter().filter(|other| !Arc::ptr_eq(other, endpoint) && other.is_able()).count();
            if endpoint.is_ejected() || others * 2 < endpoints.len() || others == 0 {
                continue;
            }
            let time = endpoint.record().eject(ejection.time, now);
            endpoint.eject();
            report(endpoint.server);
            let (server, address, failures) =
                (&self.servers[endpoint.server].spec, endpoint.address, ejection.failures);
            tracing::warn!(upstream = self.name(), %server, %address, failures, ?time, "requests to the server fail one after the other; it gets none for a while");
        }
        let out = endpoints.iter().filter(|endpoint| endpoint.is_ejected());
        out.filter_map(|endpoint| endpoint.record().until).min()
    }

    /// Judges whenever there is something to judge, until dropped.
    pub(super) async fn keep_judging(&self, report: impl Fn(usize)) {
        loop {
            match self.judge(Instant::now(), &report) {
                Some(next) => {
                    tokio::select! {
                        () = self.failing.notified() => {}
                        () = sleep_until(next.into()) => {}
                    }
                }
                None => self.failing.notified().await,
            }
        }
    }

    /// A request to the server has failed, as far as can be told by its own fault.
    pub(super) fn failed(&self, endpoint: &Endpoint) {
        if let Some(ejection) = &self.spec.ejection
            && endpoint.count_failure() >= ejection.failures
        {
            self.failing.notify_one();
        }
    }

    /// Is an answer with this status a failure?
    pub(super) fn is_failure(&self, status: u16) -> bool {
        self.spec.ejection.as_ref().is_some_and(|ejection| ejection.statuses.contains(&status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_again_and_again_is_out_for_longer_up_to_a_bound() {
        let (first, mut now, mut record) = (Duration::from_secs(10), Instant::now(), Record::default());
        let mut out = || {
            let time = record.eject(first, now);
            now += time + Duration::from_secs(1);
            time.as_secs()
        };
        assert_eq!([out(), out(), out(), out(), out(), out(), out()], [10, 20, 40, 80, 160, 300, 300]);
        for _ in 0..100 {
            assert_eq!(out(), 300);
        }
        let hour = Duration::from_secs(3600);
        assert_eq!(Record::default().eject(hour, now), hour);
    }

    #[test]
    fn who_stood_for_as_long_as_it_was_out_begins_anew() {
        let (first, begun, mut record) = (Duration::from_secs(10), Instant::now(), Record::default());
        record.eject(first, begun);
        let again = begun + Duration::from_secs(15);
        assert_eq!(record.eject(first, again), Duration::from_secs(20));
        assert!(!record.is_over(again + Duration::from_secs(19)) && record.is_over(again + Duration::from_secs(20)));
        assert_eq!(record.eject(first, again + Duration::from_secs(41)), first);
    }
}
