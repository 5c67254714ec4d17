//! The apps behind the proxy.

use std::time::Duration;

use super::{HOUR, seconds};
use crate::config::checked::{Balance, Ejection, HealthCheck, Protocol, ServerUrl, Upstream, UpstreamTls};
use crate::config::files::FileKind;
use crate::config::item::{Item, Table};
use crate::config::{asked, names, schema, urls};

const CONNECT_TIMEOUT: Duration = seconds(5);
const READ_TIMEOUT: Duration = seconds(60);
const RETRIES: usize = 1;
/// As many as the proxy can be told.
const RETRIES_MAX: u64 = 5;
const EJECTION: Ejection = Ejection { failures: 5, time: seconds(10), statuses: Vec::new() };

const WANT_SERVER: &str = "a URL such as `http://127.0.0.1:3000`";

/// The upstream of the short form.
pub(super) fn single(item: Item<'_>, name: &str) -> Option<Upstream> {
    let server = item.like(asked::SERVER).parse(WANT_SERVER, urls::server)?;
    if server.tls && server.ip().is_some() {
        item.error(
            "a certificate cannot be checked against an address; write the server's name, or name it in `tls.server_name` \
             of an entry in `upstreams`",
        );
    }
    Some(Upstream {
        name: name.to_owned(),
        tls: server.tls.then_some(UpstreamTls { ca_file: None, server_name: None, certificate: None }),
        servers: vec![server],
        balance: Balance::RoundRobin,
        health_check: None,
        ejection: Some(EJECTION),
        retries: RETRIES,
        requests_max: None,
        connect_timeout: CONNECT_TIMEOUT,
        read_timeout: READ_TIMEOUT,
        write_timeout: READ_TIMEOUT,
        idle_timeout: None,
        protocol: Protocol::Http1,
    })
}

/// One entry of `upstreams`. What cannot be read is noted, and the rest stands, so that routes can refer to it.
pub(super) fn upstream(name: &str, item: Item<'_>) -> Option<Upstream> {
    let table = item.table(schema::UPSTREAM)?;
    let servers = table.need("servers", "a list such as `[http://10.0.0.5:8080]`");
    let servers: Vec<(Item<'_>, ServerUrl)> = servers.map(read_servers).unwrap_or_default();
    if let Some((_, first)) = servers.first()
        && let Some((odd, _)) = servers.iter().find(|(_, server)| server.tls != first.tls)
    {
        odd.error("some servers of this upstream are `https` and some are not; write one scheme for all");
    }
    let duration = |key| -> Option<Duration> {
        let item: Option<Item<'_>> = table.get(key);
        item.and_then(|item| item.duration(Duration::from_millis(10), HOUR))
    };
    let timeout = |key, default| duration(key).unwrap_or(default);
    let number = |key, least, most| -> Option<usize> {
        let item: Option<Item<'_>> = table.get(key);
        item.and_then(|item| item.number(least, most)).and_then(|number| usize::try_from(number).ok())
    };
    let read_timeout = timeout("read_timeout", READ_TIMEOUT);
    let protocols = &[("http1", Protocol::Http1), ("http2", Protocol::Http2)];
    let balances = &[("round_robin", Balance::RoundRobin), ("least_busy", Balance::LeastBusy)];
    Some(Upstream {
        name: name.to_owned(),
        balance: table.get("balance").and_then(|item| item.one_of(balances)).unwrap_or(Balance::RoundRobin),
        health_check: table.get("health_check").and_then(health_check),
        ejection: table.get("ejection").map_or(Some(EJECTION), ejection),
        retries: number("retries", 0, RETRIES_MAX).unwrap_or(RETRIES),
        requests_max: number("requests", 1, 1_000_000),
        connect_timeout: timeout("connect_timeout", CONNECT_TIMEOUT),
        read_timeout,
        write_timeout: timeout("write_timeout", read_timeout),
        idle_timeout: duration("idle_timeout"),
        tls: tls(&table, &servers),
        protocol: table.get("protocol").and_then(|item| item.one_of(protocols)).unwrap_or(Protocol::Http1),
        servers: servers.into_iter().map(|(_, server)| server).collect(),
    })
}

fn read_servers(item: Item<'_>) -> Vec<(Item<'_>, ServerUrl)> {
    let mut servers: Vec<(Item<'_>, ServerUrl)> = Vec::new();
    for item in item.list("a list of URLs such as `[http://10.0.0.5:8080]`").unwrap_or_default() {
        let Some(server) = item.like(asked::SERVER).parse(WANT_SERVER, urls::server) else { continue };
        if servers.iter().any(|(_, other)| *other == server) {
            item.error("this server is in the list twice; remove one");
        } else {
            servers.push((item, server));
        }
    }
    servers
}

fn tls(table: &Table<'_>, servers: &[(Item<'_>, ServerUrl)]) -> Option<UpstreamTls> {
    let item = table.get("tls");
    let options = item.and_then(|item| item.table(schema::UPSTREAM_TLS));
    let get = |key| options.as_ref().and_then(|options| options.get(key));
    let server_name = get("server_name").and_then(|item| item.parse("the name in the certificate", dns_name));
    let ca_file = get("ca_file").and_then(|item| item.file(FileKind::Public));
    let certificate = get("certificate").and_then(|item| item.file(FileKind::Public));
    let key = get("key").and_then(|item| item.file(FileKind::Secret));
    if let (Some(item), None) | (None, Some(item)) = (get("certificate"), get("key")) {
        item.error("a certificate and its key go together; write both `certificate` and `key`, or none of them");
    }
    let https = servers.iter().any(|(_, server)| server.tls);
    if let Some(item) = item
        && !https
        && !servers.is_empty()
    {
        item.error("this is for `https` servers, and none of these is; write `https://` in `servers`, or remove `tls`");
    }
    let unnamed = |server: &ServerUrl| server.tls && server.ip().is_some() && get("server_name").is_none();
    for (item, _) in servers.iter().filter(|(_, server)| unnamed(server)) {
        item.error(
            "a certificate cannot be checked against an address; write the server's name here, or the name that its \
             certificate has in `tls: { server_name: app.internal }`",
        );
    }
    https.then_some(UpstreamTls { ca_file, server_name, certificate: certificate.zip(key) })
}

