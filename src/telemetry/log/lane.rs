//! A lane: lines of one kind on their way to the thread that writes them.
//!
//! Each kind has a lane, and so a budget of its own: a flood of requests costs lines of the access log, and none of the
//! audit log. Threads put lines into different parts of a lane, so that they do not meet; within a part lines keep their
//! order. What must never happen in here: a lock is held for longer than it takes to copy a line.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use super::writer::Waker;

/// A kind of lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// What the process says.
    Log,
    /// What an investigation would ask for.
    Audit,
    /// One line a request.
    Access,
}

impl Kind {
    /// All of them: what metrics are made of at start.
    pub const ALL: &[Kind] = &[Kind::Log, Kind::Audit, Kind::Access];

    /// Its name in metrics and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Log => "log",
            Kind::Audit => "audit",
            Kind::Access => "access",
        }
    }

    /// How many bytes wait for a slow reader before lines are lost.
    const fn bytes_max(self) -> usize {
        match self {
            Kind::Log | Kind::Audit => 4 << 20,
            Kind::Access => 16 << 20,
        }
    }

    /// Only requests come from many threads at once.
    fn parts(self) -> usize {
        match self {
            Kind::Log | Kind::Audit => 1,
            Kind::Access => std::thread::available_parallelism().map_or(1, |threads| threads.get().min(64)),
        }
    }
}

/// Takes lines, and waits for nobody who reads them.
pub(in crate::telemetry) struct Lane {
    kind: Kind,
    parts: Box<[Part]>,
    part_bytes_max: usize,
    lost: AtomicU64,
    waker: Arc<Waker>,
}

/// On a cache line of its own, as each is written by another thread.
#[repr(align(128))]
#[derive(Default)]
struct Part(Mutex<Vec<u8>>);

/// What a part keeps of its memory after a flood.
const KEPT_BYTES_MAX: usize = 256 << 10;

thread_local! {
    static THREAD: Cell<usize> = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Cell::new(NEXT.fetch_add(1, Ordering::Relaxed))
    };
}

impl Lane {
    pub(super) fn new(kind: Kind, waker: Arc<Waker>) -> Lane {
        let parts: Box<[Part]> = (0..kind.parts()).map(|_| Part::default()).collect();
        Lane { kind, part_bytes_max: kind.bytes_max() / parts.len(), parts, lost: AtomicU64::new(0), waker }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// How many lines have been lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
    }

    /// Hands over whole lines, or counts them as lost.
    pub(in crate::telemetry) fn push(&self, line: &[u8]) {
        let mut part = self.part();
        if part.len() + line.len() > self.part_bytes_max {
            drop(part);
            self.lose(1);
            return;
        }
        part.extend_from_slice(line);
        drop(part);
        self.waker.wake();
    }

    /// The part of this thread, or another if somebody has that one in hands.
    fn part(&self) -> MutexGuard<'_, Vec<u8>> {
        let own = THREAD.with(Cell::get) % self.parts.len();
        let others = (own..self.parts.len()).chain(0..own);
        for part in others.map(|part| &self.parts[part].0) {
            match part.try_lock() {
                Ok(part) => return part,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.parts[own].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is there, part by part. `spare` is memory to go on with.
    pub(super) fn drain(&self, spare: &mut Vec<u8>, mut write: impl FnMut(&[u8])) {
        for part in &self.parts {
            spare.clear();
            spare.shrink_to(KEPT_BYTES_MAX);
            std::mem::swap(spare, &mut *part.0.lock().unwrap_or_else(PoisonError::into_inner));
            if !spare.is_empty() {
                write(spare);
            }
        }
    }
}
