//! What must hold between groups of keys, and what is allowed but worth a look.

use std::net::SocketAddr;

use super::{cors, native};
use crate::config::checked::{Algorithm, Config, HostPattern, LateRetry, Route, StoreKind, Users};
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
    reachable(top, config);
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
        if !local && listener.tls.is_none() && config.trusted_proxies.is_empty() {
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
        if let Some(token) = top.section("admin", schema::ADMIN).get("token_file") {
            token.warn("`admin.listen` is plain http and not on loopback: the token crosses the network readable");
        }
    }
    if let Some(item) =
        top.get("trusted_proxies").filter(|_| config.trusted_proxies.iter().any(|net| net.prefix_len() == 0))
    {
        item.warn("this believes everybody's `X-Forwarded-For`; write the networks of your proxies");
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

/// Our own endpoints come before all routes.
fn reachable(top: &Table<'_>, config: &Config) {
    let endpoints = &config.endpoints;
    let own = [
        &endpoints.login,
        &endpoints.refresh,
        &endpoints.logout,
        &endpoints.logout_all,
        &endpoints.userinfo,
        &endpoints.jwks,
    ];
    if endpoints.host.is_some() {
        return;
    }
    for item in top.get("routes").into_iter().flat_map(children) {
        let Some(item) = item.table(schema::ROUTE).and_then(|route| route.get("path")) else { continue };
        if item.as_text().is_some_and(|path| own.iter().any(|own| *own == path)) {
            item.warn(
                "our own endpoint has this path and comes first; move it with `endpoints`, or confine it with `endpoints.host`",
            );
        }
    }
}

fn children(list: Item<'_>) -> Vec<Item<'_>> {
    list.list("").unwrap_or_default()
}
