//! A real `redis-server`, or what the variable `REDIS_SERVER` names (Valkey, say), on a free port in a folder of its own. It
//! dies with the test, however that ends.
//!
//! Knows nothing of Portcullis, so that every suite can use it: `#[path = "../support/redis.rs"] mod redis_server;`.
#![allow(clippy::unwrap_used, dead_code, reason = "each suite uses what it needs")]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

#[path = "redis_cluster.rs"]
pub mod cluster;

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// TLS only, with a certificate of a CA of its own.
    pub tls: bool,
    /// The folder of another server whose certificate it has, and its CA.
    pub certificate_of: Option<PathBuf>,
    /// The only user there is, and the password.
    pub user: Option<(String, String)>,
    /// Every write is on disk before it is answered, so that it survives `kill`.
    pub durable: bool,
    /// Copies the server on this port.
    pub replica_of: Option<u16>,
    /// It is a sentinel, and watches the server on this port as `mymaster`.
    pub sentinel_of: Option<u16>,
    /// It is a node of a cluster; another one that is silent for as many milliseconds has failed.
    pub cluster_node_timeout: Option<u32>,
    /// More lines of its configuration.
    pub more: Vec<String>,
}

/// A running `redis-server`.
pub struct RedisServer {
    options: Options,
    folder: tempfile::TempDir,
    port: u16,
    process: Option<Process>,
}

struct Process {
    pid: u32,
    /// A shell that kills the server when its standard input ends: at the latest when this process does.
    shell: Child,
    _leash: ChildStdin,
}

impl RedisServer {
    /// Starts a server that forgets everything when it is killed.
    pub fn start() -> RedisServer {
        RedisServer::start_with(Options::default())
    }

    /// Starts a server.
    pub fn start_with(options: Options) -> RedisServer {
        let folder = tempfile::tempdir().unwrap();
        match &options.certificate_of {
            _ if !options.tls => {}
            None => write_certificates(folder.path()),
            Some(other) => {
                for file in ["ca.pem", "cert.pem", "key.pem"] {
                    std::fs::copy(other.join(file), folder.path().join(file)).unwrap();
                }
            }
        }
        let mut server = RedisServer { options, folder, port: 0, process: None };
        for _ in 0..20 {
            server.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            // Nodes of a cluster talk to one another on a port that is higher by 10000.
            let has_room = server.options.cluster_node_timeout.is_none() || server.port <= u16::MAX - 10_000;
            if has_room && server.launch() {
                return server;
            }
        }
        panic!("redis-server does not start: {}", server.log());
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it keeps its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its URL, without user and password.
    pub fn url(&self) -> String {
        let scheme = if self.options.tls { "rediss" } else { "redis" };
        format!("{scheme}://localhost:{}", self.port)
    }

    /// The CA that its certificate descends from.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A connection of the test's own.
    pub fn connection(&self) -> redis::Connection {
        self.try_connection().unwrap()
    }

    /// Sends one command and returns the answer.
    pub fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_command(words).unwrap()
    }

