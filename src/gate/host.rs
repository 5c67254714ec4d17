//! Reading which host a request is for.
//!
//! What must never happen in here: two readers of one request see two hosts.

use std::borrow::Cow;

/// The host that a request is for, without its port, in lower case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host<'a> {
    name: Cow<'a, str>,
    /// As it was sent, with the port: what an `Origin` is compared with.
    authority: &'a str,
}

impl<'a> Host<'a> {
    /// Reads `host [":" port]` (RFC 9110 section 7.2). None if it is not plainly that: user information, a trailing dot,
    /// percent-encoding and everything that a reader could take for a list or a path are refused.
    pub fn read(authority: &'a [u8]) -> Option<Host<'a>> {
        let authority = std::str::from_utf8(authority).ok()?;
        let (name, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (address, after) = rest.split_once(']')?;
                address.parse::<std::net::Ipv6Addr>().ok()?;
                let name = &authority[..address.len() + 2];
                (name, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
            }
            // Byte by byte: hosts are too short for a search that has to be prepared.
            None => match authority.bytes().position(|byte| byte == b':') {
                Some(colon) => (&authority[..colon], Some(&authority[colon + 1..])),
                None => (authority, None),
            },
        };
        if !(name.starts_with('[') || is_name(name.as_bytes())) || port.is_some_and(|port| !is_port(port)) {
            return None;
        }
        let name = match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(name.to_ascii_lowercase()),
            false => Cow::Borrowed(name),
        };
        Some(Host { name, authority })
    }

    /// The name or address, in lower case, without the port.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Is `origin` (RFC 6454 section 6.2) this host, reached by `scheme`? Default ports may be left out on either side.
    pub fn is_origin(&self, scheme: &str, origin: &str) -> bool {
        let Some(origin) = origin.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")) else {
            return false;
        };
        let default_port = if scheme == "https" { ":443" } else { ":80" };
        let without_default = |authority: &'a str| authority.strip_suffix(default_port).unwrap_or(authority);
        let ours = without_default(self.authority);
        let theirs = origin.strip_suffix(default_port).unwrap_or(origin);
        ours.eq_ignore_ascii_case(theirs)
    }
}

/// Labels of letters, digits, `-` and `_`, none of them empty, with dots between them.
fn is_name(name: &[u8]) -> bool {
    let mut label_bytes = 0;
    let is_well_formed = name.iter().all(|byte| match byte {
        b'.' => std::mem::take(&mut label_bytes) > 0,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => {
            label_bytes += 1;
            true
        }
        _ => false,
    });
    is_well_formed && label_bytes > 0 && name.len() <= 253
}

/// Digits alone: the standard library also takes `+80`.
fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_hosts_are_read() {
        for (authority, name) in [
            ("example.com", "example.com"),
            ("Example.COM:8443", "example.com"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:8080", "[::1]"),
            ("[::1]", "[::1]"),
            ("my_app", "my_app"),
        ] {
            assert_eq!(Host::read(authority.as_bytes()).unwrap().name(), name, "{authority}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for authority in [
            "",
            ":80",
            "example.com.",
            "a..b",
            ".a",
            "user@example.com",
            "example.com:",
            "example.com:http",
            "a:1:2",
            "example.com:99999",
            "example.com:+80",
            "a,b",
            "a b",
            "a/b",
            "a%2eb",
            "a\\b",
            "[::1",
            "[::1]x",
            "[a]",
            "ex\u{e4}mple.com",
            "a\0",
        ] {
            assert_eq!(Host::read(authority.as_bytes()), None, "{authority:?}");
        }
    }

    #[test]
    fn origins_are_compared_with_scheme_and_port() {
        for (authority, scheme, origin, same) in [
            ("app.example.com", "https", "https://app.example.com", true),
            ("app.example.com:443", "https", "https://app.example.com", true),
            ("app.example.com", "https", "https://app.example.com:443", true),
            ("127.0.0.1:8080", "http", "http://127.0.0.1:8080", true),
            ("app.example.com", "https", "http://app.example.com", false),
            ("app.example.com", "https", "https://app.example.com:8443", false),
            ("app.example.com", "https", "https://evil.example.com", false),
            ("app.example.com", "https", "https://app.example.com.evil.com", false),
            ("app.example.com", "https", "null", false),
            ("app.example.com", "https", "", false),
        ] {
            assert_eq!(
                Host::read(authority.as_bytes()).unwrap().is_origin(scheme, origin),
                same,
                "{authority} {origin}"
            );
        }
    }
}
