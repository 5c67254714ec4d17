//! How Redis is reached: a primary that stays where it is, one that sentinels know, or the nodes of a cluster.

use super::secrets::{Secret, secret};
use crate::config::checked::{Redis, RedisPassword, RedisPrimary, RedisSentinels, StoreKind};
use crate::config::files::FileKind;
use crate::config::item::{Item, Table};
use crate::config::{asked, schema, urls};

const SENTINEL_KEYS: [&str; 5] =
    ["master_name", "sentinel_username", "sentinel_password", "sentinel_password_env", "sentinel_password_file"];

/// The URL may hold a password, so no message shows it.
fn url(item: Item<'_>) -> Option<urls::RedisUrl> {
    let url = urls::redis(item.like(asked::REDIS).text("a URL such as `redis://127.0.0.1:6379`")?);
    let url = url.map_err(|wrong| item.error(wrong)).ok()?;
    if url.password.is_some() {
        item.holds_secret();
    }
    Some(url)
}

pub(super) fn from_url(item: Item<'_>) -> Option<StoreKind> {
    let url = url(item)?;
    warn_if_plain(item, &url);
    Some(StoreKind::Redis(Box::new(redis(url))))
}

pub(super) fn from_table(item: Item<'_>) -> Option<StoreKind> {
    let table = item.table(schema::REDIS)?;
    let place = table.at_most_one(&["url", "sentinels", "cluster"]);
    if place.is_none() {
        table.need("url", "one such as `redis://127.0.0.1:6379`, or `sentinels`, or `cluster`");
    }

    let username = table.get("username");
    let given =
        secret(&table, &["password", "password_env", "password_file"], FileKind::RedisPassword, "REDIS_PASSWORD");
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
    let (place, item) = place?;
    let of_sentinels = SENTINEL_KEYS.iter().find_map(|key| table.get(key).map(|item| (key, item)));
    if let Some((key, other)) = of_sentinels.filter(|_| place != "sentinels") {
        other.error(format!("`{key}` is for sentinels, and there is a `{place}`; remove it, or write `sentinels`"));
    }
    let mut redis = match place {
        "url" => {
            let url = url(item)?;
            warn_if_plain(item, &url);
            redis(url)
        }
        "sentinels" => by_sentinels(&table, item)?,
        _ => of_cluster(item)?,
    };

    if let Some(username) = username {
        if redis.username.is_some() {
            username.error("the URL has a user too; keep one of them");
        }
        redis.username = Some(username.text("the name of a Redis user")?.to_owned());
    }
    if let Some((item, given)) = given {
        if redis.password.is_some() {
            item.error("the URL has a password too; keep one of them");
        }
        redis.password = given.map(password);
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

fn password(secret: Secret) -> RedisPassword {
    match secret {
        Secret::Fixed(password) => RedisPassword::Fixed(password),
        Secret::File(path) => RedisPassword::File(path),
    }
}

/// None goes with an error.
fn by_sentinels(table: &Table<'_>, list: Item<'_>) -> Option<Redis> {
    let want = "a list such as `[redis://sentinel-1:26379, redis://sentinel-2:26379, redis://sentinel-3:26379]`";
    let (tls, urls) = servers(list, want, "a URL such as `redis://sentinel-1:26379`", urls::sentinel);
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
    let password = secret(table, &keys, FileKind::RedisPassword, "SENTINEL_PASSWORD");

    let username = username.flatten().map(str::to_owned);
    let sentinels = RedisSentinels {
        urls,
        master_name: master_name?,
        username,
        password: password.and_then(|(_, given)| given).map(self::password),
    };
    Some(with_defaults(RedisPrimary::NamedBy(sentinels), tls?))
}

/// None goes with an error.
fn of_cluster(list: Item<'_>) -> Option<Redis> {
    let want = "some of its nodes, such as `[redis://node-1:6379, redis://node-2:6379, redis://node-3:6379]`";
    let (tls, urls) = servers(list, want, "a URL such as `redis://node-1:6379`", urls::cluster_node);
    Some(with_defaults(RedisPrimary::OfCluster(urls), tls?))
}

/// Servers that are alike, without the user and the database, and whether they have TLS: none if there are none.
fn servers(
    list: Item<'_>,
    want: &str,
    want_each: &str,
    parse: impl Fn(&str) -> Result<urls::RedisUrl, String>,
) -> (Option<bool>, Vec<String>) {
    let read = |item: Item<'_>| {
        let url = parse(item.like(asked::REDIS).text(want_each)?).map_err(|wrong| item.error(wrong)).ok()?;
        warn_if_plain(item, &url);
        Some((url.tls, format!("{}{}", scheme(url.tls), authority(&url.host, url.port))))
    };
    let servers = list.list_of(want, read);
    let tls = servers.first().map(|(tls, _)| *tls);
    if servers.iter().any(|(other, _)| Some(*other) != tls) {
        list.error("some of these are with TLS and some without; write all with `rediss://` or all with `redis://`");
    }
    (tls, servers.into_iter().map(|(_, url)| url).collect())
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
