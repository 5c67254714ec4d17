//! Rules that no request can meet: routes that never match, paths that are our own, roles that nobody has.
//!
//! What wins is said in `gate::route`, and this follows it. A host and a path that are named leave nothing to less specific
//! ones, and there are always hosts and paths that nobody named; so only routes of the same host and the same path can take
//! everything from one another. `tests/rules/routes.rs` holds this against the gate.

use http::Method;

use super::checks::children;
use crate::config::checked::{Config, Endpoints, HostPattern, PathPattern, Roles, Route, Users};
use crate::config::errors::hint;
use crate::config::item::{Item, Table};
use crate::config::schema;

/// A pattern as the gate tells them apart: with or without a slash at the end a path is one, and upper and lower case count
/// as the same, as a backend that takes them for the same could not be protected.
#[derive(PartialEq, Eq)]
enum Pattern {
    /// A path.
    Exact(String),
    /// A path and what is below it.
    Prefix(String),
    /// What is below a path.
    Below(String),
}

fn pattern(path: &PathPattern) -> Pattern {
    let folded = |path: &str| path.strip_suffix('/').unwrap_or(path).to_ascii_lowercase();
    match path {
        PathPattern::Exact(path) => Pattern::Exact(folded(path)),
        PathPattern::Prefix(path) if path.ends_with('/') => Pattern::Below(folded(path)),
        PathPattern::Prefix(path) => Pattern::Prefix(folded(path)),
    }
}

