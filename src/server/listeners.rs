//! What is listened on: opened by us and not by Pingora, so that a port in use is an error at once, and can be handed on.
//!
//! Pingora takes a listener that its table names by its address. [`Listening`] puts ours into that table.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use tokio::sync::watch;

use super::error::StartError;
use crate::admin::Admin;
use crate::admin::socket::{self, SocketError};

/// A listener, and the name that it goes by: an address, or the path of a socket.
pub(super) type Named = (String, OwnedFd);

/// Everything that this process listens on.
pub(super) struct Listeners {
    /// Of our own, so that they can be handed on. Empty once this process takes no more connections.
    open: Mutex<Vec<Named>>,
    /// How many services take connections.
    started: Arc<watch::Sender<usize>>,
}

impl Listeners {
    /// Opens what is not among the listeners that another process has handed on. Those that nobody wants are closed.
    pub(super) fn of(
        addresses: &[SocketAddr],
        socket: Option<&Path>,
        mut inherited: Vec<Named>,
    ) -> Result<Listeners, StartError> {
        let mut take = |name: &str| {
            let at = inherited.iter().position(|(inherited, _)| inherited == name)?;
            Some(inherited.swap_remove(at).1)
        };
        let mut open = Vec::new();
        for address in addresses {
            let name = address.to_string();
            let failed = |source| StartError::Listen { address: *address, source };
            let listener = match take(&name) {
                Some(listener) => listener,
                None => {
                    let listener = TcpListener::bind(address).map_err(failed)?;
                    listener.set_nonblocking(true).map_err(failed)?;
                    listener.into()
                }
            };
            open.push((name, listener));
        }
        if let Some(path) = socket {
            let name = name_of(path);
            let listener = match take(&name) {
                Some(listener) => listener,
                None => open_socket(path)?.into(),
            };
            open.push((name, listener));
        }
        Ok(Listeners { open: Mutex::new(open), started: Arc::default() })
    }

    /// All of them, to be handed on; none if this process takes no more connections.
    pub(super) fn all(&self) -> io::Result<(Vec<String>, Vec<OwnedFd>)> {
        self.open().iter().map(|(name, listener)| Ok((name.clone(), listener.try_clone()?))).collect()
    }

    /// This process takes no more connections. Without this the kernel would, until it ends.
    pub(super) fn close(&self) {
        self.open().clear();
    }

    fn open(&self) -> MutexGuard<'_, Vec<Named>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `service` take connections from the listeners of these names.
    pub(super) fn give<S>(&self, service: S, names: &[String]) -> Result<Listening<S>, StartError> {
        let mut listeners = Vec::new();
        for (name, listener) in self.open().iter().filter(|(name, _)| names.contains(name)) {
            let listener = listener.try_clone().map_err(StartError::Clone)?;
            listeners.push((name.clone(), listener));
        }
        Ok(Listening { service, listeners, started: Arc::clone(&self.started) })
    }

    /// Returns when so many services take connections.
    pub(super) async fn started(&self, services: usize) {
        // The sending side is ours.
        let _ = self.started.subscribe().wait_for(|started| *started >= services).await;
    }
}

/// The name of a socket's listener: the same from wherever the process is started.
pub(super) fn name_of(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

fn open_socket(path: &Path) -> Result<UnixListener, SocketError> {
    socket::prepare(path)?;
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, Admin::socket_permissions()).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// A service that takes connections from listeners of ours.
pub(super) struct Listening<S> {
    service: S,
    listeners: Vec<Named>,
    started: Arc<watch::Sender<usize>>,
}

#[async_trait]
impl<S: Service + 'static> Service for Listening<S> {
    async fn start_service(&mut self, fds: Option<ListenFds>, shutdown: ShutdownWatch, listeners_per_fd: usize) {
        if let Some(fds) = &fds {
            let mut table = fds.lock();
            self.listeners.drain(..).for_each(|(name, listener)| table.add(name, listener.into_raw_fd()));
        }
        self.started.send_modify(|started| *started += 1);
        self.service.start_service(fds, shutdown, listeners_per_fd).await;
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads()
    }
}
