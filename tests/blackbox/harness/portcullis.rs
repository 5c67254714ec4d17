//! The real binary, on ports of its own, in a folder of its own.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::accounts::users_file;
use super::{DEADLINE, Metrics, client, eventually, free_port, in_time};

/// A running Portcullis. It is killed when this is dropped; its logs are kept.
pub struct Portcullis {
    folder: TempDir,
    /// Where the public listener is.
    pub listen: SocketAddr,
    /// Where the admin listener is.
    pub admin: SocketAddr,
    scheme: &'static str,
    environment: Vec<(&'static str, &'static str)>,
    process: Child,
    /// Processes whose place another has taken.
    former: Vec<Child>,
    log: Arc<Mutex<Vec<u8>>>,
}

/// What is added to a test's configuration, unless it has the key itself; users neither if it says how their app lets them in.
const DEFAULTS: [(&str, &str); 5] = [
    ("listen", "listen: {listen}"),
    ("admin", "admin: { listen: \"{admin}\" }"),
    ("users", "users: { file: users.yaml }"),
    ("store", "store: embedded"),
    ("data_dir", "data_dir: data"),
];

impl Portcullis {
    /// Starts it, with users, and returns when it says that it is ready. In `config`, `{listen}`, `{admin}` and
    /// `{folder}` are filled in; listeners, users and the store have defaults.
    pub async fn start(config: &str) -> Portcullis {
        Portcullis::start_with(config, &[]).await
    }

    /// The same with a test's own environment variables.
    pub async fn start_with(config: &str, environment: &[(&'static str, &'static str)]) -> Portcullis {
        let mut gate = Portcullis::start_unready(config, environment);
        gate.ready().await;
        gate
    }

    /// The same, without waiting until it is ready.
    pub fn start_unready(config: &str, environment: &[(&'static str, &'static str)]) -> Portcullis {
        let folder = TempDir::new().expect("a temporary folder");
        let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut text = String::new();
        for (key, line) in DEFAULTS {
            let has_users = key == "users" && config.contains("login:") && config.contains("success:");
            if !has_users && !config.lines().any(|own| own.starts_with(&format!("{key}:"))) {
                text += line;
                text += "\n";
            }
        }
        text += config;
        let text = text
            .replace("{listen}", &listen.to_string())
            .replace("{admin}", &admin.to_string())
            .replace("{folder}", folder.path().to_str().expect("temporary paths are UTF-8"));
        std::fs::write(folder.path().join("proxy.yaml"), &text).expect("the configuration is written");
        let users = folder.path().join("users.yaml");
        std::fs::write(&users, users_file()).expect("the users file is written");
        std::fs::set_permissions(&users, std::fs::Permissions::from_mode(0o600))
            .expect("the users file is made private");

        let log = Arc::new(Mutex::new(Vec::new()));
        let process = spawn(folder.path(), environment, &log, &[]);
        let scheme = if text.contains("tls: { certificate:") { "https" } else { "http" };
        Portcullis {
            folder,
            listen,
            admin,
            scheme,
            environment: environment.to_vec(),
            process,
            former: Vec::new(),
            log,
        }
    }

