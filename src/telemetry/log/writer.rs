//! Writes lines on a thread of its own, so that a full pipe stops nobody.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use super::escape::escape;

/// How many lines wait for a slow reader before lines are lost.
const WAITING_LINES_MAX: usize = 8192;
/// How long the end of the process waits for a slow reader.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

enum Message {
    Line(Box<[u8]>),
    /// Answer when everything before is written.
    Flush(SyncSender<()>),
}

/// Takes lines and never waits.
#[derive(Clone)]
pub(super) struct Lines {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

/// Writes what is left when it is dropped, for a second at most.
#[must_use = "the last lines of the log are lost without it"]
pub struct LogGuard(SyncSender<Message>);

impl Lines {
    /// Starts the thread that writes to `out`.
    pub(super) fn to(out: impl Write + Send + 'static) -> io::Result<(Lines, LogGuard)> {
        let (queue, messages) = sync_channel(WAITING_LINES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        thread::Builder::new().name("log".to_owned()).spawn(move || write_all(out, &messages, &counted))?;
        Ok((Lines { queue: queue.clone(), lost }, LogGuard(queue)))
    }
}

fn write_all(mut out: impl Write, messages: &Receiver<Message>, lost: &AtomicU64) {
    loop {
        let message = match messages.try_recv() {
            Ok(message) => message,
            Err(TryRecvError::Empty) => {
                // The queue is empty, so that this line finds room in it.
                let lost = lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    tracing::warn!(lost, "lines of log were lost: they came faster than they were read");
                }
                let Ok(message) = messages.recv() else { return };
                message
            }
            Err(TryRecvError::Disconnected) => return,
        };
        match message {
            // A log that cannot be written has nobody to tell.
            Message::Line(line) => drop(out.write_all(&line)),
            Message::Flush(done) => {
                let _ = out.flush();
                let _ = done.try_send(());
            }
        }
    }
}

/// One line: the formatter hands an event over in one piece.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Message::Line(escape(line).into())) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Lines;

    fn make_writer(&self) -> Lines {
        self.clone()
    }
}

impl LogGuard {
    /// Waits until the lines so far are written, for a second at most. For ends of the process that run no destructors.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.0.try_send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH_TIMEOUT);
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
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

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

    fn blocked() -> (Sender<()>, Arc<Mutex<Vec<u8>>>, Lines, LogGuard) {
        let (gate, opened) = channel();
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let (lines, guard) = Lines::to(Blocked { gate: opened, written: Arc::clone(&written) }).unwrap();
        (gate, written, lines, guard)
    }

    #[test]
    fn nobody_waits_for_a_pipe_that_nobody_reads() {
        let (gate, written, mut lines, guard) = blocked();
        let said = WAITING_LINES_MAX + 100;
        for _ in 0..said {
            lines.write_all(b"x\n").unwrap();
        }
        // One line can be in the writer's hands already.
        let lost = lines.lost.load(Ordering::Relaxed) as usize;
        assert!((99..=100).contains(&lost), "{lost}");
        drop(gate);
        // The queue is full until the writer has taken a line, so flush is asked for until it fits.
        while written.lock().unwrap().len() < 2 * (said - lost) {
            guard.flush();
        }
        assert_eq!(written.lock().unwrap().len(), 2 * (said - lost));
    }

    #[test]
    fn the_guard_waits_for_the_last_line() {
        let (gate, written, mut lines, guard) = blocked();
        lines.write_all(b"last words\n").unwrap();
        drop(gate);
        drop(guard);
        assert_eq!(*written.lock().unwrap(), b"last words\n");
    }
}
