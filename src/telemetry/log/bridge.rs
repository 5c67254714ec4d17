//! What libraries say through the `log` crate, as events of ours: only that something is wrong, without the places in
//! their sources.

use log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError};

/// Pingora's lines on requests. What fails on our side we say ourselves, and which route it was; a client that leaves within
/// a head is an error to Pingora, so that anybody could fill the log.
const SPOKEN_FOR: &str = "pingora_proxy";

/// How lines begin that any stranger can cause by talking nonsense to a listener.
const BY_STRANGERS: [&str; 2] = ["Downstream handshake", "H2 handshake error"];

struct Bridge;

/// Hears the libraries from now on.
pub(super) fn init() -> Result<(), SetLoggerError> {
    log::set_logger(&Bridge)?;
    log::set_max_level(LevelFilter::Warn);
    Ok(())
}

impl Log for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn && !metadata.target().starts_with(SPOKEN_FOR)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = record.args().to_string();
        if BY_STRANGERS.iter().any(|begin| text.starts_with(begin)) {
            return;
        }
        let library = record.target();
        match record.level() {
            Level::Error => tracing::error!(target: "library", library, "{text}"),
            _ => tracing::warn!(target: "library", library, "{text}"),
        }
    }

    fn flush(&self) {}
}
