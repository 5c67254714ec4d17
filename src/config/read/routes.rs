//! Which requests go to which upstream, and for whom. The short form is spelled out here.

use http::HeaderName;

use super::{reach, upstreams};
use crate::config::checked::{Auth, Credentials, HostPattern, IdentityHeaders, PathPattern, Route, Upstream};
use crate::config::errors::nearest;
use crate::config::item::{Item, Table};
use crate::config::{asked, names, schema};

/// What the short form calls its upstream and its route.
const APP: &str = "app";

pub(super) fn upstreams_and_routes(top: &Table<'_>) -> (Vec<Upstream>, Vec<Route>) {
    let short = top.get("upstream");
    let long = top.get("upstreams").or(top.get("routes"));
    match (short, long) {
        (Some(item), Some(long)) => {
            let key = &long.node.key;
            item.error(format!(
                "`upstream` is short for one app, and `{key}` ({}) says more; \
                                keep `upstream` and `public`, or `upstreams` and `routes`",
                long.whereabouts()
            ));
            (Vec::new(), Vec::new())
        }
        (None, Some(_)) => {
            if let Some(public) = top.get("public") {
                public.error("`public` goes with `upstream`; with `routes`, write a route with `auth: public`");
            }
            long_form(top)
        }
        (Some(item), None) => short_form(top, item),
        (None, None) => {
            top.need(
                "upstream",
                "the URL of the app, such as `http://127.0.0.1:3000` (for several: `upstreams` and `routes`)",
            );
            (Vec::new(), Vec::new())
        }
    }
}

/// `credentials`, or what holds without it.
fn credentials(table: &Table<'_>, default: Credentials) -> Credentials {
    let Some(item) = table.get("credentials") else { return default };
    let words = &[("header", From::Header), ("cookie", From::Cookie), ("ticket", From::Ticket)];
    let from = item.list_of("a list such as `[header, cookie]`", |item| item.one_of(words));
    if from.is_empty() {
        // That is wrong, and has been said.
        return default;
    }
    Credentials {
        header: from.contains(&From::Header),
        cookie: from.contains(&From::Cookie),
        ticket: from.contains(&From::Ticket),
    }
}

const BY_HEADER: Credentials = Credentials { header: true, cookie: false, ticket: false };

#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Header,
    Cookie,
    Ticket,
}

fn short_form(top: &Table<'_>, item: Item<'_>) -> (Vec<Upstream>, Vec<Route>) {
    let route = |name: String, path: &str, auth| Route {
        name,
        host: None,
        path: PathPattern::Prefix(path.to_owned()),
        methods: None,
        upstream: APP.to_owned(),
        auth,
        roles_any: Vec::new(),
        roles_all: Vec::new(),
        scopes_all: Vec::new(),
        credentials: credentials(top, BY_HEADER),
        keep_authorization: false,
        token_header: None,
        preserve_host: true,
        preserve_header_case: false,
        encoded_slashes: false,
    };
    let public = top.get("public").map(|item| {
        item.list_of("a list of paths, such as `[/assets/]`", |item| {
            let path = item.like(asked::PATH).parse("a path such as `/assets/`", names::rule_path)?;
            if path == "/" {
                item.error("this makes everything public; write the paths below which no login is needed");
            }
            Some(path)
        })
    });
    let public =
        public.unwrap_or_default().into_iter().map(|path| route(format!("public:{path}"), &path, Auth::Public));
    let routes = std::iter::once(route(APP.to_owned(), "/", Auth::Required)).chain(public).collect();
    (upstreams::single(item, APP).into_iter().collect(), routes)
}

