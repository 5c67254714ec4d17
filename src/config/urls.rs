//! URLs: of servers, of origins, of Redis.
//!
//! What must never happen in here: a part of a URL is dropped in silence; a URL with a password stands in a message.

use std::net::SocketAddr;

use secrecy::SecretString;

use super::checked::{Origin, ServerUrl};
use super::names;

/// An address to listen on.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let wrong = "is no address and port; write an IP address and a port, such as `127.0.0.1:8080`, `0.0.0.0:8080` or `[::]:8080`";
    let address: SocketAddr = text.parse().map_err(|_| wrong.to_owned())?;
    if address.port() == 0 {
        return Err("has port 0, which is another port at every start; write a port".into());
    }
    Ok(address)
}

/// `http[s]://HOST[:PORT]` and nothing after it, in parts: whether https, host, port.
fn http_authority(text: &str, path_is_wrong: &str) -> Result<(bool, String, u16), String> {
    let (https, rest) = match text.split_once("://") {
        Some(("http", rest)) => (false, rest),
        Some(("https", rest)) => (true, rest),
        None if !text.contains('@') => return Err(format!("has no scheme; write `http://{text}` or `https://{text}`")),
        Some(_) | None => return Err("does not start with `http://` or `https://`; write one of them".into()),
    };
    if rest.contains('@') {
        return Err("has a user or password; write the host and port alone".into());
    }
    if let Some(authority) = rest.strip_suffix('/').filter(|authority| !authority.contains('/')) {
        let scheme = if https { "https" } else { "http" };
        return Err(format!("ends with `/`; write `{scheme}://{authority}`"));
    }
    if rest.contains(['/', '?', '#']) {
        return Err(path_is_wrong.into());
    }
    let (host, port) = host_and_port(rest)?;
    Ok((https, host, port.unwrap_or(if https { 443 } else { 80 })))
}

/// `HOST[:PORT]`; the host in lower case, IPv6 in brackets.
fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    let split_at = text.rfind(']').map_or(0, |bracket| bracket);
    let (host, port) = match text[split_at..].find(':') {
        Some(colon) => (&text[..split_at + colon], Some(&text[split_at + colon + 1..])),
        None => (text, None),
    };
    let port = match port {
        None => None,
        Some(port) => match port.parse::<u16>() {
            Ok(number) if number > 0 && !port.starts_with('+') => Some(number),
            _ => return Err("has no port from 1 to 65535 after its last `:`".into()),
        },
    };
    Ok((names::host(host).map_err(|_| "has no valid host between `://` and the port".to_owned())?, port))
}

/// A server of an upstream.
pub(super) fn server(text: &str) -> Result<ServerUrl, String> {
    let path_is_wrong =
        "has a path; write scheme, host and port alone: paths are forwarded as they come and never rewritten";
    let (tls, host, port) = http_authority(text, path_is_wrong)?;
    Ok(ServerUrl { tls, host: host.trim_matches(['[', ']']).to_owned(), port })
}

/// A server, and a path there.
pub(super) fn server_and_path(text: &str) -> Result<(ServerUrl, String), String> {
    let authority = text.find("://").map_or(0, |at| at + 3);
    let end = text[authority..].find(['/', '?', '#']).map_or(text.len(), |at| authority + at);
    let server = server(&text[..end])?;
    match &text[end..] {
        "" => Err(format!("has no path; write that of the login too, such as `{text}/login`")),
        path => Ok((server, path_and_query(path)?)),
    }
}

/// A path, with a query if there is one, as it goes into a request.
pub(super) fn path_and_query(text: &str) -> Result<String, String> {
    if text.contains("://") {
        return Err("is a URL; write the path alone, such as `/login`".into());
    }
    if text.starts_with('/') && !text.starts_with("//") && text.chars().all(|c| c.is_ascii_graphic() && c != '#') {
        return Ok(text.to_owned());
    }
    Err("is no path; write one that starts with `/`, without spaces, such as `/login`".into())
}

/// An origin (RFC 6454).
pub(super) fn origin(text: &str) -> Result<Origin, String> {
    match text {
        "*" => {
            return Err("would let every site act for a user who is logged in; write each origin, such as \
                           `https://app.example.com`"
                .into());
        }
        "null" => {
            return Err("is the origin of any sandboxed page; write an origin such as `https://app.example.com`".into());
        }
        text => match text.split_once("://") {
            Some(("http" | "https", _)) | None => {}
            Some(_) => {
                return Err(
                    "does not start with `http://` or `https://`; write one of them, or the origin of a native \
                               client's web view in `native_clients`"
                        .into(),
                );
            }
        },
    }
    let (https, host, port) = http_authority(text, "has a path; an origin is scheme, host and port alone")?;
    Ok(Origin { https, host, port })
}

