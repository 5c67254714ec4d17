//! What faces the client: listeners, own endpoints, cookie.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use super::secrets::{Secret, secret};
use super::store;
use crate::config::checked::{Admin, Cookie, Development, Endpoints, Listener, Origin, SameSite, Tls};
use crate::config::files::{FileKind, is_admin_token};
use crate::config::item::{Item, Table};
use crate::config::{asked, names, schema, urls};

/// Metrics are nobody else's business.
const ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9911);

const WANT_ADDRESS: &str = "an IP address and a port, such as `127.0.0.1:8080`";

pub(super) fn address(item: Item<'_>) -> Option<SocketAddr> {
    item.like(asked::ADDRESS).parse(WANT_ADDRESS, urls::socket_address)
}

pub(super) fn listeners(top: &Table<'_>) -> Vec<Listener> {
    let Some(item) = top.need("listen", WANT_ADDRESS) else { return Vec::new() };
    if !item.is_list() {
        return listener(item).into_iter().collect();
    }
    item.list(WANT_ADDRESS).unwrap_or_default().into_iter().filter_map(listener).collect()
}

fn listener(item: Item<'_>) -> Option<Listener> {
    if !item.is_table() {
        return Some(Listener { address: address(item)?, tls: Vec::new(), h2c: true });
    }
    let table = item.table(schema::LISTENER)?;
    let bound = table.need("address", WANT_ADDRESS).and_then(address);
    let tls = table.get("tls");
    let h2c = table.get("h2c").and_then(|h2c| {
        if tls.is_some() {
            h2c.error(
                "this is for listeners without `tls`; with it, clients choose HTTP/2 by themselves: remove this key",
            );
        }
        h2c.bool()
    });
    let h2c = h2c.unwrap_or(tls.is_none());
    let tls = tls.map(certificates).unwrap_or_default();
    Some(Listener { address: bound?, tls, h2c })
}

/// One certificate, or a list of them.
fn certificates(item: Item<'_>) -> Vec<Tls> {
    if !item.is_list() {
        return certificate(item).into_iter().collect();
    }
    item.list_of("a list of tables with `certificate` and `key`", certificate)
}

fn certificate(item: Item<'_>) -> Option<Tls> {
    let table = item.table(schema::TLS)?;
    let certificate = table.need("certificate", "the path of a PEM file, the chain with the leaf first");
    let key = table.need("key", "the path of a PEM file with the private key");
    let certificate = certificate.and_then(|item| item.file(FileKind::Public));
    Some(Tls { certificate: certificate?, key: key?.file(FileKind::Secret)? })
}

/// The token for the admin listener.
pub(super) const TOKEN_KEYS: [&str; 3] = ["token", "token_env", "token_file"];

pub(super) fn admin(top: &Table<'_>) -> Admin {
    let table = top.section("admin", schema::ADMIN);
    let socket = match table.get("socket") {
        Some(item) if item.as_text() == Some("none") => None,
        Some(item) => item.path(),
        None => Some(store::data_dir(top).join("admin.sock")),
    };
    let token = match secret(&table, &TOKEN_KEYS, FileKind::AdminToken, "ADMIN_TOKEN") {
        Some((item, Some(Secret::Fixed(token)))) => {
            if !is_admin_token(&token) {
                item.error(
                    "this is no token; write 32 random characters or more, such as `openssl rand -hex 32` gives",
                );
            }
            Some(token)
        }
        // The content is put in when files are read.
        Some((_, Some(Secret::File(_)) | None)) | None => None,
    };
    Admin { listen: table.get("listen").and_then(address).unwrap_or(ADMIN_LISTEN), socket, token }
}

pub(super) fn trusted_proxies(top: &Table<'_>) -> Vec<IpNet> {
    let want = "a list of networks, such as `[10.0.0.0/8]`";
    let Some(item) = top.get("trusted_proxies") else { return Vec::new() };
    item.list_of(want, |item| {
        item.like(asked::NETWORK).parse("a network such as `10.0.0.0/8`", |text| {
            let address = text.parse::<IpAddr>().map(IpNet::from);
            let network: IpNet =
                address.or_else(|_| text.parse()).map_err(|_| "is no network; write one such as `10.0.0.0/8`")?;
            if network.trunc() == network {
                return Ok(network);
            }
            Err(format!("names an address within a network; write `{}` or `{}`", network.trunc(), network.addr()))
        })
    })
}

