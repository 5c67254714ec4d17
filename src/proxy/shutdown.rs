//! Leaving: as soon as nothing is under way, and at once when told twice.
//!
//! After a hand-over nobody waits for this process to end, so its idle connections are not cut: the next request on each is
//! answered, with `Connection: close`. Who speaks HTTP/2 has been told to go (GOAWAY).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tracing::{info, warn};

/// Counts what is under way.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicUsize,
    connections: AtomicUsize,
    is_handed_over: AtomicBool,
    handed_over: Notify,
}

/// One request that is under way.
#[derive(Debug)]
pub struct Flying {
    all: Arc<Counts>,
    others: usize,
}

/// One open connection.
#[derive(Debug)]
pub(super) struct Connected(Arc<Counts>);

impl InFlight {
    /// One more request, until the returned value is dropped.
    pub fn begin(&self) -> Flying {
        let others = self.0.requests.fetch_add(1, Ordering::Relaxed);
        Flying { all: Arc::clone(&self.0), others }
    }

    /// One more connection, until the returned value is dropped.
    pub(super) fn connected(&self) -> Connected {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        Connected(Arc::clone(&self.0))
    }

    /// Another process accepts from now on: this one finishes what it has, and leaves.
    pub fn hand_over(&self) {
        self.0.is_handed_over.store(true, Ordering::Release);
        self.0.handed_over.notify_one();
    }

    /// Does another process accept?
    pub fn is_handed_over(&self) -> bool {
        self.0.is_handed_over.load(Ordering::Acquire)
    }

    fn is_idle(&self) -> bool {
        self.0.requests.load(Ordering::Relaxed) == 0
    }

    fn has_connections(&self) -> bool {
        self.0.connections.load(Ordering::Relaxed) > 0
    }
}

impl Flying {
    /// How many others were under way when this one began.
    pub(super) fn others(&self) -> usize {
        self.others
    }
}

impl Drop for Flying {
    fn drop(&mut self) {
        self.all.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Listens for the signals that end the process. Pingora's own watch would drain for all of its grace period even when idle.
pub struct Signals {
    in_flight: InFlight,
    drain: Duration,
    draining: Box<dyn Fn() + Send + Sync>,
    replace: Box<dyn Fn() + Send + Sync>,
}

impl Signals {
    /// Drains for at most `drain`, and calls `draining` when that begins. SIGUSR2 calls `replace`: it starts the process
    /// that is to take over.
    pub fn new(
        in_flight: InFlight,
        drain: Duration,
        draining: impl Fn() + Send + Sync + 'static,
        replace: impl Fn() + Send + Sync + 'static,
    ) -> Signals {
        Signals { in_flight, drain, draining: Box::new(draining), replace: Box::new(replace) }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::user_defined2()];
        let [Ok(mut terminate), Ok(mut interrupt), Ok(mut replace)] = kinds.map(signal) else {
            warn!("signals cannot be listened for; the process can only be killed");
            return std::future::pending().await;
        };
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                () = self.in_flight.0.handed_over.notified() => break,
                _ = replace.recv() => (self.replace)(),
            }
        }
        info!("leaving: no new connections, up to {:?} for the requests under way", self.drain);
        (self.draining)();
        tokio::spawn(leave(terminate, interrupt, self.in_flight.clone(), self.drain));
        ShutdownSignal::GracefulTerminate
    }
}

/// For so long nothing has to be under way before the process ends: requests that have arrived may not have been read yet,
/// and the last frames and lines of the log not written.
const SETTLED: Duration = Duration::from_millis(100);

/// The same after a hand-over, when nobody waits for the end: a TLS handshake that has begun is to be finished, too.
const SETTLED_IN_PEACE: Duration = Duration::from_secs(1);

/// Every commit is durable before it is acknowledged, so the process can end at any moment.
async fn leave(mut terminate: Signal, mut interrupt: Signal, in_flight: InFlight, drain: Duration) {
    let deadline = Instant::now() + drain;
    // Nobody waits for it, until somebody does.
    let mut in_peace = in_flight.is_handed_over();
    let mut busy_at = Instant::now();
    let code = loop {
        let settled = if in_peace { SETTLED_IN_PEACE } else { SETTLED };
        if busy_at.elapsed() >= settled || Instant::now() >= deadline {
            break 0;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
            _ = terminate.recv() => if in_peace { in_peace = false } else { break 1 },
            _ = interrupt.recv() => if in_peace { in_peace = false } else { break 1 },
        }
        if !in_flight.is_idle() || (in_peace && in_flight.has_connections()) {
            busy_at = Instant::now();
        }
    };
    std::process::exit(code);
}
