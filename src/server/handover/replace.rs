//! Starting the process that is to take over, as a child: so that a supervisor that watches this one sees the new one too.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tracing::{error, info};

/// The command line of this process, as it was at its start: by then another program may stand at that path.
pub(in crate::server) struct Replacement {
    program: std::io::Result<PathBuf>,
    arguments: Vec<OsString>,
}

impl Replacement {
    /// Of this process.
    pub(in crate::server) fn of_this() -> Replacement {
        let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        if !arguments.iter().any(|argument| argument == "--take-over") {
            arguments.push("--take-over".into());
        }
        Replacement { program: std::env::current_exe(), arguments }
    }

    /// Starts the program that is at that path now. It says for itself why it does not take over.
    pub(in crate::server) fn start(&self) {
        let program = match &self.program {
            Ok(program) => program,
            Err(error) => return error!(%error, "the path of this program is not known; start it with --take-over"),
        };
        match Command::new(program).args(&self.arguments).stdin(Stdio::null()).spawn() {
            Ok(mut child) => {
                info!("process {} is to take over", child.id());
                let wait = move || match child.wait() {
                    Ok(status) => info!("the process that was to take over has ended ({status})"),
                    Err(error) => error!(%error, "the process that is to take over cannot be watched"),
                };
                // Without the thread a child that ends stays in the list of processes, and does no harm there.
                drop(std::thread::Builder::new().name("replacement".to_owned()).spawn(wait));
            }
            Err(error) => error!(%error, "{} cannot be started", program.display()),
        }
    }
}
