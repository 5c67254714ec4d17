//! The command line: one subcommand a file.
//!
//! It ends with 0 if it did what it was asked, with 1 if it could not and has said why in a line, and with 2 if the command line
//! itself is wrong (clap's own).
//!
//! What must never happen in here: a secret on the command line; an error that does not say what to do.

pub mod check;
pub mod demo;
pub mod healthcheck;
pub mod keys;
pub mod run;
pub mod schema;
pub mod sessions;
pub mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Puts authentication in front of apps that stay as they are.
#[derive(Parser, Debug)]
#[command(name = "portcullis", version, about, propagate_version = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the proxy.
    Run(run::Args),
    /// Read a configuration and say what is wrong with it.
    Check(check::Check),
    /// Print the JSON schema of the configuration, for editors.
    Schema,
    /// Make, list and rotate keys.
    Keys(keys::KeysArgs),
    /// Add, change, remove and list users.
    User(user::Args),
    /// List, show and revoke sessions of a running proxy.
    Sessions(sessions::Args),
    /// Run in front of an app with everything made up: a user, a password, keys and a store.
    Demo(demo::Args),
    /// Ask a running proxy whether it is alive: for a container's health check.
    Healthcheck(healthcheck::Args),
}

/// Does what the command line says. Errors go to standard error in one piece.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Schema => schema::run(),
        Command::Keys(args) => done(keys::run(&args)),
        Command::User(args) => done(user::run(&args)),
        Command::Sessions(args) => done(sessions::run(&args)),
        Command::Demo(args) => demo::run(&args),
        Command::Healthcheck(args) => healthcheck::run(&args),
    }
}

/// Prints why it did not work.
fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("portcullis: {error}");
    ExitCode::FAILURE
}

/// The exit code of a command that prints what it has to say itself.
fn done<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}
