//! When the configuration is read anew: at SIGHUP, and when it or a file that it names has changed.
//!
//! Files are looked at once a second. A change counts once it has rested for one look: what is half-written must not be taken for
//! the whole, as rules that are missing at its end could open a door. What changes while it is read is read once more.
//!
//! What must never happen in here: a bad configuration takes the place of a good one; the same error is logged every second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use super::applied::{Applied, Prepared, Read, Refused, prepare};
use super::certificates::Expiry;
use super::notify::{Supervisor, Told};
use super::stamps::Stamps;
use super::state::keys_file;
use crate::config::Config;
use crate::time::Timestamp;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// When a configuration that was refused is tried again, though no known file has changed: it may name a file that was not there,
/// or keys that other proxies had not heard of.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// How long to wait for a file that changes while it is read, and how often, when there was a signal.
const TORN_WAIT: Duration = Duration::from_millis(100);
const TORN_MAX: usize = 20;

/// Reads the configuration anew, for as long as the process runs.
pub(super) struct Reload {
    applied: Applied,
    read: Arc<Read>,
    supervisor: Arc<Supervisor>,
    /// The files as they were when they were read.
    read_at: Stamps,
    last_look: Stamps,
    /// When, and what was said.
    refused: Option<(Instant, String)>,
    /// What was said that only a restart applies.
    kept: Vec<&'static str>,
    expiry: Expiry,
    /// The configuration is in a file, and not in variables of the environment alone.
    had_file: bool,
}

impl Reload {
    /// `applied` was read a moment ago.
    pub(super) fn new(applied: Applied, read: Arc<Read>, supervisor: Arc<Supervisor>) -> Reload {
        let files = Stamps::of(files(&applied.config));
        let had_file = applied.config.files.first().is_some_and(|origin| files.has(origin));
        let (read_at, last_look) = (files.clone(), files);
        let (refused, kept, expiry) = (None, Vec::new(), Expiry::default());
        Reload { applied, read, supervisor, read_at, last_look, refused, kept, expiry, had_file }
    }

    /// Never returns.
    pub(super) async fn run(mut self) {
        let mut hangup = hangups();
        loop {
            for (file, warning) in self.expiry.warnings(&self.applied.certificates, Timestamp::now()) {
                warn!(file, "{warning}");
            }
            let signalled = tokio::select! {
                () = next(&mut hangup) => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            if signalled {
                info!("SIGHUP: the configuration is read anew");
                self.supervisor.tell(Told::Reloading);
                self.refused = None;
                self.kept.clear();
                for _ in 0..TORN_MAX {
                    if self.reload().await {
                        break;
                    }
                    tokio::time::sleep(TORN_WAIT).await;
                }
                self.supervisor.tell(Told::Ready);
            } else if self.is_due().await {
                self.reload().await;
            }
        }
    }

    /// Has something changed, and come to rest? Or is it time to try once more?
    async fn is_due(&mut self) -> bool {
        let files: Vec<_> = self.read_at.files().collect();
        let Ok(look) = tokio::task::spawn_blocking(move || Stamps::of(files)).await else { return false };
        let rests = look == self.last_look;
        let changed = rests && look != self.read_at;
        self.last_look = look;
        changed || self.refused.as_ref().is_some_and(|(at, _)| at.elapsed() >= TRY_AGAIN)
    }

    /// Reads everything, and puts it in use if it is good. False if something changed meanwhile: then nothing has happened.
    async fn reload(&mut self) -> bool {
        let (read, before) = (Arc::clone(&self.read), self.read_at.files().collect::<Vec<_>>());
        let (state, running, compiled) = self.applied.basis();
        let had_file = self.had_file;
        let reading = tokio::task::spawn_blocking(move || {
            let before = Stamps::of(before);
            let (named, prepared) = match read() {
                Ok(config) => {
                    let named = Stamps::of(files(&config));
                    let prepared = match config.files.first().filter(|origin| had_file && !named.has(origin)) {
                        Some(origin) => Err(Refused::Gone(origin.clone())),
                        None => prepare(config, &state, &running, &compiled).map_err(Refused::from),
                    };
                    (named, prepared)
                }
                Err(errors) => (before.clone(), Err(errors.into())),
            };
            let after = Stamps::of(named.files());
            (before.agrees(&after) && named == after, after, prepared)
        });
        // A panic is a mistake of ours. The next change is the next try.
        let Ok((rested, stamps, prepared)) = reading.await else {
            self.refuse("reading the configuration went wrong".to_owned());
            return true;
        };
        if !rested {
            return false;
        }
        (self.read_at, self.last_look) = (stamps.clone(), stamps);
        if let Err(refused) = self.apply(prepared).await {
            self.refuse(refused.to_string());
        }
        true
    }

    async fn apply(&mut self, prepared: Result<Prepared, Refused>) -> Result<(), Refused> {
        let prepared = prepared?;
        let (kept, warned) = (prepared.kept.clone(), self.applied.config.warnings.clone());
        self.applied.apply(prepared).await?;
        self.refused = None;
        let config = &self.applied.config;
        config.warnings.iter().filter(|warning| !warned.contains(warning)).for_each(|warning| warn!("{warning}"));
        for key in kept.iter().filter(|key| !self.kept.contains(key)) {
            warn!("{key} has changed; restart (or hand over) to apply it");
        }
        self.kept = kept;
        info!("the configuration was read anew and is in use");
        Ok(())
    }

    /// Says so, once for what is wrong.
    fn refuse(&mut self, why: String) {
        self.applied.state.metrics.config_read(None);
        if self.refused.as_ref().is_none_or(|(_, said)| *said != why) {
            why.lines().for_each(|line| error!("{line}"));
            error!("the new configuration is not taken, for what is said above; the one before stays in use");
        }
        self.refused = Some((Instant::now(), why));
    }
}

/// Everything whose change counts.
fn files(config: &Config) -> Vec<std::path::PathBuf> {
    config.files.iter().cloned().chain(keys_file(config)).collect()
}

fn hangups() -> Option<Signal> {
    signal(SignalKind::hangup())
        .inspect_err(|error| warn!(%error, "SIGHUP cannot be listened for; changed files are noticed all the same"))
        .ok()
}

async fn next(hangup: &mut Option<Signal>) {
    let told = match hangup {
        Some(hangup) => hangup.recv().await,
        None => None,
    };
    if told.is_none() {
        std::future::pending().await
    }
}
