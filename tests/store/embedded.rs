//! What the embedded store promises beyond the contract: it is durable, and it says what is wrong with its file.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use portcullis::session::{ClientMark, EndReason, Rotation, Session, SessionId};
use portcullis::store::embedded::{Embedded, EmbeddedError};
use portcullis::store::{Backend, Committed, Mirror, StoreError};
use portcullis::time::Timestamp;

use crate::support::{ACCESS_TAIL, Proxy, begin, new_id, until};

/// The file that a child process writes: set by the test that starts it.
const CHILD_FILE: &str = "PORTCULLIS_TEST_STORE_FILE";

fn open(path: &Path) -> Result<(Arc<Embedded>, Arc<Mirror>), EmbeddedError> {
    let mirror = Arc::new(Mirror::new());
    Ok((Arc::new(Embedded::open(path, Arc::clone(&mirror), ACCESS_TAIL)?), mirror))
}

fn proxy(path: &Path) -> Proxy {
    let (store, mirror) = open(path).unwrap();
    Proxy::new(store, mirror, Arc::default())
}

#[tokio::test]
async fn a_closed_store_holds_everything_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.redb");
    let (store, _) = open(&path).unwrap();
    let now = Timestamp::now();
    let living = begin("demo", now.plus(Duration::from_secs(60)));
    let ended = begin("demo", now.plus(Duration::from_secs(60))).end(now, EndReason::Logout);
    let ended_long_ago = begin("demo", now.plus(Duration::from_secs(60)));
    let ended_long_ago = Session { created_at: now.minus(2 * ACCESS_TAIL), ..ended_long_ago };
    let ended_long_ago = ended_long_ago.end(now.minus(ACCESS_TAIL), EndReason::Logout);
    for session in [&living, &ended, &ended_long_ago] {
        assert_eq!(store.commit(None, session).await.unwrap(), Committed::Yes);
    }
    drop(store);

    let (store, mirror) = open(&path).unwrap();
    for session in [&living, &ended, &ended_long_ago] {
        assert_eq!(store.get(&session.id).await.unwrap().unwrap().session, *session);
    }
    assert_eq!(store.sessions_of("demo").await.unwrap(), [living.id]);
    assert!(mirror.revocations.contains(&ended.id));
    assert!(!mirror.revocations.contains(&living.id));
    // It seems that no access token can name it any more. But the clock may be ahead, and be put right; so it is remembered
    // until that has had to be.
    mirror.remove_expired();
    assert!(mirror.revocations.contains(&ended_long_ago.id));
    assert_eq!(mirror.revocations.len(), 2);
}

/// Tokens that are out do not get shorter because the configuration says so.
#[tokio::test]
async fn a_shorter_access_lifetime_does_not_shorten_what_was_revoked_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.redb");
    let (store, _) = open(&path).unwrap();
    let now = Timestamp::now();
    let ended = begin("demo", now.plus(Duration::from_secs(60))).end(now.minus(ACCESS_TAIL / 2), EndReason::Logout);
    assert_eq!(store.commit(None, &ended).await.unwrap(), Committed::Yes);
    drop(store);

    let mirror = Arc::new(Mirror::new());
    let _store = Embedded::open(&path, Arc::clone(&mirror), Duration::from_secs(1)).unwrap();
    assert!(mirror.revocations.contains(&ended.id));
}

/// The clock leaps back by more than a token's life between a refresh and the logout, and ahead again.
#[tokio::test]
async fn a_clock_that_was_behind_at_the_logout_does_not_shorten_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.redb");
    let (store, mirror) = open(&path).unwrap();
    let now = Timestamp::now();
    let long_ago = now.minus(10 * ACCESS_TAIL);
    let [begun_before, refreshed_before] = [now, long_ago].map(|created_at| {
        let rotation = (created_at == long_ago).then_some(Rotation { at: now, client: ClientMark([0; 16]) });
        Session { created_at, rotation, ..begin("demo", now.plus(Duration::from_secs(3600))) }
    });
    let mut ended = Vec::new();
    for session in [begun_before, refreshed_before] {
        assert_eq!(store.commit(None, &session).await.unwrap(), Committed::Yes);
        let stored = store.get(&session.id).await.unwrap();
        let next = session.end(now.minus(2 * ACCESS_TAIL), EndReason::Logout);
        assert_eq!(store.commit(stored.as_ref(), &next).await.unwrap(), Committed::Yes);
        ended.push(session.id);
    }
    // By a clock that goes right again.
    mirror.remove_expired();
    assert!(ended.iter().all(|id| mirror.revocations.contains(id)));
    drop(store);
    let (_store, mirror) = open(&path).unwrap();
    assert!(
        ended.iter().all(|id| mirror.revocations.contains(id)),
        "nor is it forgotten when the store is opened again"
    );
}

