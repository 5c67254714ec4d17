//! What must hold between groups of keys, and what is allowed but worth a look.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::listen::TOKEN_KEYS;
use super::{cors, native, reach};
use crate::config::checked::{
    Algorithm, Auth, Config, HostPattern, LateRetry, PathPattern, Route, SameSite, StoreKind, Users,
};
use crate::config::item::{Item, Table};
use crate::config::schema;

/// Notes everything that is wrong or odd between groups.
pub(super) fn across(top: &Table<'_>, config: &Config) {
    listeners(top, config);
    keys(top, config);
    cors::check_same_site(top, config);
    native::check(top, config);
    kept_cookies(top, config);
    token_headers(top, config);
    cookie_hosts(top, config);
    reach::endpoints_come_first(top, config);
    reach::roles_that_nobody_has(top, config);
    open_doors(top, config);
    let late_retry = top.section("rotation", schema::ROTATION).get("late_retry");
    if let (Some(item), LateRetry::Any) = (late_retry, config.rotation.late_retry) {
        item.warn("a stolen refresh token can be used unseen as long as its owner stays away");
    }
    if let (Some(item), Algorithm::Hs256) = (top.section("keys", schema::KEYS).get("algorithm"), config.keys.algorithm)
    {
        item.warn("with a shared secret there is no public key, so upstreams cannot verify tokens for themselves");
    }
}

fn listeners(top: &Table<'_>, config: &Config) {
    let Some(listen) = top.get("listen") else { return };
    let admin = top.section("admin", schema::ADMIN).get("listen");
    let mut seen: Vec<SocketAddr> = Vec::new();
    for listener in &config.listen {
        if seen.contains(&listener.address) {
            listen.error(format!("{} is listened on twice; remove one", listener.address));
        }
        seen.push(listener.address);
        let local = listener.address.ip().is_loopback();
        if !local && listener.tls.is_empty() && config.trusted_proxies.is_empty() {
            listen.warn(format!(
                "{} is plain http: passwords and tokens cross the network readable; give it `tls`, or end TLS before it \
                 and name that proxy in `trusted_proxies`",
                listener.address
            ));
        }
    }
    if seen.contains(&config.admin.listen) {
        admin.unwrap_or(listen).error(format!(
            "{} is taken by both `listen` and `admin.listen`; write another port for one of them",
            config.admin.listen
        ));
    }
    if let Some(item) = admin.filter(|_| !config.admin.listen.ip().is_loopback()) {
        item.warn("whoever reaches this address can read metrics and health; see that only your monitoring does");
        let table = top.section("admin", schema::ADMIN);
        if let Some(token) = TOKEN_KEYS.into_iter().find_map(|key| table.get(key)) {
            token.warn("`admin.listen` is plain http and not on loopback: the token crosses the network readable");
        }
    }
    // No operator has that many addresses: clients are among them.
    let is_wide = |net: &IpNet| net.prefix_len() < if net.addr().is_ipv4() { 8 } else { 16 };
    for item in top.get("trusted_proxies").into_iter().flat_map(children) {
        if item.as_text().and_then(|text| text.parse().ok()).is_some_and(|net| is_wide(&net)) {
            item.warn(
                "this believes what strangers say about their addresses, by which attempts and requests are limited; write the \
                 networks of your proxies",
            );
        }
    }
    insecure_cookies(top, config);
}

fn insecure_cookies(top: &Table<'_>, config: &Config) {
    let Some(item) = top.section("development", schema::DEVELOPMENT).get("insecure_cookies") else { return };
    if !config.development.insecure_cookies {
        return;
    }
    match config.listen.iter().find(|listener| !listener.address.ip().is_loopback()) {
        Some(listener) => item.error(format!(
            "this is for plain http on one's own machine, and {} can be reached from outside; remove this, \
             or listen on 127.0.0.1 alone",
            listener.address
        )),
        None => item.warn("refresh cookies go without `Secure` and without `__Host-`: for development only"),
    }
}

