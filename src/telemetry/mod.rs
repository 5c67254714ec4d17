//! What operators see: metrics, the log, and the audit trail.
//!
//! Labels come from the configuration and from closed enums, so that the number of series is known at start. Counters are
//! resolved when the configuration is compiled; a request looks no label up.
//!
//! What must never happen in here: a token, a password, a cookie or a query string in a metric or a line of log; a label
//! that a client chooses; a line of log that a client can break in two; a request that waits for a reader of the log.

mod access;
mod audit;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod log;
mod metrics;

pub use self::access::{Access, AccessLog, End, Outcome};
pub use self::log::{Destination, Format, Kind as LogKind, LogError, LogGuard, LogOptions, Logs, init as init_log};
pub use self::metrics::{
    Connection, Limit, Metrics, MetricsError, RouteCounters, RouteTable, UpstreamMetrics, UpstreamTable,
};
