//! What is logged, and where to.

use crate::config::checked::{Log, LogDestination, LogFormat, LogLevel};
use crate::config::errors::hint;
use crate::config::item::{Item, Table};
use crate::config::schema;

const LEVELS: [(&str, LogLevel); 5] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];
const FORMATS: [(&str, LogFormat); 3] =
    [("auto", LogFormat::Auto), ("json", LogFormat::Json), ("human", LogFormat::Human)];
const WORDS: [&str; 3] = ["none", "stdout", "stderr"];
const WANT: &str = "`none`, `stdout`, `stderr`, or a file such as `{ file: access.log }`";

pub(super) fn log(top: &Table<'_>) -> Log {
    let table = top.section("log", schema::LOG);
    let level = table.get("level").and_then(|item| item.one_of(&LEVELS));
    let format = table.get("format").and_then(|item| item.one_of(&FORMATS));
    let access = table.get("access").and_then(destination);
    let audit = table.get("audit").and_then(destination);
    if let (Some(item), Some(None)) = (table.get("audit"), &audit) {
        item.warn("nobody will be able to tell who has logged in, from where, and whose token was stolen");
    }
    let sampled = table.get("new_traces").and_then(|item| item.one_of(&[("sampled", true), ("unsampled", false)]));
    Log {
        level: level.unwrap_or(LogLevel::Info),
        format: format.unwrap_or(LogFormat::Auto),
        access: access.flatten(),
        audit: audit.unwrap_or(Some(LogDestination::Stderr)),
        new_traces_sampled: sampled.unwrap_or(true),
    }
}

/// None goes with an error, and some none with `none`.
fn destination(item: Item<'_>) -> Option<Option<LogDestination>> {
    if item.is_table() {
        let file = item.table(schema::LOG_FILE)?.need("file", "the path of a file such as `access.log`")?;
        return file.path().map(|path| Some(LogDestination::File(path)));
    }
    match item.text(WANT)? {
        "none" => Some(None),
        "stdout" => Some(Some(LogDestination::Stdout)),
        "stderr" => Some(Some(LogDestination::Stderr)),
        text => {
            let near = hint(text, &WORDS);
            item.error(format!("{} is not known here{near}; write {WANT}", item.shown()));
            None
        }
    }
}
