//! The composition root: a [`Config`] becomes a running process.
//!
//! Everything that can be wrong is found before the first connection is taken, and told in one line.

mod compile;
mod error;
mod login_page;
mod peers;
mod state;
mod users;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server, ShutdownWatch};
use pingora::services::ServiceReadyNotifier;
use pingora::services::background::{BackgroundService, background_service};
use pingora::services::listening::Service;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tracing::{info, warn};

pub use compile::policy;
pub use error::StartError;
pub use login_page::login_page;

use self::peers::Peers;
use self::state::State;
use crate::admin::{Admin, Door, Operator, Readiness, State as AdminState, socket};
use crate::config::Config;
use crate::endpoints::Events;
use crate::proxy::{
    Binding, Compiled, ConnectionLimits, Flying, InFlight, Live, Shared, Signals, load_certificate, proxy_service,
};
use crate::store::{Backend, Mirror, Sessions, UsedMarksWriter};
use crate::time::Timestamp;

/// How often entries that no living access token can name are dropped from the mirror.
const SWEEP: Duration = Duration::from_secs(5);

/// Runs until the process is told to leave. Returns only if it could not start.
///
/// `ready` is called once everything has been checked, right before connections are taken.
pub fn run(config: &Config, ready: impl FnOnce()) -> Result<(), StartError> {
    // Whoever comes second gets the first one's: they are the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let bindings = bindings(config)?;
    let mut admin_and_public: Vec<SocketAddr> = bindings.iter().map(|binding| binding.address).collect();
    admin_and_public.push(config.admin.listen);
    admin_and_public.into_iter().try_for_each(check_free)?;

    if let Some(path) = &config.admin.socket {
        socket::prepare(path)?;
    }

    let state = state::open(config)?;
    let (compiled, used_writer) = compile::compile(config, &state)?;
    let compiled = Arc::new(compiled);
    let current = Arc::new(ArcSwap::new(Arc::clone(&compiled)));
    let readiness = Arc::new(Readiness::new(Arc::clone(&state.mirror)));
    state.metrics.config_read(Some(Timestamp::now()));
    for (listener, binding) in config.listen.iter().zip(&bindings) {
        if let (Some(tls), Some(certificate)) = (&listener.tls, &binding.certificate) {
            state.metrics.certificate_loaded(&tls.certificate.display().to_string(), certificate.not_after)?;
        }
    }
    let of_cache = Arc::clone(&compiled);
    state.metrics.read_token_cache(move || of_cache.verifier.entries());

    let mut server = Server::new_with_opt_and_conf(None, server_conf(config));
    server.bootstrap();
    let in_flight = InFlight::default();
    let live = Arc::new(Live::new());
    let limits = ConnectionLimits {
        open_max: config.limits.connections,
        header_timeout: config.limits.header_timeout,
        keep_alive: config.limits.keep_alive,
    };
    let mut behind = background_service(
        "behind",
        Behind {
            backend: Arc::clone(&state.backend),
            mirror: Arc::clone(&state.mirror),
            sessions: Arc::clone(&state.sessions),
            peers: Peers::new(&state),
            used: Mutex::new(Some(used_writer)),
            compiled: Arc::clone(&compiled),
            live: Arc::clone(&live),
            listening: bindings.iter().map(|binding| binding.address).collect(),
            readiness: Arc::clone(&readiness),
            flying: Mutex::new(Some(in_flight.begin())),
        },
    );
    behind.threads = Some(1);
    let behind = server.add_service(behind);
    let shared = Shared {
        current,
        metrics: Arc::clone(&state.metrics),
        in_flight: in_flight.clone(),
        live,
        process: state.process,
    };
    for group in [true, false] {
        let group: Vec<Binding> = bindings.iter().filter(|binding| binding.h2c == group).cloned().collect();
        if !group.is_empty() {
            let conf = Arc::clone(&server.configuration);
            let service = proxy_service(&conf, &shared, &group, limits)?;
            server.add_service(service).add_dependency(&behind);
        }
    }
    for admin in admins(config, &state, &readiness) {
        server.add_service(admin);
    }
    ready();
    for binding in &bindings {
        let scheme = if binding.certificate.is_some() { "https" } else { "http" };
        info!("listening on {scheme}://{}", binding.address);
    }
    info!("metrics and health on http://{}", config.admin.listen);
    let draining = move || readiness.set_draining();
    let signals = Signals::new(in_flight, config.shutdown.drain, draining);
    server.run(RunArgs { shutdown_signal: Box::new(signals) });
    Ok(())
}

