//! The log: lines of JSON, or lines for people when standard error is a terminal.
//!
//! What the libraries below us say in detail holds whole requests, cookies and tokens included. So they are heard only when
//! something is wrong, and no setting can change that. Lines are written by a thread of their own: when nobody
//! reads them, they are lost and counted, and no request waits.
//!
//! What must never happen in here: a line that its content breaks in two, or that drives a terminal.

mod bridge;
pub(super) mod escape;
mod writer;

use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, ParseError, filter_fn};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;

use self::writer::Lines;
pub use self::writer::LogGuard;
use super::audit::AUDIT;

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error(
        "`{0}` is not a filter for the log: {1}. Write a level (error, warn, info, debug, trace), or levels by module such as `info,portcullis::store=debug`"
    )]
    Filter(String, ParseError),
    /// There is a log already.
    #[error("the log has been set up before")]
    Twice,
    /// The thread that writes cannot be started.
    #[error("the thread that writes the log cannot be started: {0}")]
    Thread(io::Error),
}

/// Sets up the log of this process. `filter` comes from `--log`; without it `RUST_LOG` counts, and without that `info`.
///
/// Keep the guard to the end of `main`: when dropped, it waits a moment until the lines so far are written.
pub fn init(filter: Option<&str>) -> Result<LogGuard, LogError> {
    let from_environment = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let filter = parse_filter(filter.or(from_environment.as_deref()).unwrap_or("info"))?;
    let (lines, guard) = Lines::to(io::stderr()).map_err(LogError::Thread)?;
    let json = !io::stderr().is_terminal();
    tracing::subscriber::set_global_default(subscriber(filter, json, lines)).map_err(|_| LogError::Twice)?;
    bridge::init().map_err(|_| LogError::Twice)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(guard)
}

/// The audit trail stays on unless it is named.
fn parse_filter(filter: &str) -> Result<EnvFilter, LogError> {
    let directives = if filter.contains(AUDIT) { filter.to_owned() } else { format!("{AUDIT}=info,{filter}") };
    EnvFilter::builder().parse(directives).map_err(|error| LogError::Filter(filter.to_owned(), error))
}

fn subscriber<W>(filter: EnvFilter, json: bool, lines: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let registry = tracing_subscriber::registry().with(filter).with(filter_fn(may_speak));
    match json {
        true => Box::new(registry.with(fmt::layer().json().flatten_event(true).with_writer(lines))),
        // No colours: whatever controls a terminal in a line came from outside, and is escaped.
        false => Box::new(registry.with(fmt::layer().with_ansi(false).with_writer(lines))),
    }
}

/// Details only from our own code.
fn may_speak(metadata: &Metadata<'_>) -> bool {
    let root = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= Level::INFO || matches!(root, "portcullis" | "access" | AUDIT)
}

/// A panic is one line of the log like everything else.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let formatted = payload.downcast_ref::<String>().map(String::as_str);
    let message = formatted.or(payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(location, "panic: {message}");
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::escape::escape;
    use super::*;

    /// A writer that keeps what it is given, escaped as the real one does.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(escape(line).iter());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub(in crate::telemetry) fn logged(filter: &str, json: bool, act: impl FnOnce()) -> String {
        // Twice is fine: it forwards to the subscriber of the thread.
        let _ = bridge::init();
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = subscriber(parse_filter(filter).unwrap(), json, move || writer.clone());
        tracing::subscriber::with_default(subscriber, act);
        String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn libraries_give_no_details_whatever_the_filter_says() {
        for filter in ["trace", "pingora_core=trace", "pingora_core::protocols::http=debug,h2=trace"] {
            let text = logged(filter, true, || {
                log::debug!(target: "pingora_core::protocols::http", "cookie: secret");
                log::trace!(target: "h2", "cookie: secret");
                tracing::debug!(target: "h2::codec", "cookie: secret");
                tracing::debug!(target: "portcullis_plugin", "cookie: secret");
            });
            assert_eq!(text, "", "{filter}");
        }
    }

    #[test]
    fn libraries_and_our_details_are_heard() {
        let text = logged("info,portcullis::store=debug", true, || {
            log::warn!(target: "pingora_core", "something is wrong");
            log::info!(target: "pingora_core", "chatter");
            log::warn!(target: "pingora_proxy", "said by us already");
            tracing::debug!(target: "portcullis::store::redis", "detail");
            tracing::debug!(target: "portcullis::gate", "unasked");
        });
        assert!(text.contains("something is wrong") && text.contains(r#""library":"pingora_core""#), "{text}");
        assert!(text.contains("detail") && !text.contains("unasked"), "{text}");
        assert!(!text.contains("chatter") && !text.contains("already"), "{text}");
    }

    #[test]
    fn one_event_is_one_line_that_drives_no_terminal() {
        let attack = "/a\r\n2026 INFO forged\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\u{2028}\0";
        for json in [true, false] {
            let text = logged("info", json, || {
                tracing::info!(path = attack, shown = %attack, "said {attack}");
            });
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            assert!(!text.trim_end_matches('\n').chars().any(char::is_control), "{text:?}");
            assert!(!text.contains(['\u{202e}', '\u{2028}']), "{text:?}");
        }
    }

    #[test]
    fn json_says_what_was_said() {
        let text = logged("info", true, || tracing::info!(path = "/a\u{7f}\n\"", "hello"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["path"], "/a\u{7f}\n\"");
        assert_eq!(line["message"], "hello");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn the_audit_trail_stays_on_unless_it_is_named() {
        let act = || {
            tracing::info!(target: AUDIT, "audited");
            tracing::info!("chatter");
        };
        for (filter, audited) in [("warn", 1), ("off", 1), ("warn,audit=off", 0), ("warn,portcullis=error", 1)] {
            let text = logged(filter, true, act);
            assert_eq!((text.matches("audited").count(), text.matches("chatter").count()), (audited, 0), "{filter}");
        }
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_explained() {
        let error = parse_filter("info,portcullis=loud").unwrap_err().to_string();
        assert!(error.contains("`info,portcullis=loud`") && error.contains("Write a level"), "{error}");
    }
}