/// To be told that nothing has changed costs no write, and waits for nobody's.
#[tokio::test]
async fn a_living_session_that_is_committed_as_it_is_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.redb");
    let (store, _) = open(&path).unwrap();
    let session = begin("demo", Timestamp::now().plus(Duration::from_secs(60)));
    assert_eq!(store.commit(None, &session).await.unwrap(), Committed::Yes);
    let stored = store.get(&session.id).await.unwrap().unwrap();

    let before = std::fs::read(&path).unwrap();
    assert_eq!(store.commit(Some(&stored), &session).await.unwrap(), Committed::Yes);
    assert!(std::fs::read(&path).unwrap() == before, "the file was written");

    let used = Session { used: true, ..session.clone() };
    assert_eq!(store.commit(Some(&stored), &used).await.unwrap(), Committed::Yes);
    assert!(std::fs::read(&path).unwrap() != before);
    assert_eq!(store.commit(Some(&stored), &session).await.unwrap(), Committed::Conflict, "it is another one by now");

    // But an ending is written again: that it can be read does not prove that it is on disk.
    let stored = store.get(&session.id).await.unwrap().unwrap();
    let ended = used.end(Timestamp::now(), EndReason::Logout);
    assert_eq!(store.commit(Some(&stored), &ended).await.unwrap(), Committed::Yes);
    let stored = store.get(&session.id).await.unwrap().unwrap();
    let before = std::fs::read(&path).unwrap();
    assert_eq!(store.commit(Some(&stored), &ended).await.unwrap(), Committed::Yes);
    assert!(std::fs::read(&path).unwrap() != before);
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.redb");
    let mut acknowledged: HashMap<SessionId, (u32, bool)> = HashMap::new();
    for round in 0..12_u64 {
        let mut child = Writer::start(&path);
        let mut lines = 0;
        // Not at a time but after a number of commits: the moment is as random on a slow machine.
        let stop_after = 1 + round * round * 7 % 211;
        child.each_line(|line, process| {
            let mut words = line.split(' ');
            let (Some("ack"), Some(id), Some(generation), Some(ended)) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                return;
            };
            acknowledged.insert(SessionId::parse(id).unwrap(), (generation.parse().unwrap(), ended == "ended"));
            lines += 1;
            if lines == stop_after {
                process.kill().unwrap(); // SIGKILL
            }
        });
        assert!(lines >= stop_after, "the writer ended by itself");

        let (store, mirror) = open(&path).unwrap();
        for (id, (generation, ended)) in &acknowledged {
            let session = store.get(id).await.unwrap().expect("an acknowledged session is there").session;
            assert!(session.generation >= *generation, "round {round}: {session:?} was at {generation}");
            assert!(session.ended.is_some() || !ended, "round {round}: {session:?} has risen from the dead");
            assert!(mirror.revocations.contains(id) || !ended, "round {round}: {session:?} is not listed");
        }
    }
    assert!(acknowledged.values().any(|(_, ended)| *ended) && acknowledged.len() > 20);
}

/// The child of the test above: commits as fast as it can, and says so after each commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a child process of another test"]
async fn writer_child() {
    let Some(path) = std::env::var_os(CHILD_FILE) else { return };
    let (store, _) = open(Path::new(&path)).unwrap();
    println!("open");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            loop {
                let mut next = begin("demo", Timestamp::now().plus(Duration::from_secs(3600)));
                assert_eq!(store.commit(None, &next).await.unwrap(), Committed::Yes);
                acknowledge(&next);
                for generation in 1..5 {
                    let stored = store.get(&next.id).await.unwrap().unwrap();
                    next = match generation {
                        4 => stored.session.end(Timestamp::now(), EndReason::Logout),
                        _ => Session { generation, ..stored.session.clone() },
                    };
                    assert_eq!(store.commit(Some(&stored), &next).await.unwrap(), Committed::Yes);
                    acknowledge(&next);
                }
            }
        });
    }
    tasks.join_next().await.unwrap().unwrap();
}

