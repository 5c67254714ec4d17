//! Faults of the machine under a proxy: its disk and its clock.
//!
//! A full disk is a real one (a small tmpfs) where we may mount it. What no machine does on command, an fsync that fails
//! say, is done between the process and the system, by `disk.c`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::faulty::caller::Caller;
use crate::faulty::rig::{Plan, Rig};
use crate::faulty::steady::Steady;
use crate::faulty::watch::{Outcome, outcome};
use crate::report::{Promise, Report};

const SECOND: Duration = Duration::from_secs(1);
const WELL: Machine = Machine { disk: 0, clock_s: 0 };

/// What the preloaded library does: see `disk.c`.
#[derive(Clone, Copy)]
struct Machine {
    disk: i32,
    clock_s: i32,
}

/// One row: what the machine is like before, and what it is like during the fault.
struct Case {
    name: &'static str,
    proxies: Option<usize>,
    before: Machine,
    fault: Machine,
    lasts: Duration,
}

/// All rows.
pub async fn run(report: &mut Report, is_wanted: impl Fn(&str) -> bool) {
    let disk = |name, disk, seconds| Case {
        name,
        proxies: None,
        before: WELL,
        fault: Machine { disk, ..WELL },
        lasts: seconds * SECOND,
    };
    let apart = |name, clock_s| {
        let all_the_time = Machine { clock_s, ..WELL };
        Case { name, proxies: Some(2), before: all_the_time, fault: all_the_time, lasts: 5 * SECOND }
    };
    let jump = |name, proxies, clock_s| {
        let fault = Machine { clock_s, ..WELL };
        Case { name, proxies, before: WELL, fault, lasts: 8 * SECOND }
    };
    let cases = [
        disk("embedded: no fault", 0, 5),
        disk("embedded: every write fails for 3 s (ENOSPC)", 1, 3),
        disk("embedded: fsync fails for 3 s (EIO)", 2, 3),
        disk("embedded: fsync hangs for 5 s", 3, 5),
        jump("embedded: the clock jumps ahead by 20 min for 8 s, and back", None, 1200),
        jump("embedded: the clock jumps back by 20 min for 8 s, and ahead", None, -1200),
        apart("the clock of one proxy of two is 4 s ahead", 4),
        apart("the clock of one proxy of two is 60 s ahead", 60),
        apart("the clock of one proxy of two is 60 s behind", -60),
        jump("the clock of one proxy of two jumps ahead by 20 min for 8 s, and back", Some(2), 1200),
    ];
    for case in cases.iter().filter(|case| is_wanted(case.name)) {
        match preloaded(case).await {
            Some(outcome) => report.row(case.name, Promise::default(), &outcome),
            None => println!("| {} | not run: it takes a C compiler (`cc`) |", case.name),
        }
    }
    const FULL: &str = "embedded: the disk is full for 3 s (a tmpfs)";
    if is_wanted(FULL) {
        match full_disk().await {
            Some(outcome) => report.row(FULL, Promise::default(), &outcome),
            None => println!("| {FULL} | not run: it takes the right to mount a tmpfs |"),
        }
    }
}

async fn preloaded(case: &Case) -> Option<Outcome> {
    let folder = TempDir::new().expect("a temporary folder");
    let (library, control) = (folder.path().join("disk.so"), folder.path().join("control"));
    build(&library)?;
    set(&control, case.before);
    let environment = vec![("LD_PRELOAD", text(&library)), ("FAULTS_CONTROL", text(&control))];
    let rig = Rig::start(&Plan { proxies: case.proxies, environment, ..Plan::embedded() }).await;
    if case.before.clock_s != 0 {
        let ahead = Caller::of(&rig).login_at_last(0).await.issued_at() - now_s();
        assert!((ahead - i64::from(case.before.clock_s)).abs() < 5, "the clock of the proxy is {ahead} s ahead");
    }
    let (fault, before) = (|| set(&control, case.fault), || set(&control, case.before));
    Some(under(&rig, fault, case.lasts, before).await)
}

async fn full_disk() -> Option<Outcome> {
    let disk = Tmpfs::mount()?;
    let rig = Rig::start(&Plan { more: format!("data_dir: {}", disk.0.path().display()), ..Plan::embedded() }).await;
    let filler = disk.0.path().join("filler");
    let fill = || {
        // Until nothing more goes in, in ever smaller pieces.
        let mut file = std::fs::File::create(&filler).expect("a file is begun");
        for size in [64 * 1024, 4096, 1] {
            while std::io::Write::write(&mut file, &vec![1; size]).is_ok_and(|written| written == size) {}
        }
    };
    let empty = || std::fs::remove_file(&filler).expect("the filler is removed");
    let outcome = under(&rig, fill, 3 * SECOND, empty).await;
    drop(rig);
    Some(outcome)
}

async fn under(rig: &Rig, begin: impl FnOnce(), lasts: Duration, end: impl FnOnce()) -> Outcome {
    let steady = Steady::start(rig).await;
    tokio::time::sleep(2 * SECOND).await;
    let began = Instant::now();
    begin();
    tokio::time::sleep(lasts).await;
    end();
    let ended = Instant::now();
    tokio::time::sleep(6 * SECOND).await;
    let outcome = outcome(&steady.caller, began, ended, 1000).await;
    steady.stop().await;
    outcome
}

fn build(library: &Path) -> Option<()> {
    let source: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/faults/disk.c"].iter().collect();
    let built =
        Command::new("cc").args(["-O1", "-shared", "-fPIC", "-o"]).arg(library).arg(source).arg("-ldl").status();
    built.is_ok_and(|status| status.success()).then_some(())
}

fn now_s() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

/// In place: the proxy has mapped the file.
fn set(control: &Path, machine: Machine) {
    let bytes = [machine.disk.to_ne_bytes(), machine.clock_s.to_ne_bytes()].concat();
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(control);
    std::io::Write::write_all(&mut file.expect("the control file opens"), &bytes).expect("it is written");
}

/// The few texts that an environment needs live as long as the bench.
fn text(path: &Path) -> &'static str {
    path.to_str().expect("temporary paths are UTF-8").to_owned().leak()
}

/// A small disk, gone when this is dropped.
struct Tmpfs(TempDir);

impl Tmpfs {
    fn mount() -> Option<Tmpfs> {
        let folder = TempDir::new().expect("a temporary folder");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs"]).arg(folder.path()).status();
        mounted.is_ok_and(|status| status.success()).then_some(Tmpfs(folder))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}
