//! What names may look like: hosts, paths in rules, header fields, methods, roles, scopes.
//!
//! Each reader returns the checked name, or what is wrong and what to write instead, to be put after the quoted text.

use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderName, Method};

use super::checked::HostPattern;

/// The name of a route or upstream: a label of metrics, so plain.
pub(super) fn label(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.len() <= 64 && !text.is_empty() && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err("cannot be a name; write at most 64 of: letters a-z, digits, `-`, `_`, `.`".into())
}

/// A host without a port, as it is compared: in lower case; an IPv6 address in brackets.
pub(super) fn host(text: &str) -> Result<String, String> {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address = inner.parse::<Ipv6Addr>().map_err(|_| "has no IPv6 address between its brackets".to_owned())?;
        return Ok(format!("[{address}]"));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("is an IPv6 address; write it in brackets: `[{text}]`"));
    }
    if text.contains("://") || text.contains('/') {
        return Err("is more than a host; write the name alone, such as `app.example.com`".into());
    }
    if text.contains(':') {
        return Err("has a port; write the host alone, such as `app.example.com`".into());
    }
    if !text.is_ascii() {
        return Err("has letters that no request has in its host; write the name in its ASCII form (`xn--…`)".into());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let labels_fit = text.split('.').all(|label| (1..=63).contains(&label.len()) && label.chars().all(plain));
    if text.len() > 253 || !labels_fit {
        return Err("is no host name; write one such as `app.example.com`".into());
    }
    let all_numeric = text.split('.').next_back().is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()));
    if all_numeric && text.parse::<IpAddr>().is_err() {
        return Err("is neither a host name nor an IPv4 address".into());
    }
    Ok(text.to_ascii_lowercase())
}

/// A host, or `*.` and the end of a host.
pub(super) fn host_pattern(text: &str) -> Result<HostPattern, String> {
    let Some(suffix) = text.strip_prefix("*.") else {
        if text.contains('*') {
            return Err("has a `*` where it means nothing; write `*.example.com` for all hosts below example.com, \
                        or leave the host out for every host"
                .into());
        }
        return host(text).map(HostPattern::Exact);
    };
    let suffix = host(suffix)?;
    if suffix.starts_with('[') || suffix.parse::<IpAddr>().is_ok() {
        return Err("is an address, and nothing is below an address; write it without `*.`".into());
    }
    Ok(HostPattern::Suffix(format!(".{suffix}")))
}

/// A path that requests are compared with. Requests that two readers could read differently are refused, so a rule that only
/// they could match is a mistake.
pub(super) fn rule_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("does not start with `/`; write `/{text}`"));
    }
    for (bad, why) in [
        ("%", "is compared with what is written, and has no `%`; write a path of plain characters"),
        ("//", "has `//`, which is refused in requests; write a single `/`"),
        (";", "has `;`, which is refused in requests; write the path without it"),
        ("?", "has a query, which is no part of the path; write the path alone"),
        ("#", "has a fragment, which is never sent; write the path alone"),
        ("*", "has a `*`; a `path_prefix` is for everything below it without one"),
        ("\\", "has `\\`, which is refused in requests; write `/`"),
    ] {
        if text.contains(bad) {
            return Err(why.into());
        }
    }
    if text.split('/').any(|segment| segment == "." || segment == "..") {
        return Err("has a segment `.` or `..`, which is refused in requests; write the path that it stands for".into());
    }
    // RFC 3986 section 3.3: pchar and `/`, without what was refused above.
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~!$&'()+,=:@".contains(c);
    if !text.chars().all(plain) {
        return Err(
            "has characters that no path has; write letters, digits and any of -._~!$&'()+,=:@ between `/`".into()
        );
    }
    Ok(text.to_owned())
}

/// Fields that have a meaning to the connection, to the message, to caches or to us. None of them can say who somebody is.
const TAKEN_FIELDS: &[&str] = &[
    "accept",
    "accept-encoding",
    "age",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

/// A header field (RFC 9110 section 5.1).
pub(super) fn field(text: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| "is no header field name; write letters, digits and `-`, such as `X-Auth-Subject`".into())
}