/// Names that are taken, and routes that others leave nothing to.
pub(super) fn among_themselves(routes: &[(Item<'_>, Route)]) {
    for (i, (item, route)) in routes.iter().enumerate() {
        let named = routes[..i].iter().find(|(_, earlier)| earlier.name == route.name);
        if let Some((earlier, _)) = named {
            item.error(format!(
                "the name \"{}\" is taken by the route in {}; write another name",
                route.name,
                earlier.whereabouts()
            ));
            continue;
        }
        let here = || routes.iter().filter(|(_, other)| other.host == route.host && other.name != route.name);
        let own = pattern(&route.path);
        let same = routes[..i].iter().find(|(_, earlier)| {
            earlier.host == route.host && pattern(&earlier.path) == own && overlap(&earlier.methods, &route.methods)
        });
        if let Some((earlier_item, earlier)) = same {
            item.error(format!(
                "route \"{}\" is for the same requests as route \"{}\" ({}): same host, path and methods; change one, or remove it",
                route.name,
                earlier.name,
                earlier_item.whereabouts()
            ));
        }
        if let Pattern::Prefix(path) = &own {
            let find = |wanted: Pattern| here().find(|(_, other)| pattern(&other.path) == wanted);
            let taken = (find(Pattern::Exact(path.clone())), find(Pattern::Below(path.clone())));
            if let (Some((exact_item, exact)), Some((below_item, below))) = taken {
                item.error(format!(
                    "route \"{}\" can never match: {path} is for route \"{}\" ({}), and what is below it for route \"{}\" ({}); \
                     remove one of the three",
                    route.name,
                    exact.name,
                    exact_item.whereabouts(),
                    below.name,
                    below_item.whereabouts()
                ));
            }
        }
        if route.methods.is_none() {
            let mut taken: Vec<&Method> = Vec::new();
            let mut takers: Vec<String> = Vec::new();
            for (other_item, other) in here().filter(|(_, other)| pattern(&other.path) == own) {
                taken.extend(other.methods.iter().flatten());
                takers.push(format!("\"{}\" ({})", other.name, other_item.whereabouts()));
            }
            if USUAL.iter().all(|usual| taken.contains(&usual)) {
                item.warn(format!(
                    "only unusual methods are left for this route; the others are for {}",
                    takers.join(", ")
                ));
            }
        }
    }
}

/// Who answers GET answers HEAD.
const USUAL: [Method; 6] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// The one that names its methods is more specific.
fn overlap(a: &Option<Vec<Method>>, b: &Option<Vec<Method>>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.iter().any(|method| b.contains(method)),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// The route that was read from this entry of `routes`.
pub(super) fn route_of<'c>(item: Item<'_>, config: &'c Config) -> Option<&'c Route> {
    let name = item.table(schema::ROUTE)?.get("name")?.as_text()?;
    config.routes.iter().find(|route| route.name == name)
}

/// Our own endpoints come before all routes.
pub(super) fn endpoints_come_first(top: &Table<'_>, config: &Config) {
    let endpoints = &config.endpoints;
    for item in top.get("public").into_iter().flat_map(children) {
        if let Some(key) = item.as_text().and_then(|path| endpoint_at(endpoints, config, path)) {
            item.warn(format!(
                "our own endpoint `{key}` has this path and needs no leave; this opens only what is below it: remove this, or move \
                 the endpoint with `endpoints`"
            ));
        }
    }
    for item in top.get("routes").into_iter().flat_map(children) {
        let Some(route) = route_of(item, config) else { continue };
        let is_there = match (&endpoints.host, &route.host) {
            (None, _) => true,
            (Some(own), Some(HostPattern::Exact(host))) => own == host,
            (Some(_), Some(HostPattern::Suffix(_)) | None) => false,
        };
        let Some(table) = item.table(schema::ROUTE).filter(|_| is_there) else { continue };
        match &route.path {
            PathPattern::Exact(path) => {
                if let (Some(key), Some(item)) = (endpoint_at(endpoints, config, path), table.get("path")) {
                    item.error(format!(
                        "route \"{}\" can never match: our own endpoint `{key}` has this path and comes first; move it with \
                         `endpoints: {{ {key}: /… }}`{}",
                        route.name,
                        if endpoints.host.is_none() { ", or give our endpoints a host of their own with `endpoints.host`" } else { "" }
                    ));
                }
            }
            PathPattern::Prefix(path) => {
                if let (Some(key), Some(item)) = (endpoint_at(endpoints, config, path), table.get("path_prefix")) {
                    item.warn(format!(
                        "our own endpoint `{key}` has this path and comes first, so this is only for what is below it; move the \
                         endpoint with `endpoints`, or confine it to a host of its own with `endpoints.host`"
                    ));
                }
            }
        }
    }
}

/// The key of the endpoint that has this path.
fn endpoint_at(endpoints: &Endpoints, config: &Config, path: &str) -> Option<&'static str> {
    let Endpoints { host: _, login, refresh, logout, logout_all, ticket, userinfo, jwks } = endpoints;
    let all = [
        ("login", login),
        ("refresh", refresh),
        ("logout", logout),
        ("logout_all", logout_all),
        ("ticket", ticket),
        ("userinfo", userinfo),
        ("jwks", jwks),
    ];
    // Where no route takes tickets there is no such endpoint.
    let is_there = |key: &str| key != "ticket" || config.routes.iter().any(Route::takes_tickets);
    all.into_iter().find(|(key, own)| *own == path && is_there(key)).map(|(key, _)| key)
}

/// Where it is known which roles there are: a route that asks for another lets nobody in.
pub(super) fn roles_that_nobody_has(top: &Table<'_>, config: &Config) {
    let Users::Upstream(login) = &config.users else { return };
    let known: Option<Vec<&str>> = match &login.roles {
        Roles::Fixed(roles) => Some(roles.iter().map(String::as_str).collect()),
        Roles::Told { map: Some(map), .. } => Some(map.iter().map(|(_, role)| role.as_str()).collect()),
        Roles::Told { map: None, .. } => None,
    };
    for item in top.get("routes").into_iter().flat_map(children) {
        let Some(table) = item.table(schema::ROUTE) else { continue };
        if let Some(scopes) = table.get("scopes") {
            scopes.error("nobody has a scope, as `login.upstream` gives none; ask for roles, or remove this");
        }
        let Some(known) = &known else { continue };
        for role in ["roles", "roles_all"].into_iter().filter_map(|key| table.get(key)).flat_map(children) {
            let Some(text) = role.as_text().filter(|text| !known.contains(text)) else { continue };
            let there_are = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            role.error(format!(
                "nobody has the role {}{}: `login.upstream.roles` gives {there_are}; give it there, or remove it here",
                role.shown(),
                hint(text, known)
            ));
        }
    }
}
