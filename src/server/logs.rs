//! What the configuration says of the logs, as the logs are set up by it.

use crate::config::{self, LogDestination, LogFormat};
use crate::telemetry::{Destination, Format, LogOptions};

/// How the logs of a process are to be set up. `filter` comes before the configuration's own level.
pub fn log_options(log: &config::Log, filter: Option<&str>) -> LogOptions {
    LogOptions {
        filter: filter.unwrap_or(log.level.as_str()).to_owned(),
        format: match log.format {
            LogFormat::Auto => Format::Auto,
            LogFormat::Json => Format::Json,
            LogFormat::Human => Format::Human,
        },
        audit: log.audit.as_ref().map(destination),
        access: log.access.as_ref().map(destination),
    }
}

fn destination(destination: &LogDestination) -> Destination {
    match destination {
        LogDestination::Stdout => Destination::Stdout,
        LogDestination::Stderr => Destination::Stderr,
        LogDestination::File(path) => Destination::File(path.clone()),
    }
}