/// The origin of a page in a web view, as the header `Origin` has it: of any scheme that has hosts.
pub(super) fn web_view_origin(text: &str) -> Result<String, String> {
    let example = "write each origin, such as `capacitor://localhost` or `https://localhost`";
    let (scheme, rest) = match text {
        "*" => return Err(format!("would give every site refresh tokens; {example}")),
        "null" => return Err(format!("is the origin of any sandboxed page; {example}")),
        text => text.split_once("://").ok_or_else(|| format!("has no scheme; {example}"))?,
    };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c));
    match scheme {
        "http" | "https" => origin(text).map(|origin| origin.to_string()),
        "file" => Err(format!(
            "sends the origin `null`, as any sandboxed page does; let the web view have a scheme, and {example}"
        )),
        _ if !is_scheme => Err(format!("has no scheme of lower-case letters, digits, `+`, `-` and `.`; {example}")),
        _ if rest.contains('@') => Err("has a user or password; write scheme and host alone".into()),
        _ if rest.contains(['/', '?', '#']) => Err("has a path; an origin is scheme, host and port alone".into()),
        _ => {
            let (host, port) = host_and_port(rest)?;
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            Ok(format!("{scheme}://{host}{port}"))
        }
    }
}

/// A page: a path of this host, or an absolute URL, either with a query if need be.
pub(super) fn page(text: &str) -> Result<String, String> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)) || text.contains('#') {
        return Err(
            "is no address; write one without a fragment, and with other signs than ASCII percent-encoded".into()
        );
    }
    let (before, query) = text.split_once('?').unwrap_or((text, ""));
    if before.starts_with('/') {
        names::rule_path(before)?;
        return Ok(text.to_owned());
    }
    let Some((scheme, rest)) = before.split_once("://") else {
        return Err("is neither a path nor a URL; write one such as `/sign-in` or `https://login.example.com/`".into());
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (https, host, port) = http_authority(&format!("{scheme}://{authority}"), "is no address")?;
    let (path, mark) = (if path.is_empty() { "/" } else { path }, if query.is_empty() { "" } else { "?" });
    Ok(format!("{}{path}{mark}{query}", Origin { https, host, port }))
}

/// What a Redis URL says.
pub(super) struct RedisUrl {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    pub database: u32,
    pub username: Option<String>,
    pub password: Option<SecretString>,
}

/// `redis[s]://HOST[:PORT]` of a sentinel. What is wrong is said without the URL.
pub(super) fn sentinel(text: &str) -> Result<RedisUrl, String> {
    let url = redis_at(text, 26379)?;
    if url.username.is_some() || url.password.is_some() {
        return Err("the URL of a sentinel has a user or password; write them once for all sentinels, as \
                    `sentinel_username` and `sentinel_password_file`"
            .into());
    }
    if text.split_once("://").is_some_and(|(_, rest)| rest.contains('/')) {
        return Err("a sentinel has no databases; write `redis://HOST:26379`".into());
    }
    Ok(url)
}

/// `redis[s]://HOST[:PORT]` of a node of a cluster. What is wrong is said without the URL.
pub(super) fn cluster_node(text: &str) -> Result<RedisUrl, String> {
    let url = redis(text)?;
    if url.username.is_some() || url.password.is_some() {
        return Err(
            "the URL of a node has a user or password; write them once for the whole cluster, as `username` and \
                    `password_file`"
                .into(),
        );
    }
    if url.database != 0 {
        return Err("a cluster has no databases; write `redis://HOST:6379`".into());
    }
    Ok(url)
}

/// `redis[s]://[[USER][:PASSWORD]@]HOST[:PORT][/DATABASE]`. What is wrong is said without the URL.
pub(super) fn redis(text: &str) -> Result<RedisUrl, String> {
    redis_at(text, 6379)
}

fn redis_at(text: &str, default_port: u16) -> Result<RedisUrl, String> {
    let (tls, rest) =
        match text.split_once("://") {
            Some(("redis", rest)) => (false, rest),
            Some(("rediss", rest)) => (true, rest),
            _ => return Err(
                "this is no Redis URL; write for example `redis://127.0.0.1:6379` or `rediss://redis.internal:6379/0`"
                    .into(),
            ),
        };
    if rest.contains(['?', '#']) {
        return Err("the Redis URL has something after the database number; write `redis://HOST:PORT/DATABASE` \
                    (and a `?` or `#` in a password as %3F or %23)"
            .into());
    }
    let (credentials, rest) = match rest.rsplit_once('@') {
        Some((credentials, rest)) => (Some(credentials), rest),
        None => (None, rest),
    };
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let database = match database {
        "" => 0,
        digits => digits
            .parse()
            .map_err(|_| "the Redis URL has no database number after its last `/`; write `/0`".to_owned())?,
    };
    let (host, port) = host_and_port(authority).map_err(|wrong| format!("the Redis URL {wrong}"))?;
    let (username, password) = match credentials.map(|both| both.split_once(':').unwrap_or((both, ""))) {
        None => (None, None),
        Some((user, password)) => (decoded(user)?, decoded(password)?.map(SecretString::from)),
    };
    let host = host.trim_matches(['[', ']']).to_owned();
    Ok(RedisUrl { tls, host, port: port.unwrap_or(default_port), database, username, password })
}

