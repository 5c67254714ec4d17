//! What operators rely on: exit codes with one clear line, and what a supervisor is told.

use std::cell::Cell;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::harness::{
    ALICE, Browser, EchoBackend, Portcullis, RawConnection, Script, eventually, free_port, in_time, users_file,
};

/// Runs a command to its end: exit code, and what it printed to standard error.
async fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("PORTCULLIS_CONFIG")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    let output = in_time(&format!("the end of {arguments:?}"), child.wait_with_output()).await.expect("it ends");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What went wrong, without what else is in the log.
fn errors(said: &str) -> Vec<&str> {
    said.lines().filter(|line| line.starts_with("portcullis: ")).collect()
}

#[tokio::test]
async fn what_cannot_start_ends_with_one_line_and_a_code() {
    let running = Portcullis::start("upstream: http://127.0.0.1:1\n").await;
    let data = running.folder().join("data");
    let taken = running.listen.to_string();
    let free = || format!("127.0.0.1:{}", free_port());
    let config = |listen: &str, admin: &str, more: &str| {
        format!(
            "listen: {listen}\nadmin: {{ listen: \"{admin}\" }}\nupstream: http://127.0.0.1:1\nusers: users.yaml\n{more}"
        )
    };
    let tls = |more: &str| {
        format!(
            "listen: [{{ address: \"{}\", tls: {{ {more} }} }}]\nadmin: {{ listen: \"{}\" }}\nupstream: http://127.0.0.1:1\nusers: users.yaml\n",
            free(),
            free()
        )
    };
    for (text, hint) in [
        (config(&taken, &free(), ""), format!("cannot listen on {taken}: ")),
        (config(&free(), &running.admin.to_string(), ""), format!("cannot listen on {}: ", running.admin)),
        (config("192.0.2.1:80", &free(), ""), "cannot listen on 192.0.2.1:80: ".to_owned()),
        (
            config(&free(), &free(), &format!("admin_unused: 1\ndata_dir: {}\n", data.display())),
            "proxy.yaml:5".to_owned(),
        ),
        (
            format!(
                "{}data_dir: {}\n",
                config(&free(), &free(), "").replace("\" }", "\", socket: none }"),
                data.display()
            ),
            "another Portcullis is running with this data folder".to_owned(),
        ),
        (
            config(&free(), &free(), &format!("data_dir: {}\n", data.display())),
            "another proxy answers on the admin socket".to_owned(),
        ),
        (config(&free(), &free(), "keys: { file: missing.jwks }\n"), "missing.jwks".to_owned()),
        (config(&free(), &free(), "keys: { file: folder }\n"), "folder".to_owned()),
        (config(&free(), &free(), "store: { embedded: { path: noise.redb } }\n"), "noise.redb is damaged".to_owned()),
        (config(&free(), &free(), "data_dir: users.yaml/data\n"), "users.yaml/data".to_owned()),
        (tls("certificate: none.pem, key: none.key"), "none.pem".to_owned()),
        (tls("certificate: users.yaml, key: users.yaml"), "no certificate can be read".to_owned()),
    ] {
        let folder = TempDir::new().expect("a temporary folder");
        let file = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).expect("it is written");
        file("proxy.yaml", text.as_bytes());
        file("users.yaml", users_file().as_bytes());
        file("noise.redb", &[7; 8192]);
        std::fs::create_dir(folder.path().join("folder")).expect("a folder is made");
        for file in ["users.yaml", "noise.redb"] {
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(folder.path().join(file), private).expect("it is made private");
        }
        let (code, said) = run(folder.path(), &["run"]).await;
        assert_eq!(code, Some(1), "{text}\n{said}");
        assert!(errors(&said).len() == 1 && said.contains(&hint), "{hint:?}, for\n{text}\nis not in:\n{said}");
    }
    for (arguments, hint) in [
        (&["run", "--config", "none.yaml"][..], "none.yaml"),
        (&["run", "--config", "proxy.yaml", "--log", "nonsense=="], "log"),
    ] {
        let (code, said) = run(running.folder(), arguments).await;
        assert!(code == Some(1) && said.contains(hint), "{arguments:?}: {code:?}\n{said}");
    }
    for arguments in [&["no-such-command"][..], &["run", "--no-such-flag"], &["run", "surplus"], &[]] {
        let (code, said) = run(running.folder(), arguments).await;
        assert!(code == Some(2) && said.contains("Usage"), "{arguments:?}: {code:?}\n{said}");
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (_pieces, stream) = tokio::sync::mpsc::channel(1);
    let stream = std::sync::Mutex::new(Some(stream));
    let app = EchoBackend::answering(move |_| match stream.lock().expect("not poisoned").take() {
        Some(stream) => Script::Stream(stream),
        None => Script::Close,
    })
    .await;
    let config = format!("upstream: {}\npublic: [/public]\nshutdown: {{ drain: 600s }}\n", app.url());
    let mut gate = Portcullis::start(&config).await;
    let mut client = RawConnection::open(gate.listen).await;
    client.send("GET /public HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("the request has reached the app", async || (!app.seen().is_empty()).then_some(())).await;
    gate.signal("TERM");
    eventually("it drains", async || gate.log().contains("leaving").then_some(())).await;
    gate.signal("TERM");
    assert_eq!(in_time("after the second signal", gate.ended()).await.code(), Some(1));
}

/// What a supervisor hears, in order.
struct Ear {
    heard: Arc<Mutex<Vec<String>>>,
    /// How much of it has been asked for.
    read: Cell<usize>,
}

impl Ear {
    fn at(name: &str) -> Ear {
        let address = SocketAddr::from_abstract_name(name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("nobody has that name");
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let all = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut text = [0; 4096];
            while let Ok(length) = socket.recv(&mut text) {
                let text = String::from_utf8_lossy(&text[..length]).into_owned();
                all.lock().expect("not poisoned").push(text);
            }
        });
        Ear { heard, read: Cell::new(0) }
    }

    /// The next message with this line.
    async fn hears(&self, wanted: &str) -> String {
        eventually(&format!("the supervisor hears {wanted:?}"), async || {
            let heard = self.heard.lock().expect("not poisoned");
            let mut news = heard.iter().enumerate().skip(self.read.get());
            let (at, found) = news.find(|(_, text)| text.lines().any(|line| line == wanted))?;
            self.read.set(at + 1);
            Some(found.clone())
        })
        .await
    }
}