    /// Sends one command; the server may be going away.
    pub fn try_command<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut self.try_connection()?)
    }

    /// How many commands it has processed, this one not counted.
    pub fn commands_processed(&self) -> u64 {
        let stats: String = self.command(&["INFO", "stats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("no count of commands in {stats}"))
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        // The shell does it, and then ends.
        if let Some(Process { mut shell, _leash, .. }) = self.process.take() {
            drop(_leash);
            shell.wait().unwrap();
        }
    }

    /// Starts it again after `kill`, on the same port and with what it had on disk.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "it is running");
        let began = Instant::now();
        while !self.launch() {
            assert!(began.elapsed() < Duration::from_secs(10), "redis-server does not start again: {}", self.log());
        }
    }

    /// Stops it in its tracks (SIGSTOP): connections stay open, and nothing is answered.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().expect("it is running").pid;
        let status = Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status().unwrap();
        assert!(status.success());
    }

    /// Starts the process. False if it ended, or if another process has the port.
    fn launch(&mut self) -> bool {
        let configuration = self.folder.path().join("redis.conf");
        std::fs::write(&configuration, self.configuration()).unwrap();
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        // The server has no part in the pipes of the shell, so that they end with the shell and the test.
        let script = r#""$0" "$@" </dev/null >&2 & echo $!; exec >/dev/null; cat; kill -9 $!; wait $!"#;
        let program = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        let mut shell = Command::new("sh")
            .args(["-c", script, &program])
            .arg(configuration)
            .args(self.options.sentinel_of.map(|_| "--sentinel"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut pid = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        let pid: u32 = pid.trim().parse().unwrap();
        self.process = Some(Process { pid, _leash: shell.stdin.take().unwrap(), shell });

        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) {
            let info =
                self.try_connection().and_then(|mut connection| redis::cmd("INFO").query::<String>(&mut connection));
            match info {
                // What is on disk is being loaded, and nothing but this is answered.
                Ok(info) if info.contains("\r\nloading:1") => std::thread::sleep(Duration::from_millis(5)),
                Ok(info) if info.contains(&format!("process_id:{pid}\r\n")) => return true,
                Ok(_) => break,
                Err(_) if self.log().contains("Failed listening on port") => break,
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        self.kill();
        false
    }

    fn configuration(&self) -> String {
        let Options { tls, user, durable, replica_of, sentinel_of, cluster_node_timeout, more, .. } = &self.options;
        let (folder, port) = (self.folder.path().display(), self.port);
        let mut lines = vec![format!("dir {folder}"), "bind 127.0.0.1".to_owned()];
        match sentinel_of {
            // Nothing is saved behind the test's back, and copies are sent at once.
            None => lines.push("save \"\"\nrepl-diskless-sync-delay 0".to_owned()),
            Some(port) => lines.extend([
                format!("sentinel monitor mymaster 127.0.0.1 {port} 2"),
                "sentinel down-after-milliseconds mymaster 500".to_owned(),
                "sentinel failover-timeout mymaster 2000".to_owned(),
            ]),
        }
        match tls {
            false => lines.push(format!("port {port}")),
            true => lines.extend([
                format!("port 0\ntls-port {port}\ntls-auth-clients no"),
                format!(
                    "tls-cert-file {folder}/cert.pem\ntls-key-file {folder}/key.pem\ntls-ca-cert-file {folder}/ca.pem"
                ),
            ]),
        }
        if *durable {
            lines.push("appendonly yes\nappendfsync always".to_owned());
        }
        if let Some(port) = replica_of {
            lines.push(format!("replicaof 127.0.0.1 {port}"));
        }
        if let Some((user, password)) = user {
            lines.push(format!("user default off\nuser {user} on >{password} ~* &* +@all"));
        }
        if let Some(timeout_ms) = cluster_node_timeout {
            lines.push(format!("cluster-enabled yes\ncluster-node-timeout {timeout_ms}"));
            lines.extend(tls.then(|| "tls-cluster yes\ntls-replication yes".to_owned()));
        }
        lines.extend(more.iter().cloned());
        lines.join("\n")
    }

    fn try_connection(&self) -> redis::RedisResult<redis::Connection> {
        use redis::IntoConnectionInfo;
        let info = self.url().into_connection_info()?;
        let mut settings = info.redis_settings().clone();
        if let Some((user, password)) = &self.options.user {
            settings = settings.set_username(user).set_password(password);
        }
        let info = info.set_redis_settings(settings);
        let client = match self.options.tls {
            false => redis::Client::open(info)?,
            true => {
                drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
                let root_cert = Some(std::fs::read(self.ca_file()).unwrap());
                redis::Client::build_with_tls(info, redis::TlsCertificates { client_tls: None, root_cert })?
            }
        };
        client.get_connection_with_timeout(Duration::from_secs(5))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `ca.pem`, and `cert.pem` with `key.pem` for localhost.
fn write_certificates(folder: &Path) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Another name than the certificate's, or OpenSSL takes that for its own issuer.
    ca.distinguished_name.push(DnType::CommonName, "CA of a test");
    std::fs::write(folder.join("ca.pem"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();

    let key = KeyPair::generate().unwrap();
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}
