//! Leaving: as soon as nothing is under way, and at once when told twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// Counts the requests that are under way.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<AtomicUsize>);

/// One request that is under way.
#[derive(Debug)]
pub struct Flying {
    all: Arc<AtomicUsize>,
    others: usize,
}

impl InFlight {
    /// One more, until the returned value is dropped.
    pub fn begin(&self) -> Flying {
        let others = self.0.fetch_add(1, Ordering::Relaxed);
        Flying { all: Arc::clone(&self.0), others }
    }

    fn is_idle(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
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
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Listens for the signals that end the process. Pingora's own watch would drain for all of its grace period even when idle.
pub struct Signals {
    in_flight: InFlight,
    drain: Duration,
    draining: Box<dyn Fn() + Send + Sync>,
}

impl Signals {
    /// Drains for at most `drain`, and calls `draining` when that begins.
    pub fn new(in_flight: InFlight, drain: Duration, draining: impl Fn() + Send + Sync + 'static) -> Signals {
        Signals { in_flight, drain, draining: Box::new(draining) }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let signals = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
        let [Ok(mut terminate), Ok(mut interrupt)] = signals else {
            warn!("signals cannot be listened for; the process can only be killed");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
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

/// Every commit is durable before it is acknowledged, so the process can end at any moment.
async fn leave(mut terminate: Signal, mut interrupt: Signal, in_flight: InFlight, drain: Duration) {
    let deadline = Instant::now() + drain;
    let drained = async {
        let mut busy_at = Instant::now();
        while busy_at.elapsed() < SETTLED && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if !in_flight.is_idle() {
                busy_at = Instant::now();
            }
        }
    };
    let code = tokio::select! {
        () = drained => 0,
        _ = terminate.recv() => 1,
        _ = interrupt.recv() => 1,
    };
    std::process::exit(code);
}
