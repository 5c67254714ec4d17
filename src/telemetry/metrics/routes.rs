//! What is counted for each route.
//!
//! A route has some eighty series, and there may be thousands of routes. So the counters of a route are plain numbers in arrays, and
//! become series when somebody looks: a series that waits to be looked at takes fifty times as much.
//!
//! What must never happen in here: a count is lost, or runs back, because the configuration was read again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::StatusCode;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, LabelPair, Metric, MetricFamily, MetricType};

use super::MetricsError;
use super::labels::Label;
use super::registrar::opts;
use crate::gate::Reason;

/// The label value for "there is none": a request without a route, a decision without a reason, a request that ended
/// without an answer. No configured name is empty, so it collides with none.
const NONE: &str = "";

/// The label value for codes beyond 599.
const OTHER: &str = "other";

/// Codes begin at 100; each hundred is a class.
const CLASSES: usize = 5;

/// The counters of all routes that were ever configured in this process, by name.
#[derive(Clone)]
pub(super) struct RouteFamilies {
    requests: Desc,
    decisions: Desc,
    routes: Arc<Mutex<BTreeMap<Box<str>, Arc<RouteCounters>>>>,
}

/// The counters of the routes of one compiled configuration, found by the route's number.
///
/// A reload resolves a new table. Routes of the same name go on with the same counters.
#[derive(Debug)]
pub struct RouteTable {
    routes: Box<[Arc<RouteCounters>]>,
    no_route: Arc<RouteCounters>,
}

/// The counters of one route.
#[derive(Debug)]
pub struct RouteCounters {
    allowed: AtomicU64,
    served: AtomicU64,
    refused: Box<[AtomicU64]>,
    /// By class, and in it by code. A class is made when it is counted in for the first time.
    codes: [OnceLock<Box<[AtomicU64; 100]>>; CLASSES],
    other_code: AtomicU64,
    no_code: AtomicU64,
}

impl RouteFamilies {
    pub(super) fn new() -> Result<RouteFamilies, MetricsError> {
        let requests = opts(
            "http_requests_total",
            "Requests that have ended, by route and status code. No route: no route matched. No code: the client left before an answer began.",
        );
        let decisions = opts(
            "auth_decisions_total",
            "Decisions on requests: allowed to the upstream, served by an endpoint of the proxy, or refused for a reason.",
        );
        let desc = |opts: prometheus::Opts, labels: &[&str]| {
            let labels = labels.iter().map(ToString::to_string).collect();
            Desc::new(opts.fq_name(), opts.help.clone(), labels, opts.const_labels.clone())
        };
        Ok(RouteFamilies {
            requests: desc(requests, &["route", "code"])?,
            decisions: desc(decisions, &["route", "outcome", "reason"])?,
            routes: Arc::default(),
        })
    }

    /// The counters of the routes of these names. All their series exist from now on.
    pub(super) fn table(&self, names: &[&str]) -> RouteTable {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counters =
            |name: &str| Arc::clone(routes.entry(name.into()).or_insert_with(|| Arc::new(RouteCounters::new())));
        RouteTable { routes: names.iter().map(|name| counters(name)).collect(), no_route: counters(NONE) }
    }
}

impl Collector for RouteFamilies {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.requests, &self.decisions]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let own = own_codes();
        let (mut requests, mut decisions) = (Vec::new(), Vec::new());
        for (name, route) in &*self.routes.lock().unwrap_or_else(PoisonError::into_inner) {
            route.each_code(&own, |code, count| requests.push(series(&[("code", code), ("route", name)], count)));
            route.each_decision(|outcome, reason, count| {
                decisions.push(series(&[("outcome", outcome), ("reason", reason), ("route", name)], count));
            });
        }
        vec![family(&self.requests, requests), family(&self.decisions, decisions)]
    }
}

fn family(desc: &Desc, series: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(desc.fq_name.clone());
    family.set_help(desc.help.clone());
    family.set_field_type(MetricType::COUNTER);
    family.set_metric(series);
    family
}

/// One series. Labels are in the order of their names.
fn series(labels: &[(&str, &str)], count: &AtomicU64) -> Metric {
    let label = |(name, value): &(&str, &str)| {
        let mut label = LabelPair::default();
        label.set_name((*name).to_owned());
        label.set_value((*value).to_owned());
        label
    };
    let mut counter = Counter::default();
    counter.set_value(count.load(Ordering::Relaxed) as f64);
    let mut series = Metric::from_label(labels.iter().map(label).collect());
    series.set_counter(counter);
    series
}

impl RouteTable {
    /// The counters of the route with this number in the list that the table was made from. None, or a number beyond the
    /// list, is for requests without a route: series with `route=""`.
    pub fn route(&self, route: Option<usize>) -> &RouteCounters {
        route.and_then(|route| self.routes.get(route)).unwrap_or(&self.no_route)
    }
}

impl RouteCounters {
    fn new() -> RouteCounters {
        RouteCounters {
            allowed: AtomicU64::new(0),
            served: AtomicU64::new(0),
            refused: Reason::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            codes: [const { OnceLock::new() }; CLASSES],
            other_code: AtomicU64::new(0),
            no_code: AtomicU64::new(0),
        }
    }

    /// The decision let the request through to the upstream.
    pub fn allowed(&self) {
        inc(&self.allowed);
    }

    /// The decision was that an endpoint of ours answers.
    pub fn served(&self) {
        inc(&self.served);
    }

    /// The decision refused the request.
    pub fn refused(&self, reason: Reason) {
        inc(&self.refused[reason.index()]);
    }

    /// The request has ended with this status; none if the client left before an answer began (`code=""`).
    pub fn ended(&self, status: Option<StatusCode>) {
        inc(match status.map(|status| place(status.as_u16())) {
            None => &self.no_code,
            Some(None) => &self.other_code,
            Some(Some((class, code))) => {
                &self.codes[class].get_or_init(|| Box::new([const { AtomicU64::new(0) }; 100]))[code]
            }
        });
    }

    /// Codes that the proxy answers with itself have a series from the start; an upstream's other codes join when they are first
    /// seen, from a set that is closed all the same.
    fn each_code(&self, own: &[u16], mut each: impl FnMut(&str, &AtomicU64)) {
        let never = AtomicU64::new(0);
        for code in 100..600 {
            let count = place(code).and_then(|(class, code)| self.codes[class].get().map(|class| &class[code]));
            let count = count.unwrap_or(&never);
            if count.load(Ordering::Relaxed) > 0 || own.contains(&code) {
                each(&code.to_string(), count);
            }
        }
        for (label, count) in [(OTHER, &self.other_code), (NONE, &self.no_code)] {
            if count.load(Ordering::Relaxed) > 0 {
                each(label, count);
            }
        }
    }

    fn each_decision(&self, mut each: impl FnMut(&str, &str, &AtomicU64)) {
        each("allowed", NONE, &self.allowed);
        each("served", NONE, &self.served);
        for (reason, count) in Reason::ALL.iter().zip(&self.refused) {
            each("refused", reason.as_str(), count);
        }
    }
}

/// Class and number in it; none beyond 599.
fn place(code: u16) -> Option<(usize, usize)> {
    let code = usize::from(code).checked_sub(100)?;
    (code < CLASSES * 100).then_some((code / 100, code % 100))
}

/// The codes of our own answers.
fn own_codes() -> Vec<u16> {
    let own = Reason::ALL.iter().map(|reason| reason.status()).chain([StatusCode::OK, StatusCode::NO_CONTENT]);
    own.map(|status| status.as_u16()).collect()
}

fn inc(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}
