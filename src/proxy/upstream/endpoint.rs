//! One address of a server: what is known of it, and how busy it is.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use pingora::upstreams::peer::HttpPeer;

/// How many checks in a row must fail until a server is down.
const FAILURES_UNTIL_DOWN: u8 = 2;

/// What is known of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// It works, as far as is known.
    Up,
    /// A request could not connect to it. It gets requests only when no other is up, until it has been reached again.
    Suspect,
    /// Health checks failed. It gets no requests.
    Down,
}

/// One address of a server.
pub(super) struct Endpoint {
    /// The server's number in its upstream.
    pub(super) server: usize,
    pub(super) address: SocketAddr,
    pub(super) peer: HttpPeer,
    state: AtomicU8,
    /// Failed checks in a row.
    failures: AtomicU8,
    busy: AtomicUsize,
}

impl Endpoint {
    pub(super) fn new(server: usize, address: SocketAddr, peer: HttpPeer) -> Endpoint {
        Endpoint {
            server,
            address,
            peer,
            state: AtomicU8::new(State::Up as u8),
            failures: AtomicU8::new(0),
            busy: AtomicUsize::new(0),
        }
    }

    /// Takes over what is known of the address: a reload changes nothing about that.
    pub(super) fn inherit(&self, before: &Endpoint) {
        self.state.store(before.state.load(Ordering::Relaxed), Ordering::Relaxed);
        self.failures.store(before.failures.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    pub(super) fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            up if up == State::Up as u8 => State::Up,
            suspect if suspect == State::Suspect as u8 => State::Suspect,
            _ => State::Down,
        }
    }

    /// A request could not connect. True if that is news.
    pub(super) fn connect_failed(&self) -> bool {
        let (up, suspect) = (State::Up as u8, State::Suspect as u8);
        self.state.compare_exchange(up, suspect, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// It has been reached. True if that is news.
    pub(super) fn reached(&self) -> bool {
        self.failures.store(0, Ordering::Relaxed);
        self.state.swap(State::Up as u8, Ordering::Relaxed) != State::Up as u8
    }

    /// A health check has failed. True if it is down from now on.
    pub(super) fn check_failed(&self) -> bool {
        let failures = self.failures.load(Ordering::Relaxed).saturating_add(1);
        self.failures.store(failures, Ordering::Relaxed);
        failures >= FAILURES_UNTIL_DOWN && self.state.swap(State::Down as u8, Ordering::Relaxed) != State::Down as u8
    }

    /// Requests under way.
    pub(super) fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.busy.fetch_sub(1, Ordering::Relaxed);
    }
}