fn acknowledge(session: &Session) {
    let state = if session.ended.is_some() { "ended" } else { "live" };
    let line = format!("ack {} {} {state} .\n", session.id, session.generation);
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

#[tokio::test]
async fn a_folder_in_use_is_said_to_be_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.redb");
    let mut child = Writer::start(&path);
    child.each_line(|line, process| {
        if line != "open" {
            return; // what it still wrote before it was killed
        }
        let error = open(&path).err().expect("another process has the file");
        assert!(matches!(error, EmbeddedError::InUse { .. }), "{error:?}");
        assert!(error.to_string().contains("another Portcullis is running with this data folder"), "{error}");
        process.kill().unwrap();
    });
    drop(child);
    open(&path).unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_store_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.redb");
    for content in [b"not a database".repeat(1000), vec![0; 8192], b"x".to_vec()] {
        std::fs::write(&path, &content).unwrap();
        let error = open(&path).err().expect("that is no store");
        assert!(matches!(error, EmbeddedError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains("sessions.redb is damaged or not a store"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), content, "it is left as it was");
    }
    // One that was a store, and was cut off or written over.
    std::fs::remove_file(&path).unwrap();
    drop(open(&path).unwrap());
    let whole = std::fs::read(&path).unwrap();
    let mut header_gone = whole.clone();
    header_gone[..64].fill(7);
    let half = whole[..whole.len() / 2].to_vec();
    for content in [header_gone, half] {
        std::fs::write(&path, content).unwrap();
        let error = open(&path).err().expect("that is no store any more");
        assert!(matches!(error, EmbeddedError::Damaged { .. }), "{error:?}");
    }
    let error = open(Path::new("/proc/nowhere/sessions.redb")).err().unwrap();
    assert!(matches!(error, EmbeddedError::Io { .. }), "{error:?}");
}

#[tokio::test]
async fn a_store_of_another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.redb");
    drop(open(&path).unwrap());
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    transaction.open_table(meta).unwrap().insert("format", 99).unwrap();
    transaction.commit().unwrap();
    drop(database);

    let error = open(&path).err().expect("a later format");
    assert!(matches!(error, EmbeddedError::OtherVersion { found: 99, .. }), "{error:?}");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_corrupt_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.redb");
    drop(open(&path).unwrap());
    let id = new_id("demo");
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let sessions = redb::TableDefinition::<[u8; 16], &[u8]>::new("sessions");
    transaction.open_table(sessions).unwrap().insert(id.as_bytes(), b"{\"id\":".as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);

    let (store, _) = open(&path).unwrap();
    assert!(matches!(store.get(&id).await, Err(StoreError::Corrupt(corrupt, _)) if corrupt == id));
}

#[cfg(unix)]
#[test]
fn the_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.redb");
    drop(open(&path).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

/// A child process that may not write files beyond a size stands in for a full disk.
#[test]
fn a_full_disk_is_unavailable_and_the_store_recovers_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.redb");
    let mut child = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -S -f 600; exec \"$0\" --exact embedded::full_disk_child --ignored --nocapture",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD_FILE, &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut seen = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line == "full" {
            let pid = child.id().to_string();
            let lifted = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status().unwrap();
            assert!(lifted.success());
        }
        seen.push(line);
    }
    assert!(child.wait().unwrap().success(), "{seen:?}");
    assert!(seen.iter().any(|line| line == "recovered"), "{seen:?}");
}

/// The child of the test above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a child process of another test"]
async fn full_disk_child() {
    let Some(path) = std::env::var_os(CHILD_FILE) else { return };
    let path = PathBuf::from(path);
    let proxy = proxy(&path);
    let mut acknowledged = Vec::new();
    let error = loop {
        let session = begin(&"demo".repeat(500), Timestamp::now().plus(Duration::from_secs(3600)));
        match proxy.sessions.commit(None, &session).await {
            Ok(committed) => assert_eq!(committed, Committed::Yes),
            Err(error) => break error,
        }
        proxy.end(&session.id).await.ok().into_iter().for_each(|()| acknowledged.push(session.id));
    };
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(!acknowledged.is_empty());
    assert!(acknowledged.iter().all(|id| proxy.lists(id)), "known revocations still hold");
    println!("full");

    let session = begin("demo", Timestamp::now().plus(Duration::from_secs(3600)));
    until("the store takes commits again", async || {
        matches!(proxy.sessions.commit(None, &session).await, Ok(Committed::Yes))
    })
    .await;
    for id in &acknowledged {
        assert!(proxy.sessions.get(id).await.unwrap().unwrap().session.ended.is_some());
    }
    println!("recovered");
}

/// A process that writes to a store.
struct Writer(Child);

impl Writer {
    fn start(path: &Path) -> Writer {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::writer_child", "--ignored", "--nocapture"])
            .env(CHILD_FILE, path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Writer(child)
    }

    /// Hands over every whole line until the process is gone.
    fn each_line(&mut self, mut handle: impl FnMut(&str, &mut Child)) {
        let mut output = BufReader::new(self.0.stdout.take().unwrap());
        let mut line = String::new();
        while output.read_line(&mut line).unwrap() > 0 {
            if let Some(whole) = line.strip_suffix('\n').filter(|line| line.starts_with("ack") || *line == "open") {
                handle(whole, &mut self.0);
            }
            line.clear();
        }
        self.0.wait().unwrap();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
