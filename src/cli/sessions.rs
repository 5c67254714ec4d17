//! `portcullis sessions list|show|revoke`: what an operator asks a running proxy, over its admin socket.
//!
//! What must never happen in here: everybody is logged out by a slip of the finger.

mod socket;
mod table;

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use self::socket::{AskError, Socket};
use crate::config;

/// List, show and revoke sessions of a running proxy.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The configuration of the proxy: it says where the admin socket is.
    #[arg(long, short, global = true, value_name = "FILE", default_value = "proxy.yaml", env = "PORTCULLIS_CONFIG")]
    config: PathBuf,
    /// The admin socket. Then no configuration is read.
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Print JSON, one object a line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// List the sessions that live.
    List {
        /// Only those of this user.
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
    /// Show one session, living or not.
    Show {
        /// Its id: the claim `sid`, and what apps get as X-Auth-Session.
        #[arg(allow_hyphen_values = true)]
        session: String,
    },
    /// End sessions: their tokens are refused by every proxy.
    Revoke(Revoke),
}

#[derive(clap::Args, Debug)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["session", "user", "key", "all"]))]
struct Revoke {
    /// This session.
    // Ids are base64url, so one in 64 begins with a hyphen.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    session: Option<String>,
    /// All sessions of this user.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// All sessions whose refresh token is made with this key (`portcullis keys list`): for a key that was stolen.
    #[arg(long, value_name = "KID", allow_hyphen_values = true)]
    key: Option<String>,
    /// All sessions there are: everybody has to log in again. Asks first.
    #[arg(long)]
    all: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum SessionsError {
    /// The configuration does not say where the socket is.
    #[error("{0}\nor say where the admin socket is with --socket")]
    Config(#[from] config::ConfigErrors),
    /// There is no socket.
    #[error("`admin.socket` is `none` in {0}, so there is no door; remove that line and start the proxy again")]
    NoSocket(PathBuf),
    /// The proxy cannot be asked, or says no.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// Nobody said yes.
    #[error("nothing was revoked; say `yes` when asked, or give --yes")]
    NotConfirmed,
    /// Nobody listens to the answer.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

/// Carries out the command.
pub fn run(args: &Args) -> Result<(), SessionsError> {
    run_with(args, &mut io::stdin().lock(), &mut io::stdout().lock())
}

fn run_with(args: &Args, input: &mut dyn BufRead, output: &mut dyn Write) -> Result<(), SessionsError> {
    let path = match &args.socket {
        Some(path) => path.clone(),
        None => config::load(&args.config, &config::environment)?
            .admin
            .socket
            .ok_or_else(|| SessionsError::NoSocket(args.config.clone()))?,
    };
    let socket = Socket::at(path);
    match &args.command {
        Command::List { user } => list(&socket, user.as_deref(), args.json, output),
        Command::Show { session } => {
            let session = socket.get(&format!("/sessions/{}", encoded(session)))?;
            let text = if args.json { session.to_string() } else { table::sheet(&session) };
            Ok(writeln!(output, "{text}")?)
        }
        Command::Revoke(which) => {
            if which.all && !which.yes {
                confirm(input, output)?;
            }
            let answer = socket.post("/sessions/revoke", &which.selector())?;
            match (args.json, answer["revoked"].as_u64()) {
                (true, _) => writeln!(output, "{answer}")?,
                (false, Some(1)) => writeln!(output, "1 session revoked")?,
                (false, count) => writeln!(output, "{} sessions revoked", count.unwrap_or(0))?,
            }
            Ok(())
        }
    }
}

impl Revoke {
    fn selector(&self) -> Value {
        match (&self.session, &self.user, &self.key) {
            (Some(session), ..) => json!({ "session": session }),
            (_, Some(user), _) => json!({ "subject": user }),
            (.., Some(key)) => json!({ "key": key }),
            (None, None, None) => json!({ "all": self.all }),
        }
    }
}

fn list(socket: &Socket, user: Option<&str>, json: bool, output: &mut dyn Write) -> Result<(), SessionsError> {
    let mut path = match user {
        Some(user) => format!("/sessions?subject={}", encoded(user)),
        None => "/sessions".to_owned(),
    };
    if !json {
        writeln!(output, "{}", table::HEAD)?;
    }
    loop {
        let page = socket.get(&path)?;
        for session in page["sessions"].as_array().into_iter().flatten() {
            let line = if json { session.to_string() } else { table::row(session) };
            writeln!(output, "{line}")?;
        }
        match page["next"].as_str() {
            Some(next) => path = format!("/sessions?cursor={}", encoded(next)),
            None => return Ok(()),
        }
    }
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn confirm(input: &mut dyn BufRead, output: &mut dyn Write) -> Result<(), SessionsError> {
    write!(output, "This logs everybody out, on every proxy. Type `yes` to go on: ")?;
    output.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    if !io::stdin().is_terminal() {
        writeln!(output)?;
    }
    if answer.trim() == "yes" { Ok(()) } else { Err(SessionsError::NotConfirmed) }
}