/// Text with its `%XX` undone; None if it is empty.
fn decoded(text: &str) -> Result<Option<String>, String> {
    let wrong =
        || "the Redis URL has a `%` in user or password that is not followed by two hex digits; write `%25`".to_owned();
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| (byte as char).to_digit(16)).ok_or_else(wrong);
        bytes.push((digit(rest.next())? * 16 + digit(rest.next())?) as u8);
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn pages() {
        for (text, expected) in [
            ("/sign-in", "/sign-in"),
            ("/sign-in?lang=de", "/sign-in?lang=de"),
            ("https://Login.example.com", "https://login.example.com/"),
            ("https://login.example.com:443/in?a=b", "https://login.example.com/in?a=b"),
            ("http://localhost:3000/#", ""),
        ] {
            assert_eq!(page(text).unwrap_or_default(), expected, "{text}");
        }
        for text in [
            "",
            "sign-in",
            "//evil.example",
            "/\\evil",
            "ftp://a/",
            "https://",
            "https://a b/",
            "/a#b",
            "/ä",
            "/a/../b",
        ] {
            assert!(page(text).is_err(), "{text}");
        }
    }

    #[test]
    fn servers() {
        for (text, printed) in [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("https://App.internal", "https://app.internal:443"),
            ("http://[::1]", "http://[::1]:80"),
            ("http://[::1]:81", "http://[::1]:81"),
        ] {
            assert_eq!(server(text).map(|server| server.to_string()).as_deref(), Ok(printed));
        }
        for text in [
            "127.0.0.1:3000",
            "http://a/",
            "http://a/x",
            "http://a?x",
            "http://u@a",
            "http://a:0",
            "http://a:x",
            "http://a:+1",
            "http://",
            "http://:80",
            "ftp://a",
            "HTTP://a",
            "http://a:70000",
            "http://[::1]x",
            "http://::1",
        ] {
            assert!(server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn origins_print_as_browsers_send_them() {
        for text in ["https://a.example", "http://localhost:5173", "http://[::1]:80", "https://a:443"] {
            let printed = origin(text).unwrap().to_string();
            assert_eq!(printed, text.trim_end_matches(":80").trim_end_matches(":443"));
        }
        assert!(origin("*").is_err() && origin("null").is_err() && origin("https://a/").is_err());
    }

    #[test]
    fn web_views_have_schemes_of_their_own() {
        for text in [
            "capacitor://localhost",
            "ionic://localhost",
            "tauri://localhost",
            "app+v2.x-1://my-app:8080",
            "http://localhost",
            "https://localhost",
            "http://localhost:8100",
        ] {
            assert_eq!(web_view_origin(text).as_deref(), Ok(text));
        }
        assert_eq!(web_view_origin("https://localhost:443").as_deref(), Ok("https://localhost"));
        assert_eq!(web_view_origin("capacitor://LocalHost").as_deref(), Ok("capacitor://localhost"));
        for text in [
            "*",
            "null",
            "",
            "localhost",
            "file://",
            "file://localhost",
            "://localhost",
            "Capacitor://localhost",
            "1app://localhost",
            "a b://localhost",
            "capacitor://",
            "capacitor://*",
            "capacitor://localhost/",
            "capacitor://localhost?x",
            "capacitor://u:p@localhost",
            "capacitor://a://b",
            "javascript:alert(1)",
            "data:text/html,x",
        ] {
            assert!(web_view_origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn redis_urls() {
        let url = redis("rediss://us%40er:p%3Aw@[::1]:7000/3").ok().unwrap();
        assert!(url.tls && url.host == "::1" && url.port == 7000 && url.database == 3);
        assert_eq!(url.username.as_deref(), Some("us@er"));
        assert_eq!(url.password.unwrap().expose_secret(), "p:w");
        let url = redis("redis://:secret@cache").ok().unwrap();
        assert!(!url.tls && url.port == 6379 && url.database == 0 && url.username.is_none() && url.password.is_some());
        for text in [
            "cache:6379",
            "redis://",
            "redis://a/x",
            "redis://a?b",
            "redis://%@a",
            "redis://%+1@a",
            "unix:///x",
            "redis://a:b",
        ] {
            let wrong = redis(text).err().unwrap();
            assert!(!wrong.is_empty());
        }
    }
}