#[tokio::test]
async fn systemd_is_told_what_it_wants_to_know() {
    let name: &'static str = format!("portcullis-test-{}", std::process::id()).leak();
    let socket: &'static str = format!("@{name}").leak();
    let ear = Ear::at(name);
    let environment = [("NOTIFY_SOCKET", socket), ("WATCHDOG_USEC", "200000")];
    let mut gate = Portcullis::start_unready("upstream: http://127.0.0.1:1\n", &environment);
    let ready = ear.hears("READY=1").await;
    assert!(tokio::net::TcpStream::connect(gate.listen).await.is_ok());
    assert!(ready.contains("MAINPID="), "{ready}");
    ear.hears("WATCHDOG=1").await;
    ear.hears("WATCHDOG=1").await;

    Browser::logged_in(&gate, &ALICE).await;
    gate.take_over().await;
    let taken = ear.hears("READY=1").await;
    let main = |said: &str| said.lines().find_map(|line| line.strip_prefix("MAINPID=").map(str::to_owned));
    assert!(main(&taken).is_some() && main(&taken) != main(&ready), "{taken}");
    gate.former_leave().await;

    gate.signal("TERM");
    ear.hears("STOPPING=1").await;
    assert!(in_time("after SIGTERM", gate.ended()).await.success());
}

#[tokio::test]
async fn the_limit_of_open_files_is_raised() {
    let gate = Portcullis::start("upstream: http://127.0.0.1:1\nlimits: { connections: 1000000 }\n").await;
    let limits = |id: &str| std::fs::read_to_string(format!("/proc/{id}/limits")).expect("there are limits");
    let text = limits(&gate.id().to_string());
    let line = text.lines().find(|line| line.starts_with("Max open files")).expect("it is in there");
    let fields: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(fields[3], fields[4], "soft and hard: {line}");
    if fields[4].parse::<u64>().is_ok_and(|limit| limit < 2_000_000) {
        eventually("it warns", async || gate.log().contains("limits.connections").then_some(())).await;
    }
}
