//! Reading which host a request is for.
//!
//! What must never happen in here: two readers of one request see two hosts.

use std::borrow::Cow;

/// The host that a request is for, without its port, in lower case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host<'a> {
    name: Cow<'a, [u8]>,
    /// As it was sent, with the port: what an `Origin` is compared with.
    authority: &'a [u8],
}

/// What a byte may be in a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Plain,
    Upper,
    Dot,
    Colon,
    Other,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Other; 256];
    let mut byte = 0;
    while byte < classes.len() {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => Class::Plain,
            b'A'..=b'Z' => Class::Upper,
            b'.' => Class::Dot,
            b':' => Class::Colon,
            _ => Class::Other,
        };
        byte += 1;
    }
    classes
};

impl<'a> Host<'a> {
    /// Reads `host [":" port]` (RFC 9110 section 7.2). None if it is not plainly that: user information, a trailing dot,
    /// percent-encoding and everything that a reader could take for a list or a path are refused.
    pub fn read(authority: &'a [u8]) -> Option<Host<'a>> {
        let (name_bytes, has_upper_case) = match authority {
            [b'[', rest @ ..] => (address_length(rest)? + 2, rest.iter().any(u8::is_ascii_uppercase)),
            _ => name_length(authority)?,
        };
        let (name, rest) = authority.split_at_checked(name_bytes)?;
        match rest {
            [] => {}
            [b':', port @ ..] if is_port(port) => {}
            _ => return None,
        }
        let name = match has_upper_case {
            true => Cow::Owned(name.to_ascii_lowercase()),
            false => Cow::Borrowed(name),
        };
        Some(Host { name, authority })
    }

    /// The name or address, in lower case, without the port.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Is `origin` (RFC 6454 section 6.2) this host, reached by `scheme`? Default ports may be left out on either side.
    pub fn is_origin(&self, scheme: &str, origin: &str) -> bool {
        let Some(origin) = origin.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")) else {
            return false;
        };
        let default_port: &[u8] = if scheme == "https" { b":443" } else { b":80" };
        let ours = self.authority.strip_suffix(default_port).unwrap_or(self.authority);
        let theirs = origin.as_bytes().strip_suffix(default_port).unwrap_or(origin.as_bytes());
        ours.eq_ignore_ascii_case(theirs)
    }
}

/// How long the name is at the start of an authority, and whether it has upper-case letters. Labels of letters, digits, `-` and
/// `_`, none of them empty, with dots between them.
fn name_length(authority: &[u8]) -> Option<(usize, bool)> {
    let (mut before, mut has_upper_case) = (Class::Dot, false);
    let mut length = authority.len();
    for (at, &byte) in authority.iter().enumerate() {
        let class = CLASSES[usize::from(byte)];
        match class {
            Class::Plain => {}
            Class::Upper => has_upper_case = true,
            Class::Dot if before == Class::Dot => return None,
            Class::Dot => {}
            Class::Colon => {
                length = at;
                break;
            }
            Class::Other => return None,
        }
        before = class;
    }
    (before != Class::Dot && length <= 253).then_some((length, has_upper_case))
}

/// How long the IPv6 address is that stands before a closing bracket.
fn address_length(rest: &[u8]) -> Option<usize> {
    let length = rest.iter().position(|&byte| byte == b']')?;
    std::str::from_utf8(&rest[..length]).ok()?.parse::<std::net::Ipv6Addr>().ok()?;
    Some(length)
}

/// Digits alone: the standard library also takes `+80`.
fn is_port(port: &[u8]) -> bool {
    let value = port.iter().try_fold(0_u32, |value, byte| {
        let value = value * 10 + u32::from(byte.is_ascii_digit().then(|| byte - b'0')?);
        (value <= u32::from(u16::MAX)).then_some(value)
    });
    !port.is_empty() && value.is_some()
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
            ("a:00065535", "a"),
            ("[::FFFF]", "[::ffff]"),
        ] {
            assert_eq!(Host::read(authority.as_bytes()).unwrap().name(), name.as_bytes(), "{authority}");
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
            "example.com:65536",
            "example.com:18446744073709551616",
            "[::1]:",
            "[\u{e4}]",
            "a.:80",
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
