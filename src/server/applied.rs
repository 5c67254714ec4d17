//! The configuration in use, and how another one takes its place: all of it, or nothing.
//!
//! What can fail comes first and changes nothing; the rest cannot fail. A request keeps the configuration that it began with.
//!
//! What must never happen in here: half of a configuration; a token that was verified under a key that is gone passes; a server
//! that is down is taken for up because a file was touched.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::certificates::Loaded;
use super::compile::{self, Before, login_limits};
use super::error::StartError;
use super::fixed;
use super::peers::{KeysRefused, Peers};
use super::state::{self, State};
use crate::config::{Config, ConfigErrors};
use crate::proxy::{Certificates, Compiled};
use crate::telemetry::Metrics;
use crate::time::Timestamp;

/// Reads the configuration, from where the process was told at its start.
pub type Read = dyn Fn() -> Result<Config, ConfigErrors> + Send + Sync;

/// The configuration in use. Replaced as a whole.
pub(super) struct Applied {
    pub(super) config: Arc<Config>,
    pub(super) certificates: Arc<Loaded>,
    /// Where those who begin something find it.
    pub(super) current: Arc<ArcSwap<Compiled>>,
    /// By listener.
    pub(super) shown: Vec<Option<Arc<Certificates>>>,
    pub(super) state: Arc<State>,
    pub(super) peers: Arc<Peers>,
    /// Told after each change.
    pub(super) changed: Arc<Notify>,
}

/// Why a configuration is not taken. It prints an error a line.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Files(#[from] StartError),
    #[error(transparent)]
    Keys(#[from] KeysRefused),
    /// With variables of the environment it could go on without, by other rules.
    #[error("{}: this file is gone; put it back (to run by variables of the environment alone, restart)", .0.display())]
    Gone(PathBuf),
}

/// Another configuration with everything read that it names.
pub(super) struct Prepared {
    config: Config,
    compiled: Compiled,
    certificates: Loaded,
    /// What only a restart applies.
    pub(super) kept: Vec<&'static str>,
}

impl Applied {
    /// What [`prepare`] needs, on whatever thread.
    pub(super) fn basis(&self) -> (Arc<State>, Arc<Config>, Arc<Compiled>) {
        (Arc::clone(&self.state), Arc::clone(&self.config), self.current.load_full())
    }

    /// Puts it in use. Takes the seconds that names take to be resolved, while the one before is still in use.
    pub(super) async fn apply(&mut self, prepared: Prepared) -> Result<(), Refused> {
        let Prepared { config, compiled, certificates, kept: _ } = prepared;
        compiled.upstreams.resolve().await;
        if !Arc::ptr_eq(&compiled.endpoints.keys, &self.current.load().endpoints.keys) {
            self.peers.take_up(&compiled.endpoints.keys).await?;
        }
        let metrics = &self.state.metrics;
        certificates.measure(metrics, Some(&self.certificates))?;

        self.current.store(Arc::new(compiled));
        certificates.show(&self.shown);
        self.state.logins.limit(login_limits(&config.login).throttle);
        self.state.mirror.revocations.limit(config.revocation.max_entries);
        forget_servers(metrics, &self.config, &config);
        metrics.config_read(Some(Timestamp::now()));
        (self.config, self.certificates) = (Arc::new(config), Arc::new(certificates));
        self.changed.notify_one();
        Ok(())
    }
}

/// Reads all files. What cannot change is put back, so that the rest is judged together with what stays. Waits for the disk.
pub(super) fn prepare(
    mut config: Config,
    state: &State,
    running: &Config,
    compiled: &Compiled,
) -> Result<Prepared, StartError> {
    let kept = fixed::keep(running, &mut config);
    let certificates = Loaded::read(&config)?;
    let keys = state::open_keys(&config, Some(&compiled.endpoints.keys))?;
    let compiled = compile::compile(&config, state, keys, Some(Before { config: running, compiled }))?;
    Ok(Prepared { config, compiled, certificates, kept })
}

/// The series of servers and upstreams that are not configured any more.
fn forget_servers(metrics: &Metrics, before: &Config, now: &Config) {
    for upstream in &before.upstreams {
        let still = now.upstream(&upstream.name).map_or(&[][..], |upstream| &upstream.servers);
        for server in
            upstream.servers.iter().filter(|server| !still.iter().any(|it| it.authority() == server.authority()))
        {
            metrics.server_gone(&upstream.name, &server.authority());
        }
        if now.upstream(&upstream.name).is_none() {
            metrics.upstream_gone(&upstream.name);
        }
    }
}
