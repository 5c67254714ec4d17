//! What the bench needs beside the servers: an app, a verifier for proxies that ask one, tokens, load.
//!
//! Everything listens and connects on loopback, and everything that sends ends by itself.

mod histogram;
mod http;
mod load;
mod prepare;
mod process;
mod respond;
mod rotations;
mod sessions;
mod visit;

use std::process::ExitCode;

use clap::Parser;

/// What can go wrong here is told and ends the run.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
enum Command {
    /// Answer every request with 1 KiB.
    App(respond::App),
    /// Answer 200 and the subject, or 401: what `auth_request` and `forward_auth` ask.
    Verifier(respond::Verifier),
    /// Make access tokens with the keys of a key file.
    Tokens(prepare::Tokens),
    /// Make users whose password is quick to check.
    Users(prepare::Users),
    /// Fill the file of an embedded store with revocations.
    Revoke(prepare::Revoke),
    /// Send requests, and measure.
    Load(load::Load),
    /// Log in, refresh and log out, and measure.
    Sessions(sessions::Args),
    /// Rotate sessions on a store, and measure.
    Rotations(rotations::Args),
    /// Log out at one proxy, and measure how long another one still takes the token.
    Propagation(sessions::Propagation),
    /// Make a certificate for loopback.
    Certificate(visit::NewCertificate),
    /// Ask over TLS, as browsers do, for a while.
    Visit(visit::Visit),
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::App(args) => respond::app(&args),
        Command::Verifier(args) => respond::verifier(&args),
        Command::Tokens(args) => prepare::tokens(&args),
        Command::Users(args) => prepare::users(&args),
        Command::Revoke(args) => prepare::revoke(&args),
        Command::Load(args) => load::run(&args),
        Command::Sessions(args) => sessions::run(&args),
        Command::Rotations(args) => rotations::run(&args),
        Command::Propagation(args) => sessions::propagation(&args),
        Command::Certificate(args) => visit::certificate(&args),
        Command::Visit(args) => visit::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-tools: {error}");
            ExitCode::FAILURE
        }
    }
}
