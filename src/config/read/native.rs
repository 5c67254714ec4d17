//! Native clients, and the origins of their web views.
//!
//! An origin is in one list: `native_clients` is for pages without cookies, `cors` and `origins` are for pages with them.

use super::cors;
use crate::config::checked::{Config, NativeClients};
use crate::config::item::Table;
use crate::config::{schema, urls};

pub(super) fn native_clients(top: &Table<'_>) -> Option<NativeClients> {
    let table = top.get("native_clients")?.table(schema::NATIVE_CLIENTS)?;
    let allow_origins = table.get("allow_origins").map(|item| {
        item.list_of("a list such as `[capacitor://localhost]`", |item| {
            item.parse("an origin such as `capacitor://localhost`", urls::web_view_origin)
        })
    });
    Some(NativeClients { allow_origins: allow_origins.unwrap_or_default(), preflight: cors::preflight(&table) })
}

/// No origin has two ways to carry the refresh token.
pub(super) fn check(top: &Table<'_>, config: &Config) {
    if config.native_clients.as_ref().is_none_or(|clients| clients.allow_origins.is_empty()) {
        return;
    }
    let items = top.section("native_clients", schema::NATIVE_CLIENTS).get("allow_origins");
    let with_cookies = config.cors.iter().flat_map(|cors| &cors.allow_origins).chain(&config.origins);
    let with_cookies: Vec<String> = with_cookies.map(ToString::to_string).collect();
    for item in items.and_then(|item| item.list("")).unwrap_or_default() {
        let Some(origin) = item.as_text().and_then(|text| urls::web_view_origin(text).ok()) else { continue };
        if with_cookies.contains(&origin) {
            item.error(
                "this origin is in `origins` or `cors.allow_origins` too, and its pages have the cookie; keep it in one of them",
            );
        } else if urls::origin(&origin).is_ok_and(|origin| !is_local(&origin.host)) {
            item.warn(
                "any browser can open a page of this origin, and its scripts can read the refresh token; for a website write \
                 `cors`, which leaves the token in a cookie that scripts cannot read",
            );
        }
    }
}

/// A host that only something on the client's own machine can be.
fn is_local(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost") || host == "127.0.0.1" || host == "[::1]"
}
