//! Where a request really comes from, when it came through proxies that we trust.
//!
//! What must never happen in here: a field that a client could have written decides anything.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::head::Scheme;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The client, as far as we can tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Client {
    /// Its address: the peer's, or the nearest address in `X-Forwarded-For` that is not a trusted proxy.
    pub address: IpAddr,
    /// How it reached the outermost trusted proxy.
    pub scheme: Scheme,
    /// The peer is a trusted proxy: what it says about forwarding may be passed on.
    pub by_trusted_proxy: bool,
}

/// Reads who the client is.
pub fn client(peer: IpAddr, tls: bool, headers: &HeaderMap, trusted: &[IpNet]) -> Client {
    let peer = peer.to_canonical();
    let scheme = if tls { Scheme::Https } else { Scheme::Http };
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    if !is_trusted(&peer) {
        return Client { address: peer, scheme, by_trusted_proxy: false };
    }

    // From the nearest hop outwards, as long as the hop that reported the address is trusted.
    let mut address = peer;
    let fields: Vec<&[u8]> = headers.get_all(&X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
    // Bytes: what a client puts in front of what a proxy appends must not make all of it unreadable.
    for hop in fields.iter().rev().flat_map(|field| field.rsplit(|&byte| byte == b',')) {
        let Some(reported) = std::str::from_utf8(hop).ok().and_then(|hop| parse_hop(hop.trim())) else { break };
        address = reported;
        if !is_trusted(&address) {
            break;
        }
    }
    let mut protos = headers.get_all(&X_FORWARDED_PROTO).iter();
    let scheme = match (protos.next().map(|proto| proto.as_bytes()), protos.next()) {
        (Some(b"https"), None) => Scheme::Https,
        (Some(b"http"), None) => Scheme::Http,
        _ => scheme,
    };
    Client { address, scheme, by_trusted_proxy: true }
}

/// An address, with or without brackets and port.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let address = hop.parse::<IpAddr>().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    address.or_else(bracketed).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address_seen(peer: &str, forwarded_for: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for field in forwarded_for {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(field.as_bytes()).unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        client(peer.parse().unwrap(), false, &headers, &trusted).address.to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        for (peer, forwarded_for, seen) in [
            ("203.0.113.9", &["198.51.100.1"][..], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.0.0.7"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1", "198.51.100.1, 10.0.0.7"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, nonsense, 10.0.0.7"], "10.0.0.7"),
            ("10.0.0.1", &["\u{ff}, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, \u{ff}"], "10.0.0.1"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::1", &["198.51.100.1"], "198.51.100.1"),
        ] {
            assert_eq!(address_seen(peer, forwarded_for), seen, "{peer} {forwarded_for:?}");
        }
    }

    #[test]
    fn the_scheme_is_the_clients_only_when_a_trusted_proxy_says_so_once() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        headers.append(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
        let scheme = |peer: &str, headers: &HeaderMap| client(peer.parse().unwrap(), false, headers, &trusted).scheme;
        assert_eq!(scheme("10.0.0.1", &headers), Scheme::Https);
        assert_eq!(scheme("203.0.113.9", &headers), Scheme::Http);
        headers.append(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
        assert_eq!(scheme("10.0.0.1", &headers), Scheme::Http);
    }
}
