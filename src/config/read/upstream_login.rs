//! `login.upstream`: an app that keeps its users.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::{MINUTE, seconds};
use crate::config::asked::Question;
use crate::config::checked::{
    Csrf, Roles, Sends, ServerUrl, Source, Subject, Success, Upstream, UpstreamLogin, UpstreamLogout, UpstreamTls,
    Userinfo, tls_by,
};
use crate::config::errors::nearest;
use crate::config::files::FileKind;
use crate::config::item::{Item, Table};
use crate::config::tree;
use crate::config::{names, schema, urls};

/// Reads it. `upstreams` are all there are.
pub(super) fn upstream_login(item: Item<'_>, upstreams: &[Upstream]) -> Option<UpstreamLogin> {
    let table = item.table(schema::LOGIN_UPSTREAM)?;
    let place = place(&table, upstreams);
    let path = place.as_ref().map_or("/login", |place| &place.path).to_owned();
    let sends = sends(&table);
    let csrf = table.get("csrf").and_then(|item| csrf(item, Some(&path)));
    if let (Some(item), Some(Sends::Basic)) = (table.get("csrf"), &sends) {
        item.error("with `basic` nothing is sent that a token could go with; remove this, or write `form`");
    }
    let success = success(&table);
    let userinfo = table.get("userinfo").and_then(userinfo);
    let keep_session = keep_session(&table, &success, place.as_ref());
    let logout = table.get("logout").and_then(logout);
    if let (Some(item), true) = (table.get("logout"), table.get("keep_session").is_none()) {
        item.error(
            "without `keep_session` the proxy has no session of the app that it could end; write `keep_session`, or \
             remove this",
        );
    }
    let timeout = table.get("timeout").and_then(|item| item.duration(Duration::from_millis(100), MINUTE));
    let headers = table.get("headers").map(headers).unwrap_or_default();
    let subject = table.get("subject").and_then(subject).unwrap_or(Subject::Typed);
    let roles = table.get("roles").and_then(roles).unwrap_or(Roles::Fixed(Vec::new()));
    // All has been read, so all that is wrong has been said.
    let place = place?;
    Some(UpstreamLogin {
        servers: place.servers,
        upstream: place.upstream,
        tls: place.tls,
        path,
        headers,
        sends: sends?,
        csrf,
        success,
        subject,
        roles,
        userinfo,
        keep_session,
        logout,
        connect_timeout: place.connect_timeout,
        timeout: timeout.unwrap_or(seconds(10)),
    })
}

/// Where the login is.
struct At {
    servers: Vec<ServerUrl>,
    upstream: Option<String>,
    tls: Option<UpstreamTls>,
    path: String,
    connect_timeout: Duration,
}

fn place(table: &Table<'_>, upstreams: &[Upstream]) -> Option<At> {
    let ca_file = table.get("ca_file").and_then(|item| item.file(FileKind::Public));
    if let Some(url) = table.get("url") {
        for key in ["upstream", "path"] {
            if let Some(item) = table.get(key) {
                item.error("`url` says it already; keep `url`, or `upstream` and `path`");
            }
        }
        let (server, path) = url.parse("a URL such as `http://127.0.0.1:3000/login`", urls::server_and_path)?;
        if server.tls && server.ip().is_some() {
            url.error("a certificate cannot be checked against an address; write the server's name");
        }
        if let (Some(item), false) = (table.get("ca_file"), server.tls) {
            item.error("this is for `https`, and `url` is not");
        }
        let tls = server.tls.then(|| tls_by(ca_file));
        return Some(At { servers: vec![server], upstream: None, tls, path, connect_timeout: seconds(5) });
    }
    if let Some(item) = table.get("ca_file") {
        item.error("this goes with `url`; for an upstream, write it in the upstream's `tls`");
    }
    let path = table.need("path", "where the app takes its login, such as `/login`").and_then(path);
    let names: Vec<&str> = upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
    let upstream = match (table.get("upstream"), upstreams) {
        (None, [only]) => only,
        // What is wrong with `upstreams` has been said.
        (_, []) => return None,
        (None, _) => {
            table.item.error(format!("`upstream` is missing; write which app keeps the users: {}", names.join(", ")));
            return None;
        }
        (Some(item), _) => {
            let name = item.text("the name of an entry in `upstreams`")?;
            let found = upstreams.iter().find(|upstream| upstream.name == name);
            if found.is_none() {
                let instead = match nearest(name, &names) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None if name.contains("://") => "for a URL, write `url`".to_owned(),
                    None => format!("there are: {}", names.join(", ")),
                };
                item.error(format!("there is no upstream named {}; {instead}", item.shown()));
            }
            found?
        }
    };
    Some(At {
        servers: upstream.servers.clone(),
        upstream: Some(upstream.name.clone()),
        tls: upstream.tls.clone(),
        path: path?,
        connect_timeout: upstream.connect_timeout,
    })
}

