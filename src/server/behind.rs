//! What goes on behind the requests, on a thread of its own: following the store, watching upstreams and users, reading the
//! configuration anew, leaving in good order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::ServiceReadyNotifier;
use pingora::services::background::BackgroundService;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, Notify, mpsc};

use super::handover::{Doorstep, Taking};
use super::listeners::Listeners;
use super::notify::{Supervisor, Told};
use super::peers::Peers;
use super::reload::Reload;
use super::state::State;
use crate::admin::Readiness;
use crate::endpoints::Removed;
use crate::proxy::{Compiled, Flying, Live};
use crate::store::{Freshness, UsedMarksWriter};
use crate::telemetry::Logs;
use crate::time::Timestamp;

/// How often what has run out is forgotten: entries of the mirror that no living access token can name, and remembered tokens.
const SWEEP: Duration = Duration::from_secs(5);

/// How often a process that begins looks whether it is ready.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a supervisor waits for a store that does not answer.
const READY_PATIENCE: Duration = Duration::from_secs(30);

/// What goes on behind the requests.
pub(super) struct Behind {
    pub(super) state: Arc<State>,
    pub(super) peers: Arc<Peers>,
    pub(super) current: Arc<ArcSwap<Compiled>>,
    /// Another configuration is current.
    pub(super) changed: Arc<Notify>,
    pub(super) live: Arc<Live>,
    pub(super) listeners: Arc<Listeners>,
    /// How many services take connections from them.
    pub(super) services: usize,
    pub(super) supervisor: Arc<Supervisor>,
    pub(super) readiness: Arc<Readiness>,
    /// Taken when it starts.
    pub(super) once: Mutex<Option<Once>>,
}

/// What there is one of, to be used up.
pub(super) struct Once {
    pub(super) used: UsedMarksWriter,
    pub(super) reload: Reload,
    /// Where the process knocks that takes the place of this one.
    pub(super) doorstep: Option<Doorstep>,
    /// The place of another process is being taken.
    pub(super) taking: Option<Taking>,
    /// The process does not leave before this is gone.
    pub(super) flying: Flying,
}

#[async_trait]
impl BackgroundService for Behind {
    /// Ready once the names of the upstreams have been looked up: before that, every request would get a 503.
    async fn start_with_ready_notifier(&self, mut shutdown: ShutdownWatch, ready: ServiceReadyNotifier) {
        let Some(Once { used, reload, doorstep, mut taking, flying }) = self.once.lock().await.take() else { return };
        let sweep = async {
            loop {
                tokio::time::sleep(SWEEP).await;
                self.state.mirror.remove_expired();
                self.current.load().verifier.forget_expired(Timestamp::now());
            }
        };
        let (tell, removed) = Removed::new();
        let watch = shutdown.clone();
        let takes_over = taking.is_some();
        let of_configurations = async {
            self.current.load_full().upstreams.resolve().await;
            // The other process answers as long as this one would have to say 503.
            while takes_over && self.state.mirror.worst_freshness(Instant::now()) == Freshness::Unknown {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            ready.notify_ready();
            self.watch_by_configuration(watch, tell).await;
        };
        let listening = async {
            self.listeners.started(self.services).await;
            self.readiness.set_configured();
            if let Some(taking) = &mut taking {
                taking.taken();
            }
            let knocked = async {
                if let Some(doorstep) = &doorstep {
                    doorstep.wait().await;
                }
            };
            tokio::join!(self.stay_in_touch(), knocked);
        };
        let follow = async {
            // Nothing of the store counts until it is certain that all proxies on it understand one another.
            self.peers.agree().await;
            tokio::join!(self.state.backend.follow(&self.state.mirror), self.peers.stay_in_touch());
        };
        let leave = async {
            // An error means that nobody is left who could ask for the end.
            let _ = shutdown.wait_for(|ending| *ending).await;
            self.peers.withdraw().await;
            drop(flying);
        };
        let marks = used.run(Arc::clone(&self.state.sessions));
        let endings = removed.end_sessions(|| Arc::clone(&self.current.load().endpoints));
        let live = self.live.watch(&self.current);
        let rotated = reopen_logs(&self.state.logs);
        tokio::join!(follow, marks, sweep, of_configurations, listening, endings, live, reload.run(), rotated, leave);
    }
}

impl Behind {
    /// Watches what the configuration of the day names: who is watched by the one before is not, from the moment that it changes.
    async fn watch_by_configuration(&self, shutdown: ShutdownWatch, removed: mpsc::Sender<String>) {
        loop {
            let compiled = self.current.load_full();
            let watch = async {
                let upstreams = compiled.upstreams.run(shutdown.clone());
                tokio::join!(upstreams, compiled.endpoints.login.watch_removed(removed.clone()));
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = watch => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Tells the supervisor that this process is ready, and then that it lives, until another one tells so.
    async fn stay_in_touch(&self) {
        let ready = async {
            while self.readiness.check().is_err() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        // Longer than that, it is the store that is not ready: public routes are served, and a restart would help nobody.
        let _ = tokio::time::timeout(READY_PATIENCE, ready).await;
        self.supervisor.tell(Told::Ready);
        let Some(period) = self.supervisor.alive_every() else { return };
        while !self.supervisor.is_silent() {
            self.supervisor.tell(Told::Alive);
            tokio::time::sleep(period).await;
        }
    }
}

/// Opens log files anew at each SIGUSR1, which says that they have been renamed.
async fn reopen_logs(logs: &Logs) {
    let Ok(mut asked) = signal(SignalKind::user_defined1()) else {
        tracing::warn!("SIGUSR1 cannot be listened for; log files are opened anew only when they are renamed");
        return;
    };
    while asked.recv().await.is_some() {
        logs.reopen();
    }
}