/// A header field that carries what we put there, or our token.
pub(super) fn own_field(text: &str) -> Result<HeaderName, String> {
    let name = field(text)?;
    if name.as_str() == "authorization" || TAKEN_FIELDS.contains(&name.as_str()) {
        return Err("has a meaning of its own; write a field of your own, such as `X-Auth-Subject`".into());
    }
    if !name.as_str().chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err("can be read as another field by some apps; write letters, digits and `-` only \
                    (an app that reads `X_AUTH_USER` gets it from `X-Auth-User`)"
            .into());
    }
    Ok(name)
}

/// A method (RFC 9110 section 9).
pub(super) fn method(text: &str) -> Result<Method, String> {
    let upper = text.to_ascii_uppercase();
    if ["TRACE", "CONNECT"].contains(&upper.as_str()) {
        return Err("is never forwarded; remove it".into());
    }
    if upper != text {
        return Err(format!("is not how methods are written; write `{upper}`"));
    }
    Method::from_bytes(text.as_bytes()).map_err(|_| "is no method; write one such as `GET`".into())
}

/// A role. Roles are sent joined by commas.
pub(super) fn role(text: &str) -> Result<String, String> {
    if text.contains(',') || text.chars().any(char::is_control) || text.trim() != text {
        return Err("cannot be a role: no commas, no control characters, no spaces around it".into());
    }
    Ok(text.to_owned())
}

/// A scope (RFC 6749 section 3.3).
pub(super) fn scope(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
    if text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err("cannot be a scope; write one scope an entry, without spaces, quotes or backslashes".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (text, expected) in [
            ("App.Example.com", "app.example.com"),
            ("localhost", "localhost"),
            ("10.0.0.1", "10.0.0.1"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(host(text).as_deref(), Ok(expected));
        }
        for text in
            ["a:80", "::1", "[x]", "a..b", ".a", "a.", "*", "*.a", "ä.de", "http://a", "a/b", "a b", "1.2.3", "a.256"]
        {
            assert!(host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn host_patterns() {
        assert_eq!(host_pattern("*.Example.com"), Ok(HostPattern::Suffix(".example.com".into())));
        for text in ["*", "*.", "a.*.com", "*a.com", "*.*.com", "*.10.0.0.1", "*.[::1]"] {
            assert!(host_pattern(text).is_err(), "{text}");
        }
    }

    #[test]
    fn paths_that_a_request_can_have() {
        for text in ["/", "/a", "/a/b.c", "/a/", "/~x/y-z_1", "/.well-known/x", "/a...b", "/..."] {
            assert_eq!(rule_path(text).as_deref(), Ok(text));
        }
        for text in [
            "", "a", "/a/../b", "/.", "/a/..", "//a", "/a%2fb", "/a;b", "/a?b", "/a#b", "/a*", "/a b", "/ä", "/a\\b",
            "/a|b",
        ] {
            assert!(rule_path(text).is_err(), "{text}");
        }
    }

    #[test]
    fn fields_that_can_carry_an_identity() {
        for text in ["X-WEBAUTH-USER", "Remote-User", "X-Forwarded-User"] {
            assert!(own_field(text).is_ok(), "{text}");
        }
        for text in ["Host", "Connection", "Authorization", "X_User", "X.User", "a b", "", "Cookie", "X-Forwarded-For"]
        {
            assert!(own_field(text).is_err(), "{text}");
        }
    }

    #[test]
    fn roles_scopes_methods() {
        assert!(role("team admins").is_ok() && role("a,b").is_err() && role("a\n").is_err());
        assert!(scope("read:all").is_ok() && scope("a b").is_err() && scope("a\"").is_err());
        assert!(
            method("PURGE").is_ok() && method("get").is_err() && method("TRACE").is_err() && method("G ET").is_err()
        );
    }
}
