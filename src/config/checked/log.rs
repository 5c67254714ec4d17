//! What is logged, and where to.

use std::path::PathBuf;

/// `log`: what is logged, and where to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// `level`: what the process says of itself. Default: info. The command line comes first.
    pub level: LogLevel,
    /// `format`: how lines look. Default: as JSON, but for people on a terminal.
    pub format: LogFormat,
    /// `access`: where one line a request goes. None: nowhere, which is the default.
    pub access: Option<LogDestination>,
    /// `audit`: where the audit trail goes. Default: standard error, with the rest. None: nowhere.
    pub audit: Option<LogDestination>,
    /// `new_traces`: whether apps are to record a trace that begins here. Default: they are.
    pub new_traces_sampled: bool,
}

/// How much the process says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogLevel {
    /// What has failed.
    Error,
    /// And what looks wrong.
    Warn,
    /// And what an operator wants to know.
    Info,
    /// And what helps to find a fault.
    Debug,
    /// And everything else that we know.
    Trace,
}

/// How lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people on a terminal, as JSON elsewhere.
    Auto,
    /// As JSON.
    Json,
    /// For people.
    Human,
}

/// Where lines go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogDestination {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The end of a file.
    File(PathBuf),
}

impl LogLevel {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}
