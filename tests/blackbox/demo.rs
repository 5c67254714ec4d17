//! `make demo` keeps its word: what it prints can be typed, and Ctrl-C leaves nothing behind.

use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::harness::{client, eventually, in_time};

#[tokio::test]
async fn the_commands_that_the_demo_prints_work_as_they_stand() {
    let home = TempDir::new().expect("a temporary folder");
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut demo = Command::new(root.join("demo/run"))
        .args([env!("CARGO_BIN_EXE_portcullis"), "--folder"])
        .arg(home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("demo/run starts");
    let group = format!("-{}", demo.id().expect("it runs"));
    // If anything below fails, nothing of it is left running.
    let _cleanup = Cleanup(group.clone());

    let mut lines = BufReader::new(demo.stdout.take().expect("piped")).lines();
    let mut printed = Vec::new();
    while !printed.iter().any(|line: &String| line.contains("Ctrl-C")) {
        printed.push(
            in_time("the demo's next line", lines.next_line()).await.expect("text").expect("it says how to end it"),
        );
    }
    let commands: Vec<&str> =
        printed.iter().map(|line| line.trim().trim_start_matches("$ ")).filter(|line| is_command(line)).collect();
    assert!(commands.len() >= 5, "a handful of commands: {printed:#?}");
    assert!(printed.iter().any(|line| line.contains("demo")), "a user: {printed:#?}");

    let script = commands.join("\n");
    let output = Command::new("bash").args(["-ec", &script]).current_dir(home.path()).output();
    let output = in_time("the demo's commands", output).await.expect("bash runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{script}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    for part in [" 401", "hello demo", " 204"] {
        assert!(said.contains(part), "{part:?} is missing\n{script}\n{said}");
    }

    let page = printed.iter().find_map(|line| line.strip_prefix("Open ")).expect("an address for the browser");
    let page = in_time("the page", client().get(page).send()).await.expect("it answers");
    // It may not be built here; that somebody may ask for it is what counts.
    assert!(page.headers().contains_key("content-security-policy"), "{page:?}");

    let addresses: Vec<String> = printed.iter().flat_map(|line| addresses(line)).collect();
    assert!(!addresses.is_empty(), "addresses: {printed:#?}");
    let status = std::process::Command::new("kill").args(["-INT", "--", &group]).status();
    assert!(status.expect("`kill` runs").success());
    in_time("after Ctrl-C", demo.wait()).await.expect("the demo ends");
    for address in addresses {
        eventually("nobody listens any more", async || {
            tokio::net::TcpStream::connect(&address).await.is_err().then_some(())
        })
        .await;
    }
}

/// Each `HOST:PORT` that stands in an address.
fn addresses(line: &str) -> Vec<String> {
    let ends = |character: char| !character.is_ascii_digit() && !['.', ':'].contains(&character);
    line.split("http://").skip(1).filter_map(|rest| rest.split(ends).next()).map(str::to_owned).collect()
}

fn is_command(line: &str) -> bool {
    ["curl ", "cp "].iter().any(|command| line.starts_with(command))
        || line
            .split_once("=$(curl ")
            .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        || line
            .split_once('=')
            .is_some_and(|(name, _)| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
}

/// Kills a process group when dropped.
struct Cleanup(String);

impl Drop for Cleanup {
    fn drop(&mut self) {
        let _ = std::process::Command::new("kill").args(["-KILL", "--", &self.0]).stderr(Stdio::null()).status();
    }
}
