//! Edits of every kind, on a real disk.

use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::{Mutex as StdMutex, PoisonError};

use tempfile::TempDir;

use super::*;

const HASH: &str = "$2y$04$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie";

fn entry(name: &str) -> String {
    format!("{name}:\n  password: {HASH}\n")
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.yaml");
    fs::write(&path, entry("ann")).unwrap();
    chmod(&path, 0o600);
    (folder, path)
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn open(path: &Path) -> Result<UsersFile, UsersFileError> {
    UsersFile::open(path, HashLimits::default())
}

async fn names(file: &UsersFile) -> Result<Vec<String>, LoginError> {
    Ok(file.users().await?.entries().keys().cloned().collect())
}

#[tokio::test]
async fn every_kind_of_edit_is_seen_by_the_next_look() {
    let (folder, path) = folder();
    let file = open(&path).unwrap();
    // Many in a row, without a rest, in place and of the same size: the worst case for comparing times.
    for round in 0..10 {
        let name = format!("u{round}");
        fs::write(&path, entry(&name)).unwrap();
        assert_eq!(names(&file).await, Ok(vec![name]));
    }
    fs::File::options().append(true).open(&path).unwrap().write_all(entry("more").as_bytes()).unwrap();
    assert_eq!(names(&file).await, Ok(vec!["more".to_owned(), "u9".to_owned()]));
    let next = folder.path().join("next");
    fs::write(&next, entry("moved")).unwrap();
    fs::rename(&next, &path).unwrap();
    assert_eq!(names(&file).await, Ok(vec!["moved".to_owned()]));
    // As mounted secrets do it.
    let target = folder.path().join("target");
    fs::write(&target, entry("linked")).unwrap();
    symlink(&target, &next).unwrap();
    fs::rename(&next, &path).unwrap();
    assert_eq!(names(&file).await, Ok(vec!["linked".to_owned()]));
    fs::write(&target, entry("behind")).unwrap();
    assert_eq!(names(&file).await, Ok(vec!["behind".to_owned()]));
}

#[tokio::test]
async fn a_bad_edit_keeps_nobody_and_a_good_one_recovers() {
    let (folder, path) = folder();
    let file = open(&path).unwrap();
    let good = fs::read_to_string(&path).unwrap();
    for bad in ["", "\n", "ann:\n  pass: x\n", "ann: {", "ann:plain\n", "\u{0}", "ann"] {
        fs::write(&path, bad).unwrap();
        for _ in 0..2 {
            let Err(LoginError::Unavailable(text)) = names(&file).await else { panic!("{bad:?} passes") };
            assert!(text.contains("users.yaml"), "{text}");
        }
        fs::write(&path, &good).unwrap();
        assert_eq!(names(&file).await, Ok(vec!["ann".to_owned()]), "after {bad:?}");
    }
    fs::rename(&path, folder.path().join("away")).unwrap();
    assert!(matches!(names(&file).await, Err(LoginError::Unavailable(text)) if text.contains("no such file")));
    fs::rename(folder.path().join("away"), &path).unwrap();
    assert_eq!(names(&file).await, Ok(vec!["ann".to_owned()]));
    chmod(&path, 0o602);
    assert!(matches!(names(&file).await, Err(LoginError::Unavailable(text)) if text.contains("chmod o-w")));
    chmod(&path, 0o600);
    assert_eq!(names(&file).await, Ok(vec!["ann".to_owned()]));
}

#[test]
fn what_cannot_be_a_users_file_is_refused_at_start() {
    let (folder, path) = folder();
    let refusal = |path: &Path| open(path).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refusal(&folder.path().join("none")).contains("portcullis user add"));
    assert!(refusal(folder.path()).contains("not a regular file"));
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(refusal(&pipe).contains("not a regular file"), "and opening it does not wait");
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(refusal(&path).contains("UTF-8"));
    fs::write(&path, "ann:\n  password: x\n").unwrap();
    assert!(refusal(&path).contains("users.yaml:2:13: "), "{}", refusal(&path));
    fs::File::options().write(true).open(&path).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
    assert!(refusal(&path).contains("at most"));
}

#[derive(Clone, Default)]
struct Log(Arc<StdMutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn each_change_is_logged_once() {
    let (_folder, path) = folder();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    // As long as there is only one dispatcher, a thread without it can switch off a line of log for all.
    let _second = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
    tracing::subscriber::with_default(subscriber, || {
        let mut state = open(&path).unwrap().state.try_lock_owned().unwrap();
        let lines = || String::from_utf8(std::mem::take(&mut *log.0.lock().unwrap())).unwrap();
        assert_eq!(lines(), "", "nothing to say of a private file");
        for (text, level, part) in [
            ("ann:\n  password: hunter2\n", "ERROR", "users.yaml:2:13: "),
            ("ann:\n  pass: x\n", "ERROR", "users.yaml:2:3: ann: unknown key"),
            (&entry("bob"), "INFO", "users=1"),
        ] {
            fs::write(&path, text).unwrap();
            (0..3).for_each(|_| drop(state.refresh()));
            let said = lines();
            assert_eq!(said.lines().count(), 1, "{text:?}: {said:?}");
            assert!(said.contains(level) && said.contains(part) && !said.contains("hunter2"), "{said}");
        }
        fs::remove_file(&path).unwrap();
        (0..3).for_each(|_| drop(state.refresh()));
        assert_eq!(lines().lines().count(), 1);
        fs::write(&path, entry("ann")).unwrap();
        chmod(&path, 0o644);
        (0..3).for_each(|_| drop(state.refresh()));
        assert!(lines().contains("WARN"));
    });
}