fn keys(top: &Table<'_>, config: &Config) {
    let file = top.section("keys", schema::KEYS).get("file");
    match (&config.store.kind, file) {
        (StoreKind::Redis(_), None) => {
            let message = "with Redis all proxies sign with the same keys: make a file of them with \
                           `portcullis keys new --file keys.jwks`, give it to each, and write `keys: { file: keys.jwks }`";
            top.get("keys").or(top.get("store")).unwrap_or(top.item).error(message);
        }
        (StoreKind::Memory, Some(file)) => file.error(
            "the memory store forgets at exit which sessions have ended, so its keys must go with it; remove `keys.file`, \
             or write another `store`",
        ),
        (StoreKind::Redis(_), Some(_)) | (StoreKind::Memory, None) | (StoreKind::Embedded { .. }, _) => {}
    }
}

/// A cookie cannot be ours and the app's.
fn kept_cookies(top: &Table<'_>, config: &Config) {
    let Users::Upstream(login) = &config.users else { return };
    let own = [&config.cookie.name, &config.cookie.access_name];
    if let Some(name) = own.iter().find(|own| login.keep_session.iter().any(|name| name.eq_ignore_ascii_case(own))) {
        let item =
            top.get("login").and_then(|login| login.table(schema::LOGIN)).and_then(|login| login.get("upstream"));
        item.unwrap_or(top.item).error(format!(
            "`keep_session` names {name}, which is our own cookie; write the app's, or another name in `cookie`"
        ));
    }
}

/// What opens more than it looks like.
fn open_doors(top: &Table<'_>, config: &Config) {
    let is_everything = |route: &Route| {
        let path = route.path == PathPattern::Prefix("/".to_owned());
        route.auth == Auth::Public && route.host.is_none() && path && route.methods.is_none()
    };
    for item in top.get("routes").into_iter().flat_map(children) {
        if reach::route_of(item, config).is_some_and(is_everything) {
            item.warn("whatever no other route is for is open to everybody; write a `host` or a `path_prefix`, or `auth: required`");
        }
    }
    let same_site = top.section("cookie", schema::COOKIE).get("same_site");
    if let (Some(item), SameSite::None, None) = (same_site, config.cookie.same_site, &config.cors) {
        item.warn("pages of every site can send the cookie along, and no page of another site may call, as there is no `cors`; write `lax`");
    }
}

/// A field that we remove from what clients send cannot bring the token.
fn token_headers(top: &Table<'_>, config: &Config) {
    let own = &config.identity_headers;
    let own = [&own.subject, &own.roles, &own.scopes, &own.session];
    for item in top.get("routes").into_iter().flat_map(children) {
        let Some(item) = item.table(schema::ROUTE).and_then(|route| route.get("token_header")) else { continue };
        let Some(text) = item.as_text() else { continue };
        if own.iter().any(|name| name.as_ref().is_some_and(|name| name.as_str().eq_ignore_ascii_case(text))) {
            item.error("this field is one of `identity_headers`, which are removed from requests; write another");
        }
    }
}

/// Cookies go to the host that set them, and to no other.
fn cookie_hosts(top: &Table<'_>, config: &Config) {
    let Some(own) = &config.endpoints.host else { return };
    let elsewhere = |route: &&Route| route.takes_cookies() && route.host != Some(HostPattern::Exact(own.clone()));
    for route in config.routes.iter().filter(elsewhere) {
        let host = top.section("endpoints", schema::ENDPOINTS).get("host").unwrap_or(top.item);
        host.error(format!(
            "people log in at {own} alone, and its cookies are not sent to other hosts, where route \"{}\" takes credentials \
             from a cookie; remove this, so that every host has its own login",
            route.name
        ));
    }
}

pub(super) fn children(list: Item<'_>) -> Vec<Item<'_>> {
    list.items()
}
