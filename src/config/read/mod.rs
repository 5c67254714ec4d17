//! From the tree to [`Config`]: one file a group of keys; [`checks`] for what holds between groups.
//!
//! Defaults are written here, next to the bounds, and nowhere else.

mod checks;
mod cors;
mod limits;
mod listen;
mod log;
mod login_page;
mod native;
mod reach;
mod redis_access;
mod routes;
mod secrets;
mod store;
mod tokens;
mod upstream_login;
mod upstreams;

use std::path::PathBuf;
use std::time::Duration;

use super::checked::{Config, Shutdown, Upstream, Users};
use super::files::FileKind;
use super::item::{Item, Table};
use super::schema;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const MINUTE: Duration = seconds(60);
const HOUR: Duration = seconds(3600);
const DAY: Duration = seconds(86_400);

/// Reads everything. What is returned is of use only if no error was noted: defaults stand in for what is wrong, so that
/// the checks between groups still run. None goes with an error.
pub(super) fn config(root: Item<'_>) -> Option<Config> {
    let top = root.table(schema::TOP)?;

    let listen = listen::listeners(&top);
    let development = listen::development(&top);
    let store = store::store(&top);
    let keys = tokens::keys(&top);
    let access_token = tokens::access_token(&top);
    let session = tokens::session(&top, &access_token);
    let (upstreams, routes) = routes::upstreams_and_routes(&top);
    let users = users(&top, &upstreams);
    let drain = top.section("shutdown", schema::SHUTDOWN).get("drain").and_then(|item| item.duration(seconds(0), HOUR));

    let endpoints = listen::endpoints(&top);
    let for_pages = routes.iter().any(crate::config::Route::takes_cookies);

    let config = Config {
        listen,
        admin: listen::admin(&top),
        trusted_proxies: listen::trusted_proxies(&top),
        issuer: tokens::issuer(&top),
        origins: listen::origins(&top),
        login_page: login_page::login_page(&top, for_pages, &endpoints.login),
        endpoints,
        cookie: listen::cookie(&top, &development, for_pages),
        cors: cors::cors(&top),
        native_clients: native::native_clients(&top),
        development,
        data_dir: store::data_dir(&top),
        // The store that no rule speaks of stands in for one that is wrong.
        store: store.unwrap_or_else(|| store::embedded(&top)),
        keys,
        users: users.unwrap_or(Users::File(PathBuf::new())),
        login: tokens::login(&top),
        access_token,
        session,
        rotation: tokens::rotation(&top),
        revocation: tokens::revocation(&top),
        identity_headers: routes::identity_headers(&top),
        limits: limits::limits(&top),
        log: log::log(&top),
        shutdown: Shutdown { drain: drain.unwrap_or(seconds(30)) },
        upstreams,
        routes,
        files: Vec::new(),
        warnings: Vec::new(),
    };
    checks::across(&top, &config);
    Some(config)
}

/// Who may log in: a file says it, or an app.
fn users(top: &Table<'_>, upstreams: &[Upstream]) -> Option<Users> {
    let login = top.get("login");
    if login.is_some_and(|login| login.as_text() == Some("upstream")) {
        // What to write there is said where the rest of `login` is read.
        return None;
    }
    let login = login.filter(|login| login.is_table()).and_then(|login| login.table(schema::LOGIN));
    if let Some(item) = login.and_then(|login| login.get("upstream")) {
        if let Some(users) = top.get("users") {
            users.error(format!(
                "`login.upstream` ({}) says that the app keeps its users; remove this, or that",
                item.whereabouts()
            ));
        }
        let read = upstream_login::upstream_login(item, upstreams);
        return read.map(|login| Users::Upstream(Box::new(login)));
    }
    let want =
        "the file of those who may log in, such as `users.yaml` (or `login.upstream`, if the app keeps its users)";
    let item = top.need("users", want)?;
    let file = match item.is_table() {
        true => item.table(schema::USERS)?.need("file", "a path such as `users.yaml`")?,
        false => item,
    };
    file.file(FileKind::Users).map(Users::File)
}