fn sends(table: &Table<'_>) -> Option<Sends> {
    let Some((kind, item)) = table.at_most_one(&["form", "json", "basic"]) else {
        table.item.error(
            "it is not said how the app takes user name and password; write `form: { username: FIELD, password: FIELD }`, \
             `json: { … }` or `basic: true`",
        );
        return None;
    };
    if kind == "basic" {
        if item.bool()? {
            return Some(Sends::Basic);
        }
        item.error("write `basic: true`, or `form` or `json`");
        return None;
    }
    let fields = item.table(schema::LOGIN_FIELDS)?;
    let name = |key: &'static str| fields.get(key).and_then(|item| item.text("the name of a field")).unwrap_or(key);
    let (username, password) = (name("username").to_owned(), name("password").to_owned());
    if username == password {
        item.error("`username` and `password` are one field; write the names that the app's login form has");
    }
    let mut extra = Vec::new();
    for (entry, item) in
        fields.get("extra").map(|item| item.entries("a table such as `{ remember: \"1\" }`")).into_iter().flatten()
    {
        if [&username, &password].contains(&&entry.name) {
            item.error("this field is for what the user types; write another");
        }
        extra.extend(scalar(item).map(|value| (entry.name.clone(), value)));
    }
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Some(match kind {
        "json" => Sends::Json { username, password, extra },
        _ => {
            let extra = extra.into_iter().map(|(name, value)| (name, text(value))).collect();
            Sends::Form { username, password, extra }
        }
    })
}

/// A text, a number or a boolean.
fn scalar(item: Item<'_>) -> Option<Value> {
    item.asks(|| Question::Bool);
    item.asks(|| Question::Number(0, u64::MAX));
    match &item.node.value {
        tree::Value::Bool(value) => Some(Value::Bool(*value)),
        tree::Value::Number(Some(number)) => Some((*number).into()),
        _ => item.text("text, a whole number, or `true` or `false`").map(Value::from),
    }
}

fn csrf(item: Item<'_>, login: Option<&str>) -> Option<Csrf> {
    let table = item.table(schema::LOGIN_CSRF)?;
    let field = table.need("field", "the name of the hidden field, such as `csrf_token`");
    let from = match (table.get("from"), login) {
        (Some(item), _) => path(item),
        (None, Some(login)) => Some(login.to_owned()),
        (None, None) => {
            table.need("from", "a page with a form in it that the user can see, such as `/profile`");
            None
        }
    };
    Some(Csrf { field: field?.text("the name of a field")?.to_owned(), from: from? })
}

fn success(table: &Table<'_>) -> Success {
    let want = "a table such as `{ status: [302], redirect: /home }`";
    let Some(item) = table.need("success", &format!("what tells a success from a wrong password: {want}")) else {
        return Success::default();
    };
    let Some(table) = item.table(schema::LOGIN_SUCCESS) else { return Success::default() };
    if schema::LOGIN_SUCCESS.iter().all(|key| table.get(key).is_none()) {
        item.error(format!("nothing is asked for, so every password would be right; write {want}"));
    }
    let status = |item: Item<'_>| item.number(200, 499).map(|status| status as u16);
    Success {
        status: match table.get("status") {
            Some(item) if item.is_list() => item.list_of("a list such as `[302, 303]`", status),
            Some(item) => status(item).into_iter().collect(),
            None => Vec::new(),
        },
        redirect: table.get("redirect").and_then(|item| item.parse("a path such as `/home`", redirect)),
        cookie: table.get("cookie").and_then(cookie_name),
        json: table.get("json").and_then(|item| {
            let table = item.table(schema::LOGIN_SUCCESS_JSON)?;
            let equals = table.get("equals").map(scalar);
            let pointer = table.need("pointer", "where to look, such as `/ok`").and_then(pointer)?;
            match equals {
                Some(value) => Some((pointer, Some(value?))),
                None => Some((pointer, None)),
            }
        }),
    }
}

fn subject(item: Item<'_>) -> Option<Subject> {
    if item.as_text().is_some() {
        return item.one_of(&[("typed", ())]).map(|()| Subject::Typed);
    }
    let table = item.table(schema::LOGIN_SUBJECT)?;
    let source = source(&table);
    if source.is_none() && schema::LOGIN_SUBJECT.iter().all(|key| table.get(key).is_none()) {
        item.error("write where the app says who it is: `{ json: /user/login }` or `{ header: X-User }`");
    }
    source.map(Subject::Told)
}

