//! What starting would find, without starting: the contents of the files that the configuration names.
//!
//! What must never happen in here: something is written, listened on or connected to.

use std::sync::Arc;

use super::certificates::Loaded;
use super::error::StartError;
use super::{compile, login_page, state, users};
use crate::config::{Config, StoreKind};
use crate::keys;
use crate::login::Lasting;
use crate::proxy::upstream::Upstreams;
use crate::store::Mirror;
use crate::store::redis::Redis;
use crate::telemetry::Metrics;

/// Everything that [`super::run`] would refuse in certificates, keys, users, the login page and authorities.
pub fn check(config: &Config) -> Vec<StartError> {
    // Whoever comes second gets the first one's: they are the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let found = [
        Loaded::read(config).map(drop).map_err(Into::into),
        keys(config),
        logins(config),
        login_page(config).map(drop),
        compile::policy(config).map(drop),
        Upstreams::new(config.upstreams.iter().map(compile::upstream_spec), None, |_, _| {})
            .map(drop)
            .map_err(Into::into),
        redis(config),
    ];
    found.into_iter().filter_map(Result::err).collect()
}

/// A file that is made at the first start may be missing. That another one is there has been seen.
fn keys(config: &Config) -> Result<(), StartError> {
    match state::keys_file(config) {
        Some(file) if config.keys.file.is_some() || file.exists() => keys::load(&file).map(drop).map_err(Into::into),
        Some(_) | None => Ok(()),
    }
}

fn logins(config: &Config) -> Result<(), StartError> {
    let lasting = Lasting::new(compile::login_limits(&config.login).throttle).ok_or(StartError::Randomness)?;
    users::open(config, &lasting, None).map(drop)
}

fn redis(config: &Config) -> Result<(), StartError> {
    if let StoreKind::Redis(redis) = &config.store.kind {
        let options = state::redis_options(redis, config.store.deadline);
        let observe = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"))?);
        Redis::new(&options, Arc::new(Mirror::new()), state::access_tail(config), observe)?;
    }
    Ok(())
}