fn long_form(top: &Table<'_>) -> (Vec<Upstream>, Vec<Route>) {
    let want = "a table such as `app: { servers: [http://10.0.0.5:8080] }`";
    let entries = top.need("upstreams", want).map(|item| {
        if item.as_text().is_some() {
            item.error("this is text; write `upstream` (without `s`) for a single URL");
            return Vec::new();
        }
        let entries = item.entries(want);
        if entries.is_empty() {
            item.error(format!("no upstream is in here; write {want}"));
        }
        entries
    });
    // Names count even if what they stand for is broken: a typo in a server must not make every route wrong.
    let mut names = Vec::new();
    let mut upstreams = Vec::new();
    for (entry, item) in entries.iter().flatten() {
        if let Err(wrong) = names::label(&entry.name) {
            let place = item.cx.place(entry.id, &item.node.key);
            item.cx.error(place, format!("this {wrong}"));
        }
        names.push(entry.name.as_str());
        upstreams.extend(upstreams::upstream(&entry.name, *item));
    }

    let want = "a list such as `[{ name: app, upstream: app }]`";
    let items = top.need("routes", want).and_then(|item| item.list(want)).unwrap_or_default();
    let names = entries.is_some().then_some(names);
    let by_default = credentials(top, BY_HEADER);
    let routes: Vec<(Item<'_>, Route)> =
        items.into_iter().filter_map(|item| Some((item, route(item, names.as_deref(), by_default)?))).collect();
    reach::among_themselves(&routes);
    for (entry, item) in entries.iter().flatten() {
        if !routes.iter().any(|(_, route)| route.upstream == entry.name) {
            item.warn("no route leads to this upstream; add one, or remove it");
        }
    }
    (upstreams, routes.into_iter().map(|(_, route)| route).collect())
}

/// One route. `upstreams` are the names there are; None if they are not known and nothing is to be said about them.
fn route(item: Item<'_>, upstreams: Option<&[&str]>, by_default: Credentials) -> Option<Route> {
    let table = item.table(schema::ROUTE)?;
    let name = table
        .need("name", "a unique one, for metrics and logs")
        .and_then(|item| item.parse("a name, in quotes if it looks like something else", names::label));
    let upstream =
        table.need("upstream", "the name of an entry in `upstreams`").and_then(|item| upstream_name(item, upstreams));
    let path = match table.at_most_one(&["path", "path_prefix"]) {
        Some(("path", item)) => {
            item.like(asked::PATH).parse("a path such as `/status`", names::rule_path).map(PathPattern::Exact)
        }
        Some((_, item)) => {
            item.like(asked::PATH).parse("a path such as `/api`", names::rule_path).map(PathPattern::Prefix)
        }
        None => Some(PathPattern::Prefix("/".to_owned())),
    };
    let host: Option<Option<HostPattern>> = match table.get("host") {
        Some(item) => item
            .like(asked::HOST)
            .parse("a host such as `app.example.com` or `*.example.com`", names::host_pattern)
            .map(Some),
        None => Some(None),
    };
    let methods = table.get("methods").map(|item| {
        item.list_of("a list such as `[GET, HEAD]`", |item| {
            item.like(asked::METHOD).parse("a method such as `GET`", names::method)
        })
    });
    let auth_words = &[("public", Auth::Public), ("optional", Auth::Optional), ("required", Auth::Required)];
    let auth = table.get("auth").and_then(|item| item.one_of(auth_words)).unwrap_or(Auth::Required);
    let role = |item: Item<'_>| item.parse("a role, in quotes if it looks like something else", names::role);
    let scope = |item: Item<'_>| item.parse("a scope", names::scope);
    let list = |key, read: &dyn Fn(Item<'_>) -> Option<String>| {
        let item: Option<Item<'_>> = table.get(key);
        item.map(|item| item.list_of("a list such as `[admin]`", read)).unwrap_or_default()
    };
    let flag = |key, default| table.get(key).and_then(Item::bool).unwrap_or(default);
    let token_header = table.get("token_header").and_then(own_field);
    let credentials = credentials(&table, by_default);
    refuse_what_auth_leaves_no_meaning(&table, auth);
    if let (false, Some(item)) = (credentials.header, table.get("token_header")) {
        item.error("this route takes no token from a header; write `credentials: [header, cookie]`, or remove this");
    }
    Some(Route {
        name: name?,
        host: host?,
        path: path?,
        methods,
        upstream: upstream?,
        auth,
        roles_any: list("roles", &role),
        roles_all: list("roles_all", &role),
        scopes_all: list("scopes", &scope),
        credentials,
        keep_authorization: flag("keep_authorization", false),
        token_header,
        preserve_host: flag("preserve_host", true),
        preserve_header_case: flag("preserve_header_case", false),
        encoded_slashes: flag("encoded_slashes", false),
    })
}

fn upstream_name(item: Item<'_>, upstreams: Option<&[&str]>) -> Option<String> {
    let text = item.text("the name of an entry in `upstreams`")?;
    let Some(upstreams) = upstreams.filter(|names| !names.contains(&text)) else { return Some(text.to_owned()) };
    let instead = match nearest(text, upstreams) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if text.contains("://") => "write the URL in `upstreams` and its name here".to_owned(),
        None => format!("there are: {}", upstreams.join(", ")),
    };
    item.error(format!("there is no upstream named {}; {instead}", item.shown()));
    None
}

fn refuse_what_auth_leaves_no_meaning(table: &Table<'_>, auth: Auth) {
    let why = match auth {
        Auth::Required => return,
        Auth::Public => "on a public route nobody is asked for a token",
        Auth::Optional => "on an optional route who sends no token passes",
    };
    for item in ["roles", "roles_all", "scopes"].into_iter().filter_map(|key| table.get(key)) {
        item.error(format!("{why}, so this would protect nothing; write `auth: required`, or remove this"));
    }
    let of_tokens = ["token_header", "credentials"].into_iter().filter_map(|key| table.get(key));
    for item in of_tokens.filter(|_| auth == Auth::Public) {
        item.error(format!("{why}; write `auth: optional` or `auth: required`, or remove this"));
    }
}

fn own_field(item: Item<'_>) -> Option<HeaderName> {
    item.like(asked::FIELD).parse("a header field such as `X-Auth-Subject`", names::own_field)
}

pub(super) fn identity_headers(top: &Table<'_>) -> IdentityHeaders {
    let table = top.section("identity_headers", schema::IDENTITY_HEADERS);
    let mut taken: Vec<(&str, HeaderName)> = Vec::new();
    let mut field = |key: &'static str, default: &'static str| {
        let item = table.get(key);
        if item.and_then(Item::as_text) == Some("none") {
            return None;
        }
        let name = item.and_then(own_field).unwrap_or(HeaderName::from_static(default));
        if let Some((other, _)) = taken.iter().find(|(_, taken)| *taken == name) {
            item.unwrap_or(table.item)
                .error(format!("`{key}` and `{other}` share one field; write another, or `none`"));
        }
        taken.push((key, name.clone()));
        Some(name)
    };
    IdentityHeaders {
        subject: field("subject", "x-auth-subject"),
        roles: field("roles", "x-auth-roles"),
        scopes: field("scopes", "x-auth-scopes"),
        session: field("session", "x-auth-session"),
    }
}
