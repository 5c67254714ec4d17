//! Apps that people run, each in a process of its own.

use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{client, eventually, free_port};

/// The legacy app of the demo.
pub struct LegacyApp {
    /// Where it listens.
    pub url: String,
    _process: Child,
}

impl LegacyApp {
    /// Starts it.
    pub async fn start() -> LegacyApp {
        let port = free_port();
        let script: PathBuf = [env!("CARGO_MANIFEST_DIR"), "demo/legacy/app.py"].iter().collect();
        let process = quiet(Command::new("python3").arg(script).args(["--port", &port.to_string()]));
        let url = format!("http://127.0.0.1:{port}");
        answers(&url).await;
        LegacyApp { url, _process: process }
    }
}

/// Radicale, a calendar server, as it comes from its packagers. It believes `X-Remote-User`.
pub struct Radicale {
    /// Where it listens.
    pub url: String,
    _folder: TempDir,
    _process: Child,
}

impl Radicale {
    /// Starts it with an empty collection folder.
    pub async fn start() -> Radicale {
        let folder = TempDir::new().expect("a temporary folder");
        let port = free_port();
        let config = folder.path().join("config");
        let text = format!(
            "[server]\nhosts = 127.0.0.1:{port}\n[auth]\ntype = http_x_remote_user\n[rights]\ntype = owner_only\n\
             [storage]\nfilesystem_folder = {}\n[web]\ntype = none\n[logging]\nlevel = error\n",
            folder.path().join("collections").display()
        );
        std::fs::write(&config, text).expect("its configuration is written");
        let process = quiet(Command::new("radicale").arg("--config").arg(config));
        let url = format!("http://127.0.0.1:{port}");
        answers(&url).await;
        Radicale { url, _folder: folder, _process: process }
    }
}

fn quiet(command: &mut Command) -> Child {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start ({error}): `make deps` installs it"))
}

async fn answers(url: &str) {
    eventually("the app answers", async || client().get(url).send().await.ok()).await;
}
