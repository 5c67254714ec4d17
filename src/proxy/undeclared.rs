//! Notices a load balancer in front of us that is not among the `trusted_proxies`: all its users are one address to us, and
//! would share one limit.
//!
//! Anybody can write `X-Forwarded-For`, so this decides nothing: it says so in the log, once for each peer and for few peers.
//!
//! What must never happen in here: a request waits, or what a stranger writes fills the memory or the log.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use http::header::FORWARDED;
use http::{HeaderMap, HeaderName};
use tracing::warn;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// So many different clients behind one peer are several.
const CLIENTS: usize = 3;
/// So many peers are kept an eye on. When there are more, all are forgotten and it begins anew.
const PEERS: usize = 1024;
/// So many are named. Then nobody looks any more.
const NAMED: usize = 16;
/// One request in so many is looked at on each thread: a load balancer sends enough of them.
const EVERY: u32 = 8;

thread_local! {
    static REQUESTS: Cell<u32> = const { Cell::new(0) };
}

/// The peers that speak for others.
pub struct Undeclared {
    /// Hashes of the clients that each has named.
    peers: Mutex<HashMap<IpAddr, Vec<u64>, RandomState>>,
    named: AtomicUsize,
    hash: RandomState,
}

impl Undeclared {
    /// Nobody has been seen.
    pub fn new() -> Undeclared {
        Undeclared { peers: Mutex::default(), named: AtomicUsize::new(0), hash: RandomState::default() }
    }

    /// Looks at a request whose peer is no trusted proxy, now and then.
    pub(super) fn look(&self, peer: IpAddr, headers: &HeaderMap) {
        let number = REQUESTS.replace(REQUESTS.get().wrapping_add(1));
        if number.is_multiple_of(EVERY) && self.is_news(peer, headers) {
            let peer = peer.to_canonical();
            warn!(
                %peer,
                "{peer} sends requests for several clients (X-Forwarded-For or Forwarded) and is not trusted: all of them \
                 count as one address, for `limits.requests_per_address`, `limits.connections_per_address` and attempts to \
                 log in; if it is a load balancer of yours, write `trusted_proxies: [{peer}]`"
            );
        }
    }

    /// Is this the request that gives a peer away?
    fn is_news(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        if self.named.load(Ordering::Relaxed) >= NAMED {
            return false;
        }
        // The last one: what comes before it, the client may have written.
        let field = headers.get_all(&X_FORWARDED_FOR).iter().next_back();
        let Some(field) = field.or_else(|| headers.get_all(FORWARDED).iter().next_back()) else { return false };
        let client = field.as_bytes().rsplit(|&byte| byte == b',').next().unwrap_or_default().trim_ascii();
        let client = self.hash.hash_one(client);
        let Ok(mut peers) = self.peers.try_lock() else { return false };
        if peers.len() >= PEERS && !peers.contains_key(&peer) {
            peers.clear();
        }
        let clients = peers.entry(peer).or_default();
        if clients.len() >= CLIENTS || clients.contains(&client) {
            return false;
        }
        clients.push(client);
        clients.len() == CLIENTS && self.named.fetch_add(1, Ordering::Relaxed) < NAMED
    }
}

impl Default for Undeclared {
    fn default() -> Undeclared {
        Undeclared::new()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use http::HeaderValue;

    use super::*;

    fn news(undeclared: &Undeclared, peer: u32, name: HeaderName, field: &str) -> bool {
        let headers = HeaderMap::from_iter([(name, HeaderValue::from_str(field).expect("a field"))]);
        undeclared.is_news(IpAddr::V4(Ipv4Addr::from_bits(peer)), &headers)
    }

    #[test]
    fn a_peer_is_named_once_it_speaks_for_several() {
        let undeclared = Undeclared::new();
        let seen = |field: &str| news(&undeclared, 1, X_FORWARDED_FOR, field);
        assert!(!seen("192.0.2.1") && !seen("192.0.2.1") && !seen("198.51.100.7, 192.0.2.1"));
        assert!(!news(&undeclared, 1, FORWARDED, "for=192.0.2.2"));
        assert!(!news(&undeclared, 2, FORWARDED, "for=192.0.2.3"), "each peer for itself");
        assert!(seen("192.0.2.3"));
        assert!((4..100).all(|client| !seen(&format!("192.0.2.{client}"))), "once");
        assert!(!undeclared.is_news(IpAddr::V4(Ipv4Addr::LOCALHOST), &HeaderMap::new()));
    }

    #[test]
    fn neither_memory_nor_log_can_be_filled() {
        let undeclared = Undeclared::new();
        let mut named = 0;
        for peer in 0..5000 {
            for client in 0..CLIENTS {
                named += usize::from(news(&undeclared, peer, X_FORWARDED_FOR, &client.to_string()));
            }
            assert!(undeclared.peers.lock().expect("not poisoned").len() <= PEERS);
        }
        assert_eq!(named, NAMED);
    }
}