pub(super) fn origin(item: Item<'_>) -> Option<Origin> {
    item.like(asked::SERVER).parse("an origin such as `https://app.example.com`", urls::origin)
}

pub(super) fn origins(top: &Table<'_>) -> Vec<Origin> {
    let want = "a list such as `[https://auth.example.com]`";
    top.get("origins").map(|item| item.list_of(want, origin)).unwrap_or_default()
}

pub(super) fn endpoints(top: &Table<'_>) -> Endpoints {
    let table = top.section("endpoints", schema::ENDPOINTS);
    let mut taken: Vec<(&str, String)> = Vec::new();
    let mut path = |key: &'static str, default: &str| {
        let item = table.get(key);
        let path = item.and_then(|item| item.like(asked::PATH).parse("a path such as `/login`", names::rule_path));
        let path = path.unwrap_or(default.to_owned());
        if let Some((other, _)) = taken.iter().find(|(_, taken)| *taken == path) {
            item.unwrap_or(table.item).error(format!("`{key}` and `{other}` are both at {path}; write another path"));
        }
        taken.push((key, path.clone()));
        path
    };
    Endpoints {
        login: path("login", "/login"),
        refresh: path("refresh", "/refresh"),
        logout: path("logout", "/logout"),
        logout_all: path("logout_all", "/logout/all"),
        ticket: path("ticket", "/ticket"),
        userinfo: path("userinfo", "/userinfo"),
        jwks: path("jwks", "/.well-known/jwks.json"),
        host: table
            .get("host")
            .and_then(|item| item.like(asked::HOST).parse("a host such as `auth.example.com`", names::host)),
    }
}

pub(super) fn development(top: &Table<'_>) -> Development {
    let table = top.section("development", schema::DEVELOPMENT);
    Development { insecure_cookies: table.get("insecure_cookies").and_then(Item::bool).unwrap_or(false) }
}

const PREFIX: &str = "__Host-";
/// What the cookie with the access token is called, after the prefix.
const ACCESS: &str = "access";

/// `for_pages`: some route takes access tokens from cookies.
pub(super) fn cookie(top: &Table<'_>, development: &Development, for_pages: bool) -> Cookie {
    let table = top.section("cookie", schema::COOKIE);
    let name = table.get("name").and_then(|item| {
        item.parse("a name such as `__Host-refresh`", |text| {
            // RFC 6265bis section 4.1.3.2: with this prefix no other host can set the cookie.
            let own = text.strip_prefix(PREFIX).ok_or_else(|| {
                format!(
                    "has no `{PREFIX}`, without which a neighbouring host could set the cookie; write `{PREFIX}{text}` \
                         (for plain http on this machine see `development.insecure_cookies`)"
                )
            })?;
            if own.is_empty() || own.len() > 64 || !own.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
                return Err(format!("is no cookie name; write `{PREFIX}` and 1 to 64 letters, digits, `-` or `_`"));
            }
            if own == ACCESS {
                return Err(format!("is the name of the cookie with the access token; write `{PREFIX}refresh`"));
            }
            Ok(own.to_owned())
        })
    });
    let name = name.unwrap_or("refresh".to_owned());
    let same_site = table.get("same_site");
    let words = &[("strict", SameSite::Strict), ("lax", SameSite::Lax), ("none", SameSite::None)];
    let secure = !development.insecure_cookies;
    let cookie = Cookie {
        name: if secure { format!("{PREFIX}{name}") } else { name },
        access_name: if secure { format!("{PREFIX}{ACCESS}") } else { ACCESS.to_owned() },
        same_site: same_site.and_then(|item| item.one_of(words)).unwrap_or(match for_pages {
            true => SameSite::Lax,
            false => SameSite::Strict,
        }),
        secure,
    };
    if let (Some(item), SameSite::None, false) = (same_site, cookie.same_site, secure) {
        item.error("browsers drop a cookie that is `none` and not secure; write `lax`, or remove `development.insecure_cookies`");
    }
    if let (Some(item), SameSite::Strict, true) = (same_site, cookie.same_site, for_pages) {
        item.warn(
            "who follows a link from another site or a mail to a route with `credentials: [cookie]` is asked to log in",
        );
    }
    cookie
}
