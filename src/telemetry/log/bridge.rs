//! What libraries say through the `log` crate, as events of ours: only that something is wrong, without the places in
//! their sources.

use log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError};

/// Pingora's own lines on failed requests; ours say the same, and which route it was.
const SPOKEN_FOR: &str = "pingora_proxy";

struct Bridge;

/// Hears the libraries from now on.
pub(super) fn init() -> Result<(), SetLoggerError> {
    log::set_logger(&Bridge)?;
    log::set_max_level(LevelFilter::Warn);
    Ok(())
}

impl Log for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn
            && !(metadata.level() == Level::Warn && metadata.target().starts_with(SPOKEN_FOR))
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let library = record.target();
        match record.level() {
            Level::Error => tracing::error!(target: "library", library, "{}", record.args()),
            _ => tracing::warn!(target: "library", library, "{}", record.args()),
        }
    }

    fn flush(&self) {}
}
