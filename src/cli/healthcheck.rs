//! `portcullis healthcheck`: is a running proxy alive? For containers, which have no curl.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `portcullis healthcheck`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The admin listener.
    #[arg(long, default_value = "127.0.0.1:9911", env = "PORTCULLIS_ADMIN")]
    admin: SocketAddr,
    /// Ask whether it is ready for requests, not only alive.
    #[arg(long)]
    ready: bool,
}

const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks, and exits with 0 for yes.
pub fn run(args: &Args) -> ExitCode {
    let path = if args.ready { "/readyz" } else { "/healthz" };
    match ask(args.admin, path) {
        Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => ExitCode::SUCCESS,
        Ok(answer) => super::fail(&answer.lines().last().unwrap_or("no answer").to_owned()),
        Err(error) => super::fail(&format!("{}: {error}", args.admin)),
    }
}

fn ask(admin: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer)?;
    Ok(answer)
}
