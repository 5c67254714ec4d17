//! The backends, each a real server in a process of its own, and the lenient one, which is in this one.
//!
//! They answer one request after the other, so that when an answer to a last request has come, all before it are recorded.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::harness::{RawConnection, eventually, free_port};
use crate::lenient::{FRAMINGS, start};
use crate::record::Collector;

/// One of them.
#[derive(Clone, Debug)]
pub struct Backend {
    /// As it stands in records.
    pub name: &'static str,
    /// The host by which the gate routes to it.
    pub host: String,
    pub address: SocketAddr,
    /// It only differs from another one in how it splits a stream into requests.
    pub for_framing_only: bool,
}

/// All of them. They end when this is dropped.
pub struct Backends {
    pub all: Vec<Backend>,
    pub collector: Collector,
    processes: Vec<Child>,
    _folder: TempDir,
}

impl Backends {
    /// Starts them, and returns when each has answered.
    pub async fn start() -> Backends {
        let collector = Collector::start().await;
        let folder = TempDir::new().expect("a temporary folder");
        let [gunicorn, node, nginx, php] = [free_port(), free_port(), free_port(), free_port()];
        let processes = vec![
            gunicorn_process(folder.path(), gunicorn, &collector),
            quiet(
                Command::new("node")
                    .arg(apps().join("server.js"))
                    .args([node, collector.address.port()].map(|port| port.to_string())),
            ),
            php_process(folder.path()),
            nginx_process(folder.path(), nginx, php, &collector),
        ];
        let mut all: Vec<Backend> = [("gunicorn", gunicorn), ("node", node), ("nginx", nginx), ("php", php)]
            .into_iter()
            .map(|(name, port)| Backend::new(name, SocketAddr::from(([127, 0, 0, 1], port)), false))
            .collect();
        for (number, framing) in FRAMINGS.into_iter().enumerate() {
            all.push(Backend::new(framing.name, start(framing, collector.clone()).await, number > 0));
        }
        let backends = Backends { all, collector, processes, _folder: folder };
        backends.settle("start").await;
        backends.collector.take();
        backends
    }

    /// Returns when everything that had reached a backend is recorded.
    pub async fn settle(&self, mark: &str) {
        for backend in &self.all {
            let case = format!("settled-{mark}");
            eventually(&format!("{} records what it gets", backend.name), async || {
                if self.collector.has(backend.name, &case) {
                    return Some(());
                }
                tokio::net::TcpStream::connect(backend.address).await.ok()?;
                let mut connection = RawConnection::open(backend.address).await;
                connection
                    .send(format!(
                        "GET /settled HTTP/1.1\r\nHost: {}\r\nX-Case: {case}\r\nConnection: close\r\n\r\n",
                        backend.host
                    ))
                    .await;
                let answered = tokio::time::timeout(std::time::Duration::from_secs(5), connection.answer()).await;
                answered.ok()??;
                self.collector.has(backend.name, &case).then_some(())
            })
            .await;
        }
    }
}

impl Backend {
    fn new(name: &'static str, address: SocketAddr, for_framing_only: bool) -> Backend {
        let label: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        Backend { name, host: format!("{label}.test"), address, for_framing_only }
    }
}

impl Drop for Backends {
    /// Asked to end, they end their workers too.
    fn drop(&mut self) {
        for process in &self.processes {
            if let Some(id) = process.id() {
                drop(std::process::Command::new("kill").args(["-TERM", &id.to_string()]).status());
            }
        }
        for process in &mut self.processes {
            for _ in 0..100 {
                if !matches!(process.try_wait(), Ok(None)) {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    }
}

fn apps() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/attacks/apps"].iter().collect()
}

fn gunicorn_process(folder: &Path, port: u16, collector: &Collector) -> Child {
    let control = folder.join("gunicorn");
    std::fs::create_dir(&control).expect("a folder is made");
    quiet(
        Command::new("gunicorn")
            .args([
                "--bind",
                &format!("127.0.0.1:{port}"),
                "--workers",
                "1",
                "--log-level",
                "critical",
                "app:application",
            ])
            .arg("--chdir")
            .arg(apps())
            .arg("--worker-tmp-dir")
            .arg(control)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("COLLECTOR", collector.address.port().to_string()),
    )
}

fn php_process(folder: &Path) -> Child {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let user = if is_root { "user = root\ngroup = root" } else { "" };
    let config = filled("php-fpm.conf", &[("{folder}", text(folder)), ("{user}", user.to_owned())]);
    std::fs::write(folder.join("php-fpm.conf"), config).expect("the configuration is written");
    let mut process = Command::new(php_fpm());
    if is_root {
        process.arg("--allow-to-run-as-root");
    }
    quiet(process.arg("--nodaemonize").arg("--fpm-config").arg(folder.join("php-fpm.conf")))
}

/// Debian puts the version into the name.
fn php_fpm() -> PathBuf {
    let folders = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];
    let named = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let mut found: Vec<PathBuf> = named
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("php-fpm")))
        .collect();
    found.sort();
    found.pop().expect("php-fpm is installed (scripts/install-deps test)")
}

fn nginx_process(folder: &Path, files_port: u16, php_port: u16, collector: &Collector) -> Child {
    for place in ["", "admin", "member", "public"] {
        let place = folder.join("files").join(place);
        std::fs::create_dir_all(&place).expect("a folder is made");
        std::fs::write(place.join("index.html"), "a file\n").expect("a file is written");
    }
    let config = filled(
        "nginx.conf",
        &[
            ("{folder}", text(folder)),
            ("{apps}", text(&apps())),
            ("{files_port}", files_port.to_string()),
            ("{php_port}", php_port.to_string()),
            ("{collector}", collector.address.port().to_string()),
        ],
    );
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let config = if is_root { format!("user root;\n{config}") } else { config };
    std::fs::write(folder.join("nginx.conf"), config).expect("the configuration is written");
    let mut process =
        if Path::new("/usr/sbin/nginx").exists() { Command::new("/usr/sbin/nginx") } else { Command::new("nginx") };
    quiet(process.arg("-p").arg(folder).arg("-e").arg("stderr").arg("-c").arg(folder.join("nginx.conf")))
}

fn filled(file: &str, values: &[(&str, String)]) -> String {
    let template = std::fs::read_to_string(apps().join(file)).expect("the template is there");
    values.iter().fold(template, |text, (name, value)| text.replace(name, value))
}

fn text(path: &Path) -> String {
    path.to_str().expect("temporary paths are UTF-8").to_owned()
}

fn quiet(command: &mut Command) -> Child {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(if std::env::var_os("ATTACKS_VERBOSE").is_some() { Stdio::inherit() } else { Stdio::null() })
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error} (scripts/install-deps test)"))
}
