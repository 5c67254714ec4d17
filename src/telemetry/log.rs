//! The logs: what the process says, the audit trail, and one line a request; as JSON, or for people on a terminal.
//!
//! What the libraries below us say in detail holds whole requests, cookies and tokens included. So they are heard only when
//! something is wrong, and no setting can change that. Lines are written by threads of their own: when nobody
//! reads them, they are lost and counted, and no request waits.
//!
//! What must never happen in here: a line that its content breaks in two, or that drives a terminal.

mod bridge;
mod destination;
pub(super) mod escape;
mod lane;
mod lines;
mod writer;

use std::io;
use std::panic::PanicHookInfo;
use std::sync::Arc;

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{EnvFilter, ParseError, filter_fn};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

pub use self::destination::Destination;
use self::destination::Output;
pub use self::lane::Kind;
pub(super) use self::lane::Lane;
use self::lines::Lines;
pub use self::writer::LogGuard;
use self::writer::Writer;
use super::access::AccessLog;
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
    /// A destination cannot be opened.
    #[error("{destination}: lines of log cannot be written there: {source}")]
    Open {
        /// Where to.
        destination: Destination,
        /// What the system says.
        source: io::Error,
    },
}

/// How lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// For people on a terminal, as JSON elsewhere.
    #[default]
    Auto,
    /// As JSON.
    Json,
    /// For people.
    Human,
}

impl Format {
    fn is_json(self, output: &Output) -> bool {
        match self {
            Format::Auto => !output.is_terminal(),
            Format::Json => true,
            Format::Human => false,
        }
    }
}

/// What is logged, and where to. What the process says goes to standard error.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Levels, by module if need be.
    pub filter: String,
    /// How lines look.
    pub format: Format,
    /// Where the audit trail goes, if anywhere.
    pub audit: Option<Destination>,
    /// Where the lines on requests go, if anywhere.
    pub access: Option<Destination>,
}

impl LogOptions {
    /// No access log, and the audit trail is part of the log.
    pub fn new(filter: &str) -> LogOptions {
        LogOptions { filter: filter.to_owned(), format: Format::Auto, audit: Some(Destination::Stderr), access: None }
    }
}

/// The logs of this process.
#[derive(Clone, Default)]
pub struct Logs {
    access: Option<Arc<AccessLog>>,
    lanes: Vec<Arc<Lane>>,
    writers: Vec<Arc<Writer>>,
}

impl Logs {
    /// Where lines on requests are written, if anywhere.
    pub fn access(&self) -> Option<Arc<AccessLog>> {
        self.access.clone()
    }

    /// How many lines have been lost so far.
    pub fn lost(&self, kind: Kind) -> u64 {
        self.lanes.iter().filter(|lane| lane.kind() == kind).map(|lane| lane.lost()).sum()
    }

    /// Opens files anew, as after a rotation.
    pub fn reopen(&self) {
        self.writers.iter().for_each(|writer| writer.reopen());
    }
}

/// The destinations opened so far. What goes to one place is written by one thread, so that lines are not mixed up.
#[derive(Default)]
struct Opened(Vec<(Option<FileId>, Arc<Writer>)>);

/// Device and inode.
type FileId = (u64, u64);

impl Opened {
    fn lane(&mut self, kind: Kind, destination: &Destination, format: Format) -> Result<(Arc<Lane>, bool), LogError> {
        let output =
            Output::open(destination).map_err(|source| LogError::Open { destination: destination.clone(), source })?;
        let (identity, is_json) = (output.identity(), format.is_json(&output));
        let known = self.0.iter().find(|(known, _)| known.is_some() && *known == identity);
        let writer = match known {
            Some((_, writer)) => Arc::clone(writer),
            None => {
                let writer = Writer::to(output).map_err(LogError::Thread)?;
                self.0.push((identity, Arc::clone(&writer)));
                writer
            }
        };
        Ok((writer.lane(kind), is_json))
    }
}

/// Sets up the logs of this process.
///
/// Keep the guard to the end of `main`: when dropped, it waits a moment until the lines so far are written.
pub fn init(options: &LogOptions) -> Result<(LogGuard, Logs), LogError> {
    let filter = parse_filter(&options.filter)?;
    let mut opened = Opened::default();
    let (log, json) = opened.lane(Kind::Log, &Destination::Stderr, options.format)?;
    let mut logs = Logs { lanes: vec![Arc::clone(&log)], ..Logs::default() };
    let audit = match &options.audit {
        None => None,
        Some(destination) => {
            let (lane, json) = opened.lane(Kind::Audit, destination, options.format)?;
            logs.lanes.push(Arc::clone(&lane));
            Some((json, Lines(lane)))
        }
    };
    if let Some(destination) = &options.access {
        let (lane, json) = opened.lane(Kind::Access, destination, options.format)?;
        logs.lanes.push(Arc::clone(&lane));
        logs.access = Some(Arc::new(AccessLog::new(lane, json)));
    }
    logs.writers = opened.0.into_iter().map(|(_, writer)| writer).collect();
    let subscriber = subscriber(filter, (json, Lines(log)), audit);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)?;
    bridge::init().map_err(|_| LogError::Twice)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok((LogGuard(logs.writers.clone()), logs))
}

/// The audit trail stays on unless it is named.
fn parse_filter(filter: &str) -> Result<EnvFilter, LogError> {
    let directives = if filter.contains(AUDIT) { filter.to_owned() } else { format!("{AUDIT}=info,{filter}") };
    EnvFilter::builder().parse(directives).map_err(|error| LogError::Filter(filter.to_owned(), error))
}

/// Where lines go, and whether they are JSON.
type Writing<W> = (bool, W);

fn subscriber<W>(filter: EnvFilter, log: Writing<W>, audit: Option<Writing<W>>) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let is_audit = |metadata: &Metadata<'_>| metadata.target() == AUDIT;
    let log = layer(log).with_filter(filter_fn(move |metadata| !is_audit(metadata)));
    let audit = audit.map(|audit| layer(audit).with_filter(filter_fn(is_audit)));
    let registry = tracing_subscriber::registry().with(filter).with(filter_fn(may_speak));
    Box::new(registry.with(log).with(audit))
}

fn layer<S, W>((json, lines): Writing<W>) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    match json {
        true => Box::new(fmt::layer().json().flatten_event(true).with_writer(lines)),
        // No colours: whatever controls a terminal in a line came from outside, and is escaped.
        false => Box::new(fmt::layer().with_ansi(false).with_writer(lines)),
    }
}

/// Details only from our own code.
fn may_speak(metadata: &Metadata<'_>) -> bool {
    let root = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= Level::INFO || matches!(root, "portcullis" | AUDIT)
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
        let make = move || writer.clone();
        let subscriber = subscriber(parse_filter(filter).unwrap(), (json, make.clone()), Some((json, make)));
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
