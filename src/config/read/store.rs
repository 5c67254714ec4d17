//! Where sessions are kept.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::seconds;
use crate::config::checked::{Redis, Store, StoreKind};
use crate::config::errors::hint;
use crate::config::files::FileKind;
use crate::config::item::{Item, Table};
use crate::config::{schema, urls};

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
        let kind = match item.text(WANT)? {
            "embedded" => return Some(embedded(top)),
            "memory" => StoreKind::Memory,
            text if text.contains("://") => redis_from_url(item)?,
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
        Some(("redis", item)) if !item.is_table() => redis_from_url(item)?,
        Some(("redis", item)) => redis_from_table(item)?,
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

/// The URL may hold a password, so no message shows it.
fn url(item: Item<'_>) -> Option<urls::RedisUrl> {
    let url = urls::redis(item.text("a URL such as `redis://127.0.0.1:6379`")?);
    url.map_err(|wrong| item.error(wrong)).ok()
}

fn redis_from_url(item: Item<'_>) -> Option<StoreKind> {
    let url = url(item)?;
    warn_if_plain(item, &url);
    Some(StoreKind::Redis(Box::new(redis(url))))
}

fn redis_from_table(item: Item<'_>) -> Option<StoreKind> {
    let table = item.table(schema::REDIS)?;
    let url_item = table.need("url", "one such as `redis://127.0.0.1:6379`");

    let username = table.get("username");
    let given = table.at_most_one(&["password", "password_env", "password_file"]);
    let ca_file = table.get("ca_file");
    let key_prefix = table.get("key_prefix").and_then(|item| {
        item.parse("a prefix such as `portcullis:`", |text| {
            // Braces mean a hash slot to a Redis Cluster, and `*?[]` a pattern to who looks for keys.
            if text.len() > 64 || !text.chars().all(|c| c.is_ascii_alphanumeric() || ":-_./".contains(c)) {
                return Err("cannot be a prefix; write at most 64 of: letters, digits, `:`, `-`, `_`, `.`, `/`".into());
            }
            Ok(text.to_owned())
        })
    });
    let mut redis = redis(url(url_item?)?);

    if let Some(username) = username {
        if redis.username.is_some() {
            username.error("the URL has a user too; keep one of them");
        }
        redis.username = Some(username.text("the name of a Redis user")?.to_owned());
    }
    if let Some((key, item)) = given {
        if redis.password.is_some() {
            item.error("the URL has a password too; keep one of them");
        }
        redis.password = password(key, item);
    }
    if let Some(item) = ca_file {
        if !redis.tls {
            item.error("this is for TLS, and the URL is without; write `rediss://`, or remove `ca_file`");
        }
        redis.ca_file = item.file(FileKind::Public);
    }
    redis.key_prefix = key_prefix.unwrap_or(redis.key_prefix);
    if let Some(item) = url_item
        && !redis.tls
    {
        warn_if_remote(item, &redis.host);
    }
    Some(StoreKind::Redis(Box::new(redis)))
}

fn password(key: &str, item: Item<'_>) -> Option<SecretString> {
    match key {
        "password" => item.text("the password in quotes, best as `\"${REDIS_PASSWORD}\"`").map(SecretString::from),
        "password_env" => {
            let name = item.text("the name of an environment variable, such as `REDIS_PASSWORD`")?;
            let value = (item.cx.env)(name).filter(|value| !value.is_empty());
            if value.is_none() {
                item.error(format!("the environment variable {} is not set; set it", item.shown()));
            }
            value.map(SecretString::from)
        }
        _ => {
            // The content is put in when files are read.
            item.file(FileKind::RedisPassword);
            None
        }
    }
}

fn redis(url: urls::RedisUrl) -> Redis {
    let urls::RedisUrl { tls, host, port, database, username, password } = url;
    let scheme = if tls { "rediss" } else { "redis" };
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    Redis {
        url: format!("{scheme}://{bracketed}:{port}/{database}"),
        tls,
        host,
        port,
        database,
        username,
        password,
        key_prefix: "portcullis:".to_owned(),
        ca_file: None,
    }
}

fn warn_if_plain(item: Item<'_>, url: &urls::RedisUrl) {
    if !url.tls {
        warn_if_remote(item, &url.host);
    }
}

fn warn_if_remote(item: Item<'_>, host: &str) {
    let here = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    if !here {
        item.warn("sessions and the password cross the network readable; write `rediss://` if the server has TLS");
    }
}
