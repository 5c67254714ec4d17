//! The commands as people give them, on a real disk.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use clap::Parser;
use tempfile::TempDir;

use super::*;

#[derive(Parser, Debug)]
struct Portcullis {
    #[command(flatten)]
    args: Args,
}

/// Gives a command, with `input` on standard input and the answers to what is asked on the terminal.
fn give(folder: &TempDir, command: &[&str], input: &str, answers: &[&str]) -> Result<String, String> {
    let file = folder.path().join("users.yaml");
    let line = [&["user"], command, &["--file", file.to_str().unwrap()]].concat();
    let args = Portcullis::try_parse_from(line).map_err(|error| error.to_string())?.args;
    let mut answers = answers.iter();
    let mut ask =
        |_: &str| answers.next().map(|&answer| SecretString::from(answer)).ok_or(io::ErrorKind::NotFound.into());
    let mut output = Vec::new();
    let mut console = Console { input: &mut input.as_bytes(), ask: &mut ask, output: &mut output };
    run_with(&args, &mut console).map_err(|error| error.to_string())?;
    assert_eq!(answers.next(), None, "all were asked for");
    Ok(String::from_utf8(output).unwrap())
}

fn users(folder: &TempDir) -> Users {
    read(&folder.path().join("users.yaml")).unwrap().1
}

fn passes(folder: &TempDir, name: &str, password: &str) -> bool {
    users(folder).verify(name, password.as_bytes()).unwrap()
}

#[test]
fn the_life_of_an_account() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.yaml");
    let said = give(
        &folder,
        &["add", "demo", "--role", "user", "--role", "on call", "--scope", "read"],
        "",
        &["s3cret", "s3cret"],
    );
    assert!(said.unwrap().starts_with("added \"demo\" to "));
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    assert!(passes(&folder, "demo", "s3cret"));
    let demo = users(&folder).get("demo").unwrap().clone();
    assert_eq!((&*demo.roles, &*demo.scopes), (&["user".into(), "on call".into()][..], &["read".into()][..]));
    assert!(demo.password.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));

    give(&folder, &["add", "ann", "--password-stdin"], "for ann\r\n", &[]).unwrap();
    assert!(passes(&folder, "ann", "for ann"));
    give(&folder, &["passwd", "demo", "--password-stdin"], " sp aces ", &[]).unwrap();
    assert!(passes(&folder, "demo", " sp aces ") && !passes(&folder, "demo", "s3cret"));
    assert_eq!(
        give(&folder, &["list"], "", &[]).unwrap(),
        "NAME  PASSWORD                  ROLES         SCOPES\n\
         ann   argon2id m=19456,t=2,p=1  -             -\n\
         demo  argon2id m=19456,t=2,p=1  user,on call  read\n"
    );
    give(&folder, &["remove", "demo"], "", &[]).unwrap();
    give(&folder, &["remove", "ann"], "", &[]).unwrap();
    assert!(users(&folder).entries().is_empty());
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{HEADER}{{}}\n"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left lying about");
}

#[test]
fn refusals_say_what_to_do_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.yaml");
    let refused = |command: &[&str], input: &str, answers: &[&str], part: &str| {
        let before = fs::read(&file).ok();
        let error = give(&folder, command, input, answers).expect_err(part);
        assert!(error.contains(part), "{error}");
        assert_eq!(fs::read(&file).ok(), before);
    };
    refused(&["list"], "", &[], "portcullis user add");
    refused(&["remove", "demo"], "", &[], "portcullis user add");
    refused(&["add", "demo"], "", &["one", "two"], "differ");
    refused(&["add", "demo"], "", &[], "--password-stdin");
    refused(&["add", "demo"], "", &["", ""], "empty");
    refused(&["add", "demo", "--password-stdin"], "\n", &[], "empty");
    refused(&["add", "demo", "--password-stdin"], "one\ntwo\n", &[], "more than one line");
    refused(&["add", "demo", "--password-stdin"], &"x".repeat(1025), &[], "longer than 1024");
    refused(&["add", "a,b"], "", &[], "without commas");
    refused(&["add", "demo", "--role", "a,b"], "", &[], "without commas");
    refused(&["add", "demo", "--scope", "a b"], "", &[], "RFC 6749");
    refused(&["add", "demo", "--password", "s3cret"], "", &[], "unexpected argument");
    refused(&["add", "demo", "s3cret"], "", &[], "unexpected argument");
    give(&folder, &["add", "demo"], "", &["s3cret", "s3cret"]).unwrap();
    refused(&["add", "demo"], "", &[], "portcullis user passwd");
    refused(&["passwd", "ann"], "", &[], "portcullis user list");
    refused(&["remove", "ann"], "", &[], "portcullis user list");
    fs::write(&file, "demo:\n  pass: x\n").unwrap();
    refused(&["add", "ann"], "", &[], "users.yaml:2:3: ");
    fs::write(&file, "demo:$2y$04$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie\n").unwrap();
    refused(&["add", "ann"], "", &[], "htpasswd -B");
    refused(&["passwd", "demo"], "", &[], "htpasswd -B");
    refused(&["remove", "demo"], "", &[], "htpasswd -B");
    assert!(give(&folder, &["list"], "", &[]).unwrap().contains("demo  bcrypt cost 4"));
}

#[test]
fn links_modes_and_empty_files_are_respected() {
    let folder = tempfile::tempdir().unwrap();
    let (file, target) = (folder.path().join("users.yaml"), folder.path().join("target"));
    fs::write(&target, "# mine\n").unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("target", &file).unwrap();
    fs::write(folder.path().join(".target.tmp"), "left by one that was killed").unwrap();
    give(&folder, &["add", "demo", "--password-stdin"], "s3cret", &[]).unwrap();
    assert!(fs::symlink_metadata(&file).unwrap().is_symlink());
    assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o640);
    assert!(fs::read_to_string(&target).unwrap().starts_with("# mine\ndemo:\n"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn edits_at_the_same_time_all_count() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let folder = &folder;
            scope.spawn(move || {
                give(folder, &["add", &format!("u{number}"), "--password-stdin"], "s3cret", &[]).unwrap()
            });
        }
    });
    assert_eq!(users(&folder).entries().len(), 8);
}