fn dns_name(text: &str) -> Result<String, String> {
    let name = names::host(text)?;
    if name.starts_with('[') || name.parse::<std::net::IpAddr>().is_ok() {
        return Err("is an address; write the name that the certificate has".into());
    }
    Ok(name)
}

fn ejection(item: Item<'_>) -> Option<Ejection> {
    if let Some(text) = item.as_text() {
        if text != "none" {
            item.error("write `none`, or a table such as `{ failures: 5, for: 10s }`");
        }
        return None;
    }
    let table = item.table(schema::EJECTION)?;
    let failures =
        table.get("failures").and_then(|item| item.number(1, 1000)).and_then(|read| u32::try_from(read).ok());
    let status = |item: Item<'_>| item.number(500, 599).and_then(|status| u16::try_from(status).ok());
    Some(Ejection {
        failures: failures.unwrap_or(EJECTION.failures),
        time: table
            .get("for")
            .and_then(|item| item.duration(Duration::from_millis(100), HOUR))
            .unwrap_or(EJECTION.time),
        statuses: table
            .get("status")
            .map(|item| item.list_of("a list such as `[502, 503, 504]`", status))
            .unwrap_or_default(),
    })
}

fn health_check(item: Item<'_>) -> Option<HealthCheck> {
    let table = item.table(schema::HEALTH_CHECK)?;
    let least = Duration::from_millis(100);
    let interval = table.get("interval").and_then(|item| item.duration(least, HOUR)).unwrap_or(seconds(5));
    let timeout = table.get("timeout").and_then(|timeout| {
        let read = timeout.duration(least, HOUR)?;
        if read > interval {
            timeout.error("this is longer than `interval`, so checks would pile up; write less");
        }
        Some(read)
    });
    let path =
        table.need("path", "the path to ask for, such as `/healthz`")?.parse("a path such as `/healthz`", |text| {
            if text.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic() && c != '#') {
                return Ok(text.to_owned());
            }
            Err("is no path; write one that starts with `/`, without spaces, such as `/healthz`".into())
        })?;
    Some(HealthCheck { path, interval, timeout: timeout.unwrap_or(interval.min(seconds(2))) })
}