fn roles(item: Item<'_>) -> Option<Roles> {
    let role = |item: Item<'_>| item.parse("a role, in quotes if it looks like something else", names::role);
    if !item.is_table() {
        return Some(Roles::Fixed(item.list_of("a list such as `[staff]`, or `{ json: /user/roles }`", role)));
    }
    let table = item.table(schema::LOGIN_ROLES)?;
    let map = table.get("map").map(|item| {
        let entries = item.entries("a table such as `{ Administrators: admin }`");
        entries.into_iter().filter_map(|(entry, item)| Some((entry.name.clone(), role(item)?))).collect()
    });
    let from = source(&table);
    if from.is_none() && table.get("json").or(table.get("header")).is_none() {
        item.error("write where the app says which roles: `json: /user/roles` or `header: X-Roles`");
    }
    Some(Roles::Told { from: from?, map })
}

fn source(table: &Table<'_>) -> Option<Source> {
    match table.at_most_one(&["json", "header"])? {
        ("json", item) => pointer(item).map(Source::Json),
        (_, item) => item.parse("a header field such as `X-User`", names::field).map(Source::Header),
    }
}

fn userinfo(item: Item<'_>) -> Option<Userinfo> {
    if item.as_text().is_some() {
        return Some(Userinfo { path: path(item)?, token: None });
    }
    let table = item.table(schema::LOGIN_USERINFO)?;
    let token = table.get("token").and_then(pointer);
    let path = table.need("path", "where the app says who is logged in, such as `/api/me`").and_then(path);
    Some(Userinfo { path: path?, token })
}

fn keep_session(table: &Table<'_>, success: &Success, at: Option<&At>) -> Vec<String> {
    let Some(item) = table.get("keep_session") else { return Vec::new() };
    if at.is_some_and(|at| at.upstream.is_none()) {
        item.error(
            "it is not known which upstream to present the session to; write `upstream` and `path` in place of `url`",
        );
    }
    if item.is_list() {
        return item.list_of("a list of cookies such as `[sessionid]`", cookie_name);
    }
    match (item.bool(), &success.cookie) {
        (Some(true), Some(cookie)) => vec![cookie.clone()],
        (Some(true), None) => {
            item.error("it is not said which cookie names the session; write for example `keep_session: [sessionid]`");
            Vec::new()
        }
        (Some(false) | None, _) => Vec::new(),
    }
}

fn logout(item: Item<'_>) -> Option<UpstreamLogout> {
    if item.as_text().is_some() {
        return Some(UpstreamLogout { method: Method::POST, path: path(item)?, csrf: None });
    }
    let table = item.table(schema::LOGIN_LOGOUT)?;
    let methods = [("GET", ()), ("POST", ()), ("DELETE", ()), ("PUT", ())];
    let method = table.get("method").and_then(|item| {
        item.one_of(&methods)?;
        Method::from_bytes(item.as_text()?.as_bytes()).ok()
    });
    let csrf = table.get("csrf").and_then(|item| csrf(item, None));
    let path = table.need("path", "where the app takes its logout, such as `/logout`").and_then(path);
    Some(UpstreamLogout { method: method.unwrap_or(Method::POST), path: path?, csrf })
}

/// Fields that belong to a single message or to the credentials.
const OURS: &[&str] = &[
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn headers(item: Item<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for (entry, item) in item.entries("a table such as `{ Host: app.example.com }`") {
        let name = match names::field(&entry.name) {
            Ok(name) if OURS.contains(&name.as_str()) => {
                item.error("this field is set with each request; remove it");
                continue;
            }
            Ok(name) => name,
            Err(wrong) => {
                item.error(format!("\"{}\" {wrong}", entry.name.escape_debug()));
                continue;
            }
        };
        let value = item.parse("the field's value", |text| {
            HeaderValue::from_str(text).map_err(|_| "cannot stand in a header field".to_owned())
        });
        headers.extend(value.map(|mut value| {
            // It may be a secret: `Debug` does not show it.
            value.set_sensitive(true);
            (name, value)
        }));
    }
    headers
}

fn path(item: Item<'_>) -> Option<String> {
    item.parse("a path such as `/login`", urls::path_and_query)
}

fn redirect(text: &str) -> Result<String, String> {
    let plain = text.strip_suffix('*').unwrap_or(text);
    if plain.contains('*') {
        return Err("has a `*` within; write it at the end, for whatever begins so".into());
    }
    urls::path_and_query(plain).map(|_| text.to_owned())
}

fn pointer(item: Item<'_>) -> Option<String> {
    item.parse("a JSON pointer such as `/user/login`", |text| match text.starts_with('/') {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "is no JSON pointer; write `/{}`",
            text.trim_start_matches(['$', '.']).replace(['.', '[', ']'], "/").trim_end_matches('/')
        )),
    })
}

fn cookie_name(item: Item<'_>) -> Option<String> {
    item.parse("the name of a cookie, such as `sessionid`", |text| {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        match text.bytes().all(token) {
            true => Ok(text.to_owned()),
            false => Err("cannot be the name of a cookie".to_owned()),
        }
    })
}
