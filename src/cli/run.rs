//! `portcullis run`: the proxy itself.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use crate::{config, server, telemetry};

/// Arguments of `portcullis run`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The configuration.
    #[arg(long, short, default_value = "proxy.yaml", env = "PORTCULLIS_CONFIG")]
    config: PathBuf,
    /// What to log, as in `info,portcullis=debug`.
    #[arg(long, env = "RUST_LOG")]
    log: Option<String>,
}

/// Runs until the process is told to leave.
pub fn run(args: &Args) -> ExitCode {
    let _guard = match telemetry::init_log(args.log.as_deref()) {
        Ok(guard) => guard,
        Err(error) => return super::fail(&error),
    };
    let path = args.config.clone();
    let read = move || config::load(&path, &config::environment);
    let config = match read() {
        Ok(config) => config,
        Err(errors) => return super::fail(&errors),
    };
    match server::run(config, Arc::new(read), || {}) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(&error),
    }
}
