//! `portcullis schema`: the JSON schema of `proxy.yaml`, by which editors complete keys.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::config;

/// Prints the schema. Exit code 1 if it cannot be printed.
pub fn run() -> ExitCode {
    match io::stdout().lock().write_all(config::schema_for_editors().as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
