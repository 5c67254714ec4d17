//! Telling systemd how this process is: `sd_notify(3)`, which is one datagram with lines in it.
//!
//! Not a crate: the protocol is promised to stay, and these are fewer lines than the ones that would wrap another's.
//! Without `NOTIFY_SOCKET` nothing is said.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::warn;

/// How long it is waited for a supervisor that has much to read.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whoever supervises this process.
pub struct Supervisor {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// Without a sign of life for so long the process is taken for dead.
    watchdog: Option<Duration>,
    /// Another process speaks to it from now on.
    is_silent: AtomicBool,
}

/// What there is to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// It takes connections; and it is the main process, also after a hand-over.
    Ready,
    /// It reads its configuration anew; [`Told::Ready`] follows.
    Reloading,
    /// It drains, and leaves.
    Stopping,
    /// It lives.
    Alive,
}

impl Supervisor {
    /// The one that the environment names.
    pub fn of_this_process() -> Supervisor {
        let watchdog = std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        let socket = std::env::var("NOTIFY_SOCKET").ok().filter(|name| !name.is_empty()).and_then(|name| {
            let address = match name.strip_prefix('@') {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(&name),
            };
            let socket = UnixDatagram::unbound().and_then(|socket| {
                // What it is told must not get lost, and a supervisor that does not listen must not hold up much.
                socket.set_write_timeout(Some(PATIENCE))?;
                Ok((socket, address?))
            });
            socket.inspect_err(|error| warn!(%error, "NOTIFY_SOCKET cannot be used")).ok()
        });
        Supervisor {
            socket,
            watchdog: watchdog.map(Duration::from_micros).filter(|it| !it.is_zero()),
            is_silent: AtomicBool::new(false),
        }
    }

    /// Tells it. What is not heard is nobody's fault here.
    pub fn tell(&self, told: Told) {
        let Some((socket, address)) = self.socket.as_ref().filter(|_| !self.is_silent()) else { return };
        let lines = match told {
            Told::Ready => format!("MAINPID={}\nREADY=1\nSTATUS=serving", std::process::id()),
            Told::Reloading => "RELOADING=1\nSTATUS=reading the configuration anew".to_owned(),
            Told::Stopping => "STOPPING=1\nSTATUS=draining".to_owned(),
            Told::Alive => "WATCHDOG=1".to_owned(),
        };
        if let Err(error) = socket.send_to_addr(lines.as_bytes(), address) {
            warn!(%error, "the supervisor does not hear that this process is {told:?}");
        }
    }

    /// Another process has taken over, and speaks for itself.
    pub fn be_silent(&self) {
        self.is_silent.store(true, Ordering::Release);
    }

    /// Does another process speak?
    pub fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Acquire)
    }

    /// How often it wants to hear that this process lives: twice within its patience.
    pub fn alive_every(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.socket.is_some()).map(|patience| patience / 2)
    }
}
