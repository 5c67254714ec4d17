//! `portcullis run`: the proxy itself.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use crate::server::Start;
use crate::{config, server, telemetry};

/// Arguments of `portcullis run`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The configuration.
    #[arg(long, short, default_value = "proxy.yaml", env = "PORTCULLIS_CONFIG")]
    config: PathBuf,
    /// What to log, as in `info,portcullis=debug`, in place of `log.level`.
    #[arg(long, env = "RUST_LOG")]
    log: Option<String>,
    /// Take the place of the process that runs with this data_dir, without losing a request. It goes on if this one cannot.
    #[arg(long)]
    take_over: bool,
}

/// Runs until the process is told to leave.
pub fn run(args: &Args) -> ExitCode {
    let read = config::reader(args.config.clone());
    let config = match read() {
        Ok(config) => config,
        Err(errors) => return super::fail(&errors),
    };
    let filter = args.log.as_deref().filter(|filter| !filter.is_empty());
    let (_guard, logs) = match telemetry::init_log(&server::log_options(&config.log, filter)) {
        Ok(set_up) => set_up,
        Err(error) => return super::fail(&error),
    };
    let start = if args.take_over { Start::TakeOver } else { Start::Fresh };
    match server::run(config, start, Arc::new(read), logs, || {}) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(&error),
    }
}
