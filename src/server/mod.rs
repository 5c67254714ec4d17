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
mod handover;
mod listeners;
mod login_page;
mod logs;
pub mod notify;
mod open_files;
mod peers;
mod reload;
mod stamps;
mod state;
mod users;

use std::net::SocketAddr;
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
use self::handover::{Doorstep, Predecessor, Replacement, TakeOverError};
use self::listeners::{Listeners, Listening, name_of};
use self::notify::{Supervisor, Told};
use self::peers::Peers;
use self::reload::Reload;
use self::state::{Single, State};
use crate::admin::{Admin, Door, Operator, Readiness, State as AdminState};
use crate::config::{Config, Listener};
use crate::endpoints::Events;
use crate::proxy::upstream::RETRIES_MAX;
use crate::proxy::{Binding, Certificates, Edge, InFlight, Live, Shared, Signals, proxy_service};
use crate::store::lending::Lender;
use crate::telemetry::Logs;
use crate::time::Timestamp;

/// How a process begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// Nobody else runs here.
    Fresh,
    /// In the place of the process that runs here.
    TakeOver,
}

/// Runs until the process is told to leave. Returns only if it could not start.
///
/// `read` reads the configuration anew. `ready` is called once everything has been checked, right before connections are taken.
pub fn run(config: Config, start: Start, read: Arc<Read>, logs: Logs, ready: impl FnOnce()) -> Result<(), StartError> {
    // Whoever comes second gets the first one's: they are the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let certificates = Loaded::read(&config)?;
    let shown = certificates.open();
    let bindings = bindings(&config, &shown);
    open_files::raise_limit(config.limits.connections);

    let replacement = Replacement::of_this();
    let keys = state::open_keys(&config, None)?;
    let (mut predecessor, inherited) = match start {
        Start::Fresh => (None, Vec::new()),
        Start::TakeOver => {
            // Nothing is asked of the process that runs before all that can be known to be good is.
            compile::compile(&config, &state::rehearse(&config)?.0, Arc::clone(&keys), None)?;
            let (predecessor, inherited) = Predecessor::call(&config.data_dir)?;
            (Some(predecessor), inherited)
        }
    };
    let addresses: Vec<SocketAddr> = config.addresses().collect();
    let listeners = Arc::new(Listeners::of(&addresses, config.admin.socket.as_deref(), inherited)?);
    let kept = match (&mut predecessor, state::file(&config)) {
        (None, _) => Vec::new(),
        (Some(predecessor), Some(file)) => predecessor.release(&file)?,
        (Some(_), None) => return Err(TakeOverError::Memory.into()),
    };
    let (state, Single { used, keeps }) = state::open(&config, logs)?;
    let in_flight = InFlight::default();
    let taking = match predecessor {
        Some(predecessor) => {
            let lender = Lender::new(Arc::clone(&state.backend), Arc::clone(&state.mirror));
            Some(predecessor.opened(lender, kept, &in_flight).map_err(TakeOverError::from)?)
        }
        None => None,
    };
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
    let doorstep = keeps.map(|keeps| Doorstep::new(&config.data_dir, Arc::clone(&listeners), keeps, in_flight.clone()));
    let supervisor = Arc::new(Supervisor::of_this_process());
    let reload = Reload::new(applied, read, Arc::clone(&supervisor));
    let once = Once { used, reload, doorstep, taking, flying: in_flight.begin() };
    let doors = admins(&config, &state, &readiness, &listeners)?;
    let groups: [Vec<Binding>; 2] =
        [true, false].map(|h2c| bindings.iter().filter(|binding| binding.h2c == h2c).cloned().collect());
    let groups: Vec<Vec<Binding>> = groups.into_iter().filter(|group| !group.is_empty()).collect();
    let mut behind = background_service(
        "behind",
        Behind {
            state: Arc::clone(&state),
            peers,
            current: Arc::clone(&current),
            changed,
            live: Arc::clone(&live),
            listeners: Arc::clone(&listeners),
            services: groups.len() + doors.len(),
            supervisor: Arc::clone(&supervisor),
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
    for group in groups {
        let conf = Arc::clone(&server.configuration);
        let names: Vec<String> = group.iter().map(|binding| binding.address.to_string()).collect();
        let service = listeners.give(proxy_service(&conf, &shared, &group)?, &names)?;
        server.add_service(service).add_dependency(&behind);
    }
    for admin in doors {
        let admin = server.add_service(admin);
        if start == Start::TakeOver {
            // Until this process is ready the other one answers for itself.
            admin.add_dependency(&behind);
        }
    }
    ready();
    for binding in &bindings {
        let scheme = if binding.certificates.is_some() { "https" } else { "http" };
        info!("listening on {scheme}://{}", binding.address);
    }
    info!("metrics and health on http://{}", config.admin.listen);
    let leaving = in_flight.clone();
    let draining = move || {
        readiness.set_draining();
        listeners.close();
        match leaving.is_handed_over() {
            true => supervisor.be_silent(),
            false => supervisor.tell(Told::Stopping),
        }
    };
    let signals = Signals::new(in_flight, config.shutdown.drain, draining, move || replacement.start());
    server.run(RunArgs { shutdown_signal: Box::new(signals) });
    Ok(())
}

/// The operator's doors.
fn admins(
    config: &Config,
    state: &State,
    readiness: &Arc<Readiness>,
    listeners: &Listeners,
) -> Result<Vec<Listening<Service<Admin>>>, StartError> {
    let shown = Arc::new(AdminState { readiness: Arc::clone(readiness), metrics: Arc::clone(&state.metrics) });
    let events = Arc::clone(&state.metrics) as Arc<dyn Events>;
    let operator = Arc::new(Operator { sessions: Arc::clone(&state.sessions), events });
    let door = match &config.admin.token {
        Some(token) => Door::Token(token.clone(), Arc::clone(&operator)),
        None => Door::Closed,
    };
    let mut listener = Admin::service("admin", Arc::clone(&shown), door);
    let name = config.admin.listen.to_string();
    listener.add_tcp(&name);
    listener.threads = Some(1);
    let mut doors = vec![listeners.give(listener, &[name])?];
    if let Some(path) = &config.admin.socket {
        let mut socket = Admin::service("admin socket", shown, Door::Open(operator));
        let name = name_of(path);
        socket.add_uds(&name, Some(Admin::socket_permissions()));
        socket.threads = Some(1);
        doors.push(listeners.give(socket, &[name])?);
    }
    Ok(doors)
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