    /// The address of a path on the public listener.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.listen)
    }

    /// The address of a path on the admin listener.
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    /// Its folder: configuration, users file and data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its users file.
    pub fn users(&self) -> PathBuf {
        self.folder.path().join("users.yaml")
    }

    /// Everything it has printed so far, over all its lives.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// What `/metrics` says now.
    pub async fn metrics(&self) -> Metrics {
        let answer = client().get(self.admin_url("/metrics")).send().await.expect("the admin listener answers");
        Metrics::parse(&answer.text().await.expect("metrics are text"))
    }

    /// Kills it as the power cut would: SIGKILL.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("the process is killed");
    }

    /// Starts it again, in the same folder and on the same ports.
    pub async fn start_again(&mut self) {
        self.start_again_unready();
        self.ready().await;
    }

    /// The same, without waiting until it is ready.
    pub fn start_again_unready(&mut self) {
        self.process = spawn(self.folder.path(), &self.environment, &self.log, &[]);
    }

    /// Has a new process take the place of this one, and returns when it has. The one before leaves in its own time.
    pub async fn take_over(&mut self) {
        let before = self.log().matches("taken over from process").count();
        let mut new = spawn(self.folder.path(), &self.environment, &self.log, &["--take-over"]);
        eventually("the new process has taken over", async || {
            let ended = new.try_wait().expect("a process has a status");
            assert!(ended.is_none(), "it ended with {ended:?}\n{}", self.log());
            (self.log().matches("taken over from process").count() > before).then_some(())
        })
        .await;
        self.former.push(std::mem::replace(&mut self.process, new));
    }

    /// Waits until all processes have left whose place another has taken, each of them well.
    pub async fn former_leave(&mut self) {
        for former in &mut self.former {
            let status = in_time("after a hand-over", former.wait()).await.expect("the process ends");
            assert!(status.success(), "{status}");
        }
        self.former.clear();
    }

    /// Has a new process try to take over, which fails, and returns what it says.
    pub async fn fails_to_take_over(&self) -> String {
        let log = Arc::default();
        let mut new = spawn(self.folder.path(), &self.environment, &log, &["--take-over"]);
        let status = in_time("it gives up", new.wait()).await.expect("the process ends");
        assert_eq!(status.code(), Some(1));
        let said = || String::from_utf8_lossy(&log.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
        eventually("it has said why", async || {
            let said = said();
            let is_whole = said.ends_with('\n') && said.lines().any(|line| line.starts_with("portcullis: "));
            is_whole.then_some(())
        })
        .await;
        said()
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        self.process.wait().await.expect("the process ends")
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        in_time("after SIGTERM", self.ended()).await
    }

    /// How much processor time it has used, in user and system mode.
    #[allow(dead_code, reason = "what things cost is measured by the bench of faults")]
    pub fn cpu(&self) -> Duration {
        let id = self.id();
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("the process has a status");
        // After the name, which is in brackets: fields 14 and 15 of all, in hundredths of a second.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.process.id().expect("the process runs")
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let status = std::process::Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(status.expect("`kill` runs").success());
    }

    async fn ready(&mut self) {
        let give_up = Instant::now() + DEADLINE;
        let problem = loop {
            if let Some(status) = self.process.try_wait().expect("a process has a status") {
                break format!("it ended with {status}");
            }
            let answer = client().get(self.admin_url("/readyz")).send().await;
            // That ready means listening has a test of its own.
            if answer.is_ok_and(|answer| answer.status() == 200) && TcpStream::connect(self.listen).await.is_ok() {
                return;
            }
            if Instant::now() > give_up {
                break format!("it is not ready after {DEADLINE:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        // What it printed last may still be on its way here.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let config = std::fs::read_to_string(self.folder.path().join("proxy.yaml")).unwrap_or_default();
        panic!("portcullis does not start: {problem}\n--- proxy.yaml\n{config}\n--- it printed\n{}", self.log());
    }
}

fn spawn(
    folder: &Path,
    environment: &[(&'static str, &'static str)],
    log: &Arc<Mutex<Vec<u8>>>,
    arguments: &[&str],
) -> Child {
    let config = folder.join("proxy.yaml");
    // All clients of a test are one address, and on a fast machine they are more than one address may be by default.
    let text = std::fs::read_to_string(&config).unwrap_or_default();
    let unlimited =
        (!text.contains("requests_per_address")).then_some(("PORTCULLIS_LIMITS__REQUESTS_PER_ADDRESS", "none"));
    let mut process = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["run", "--config"])
        .arg(config)
        .envs(unlimited)
        .args(arguments)
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    keep(process.stdout.take().expect("piped"), log.clone());
    keep(process.stderr.take().expect("piped"), log.clone());
    process
}

fn keep(mut from: impl AsyncRead + Unpin + Send + 'static, to: Arc<Mutex<Vec<u8>>>) {
    tokio::spawn(async move {
        let mut piece = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            to.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&piece[..length]);
        }
    });
}
