//! One address of a server: what is known of it, and how busy it is.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pingora::upstreams::peer::HttpPeer;

use super::ejection::Record;

/// How many checks in a row must fail until a server is down.
const FAILURES_UNTIL_DOWN: u8 = 2;

/// Set in a state beside [`State`]: requests to it failed one after the other.
const EJECTED: u8 = 0x80;

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

impl State {
    fn of(bits: u8) -> State {
        match bits & !EJECTED {
            up if up == State::Up as u8 => State::Up,
            suspect if suspect == State::Suspect as u8 => State::Suspect,
            _ => State::Down,
        }
    }
}

/// One address of a server.
pub(super) struct Endpoint {
    /// The server's number in its upstream.
    pub(super) server: usize,
    pub(super) address: SocketAddr,
    pub(super) peer: HttpPeer,
    /// A [`State`], and perhaps [`EJECTED`]: 0 means that nothing speaks against it.
    state: AtomicU8,
    /// Failed checks in a row.
    failed_checks: AtomicU8,
    /// Failed requests in a row.
    failures: AtomicU32,
    busy: AtomicUsize,
    /// Nobody waits for it: it is for the one task that judges.
    record: Mutex<Record>,
}

impl Endpoint {
    pub(super) fn new(server: usize, address: SocketAddr, peer: HttpPeer) -> Endpoint {
        Endpoint {
            server,
            address,
            peer,
            state: AtomicU8::new(State::Up as u8),
            failed_checks: AtomicU8::new(0),
            failures: AtomicU32::new(0),
            busy: AtomicUsize::new(0),
            record: Mutex::default(),
        }
    }

    /// Takes over what was known of the same address before a reload.
    pub(super) fn inherit(&self, old: &Endpoint) {
        self.state.store(old.state.load(Ordering::Relaxed), Ordering::Relaxed);
        self.failed_checks.store(old.failed_checks.load(Ordering::Relaxed), Ordering::Relaxed);
        self.failures.store(old.failures_in_a_row(), Ordering::Relaxed);
        *self.record() = old.record().clone();
    }

    pub(super) fn state(&self) -> State {
        State::of(self.state.load(Ordering::Relaxed))
    }

    /// Nothing speaks against it.
    pub(super) fn is_able(&self) -> bool {
        self.state.load(Ordering::Relaxed) == State::Up as u8
    }

    /// It may be tried if nothing better is left.
    pub(super) fn is_not_down(&self) -> bool {
        self.state() != State::Down
    }

    fn set_state(&self, state: State) -> State {
        let keep = |old: u8| Some(old & EJECTED | state as u8);
        // Err cannot be: there is always something to store.
        let (Ok(old) | Err(old)) = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, keep);
        State::of(old)
    }

    /// A request could not connect. True if that is news.
    pub(super) fn connect_failed(&self) -> bool {
        let doubt = |old: u8| (State::of(old) == State::Up).then_some(old & EJECTED | State::Suspect as u8);
        self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, doubt).is_ok()
    }

    /// It has been reached. True if that is news.
    pub(super) fn reached(&self) -> bool {
        self.failed_checks.store(0, Ordering::Relaxed);
        self.set_state(State::Up) != State::Up
    }

    /// A health check has failed. True if it is down from now on.
    pub(super) fn check_failed(&self) -> bool {
        let failures = self.failed_checks.load(Ordering::Relaxed).saturating_add(1);
        self.failed_checks.store(failures, Ordering::Relaxed);
        failures >= FAILURES_UNTIL_DOWN && self.set_state(State::Down) != State::Down
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.state.load(Ordering::Relaxed) & EJECTED != 0
    }

    pub(super) fn eject(&self) {
        self.state.fetch_or(EJECTED, Ordering::Relaxed);
    }

    /// Back to the others, with so many failures that still count.
    pub(super) fn take_back(&self, failures: u32) {
        self.failures.store(failures, Ordering::Relaxed);
        self.state.fetch_and(!EJECTED, Ordering::Relaxed);
    }

    pub(super) fn failures_in_a_row(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// One failure more. How many that are in a row.
    pub(super) fn count_failure(&self) -> u32 {
        self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// A request to it was answered. What came late from a server that is out changes nothing.
    pub(super) fn answered(&self) {
        // Mostly there is nothing to write, and reading does not take the line from other processors.
        if self.failures_in_a_row() != 0 && !self.is_ejected() {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests under way, where that is counted.
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
