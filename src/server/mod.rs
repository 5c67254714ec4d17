//! The composition root: a [`Config`] becomes a running process.
//!
//! Everything that can be wrong is found before the first connection is taken, and told in one line.

mod applied;
mod behind;
mod certificates;
mod check;
mod compile;
mod error;
mod fixed;
mod login_page;
mod logs;
mod peers;
mod reload;
mod stamps;
mod state;
mod users;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::services::background::background_service;
use pingora::services::listening::Service;
use tokio::sync::{Mutex, Notify};
use tracing::{info, warn};

pub use applied::Read;
pub use check::check;
pub use compile::policy;
pub use error::StartError;
pub use login_page::login_page;
pub use logs::log_options;

use self::applied::Applied;
use self::behind::{Behind, Once};
use self::certificates::Loaded;
use self::peers::Peers;
use self::reload::Reload;
use self::state::State;
use crate::admin::{Admin, Door, Operator, Readiness, State as AdminState, socket};
use crate::config::{Config, Listener};
use crate::endpoints::Events;
use crate::proxy::upstream::RETRIES_MAX;
use crate::proxy::{Binding, Certificates, Edge, InFlight, Live, Shared, Signals, proxy_service};
use crate::telemetry::Logs;
use crate::time::Timestamp;

/// Runs until the process is told to leave. Returns only if it could not start.
///
/// `read` reads the configuration anew. `ready` is called once everything has been checked, right before connections are taken.
pub fn run(config: Config, read: Arc<Read>, logs: Logs, ready: impl FnOnce()) -> Result<(), StartError> {
    // Whoever comes second gets the first one's: they are the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let certificates = Loaded::read(&config)?;
    let shown = certificates.open();
    let bindings = bindings(&config, &shown);
    config.addresses().try_for_each(check_free)?;

    if let Some(path) = &config.admin.socket {
        socket::prepare(path)?;
    }

    let keys = state::open_keys(&config, None)?;
    let (state, used) = state::open(&config, logs)?;
    let state = Arc::new(state);
    let peers = Arc::new(Peers::new(&state, &keys));
    let compiled = compile::compile(&config, &state, keys, None)?;
    let current = Arc::new(ArcSwap::from_pointee(compiled));
    let readiness = Arc::new(Readiness::new(Arc::clone(&state.mirror)));
    state.metrics.config_read(Some(Timestamp::now()));
    certificates.measure(&state.metrics, None)?;
    let of_cache = Arc::clone(&current);
    state.metrics.read_token_cache(move || of_cache.load().verifier.entries());

    let mut server = Server::new_with_opt_and_conf(None, server_conf(&config));
    server.bootstrap();
    let in_flight = InFlight::default();
    let live = Arc::new(Live::new());
    let config = Arc::new(config);
    let changed = Arc::new(Notify::new());
    let applied = Applied {
        config: Arc::clone(&config),
        certificates: Arc::new(certificates),
        current: Arc::clone(&current),
        shown,
        state: Arc::clone(&state),
        peers: Arc::clone(&peers),
        changed: Arc::clone(&changed),
    };
    let once = Once { used, reload: Reload::new(applied, read), flying: in_flight.begin() };
    let mut behind = background_service(
        "behind",
        Behind {
            state: Arc::clone(&state),
            peers,
            current: Arc::clone(&current),
            changed,
            live: Arc::clone(&live),
            listening: bindings.iter().map(|binding| binding.address).collect(),
            readiness: Arc::clone(&readiness),
            once: Mutex::new(Some(once)),
        },
    );
    behind.threads = Some(1);
    let behind = server.add_service(behind);
    let shared = Shared {
        current,
        metrics: Arc::clone(&state.metrics),
        in_flight: in_flight.clone(),
        live,
        edge: Edge::default(),
        process: state.process,
    };
    for group in [true, false] {
        let group: Vec<Binding> = bindings.iter().filter(|binding| binding.h2c == group).cloned().collect();
        if !group.is_empty() {
            let conf = Arc::clone(&server.configuration);
            let service = proxy_service(&conf, &shared, &group)?;
            server.add_service(service).add_dependency(&behind);
        }
    }
    for admin in admins(&config, &state, &readiness) {
        server.add_service(admin);
    }
    ready();
    for binding in &bindings {
        let scheme = if binding.certificates.is_some() { "https" } else { "http" };
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

/// The addresses, with what each of them shows.
fn bindings(config: &Config, shown: &[Option<Arc<Certificates>>]) -> Vec<Binding> {
    let bind = |(listener, certificates): (&Listener, &Option<Arc<Certificates>>)| Binding {
        address: listener.address,
        h2c: listener.h2c && certificates.is_none(),
        certificates: certificates.clone(),
    };
    config.listen.iter().zip(shown).map(bind).collect()
}

/// A failed bind would leave a living process without a listener, so it is tried before anything starts.
fn check_free(address: SocketAddr) -> Result<(), StartError> {
    TcpListener::bind(address).map(drop).map_err(|source| StartError::Listen { address, source })
}

fn server_conf(config: &Config) -> ServerConf {
    ServerConf {
        threads: std::thread::available_parallelism().map_or(1, Into::into),
        // Attempts, the first one included. How many a request really has is said by its upstream.
        max_retries: 1 + RETRIES_MAX,
        // Ours ends the process as soon as it is idle: see `Signals`.
        grace_period_seconds: Some(config.shutdown.drain.as_secs() + 1),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    }
}
