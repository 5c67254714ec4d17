//! Writes lines on a thread of its own, one for each destination, so that a full pipe stops nobody.
//!
//! The first line after a pause wakes the thread; it lets others gather for a moment and then writes them all at once.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::destination::Output;
use super::lane::{Kind, Lane};

/// How long lines gather.
const GATHER: Duration = Duration::from_millis(5);
/// How long the end of the process waits for a slow reader.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Wakes the thread of a writer.
#[derive(Default)]
pub(super) struct Waker {
    /// There is something to do, and the thread has been told.
    told: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Waker {
    /// Called after a line was put into its lane: there, the lock orders it with [`Waker::sleep`].
    pub(super) fn wake(&self) {
        if !self.told.load(Ordering::Relaxed) && !self.told.swap(true, Ordering::AcqRel) {
            self.unpark();
        }
    }

    fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Waits until there is something to do, and a moment longer unless somebody is in a hurry. What is told from now on
    /// is for the next time.
    fn sleep(&self, hurried: impl Fn() -> bool) {
        while !self.told.load(Ordering::Acquire) {
            thread::park();
        }
        let gathered = Instant::now() + GATHER;
        while let Some(left) = gathered.checked_duration_since(Instant::now()).filter(|_| !hurried()) {
            thread::park_timeout(left);
        }
        self.told.store(false, Ordering::Release);
    }
}

/// The thread that writes to one destination, and what it is told.
#[derive(Default)]
pub(super) struct Writer {
    waker: Arc<Waker>,
    lanes: Mutex<Vec<Arc<Lane>>>,
    /// Who wants to know when everything so far is written.
    waiting: Mutex<Vec<SyncSender<()>>>,
    reopen: AtomicBool,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn to(output: Output) -> io::Result<Arc<Writer>> {
        let writer = Arc::new(Writer::default());
        let of_thread = Arc::clone(&writer);
        let thread = thread::Builder::new().name("log".to_owned()).spawn(move || of_thread.run(output))?;
        let _ = writer.waker.thread.set(thread.thread().clone());
        Ok(writer)
    }

    /// A lane whose lines go here.
    pub(super) fn lane(&self, kind: Kind) -> Arc<Lane> {
        let lane = Arc::new(Lane::new(kind, Arc::clone(&self.waker)));
        lock(&self.lanes).push(Arc::clone(&lane));
        lane
    }