/// The operator's doors.
fn admins(config: &Config, state: &State, readiness: &Arc<Readiness>) -> Vec<Service<Admin>> {
    let shown = Arc::new(AdminState { readiness: Arc::clone(readiness), metrics: Arc::clone(&state.metrics) });
    let events = Arc::clone(&state.metrics) as Arc<dyn Events>;
    let operator = Arc::new(Operator { sessions: Arc::clone(&state.sessions), events });
    let door = match &config.admin.token {
        Some(token) => Door::Token(token.clone(), Arc::clone(&operator)),
        None => Door::Closed,
    };
    let mut listener = Admin::service("admin", Arc::clone(&shown), door);
    listener.add_tcp(&config.admin.listen.to_string());
    let mut doors = vec![listener];
    if let Some(path) = &config.admin.socket {
        let mut socket = Admin::service("admin socket", shown, Door::Open(operator));
        socket.add_uds(&path.to_string_lossy(), Some(Admin::socket_permissions()));
        doors.push(socket);
    }
    doors.iter_mut().for_each(|door| door.threads = Some(1));
    doors
}

/// What goes on behind the requests, on a thread of its own.
struct Behind {
    backend: Arc<dyn Backend>,
    mirror: Arc<Mirror>,
    sessions: Arc<Sessions>,
    peers: Peers,
    used: Mutex<Option<UsedMarksWriter>>,
    compiled: Arc<Compiled>,
    live: Arc<Live>,
    listening: Vec<SocketAddr>,
    readiness: Arc<Readiness>,
    /// The process does not leave before this is gone.
    flying: Mutex<Option<Flying>>,
}

#[async_trait]
impl BackgroundService for Behind {
    /// Ready once the names of the upstreams have been looked up: before that, every request would get a 503.
    async fn start_with_ready_notifier(&self, mut shutdown: ShutdownWatch, ready: ServiceReadyNotifier) {
        let used = self.used.lock().await.take();
        let marks = async {
            if let Some(used) = used {
                used.run(Arc::clone(&self.sessions)).await;
            }
        };
        let sweep = async {
            loop {
                tokio::time::sleep(SWEEP).await;
                self.mirror.remove_expired();
            }
        };
        let watch = shutdown.clone();
        let upstreams = async {
            self.compiled.upstreams.resolve().await;
            ready.notify_ready();
            self.compiled.upstreams.run(watch).await;
        };
        let listening = async {
            for address in &self.listening {
                wait_until_open(*address).await;
            }
            self.readiness.set_configured();
        };
        let follow = async {
            // Nothing of the store counts until it is certain that all proxies on it understand one another.
            self.peers.agree().await;
            tokio::join!(self.backend.follow(&self.mirror), self.peers.stay_in_touch());
        };
        let leave = async {
            // An error means that nobody is left who could ask for the end.
            let _ = shutdown.wait_for(|ending| *ending).await;
            self.peers.withdraw().await;
            drop(self.flying.lock().await.take());
        };
        let removed = self.compiled.endpoints.end_removed();
        let live = self.live.watch(&self.compiled);
        tokio::join!(follow, marks, sweep, upstreams, listening, removed, live, leave);
    }
}

/// Waits until the address takes connections. Pingora does not say when it does.
async fn wait_until_open(address: SocketAddr) {
    let reachable = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    while TcpStream::connect((reachable, address.port())).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn bindings(config: &Config) -> Result<Vec<Binding>, StartError> {
    let bind = |listener: &crate::config::Listener| {
        let certificate = match &listener.tls {
            Some(tls) => Some(load_certificate(&tls.certificate, &tls.key)?),
            None => None,
        };
        Ok(Binding { address: listener.address, h2c: listener.h2c && certificate.is_none(), certificate })
    };
    config.listen.iter().map(bind).collect()
}

/// A failed bind would leave a living process without a listener, so it is tried before anything starts.
fn check_free(address: SocketAddr) -> Result<(), StartError> {
    TcpListener::bind(address).map(drop).map_err(|source| StartError::Listen { address, source })
}

fn server_conf(config: &Config) -> ServerConf {
    ServerConf {
        threads: std::thread::available_parallelism().map_or(1, Into::into),
        // The first attempt, and one more: only when nothing was sent, or an idempotent request met a dead connection.
        max_retries: 2,
        // Ours ends the process as soon as it is idle: see `Signals`.
        grace_period_seconds: Some(config.shutdown.drain.as_secs() + 1),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    }
}
