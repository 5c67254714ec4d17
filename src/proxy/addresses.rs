//! What each address holds and asks for: its open connections, and the rate of its requests.
//!
//! Both are kept in tables of a fixed size, whose cells are found by a keyed hash, so that memory is bounded whatever a
//! stranger does, nothing is ever searched, swept or locked, and a request costs one hash and two atomic operations. Each
//! address has two cells, one in each row, and is refused only if both are full. A cell may be shared, which can only fill
//! it sooner: so nobody gets more than the limit, and somebody gets less only if others have filled both of its cells.
//! Whoever fills the cells of M addresses hits both of a given other with the probability (M / 32,768)², and cannot aim, as
//! the key is drawn at start: with 50 addresses, at 1,000 requests a second each, one bystander in 400,000 is refused.
//!
//! What must never happen in here: a lock, an allocation for an address, an address in plain that others can read out.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Cells in a row, a power of two.
const CELLS: usize = 1 << 15;

/// So many at once, and so many again in each period after that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In what time.
    pub period: Duration,
}

/// Connections and requests by address.
pub struct Addresses {
    key: RandomState,
    since: Instant,
    /// Open connections.
    connections: Rows<AtomicU32>,
    /// GCRA (ITU-T I.371): when the budget is whole again, in nanoseconds since `since`.
    requests: Rows<AtomicU64>,
}

/// The cells of both rows. They are made when the first one is asked for, so that a limit that is off takes no memory.
struct Rows<T>(OnceLock<[Box<[T]>; 2]>);

/// An open connection of an address. It counts until this is dropped.
pub(super) struct Connected {
    addresses: Arc<Addresses>,
    places: [usize; 2],
}

impl Addresses {
    /// Nobody has asked for anything.
    pub fn new() -> Addresses {
        Addresses {
            key: RandomState::new(),
            since: Instant::now(),
            connections: Rows(OnceLock::new()),
            requests: Rows(OnceLock::new()),
        }
    }

    /// One connection more of this address, unless it has `most` already.
    pub(super) fn connect(self: &Arc<Addresses>, address: IpAddr, most: u32) -> Option<Connected> {
        // Dropped when there are too many: then it was never there.
        let connected = Connected { addresses: Arc::clone(self), places: self.places(address) };
        let mut fits = false;
        for cell in connected.cells() {
            fits |= cell.fetch_add(1, Ordering::Relaxed) < most;
        }
        fits.then_some(connected)
    }

    /// One request more of this address, or how long it has to wait.
    pub(super) fn request(&self, address: IpAddr, now: Instant, rate: Rate) -> Result<(), Duration> {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let now = nanos(now.saturating_duration_since(self.since));
        let (interval, latest) = (nanos(rate.period) / u64::from(rate.count.max(1)), now + nanos(rate.period));
        let mut wait = u64::MAX;
        for cell in self.requests.cells(self.places(address)) {
            // Both are charged, whichever lets it pass.
            let charged = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |whole_at| {
                // Another rate may have been in force before.
                Some(whole_at.min(latest).max(now) + interval).filter(|whole_at| *whole_at <= latest)
            });
            wait = wait.min(charged.map_or_else(|whole_at| (whole_at + interval).saturating_sub(latest), |_| 0));
        }
        if wait == 0 { Ok(()) } else { Err(Duration::from_nanos(wait)) }
    }

    /// Who has an IPv6 address has 2^64 of them (RFC 6177): they are one.
    fn places(&self, address: IpAddr) -> [usize; 2] {
        // One number, as that is hashed at once. Those of IPv4 are in a network of IPv6 that nobody is in (RFC 4291 section 2.5.5).
        let network = match address.to_canonical() {
            IpAddr::V4(address) => 0xffff << 32 | u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        };
        let hash = self.key.hash_one(network);
        [hash as usize % CELLS, (hash >> 32) as usize % CELLS]
    }
}

impl<T: Default> Rows<T> {
    fn cells(&self, [first, second]: [usize; 2]) -> [&T; 2] {
        let rows = self.0.get_or_init(|| [(); 2].map(|()| (0..CELLS).map(|_| T::default()).collect()));
        [&rows[0][first], &rows[1][second]]
    }
}

impl Default for Addresses {
    fn default() -> Addresses {
        Addresses::new()
    }
}

impl Connected {
    fn cells(&self) -> [&AtomicU32; 2] {
        self.addresses.connections.cells(self.places)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        for cell in self.cells() {
            cell.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn connections_count_until_they_are_dropped() {
        let addresses = Arc::new(Addresses::new());
        let mut open: Vec<_> = (0..3).map(|_| addresses.connect(ip("192.0.2.1"), 3).expect("it fits")).collect();
        for _ in 0..10 {
            assert!(addresses.connect(ip("192.0.2.1"), 3).is_none());
        }
        open.pop();
        open.push(addresses.connect(ip("::ffff:192.0.2.1"), 3).expect("the same address, written otherwise"));
        assert!(addresses.connect(ip("192.0.2.1"), 3).is_none());
        drop(open);
        let rows = addresses.connections.0.get().expect("somebody was connected");
        assert!(rows.iter().flatten().all(|cell| cell.load(Ordering::Relaxed) == 0));
        assert!(addresses.requests.0.get().is_none(), "a limit that is off takes no memory");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let addresses = Arc::new(Addresses::new());
        let _first = addresses.connect(ip("2001:db8:0:1::1"), 1).expect("it fits");
        assert!(addresses.connect(ip("2001:db8:0:1:ffff::2"), 1).is_none());
        let others = (2..200).filter(|net| addresses.connect(ip(&format!("2001:db8:0:{net:x}::1")), 1).is_some());
        assert_eq!(others.count(), 198);
    }

    #[test]
    fn requests_pass_at_the_rate_and_as_many_at_once() {
        let addresses = Addresses::new();
        let rate = Rate { count: 10, period: Duration::from_secs(1) };
        let start = Instant::now();
        let passed = |after_ms: u64, tries: usize| {
            let now = start + Duration::from_millis(after_ms);
            (0..tries).filter(|_| addresses.request(ip("192.0.2.1"), now, rate).is_ok()).count()
        };
        assert_eq!(passed(0, 50), 10);
        assert_eq!(passed(99, 50), 0);
        assert_eq!(passed(250, 50), 2);
        assert_eq!((0..100).map(|round| passed(5000 + round * 100, 3)).sum::<usize>(), 10 + 99);
        let wait = addresses.request(ip("192.0.2.1"), start + Duration::from_millis(14_900), rate);
        assert!(wait.is_err_and(|wait| wait <= Duration::from_millis(100)), "{wait:?}");
        assert!(addresses.request(ip("192.0.2.2"), start, rate).is_ok(), "others have budgets of their own");
    }

    #[test]
    fn a_flood_from_many_addresses_leaves_others_alone() {
        let addresses = Addresses::new();
        let rate = Rate { count: 5, period: Duration::from_secs(1) };
        let now = Instant::now();
        for flooding in 0..50 {
            while addresses.request(ip(&format!("198.51.100.{flooding}")), now, rate).is_ok() {}
        }
        let bystanders = (0..10_000_u32).map(|number| IpAddr::from((0x0a00_0000 + number).to_be_bytes()));
        let refused = bystanders.filter(|&address| addresses.request(address, now, rate).is_err()).count();
        // One in 400,000 is expected; their own requests, one in each of 10,000 cells, fill none.
        assert!(refused <= 1, "{refused} of 10,000 bystanders were refused");
    }
}
