//! Where sessions are kept.

use std::path::PathBuf;
use std::time::Duration;

use super::{redis_access, seconds};
use crate::config::checked::{Store, StoreKind};
use crate::config::errors::hint;
use crate::config::item::{Item, Table};
use crate::config::schema;

const WANT: &str = "`embedded`, `memory` or a URL such as `redis://127.0.0.1:6379`";

pub(super) fn data_dir(top: &Table<'_>) -> PathBuf {
    let folder = top.item.cx.folder();
    top.get("data_dir").and_then(Item::path).unwrap_or_else(|| folder.join("data"))
}

const DEADLINE: Duration = seconds(2);

/// The store if nothing else is said.
pub(super) fn embedded(top: &Table<'_>) -> Store {
    Store { kind: StoreKind::Embedded { path: data_dir(top).join("sessions.redb") }, deadline: DEADLINE }
}

/// None goes with an error.
pub(super) fn store(top: &Table<'_>) -> Option<Store> {
    let Some(item) = top.get("store") else { return Some(embedded(top)) };

    if !item.is_table() {
        let kind = match item.like("^(embedded|memory)$").text(WANT)? {
            "embedded" => return Some(embedded(top)),
            "memory" => StoreKind::Memory,
            text if text.contains("://") => redis_access::from_url(item)?,
            text => {
                let near = hint(text, &["embedded", "memory"]);
                item.error(format!("{} is no store{near}; write {WANT}", item.shown()));
                return None;
            }
        };
        return Some(Store { kind, deadline: DEADLINE });
    }

    let table = item.table(schema::STORE)?;
    let deadline = table.get("deadline").and_then(|item| item.duration(Duration::from_millis(10), seconds(30)));
    let kind = match table.at_most_one(&["embedded", "memory", "redis"]) {
        Some(("redis", item)) if !item.is_table() => redis_access::from_url(item)?,
        Some(("redis", item)) => redis_access::from_table(item)?,
        Some(("memory", item)) => {
            item.table(schema::MEMORY)?;
            StoreKind::Memory
        }
        Some((_, item)) => match item.table(schema::EMBEDDED)?.get("path") {
            Some(path) => StoreKind::Embedded { path: path.path()? },
            None => embedded(top).kind,
        },
        None => {
            item.error(format!("no store is named; write {WANT}, or a table with one of: embedded, memory, redis"));
            return None;
        }
    };
    Some(Store { kind, deadline: deadline.unwrap_or(DEADLINE) })
}
