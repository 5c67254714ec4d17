//! How Redis is reached: a primary that stays where it is, or one that sentinels know.

use secrecy::SecretString;

use crate::config::checked::{Redis, RedisPassword, RedisPrimary, RedisSentinels, StoreKind};
use crate::config::files::FileKind;
use crate::config::item::{Item, Table};
use crate::config::{schema, urls};

const SENTINEL_KEYS: [&str; 5] =
    ["master_name", "sentinel_username", "sentinel_password", "sentinel_password_env", "sentinel_password_file"];

/// The URL may hold a password, so no message shows it.
fn url(item: Item<'_>) -> Option<urls::RedisUrl> {
    let url = urls::redis(item.text("a URL such as `redis://127.0.0.1:6379`")?);
    url.map_err(|wrong| item.error(wrong)).ok()
}

pub(super) fn from_url(item: Item<'_>) -> Option<StoreKind> {
    let url = url(item)?;
    warn_if_plain(item, &url);
    Some(StoreKind::Redis(Box::new(redis(url))))
}

pub(super) fn from_table(item: Item<'_>) -> Option<StoreKind> {
    let table = item.table(schema::REDIS)?;
    if let Some(item) = table.get("cluster") {
        item.error("Redis Cluster is not supported yet; write `url` for one Redis, or `sentinels` for several");
        return None;
    }
    let place = table.at_most_one(&["url", "sentinels"]);
    if place.is_none() {
        table.need("url", "one such as `redis://127.0.0.1:6379`, or `sentinels`");
    }

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
    let mut redis = match place? {
        ("url", item) => {
            if let Some((key, other)) = SENTINEL_KEYS.iter().find_map(|key| table.get(key).map(|item| (key, item))) {
                other.error(format!("`{key}` is for sentinels, and there is a `url`; remove it, or write `sentinels`"));
            }
            let url = url(item)?;
            warn_if_plain(item, &url);
            redis(url)
        }
        (_, item) => by_sentinels(&table, item)?,
    };

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
    Some(StoreKind::Redis(Box::new(redis)))
}

fn password(key: &str, item: Item<'_>) -> Option<RedisPassword> {
    let fixed = match key.trim_start_matches("sentinel_") {
        "password" => item.text("the password in quotes, best as `\"${REDIS_PASSWORD}\"`").map(SecretString::from),
        "password_env" => {
            let name = item.text("the name of an environment variable, such as `REDIS_PASSWORD`")?;
            let value = (item.cx.env)(name).filter(|value| !value.is_empty());
            if value.is_none() {
                item.error(format!("the environment variable {} is not set; set it", item.shown()));
            }
            value.map(SecretString::from)
        }
        _ => return item.file(FileKind::RedisPassword).map(RedisPassword::File),
    };
    fixed.map(RedisPassword::Fixed)
}

/// None goes with an error.
fn by_sentinels(table: &Table<'_>, list: Item<'_>) -> Option<Redis> {
    let want = "a list such as `[redis://sentinel-1:26379, redis://sentinel-2:26379, redis://sentinel-3:26379]`";
    let read = |item: Item<'_>| {
        let url = urls::sentinel(item.text("a URL such as `redis://sentinel-1:26379`")?);
        let url = url.map_err(|wrong| item.error(wrong)).ok()?;
        warn_if_plain(item, &url);
        Some((url.tls, format!("{}{}", scheme(url.tls), authority(&url.host, url.port))))
    };
    let sentinels = list.list_of(want, read);
    let name = "the name in the line `sentinel monitor NAME …` of the sentinels, often `mymaster`";
    let master_name = table.need("master_name", name).and_then(|item| {
        item.parse(name, |text| {
            let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
            let fits = text.chars().all(plain);
            if fits { Ok(text.to_owned()) } else { Err(format!("cannot be a name; write {name}")) }
        })
    });
    let username = table.get("sentinel_username").map(|item| item.text("the name of a user of the sentinels"));
    let keys = ["sentinel_password", "sentinel_password_env", "sentinel_password_file"];
    let password = table.at_most_one(&keys).and_then(|(key, item)| password(key, item));

    let tls = sentinels.first()?.0;
    if sentinels.iter().any(|(other, _)| *other != tls) {
        list.error("some of these are with TLS and some without; write all with `rediss://` or all with `redis://`");
    }
    let sentinels = RedisSentinels {
        urls: sentinels.into_iter().map(|(_, url)| url).collect(),
        master_name: master_name?,
        username: username.flatten().map(str::to_owned),
        password,
    };
    Some(with_defaults(RedisPrimary::NamedBy(sentinels), tls))
}

fn scheme(tls: bool) -> &'static str {
    if tls { "rediss://" } else { "redis://" }
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn redis(url: urls::RedisUrl) -> Redis {
    let urls::RedisUrl { tls, host, port, database, username, password } = url;
    let url = format!("{}{}/{database}", scheme(tls), authority(&host, port));
    Redis { username, password: password.map(RedisPassword::Fixed), ..with_defaults(RedisPrimary::At(url), tls) }
}

fn with_defaults(primary: RedisPrimary, tls: bool) -> Redis {
    Redis { primary, tls, username: None, password: None, key_prefix: "portcullis:".to_owned(), ca_file: None }
}

fn warn_if_plain(item: Item<'_>, url: &urls::RedisUrl) {
    let here = url.host == "localhost" || url.host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    if !url.tls && !here {
        item.warn("sessions and the password cross the network readable; write `rediss://` if the server has TLS");
    }
}
