//! What is counted for each route.

use std::sync::OnceLock;

use http::StatusCode;
use prometheus::{IntCounter, IntCounterVec};

use super::MetricsError;
use super::labels::Counters;
use crate::gate::Reason;

/// The label value for "there is none": a request without a route, a decision without a reason, a request that ended
/// without an answer. No configured name is empty, so it collides with none.
const NONE: &str = "";

/// How many codes have a place in the table: 100 to 599, then `other`, then none.
const CODES: usize = 502;
const OTHER_CODE: usize = 500;
const NO_CODE: usize = 501;

/// The counters of the routes of one compiled configuration, found by the route's number.
///
/// A reload resolves a new table. RouteTable of the same name go on with the same counters.
#[derive(Debug)]
pub struct RouteTable {
    routes: Box<[RouteCounters]>,
    no_route: RouteCounters,
}

impl RouteTable {
    pub(super) fn resolve(
        requests: &IntCounterVec,
        decisions: &IntCounterVec,
        names: &[&str],
    ) -> Result<RouteTable, MetricsError> {
        let routes = names.iter().map(|name| RouteCounters::resolve(requests, decisions, name));
        Ok(RouteTable {
            routes: routes.collect::<Result<_, _>>()?,
            no_route: RouteCounters::resolve(requests, decisions, NONE)?,
        })
    }

    /// The counters of the route with this number in the list that the table was made from. None, or a number beyond the
    /// list, is for requests without a route: series with `route=""`.
    pub fn route(&self, route: Option<usize>) -> &RouteCounters {
        route.and_then(|route| self.routes.get(route)).unwrap_or(&self.no_route)
    }
}

/// The counters of one route.
#[derive(Debug)]
pub struct RouteCounters {
    name: Box<str>,
    allowed: IntCounter,
    served: IntCounter,
    refused: Counters<Reason>,
    requests: IntCounterVec,
    /// Codes that the proxy answers with itself are there from the start; an upstream's other codes join when they are
    /// first seen, from a set that is closed all the same.
    codes: Box<[OnceLock<IntCounter>; CODES]>,
}

impl RouteCounters {
    fn resolve(requests: &IntCounterVec, decisions: &IntCounterVec, name: &str) -> Result<RouteCounters, MetricsError> {
        let route = RouteCounters {
            name: name.into(),
            allowed: decisions.get_metric_with_label_values(&[name, "allowed", NONE])?,
            served: decisions.get_metric_with_label_values(&[name, "served", NONE])?,
            refused: Counters::resolve(decisions, &[name, "refused"])?,
            requests: requests.clone(),
            codes: Box::new([const { OnceLock::new() }; CODES]),
        };
        let own = Reason::ALL.iter().map(|reason| reason.status()).chain([StatusCode::OK, StatusCode::NO_CONTENT]);
        own.for_each(|status| {
            route.code(Some(status));
        });
        Ok(route)
    }

    /// The decision let the request through to the upstream.
    pub fn allowed(&self) {
        self.allowed.inc();
    }

    /// The decision was that an endpoint of ours answers.
    pub fn served(&self) {
        self.served.inc();
    }

    /// The decision refused the request.
    pub fn refused(&self, reason: Reason) {
        self.refused.inc(reason);
    }

    /// The request has ended with this status; none if the client left before an answer began (`code=""`).
    pub fn ended(&self, status: Option<StatusCode>) {
        self.code(status).inc();
    }

    fn code(&self, status: Option<StatusCode>) -> &IntCounter {
        let (place, label) = match &status {
            None => (NO_CODE, NONE),
            Some(status) if status.as_u16() < 600 => (usize::from(status.as_u16()) - 100, status.as_str()),
            Some(_) => (OTHER_CODE, "other"),
        };
        self.codes[place].get_or_init(|| self.requests.with_label_values(&[&*self.name, label]))
    }
}
