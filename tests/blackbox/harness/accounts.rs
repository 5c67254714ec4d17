//! Users and keys, made with the binary's own commands, as an operator would.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// Somebody who may log in.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    pub name: &'static str,
    pub password: &'static str,
    pub roles: &'static [&'static str],
}

/// An ordinary user.
pub const ALICE: Account = Account { name: "alice", password: "alice-S3cret-of-the-day", roles: &["staff"] };
/// A user with the role `admin`.
pub const BOSS: Account = Account { name: "boss", password: "boss-S3cret-of-the-day", roles: &["staff", "admin"] };
/// The user of the first-day table; has no role.
pub const DEMO: Account = Account { name: "demo", password: "demo", roles: &[] };

/// Runs the binary to its end, with `input` on its standard input; fails if it does.
#[track_caller]
pub fn run_binary(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("the binary reads its input");
    let output = child.wait_with_output().expect("the binary ends");
    assert!(
        output.status.success(),
        "portcullis {arguments:?} failed with {}:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The text of a users file with all accounts. Hashing is dear on purpose, so it is made once.
pub fn users_file() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let folder = TempDir::new().expect("a temporary folder");
        let path = folder.path().join("users.yaml");
        for account in [ALICE, BOSS, DEMO] {
            let mut arguments = vec!["user", "add", "--file", text(&path), account.name, "--password-stdin"];
            for role in account.roles {
                arguments.extend(["--role", role]);
            }
            run_binary(&arguments, &format!("{}\n", account.password));
        }
        std::fs::read_to_string(&path).expect("`user add` made the file")
    })
}

/// Takes a user out of a users file.
pub fn remove_user(file: &Path, account: &Account) {
    run_binary(&["user", "remove", "--file", text(file), account.name], "");
}

/// Gives a user other roles: removed and added again with the same password.
pub fn set_roles(file: &Path, account: &Account, roles: &[&str]) {
    // Made beside and moved in one step: a refresh in between must not meet a file without the user.
    let beside = file.with_extension("next");
    std::fs::copy(file, &beside).expect("the users file is copied");
    remove_user(&beside, account);
    let mut arguments = vec!["user", "add", "--file", text(&beside), account.name, "--password-stdin"];
    for role in roles {
        arguments.extend(["--role", role]);
    }
    run_binary(&arguments, &format!("{}\n", account.password));
    std::fs::rename(&beside, file).expect("the users file is replaced");
}

/// Makes a private key set, for proxies that share a store.
pub fn new_keys(file: &Path) {
    run_binary(&["keys", "new", "--file", text(file)], "");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}