    /// Opens the file anew before the next line.
    pub(super) fn reopen(&self) {
        self.reopen.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Asks for a word when everything so far is written.
    fn flush(&self, done: SyncSender<()>) {
        lock(&self.waiting).push(done);
        self.waker.wake();
        // It may be gathering.
        self.waker.unpark();
    }

    fn run(&self, mut output: Output) {
        let mut spare = Vec::new();
        let mut told_lost = Vec::new();
        loop {
            self.waker.sleep(|| !lock(&self.waiting).is_empty());
            let waiting = std::mem::take(&mut *lock(&self.waiting));
            if let Err(error) = output.refresh(self.reopen.swap(false, Ordering::AcqRel)) {
                tracing::error!(%error, "a log file cannot be opened anew; lines go on to the old one");
            }
            let lanes = lock(&self.lanes).clone();
            for lane in &lanes {
                lane.drain(&mut spare, |lines| lane.lose(output.write(lines)));
            }
            output.flush();
            for done in waiting {
                let _ = done.try_send(());
            }
            tell_lost(&lanes, &mut told_lost);
        }
    }
}

/// Says how many lines were lost since this was last called. There is room for that now.
fn tell_lost(lanes: &[Arc<Lane>], told: &mut Vec<u64>) {
    told.resize(lanes.len(), 0);
    for (lane, told) in lanes.iter().zip(told) {
        let lost = lane.lost();
        if lost > *told {
            let log = lane.kind().as_str();
            tracing::warn!(
                log,
                lost = lost - *told,
                "lines of log were lost: they could not be written, or came faster than they were read"
            );
            *told = lost;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes what is left when it is dropped, for a second at most.
#[must_use = "the last lines of the logs are lost without it"]
pub struct LogGuard(pub(super) Vec<Arc<Writer>>);

impl LogGuard {
    /// Waits until the lines so far are written, for a second at most. For ends of the process that run no destructors.
    pub fn flush(&self) {
        let give_up = Instant::now() + FLUSH_TIMEOUT;
        let asked = self.0.iter().map(|writer| {
            let (done, written) = sync_channel(1);
            writer.flush(done);
            written
        });
        for written in asked.collect::<Vec<_>>() {
            let _ = written.recv_timeout(give_up.saturating_duration_since(Instant::now()));
        }
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::super::destination::Destination;
    use super::*;

    /// A pipe that nobody reads until the gate opens.
    struct Blocked {
        gate: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Blocked {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            // An error means that the gate stays open.
            let _ = self.gate.recv();
            self.written.lock().unwrap().extend(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn blocked() -> (Sender<()>, Arc<Mutex<Vec<u8>>>, Arc<Writer>) {
        let (gate, opened) = channel();
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let writer = Writer::to(Output::to(Blocked { gate: opened, written: Arc::clone(&written) })).unwrap();
        (gate, written, writer)
    }

    #[test]
    fn nobody_waits_for_a_pipe_that_nobody_reads_and_each_lane_has_its_own_budget() {
        let (gate, written, writer) = blocked();
        let (access, audit) = (writer.lane(Kind::Access), writer.lane(Kind::Audit));
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        let said = 64 << 10;
        (0..said).for_each(|_| access.push(&line));
        audit.push(b"who\n");
        // Of one thread only a part of the lane is filled, and perhaps what the writer has in hands already.
        assert!(access.lost() >= said - 2 * (16 << 10), "{}", access.lost());
        assert_eq!(audit.lost(), 0);
        drop(gate);
        LogGuard(vec![writer]).flush();
        let expected = 1024 * (said - access.lost()) as usize + 4;
        let give_up = Instant::now() + Duration::from_secs(60);
        while written.lock().unwrap().len() < expected && Instant::now() < give_up {
            thread::yield_now();
        }
        let written = written.lock().unwrap();
        assert_eq!(written.len(), expected, "what was not lost is written");
        assert!(written.windows(5).any(|part| part == b"\nwho\n"));
    }

    #[test]
    fn the_guard_waits_for_the_last_line() {
        let (gate, written, writer) = blocked();
        writer.lane(Kind::Log).push(b"last words\n");
        drop(gate);
        drop(LogGuard(vec![writer]));
        assert_eq!(*written.lock().unwrap(), b"last words\n");
    }

    #[test]
    fn many_threads_lose_nothing_that_fits_and_break_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let writer = Writer::to(Output::open(&Destination::File(path.clone())).unwrap()).unwrap();
        let lane = writer.lane(Kind::Access);
        thread::scope(|scope| {
            for thread in 0..8 {
                let lane = &lane;
                scope.spawn(move || (0..2000).for_each(|line| lane.push(format!("{thread} {line}\n").as_bytes())));
            }
        });
        LogGuard(vec![writer]).flush();
        let text = fs::read_to_string(&path).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!((lines.len(), lane.lost()), (16_000, 0));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0, "nobody else reads it");
    }

    #[test]
    fn a_file_is_opened_anew_when_it_is_told_or_renamed() {
        let folder = tempfile::tempdir().unwrap();
        let [path, first, second] = ["log", "log.1", "log.2"].map(|name| folder.path().join(name));
        let mut output = Output::open(&Destination::File(path.clone())).unwrap();
        output.write(b"one\n");
        fs::rename(&path, &first).unwrap();
        output.refresh(false).unwrap();
        output.write(b"two\n");
        assert!(!path.exists(), "it has looked a moment ago");
        output.refresh(true).unwrap();
        output.write(b"three\n");
        fs::rename(&path, &second).unwrap();
        let give_up = Instant::now() + Duration::from_secs(60);
        while !path.exists() && Instant::now() < give_up {
            output.refresh(false).unwrap();
        }
        output.write(b"four\n");
        let texts = [&first, &second, &path].map(|path| fs::read_to_string(path).unwrap());
        assert_eq!(texts, ["one\ntwo\n", "three\n", "four\n"]);
        // Where no file can be made, lines go on to the old one.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(output.refresh(true).is_err());
        assert_eq!(output.write(b"five\n"), 0);
    }

    #[test]
    fn what_cannot_be_written_is_lost_and_counted() {
        let mut output = Output::open(&Destination::File("/dev/full".into())).unwrap();
        assert_eq!(output.write(b"one\ntwo\n"), 2);
    }
}
