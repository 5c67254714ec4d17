//! A real redis-server of our own: started on a free port with an empty folder, killed when dropped.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running redis-server. What was acknowledged survives [`RedisServer::kill`].
pub struct RedisServer {
    port: u16,
    folder: TempDir,
    process: Child,
}

impl RedisServer {
    /// Starts one and returns when it answers.
    pub fn start() -> RedisServer {
        // Somebody may take the port between the look and the start.
        for _ in 0..10 {
            let folder = TempDir::new().expect("a temporary folder");
            let port = TcpListener::bind("127.0.0.1:0")
                .and_then(|listener| listener.local_addr())
                .expect("a free port")
                .port();
            let process = spawn(port, &folder);
            let mut server = RedisServer { port, folder, process };
            if server.answers() {
                return server;
            }
        }
        panic!("redis-server does not start: `make deps` installs it");
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills it as the power cut would: SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill().expect("redis-server is killed");
        self.process.wait().expect("redis-server ends");
    }

    /// Starts it again, on the same port and with what it had written.
    pub fn start_again(&mut self) {
        self.process = spawn(self.port, &self.folder);
        assert!(self.answers(), "redis-server does not start again");
    }

    /// Stops it in its tracks: connections stay open and nothing is answered.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Runs a command with redis-cli and returns what it prints.
    pub fn command(&self, words: &[&str]) -> String {
        let output = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(words).output();
        String::from_utf8_lossy(&output.expect("redis-cli runs").stdout).trim().to_owned()
    }

    /// How many commands it has processed.
    pub fn commands_processed(&self) -> u64 {
        let stats = self.command(&["info", "stats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("no count of commands in {stats}"))
    }

    fn answers(&mut self) -> bool {
        let give_up = Instant::now() + Duration::from_secs(10);
        while Instant::now() < give_up && self.process.try_wait().expect("a process has a status").is_none() {
            if self.command(&["ping"]) == "PONG" {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.process.id().to_string()]).status();
        assert!(status.expect("`kill` runs").success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(port: u16, folder: &TempDir) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
        .args(["--appendfsync", "always", "--maxmemory-policy", "noeviction", "--dir"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server starts: `make deps` installs it")
}
