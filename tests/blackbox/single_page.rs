//! The single-page app's files, as the legacy app of the demo serves them. Tries to leave the folder that is served.

use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::harness::{eventually, free_port, in_time};

#[tokio::test]
async fn files_come_with_a_policy_and_no_path_leads_out_of_the_folder() {
    let home = TempDir::new().expect("a temporary folder");
    let folder = home.path().join("dist");
    std::fs::create_dir_all(folder.join("assets")).expect("folders");
    let put = |path: &str, text: &str| std::fs::write(home.path().join(path), text).expect("a file");
    put("dist/index.html", "THE PAGE");
    put("dist/assets/app-1a2b.js", "THE SCRIPT");
    put("outside.txt", "THE SECRET");
    let app = App::start(&folder).await;

    let page = app.get("/app/").await;
    assert!(page.starts_with("HTTP/1.1 200") && page.ends_with("THE PAGE"), "{page}");
    for field in
        ["default-src 'self'", "X-Content-Type-Options: nosniff", "Referrer-Policy:", "Cache-Control: no-cache"]
    {
        assert!(page.contains(field), "{field:?} is missing in\n{page}");
    }
    assert!(!page.contains("unsafe"), "{page}");
    assert!(app.get("/app/some/view?x=1").await.ends_with("THE PAGE"), "the page finds its own way");
    assert!(app.get("/app").await.contains("Location: /app/\r\n"));
    let script = app.get("/app/assets/app-1a2b.js").await;
    assert!(script.contains("immutable") && script.contains("Content-Type: text/javascript"), "{script}");
    let old = app.get("/app/assets/app-0000.js").await;
    assert!(old.starts_with("HTTP/1.1 404"), "the page is no script: {old}");

    let absolute = format!("/app/{}", home.path().join("outside.txt").display());
    for path in [
        "/app/../outside.txt",
        "/app/assets/../../outside.txt",
        "/app/%2e%2e/outside.txt",
        "/app/..%2foutside.txt",
        "/app/..\\outside.txt",
        "/app/./../outside.txt",
        "/app/assets/..%2f..%2foutside.txt",
        "/app/outside.txt%00.html",
        absolute.as_str(),
    ] {
        let answer = app.get(path).await;
        assert!(answer.starts_with("HTTP/1.1 404") || answer.ends_with("THE PAGE"), "{path}: {answer}");
        assert!(!answer.contains("THE SECRET"), "{path}: {answer}");
    }
}

struct App {
    address: String,
    _process: Child,
}

impl App {
    async fn start(folder: &std::path::Path) -> App {
        let address = format!("127.0.0.1:{}", free_port());
        let script: PathBuf = [env!("CARGO_MANIFEST_DIR"), "demo/legacy/app.py"].iter().collect();
        let process = Command::new("python3")
            .arg(script)
            .args(["--port", address.rsplit(':').next().unwrap_or_default(), "--app"])
            .arg(folder)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("python3 starts: `make deps` installs it");
        eventually("the app listens", async || TcpStream::connect(&address).await.ok()).await;
        App { address, _process: process }
    }

    /// The answer to a GET, byte for byte: a client library would tidy the path up.
    async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it is sent");
        let mut answer = Vec::new();
        in_time("the answer", stream.read_to_end(&mut answer)).await.expect("it is read");
        String::from_utf8_lossy(&answer).into_owned()
    }
}
