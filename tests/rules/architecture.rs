//! Who may import whom: the table in `src/lib.rs` is the rule, the sources are held against it.

use std::collections::BTreeMap;

use crate::source::{Source, sources};

const LINES_MAX: usize = 400;

/// Outside crates that have one home, and where that is. (`store/redis` is `store/redis.rs` or below `store/redis/`.)
const HOMES: [(&str, &[&str]); 19] = [
    ("rustix", &["server"]),
    ("pingora", &["proxy", "server", "admin"]),
    ("pingora_core", &["proxy", "server", "admin"]),
    ("pingora_proxy", &["proxy", "server", "admin"]),
    ("memchr", &["proxy/wire"]),
    ("redis", &["store/redis"]),
    ("redb", &["store/embedded", "store/redis/copies"]),
    ("jsonwebtoken", &["token", "keys"]),
    ("serde_yaml", &["config", "login/users_file"]),
    ("prometheus", &["telemetry"]),
    ("tracing_subscriber", &["telemetry"]),
    ("argon2", &["login"]),
    ("bcrypt", &["login"]),
    ("reqwest", &["login/upstream"]),
    ("url", &["login/upstream"]),
    ("cookie", &["endpoints"]),
    ("minijinja", &["endpoints/login_page"]),
    ("clap", &["cli"]),
    ("rpassword", &["cli"]),
];

/// Rooms that do no I/O and read no clock: time and entropy are their parameters.
const PURE: [&str; 3] = ["session", "token", "gate"];
const IMPURE: [&str; 13] = [
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "net::Tcp",
    "net::Udp",
    "tokio",
    "async fn",
    ".await",
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
    "rand::",
];

/// The table in `src/lib.rs`: each room, and the rooms that it may import. None: all of them.
fn table() -> BTreeMap<String, Option<Vec<String>>> {
    let lib = sources("src").into_iter().find(|source| source.path == "src/lib.rs").expect("there is a map");
    let rows = lib.text.lines().filter_map(|line| line.strip_prefix("//! | [`"));
    let table: BTreeMap<_, _> = rows
        .map(|row| {
            let mut cells = row.trim_end_matches([' ', '|']).split('|').map(str::trim);
            let room =
                cells.next().and_then(|cell| cell.split('`').next()).expect("a row begins with a room").to_owned();
            let allowed = cells.nth(1).unwrap_or_default().trim_matches('`');
            (room, (allowed != "all").then(|| allowed.split_whitespace().map(str::to_owned).collect()))
        })
        .collect();
    assert!(table.len() > 5, "the table is read: {table:?}");
    table
}

fn fail_if_any(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn every_room_is_on_the_map() {
    let table = table();
    let missing = sources("src")
        .iter()
        .filter_map(Source::room)
        .filter(|room| !table.contains_key(*room))
        .map(str::to_owned)
        .collect();
    fail_if_any(missing);
}

#[test]
fn rooms_import_only_what_the_map_allows() {
    let table = table();
    let mut problems = Vec::new();
    for source in sources("src") {
        let Some(room) = source.room() else { continue };
        let Some(Some(allowed)) = table.get(room) else { continue };
        for named in source.rooms_named() {
            if table.contains_key(named) && named != room && !allowed.iter().any(|other| other == named) {
                problems.push(format!("{}: `{room}` may import {allowed:?}, not `{named}`", source.path));
            }
        }
        // `super::super` out of a room reaches the same places by another door.
        for other in table.keys().filter(|other| *other != room && !allowed.contains(other)) {
            if source.code.contains(&format!("super::super::{other}::")) {
                problems.push(format!("{}: `{other}` through `super`; write `crate::{other}`", source.path));
            }
        }
    }
    fail_if_any(problems);
}

#[test]
fn each_outside_crate_has_one_home() {
    let mut problems = Vec::new();
    for source in sources("src") {
        let heads = source.path_heads();
        for (name, homes) in HOMES {
            let is_a_module_here = source.code.contains(&format!("mod {name};"));
            if heads.contains(&name) && !is_a_module_here && !homes.iter().any(|home| source.lives_in(home)) {
                problems.push(format!("{}: `{name}` lives in {homes:?}", source.path));
            }
        }
    }
    fail_if_any(problems);
}

#[test]
fn pure_rooms_do_no_io_and_read_no_clock() {
    let mut problems = Vec::new();
    for source in sources("src").iter().filter(|source| source.room().is_some_and(|room| PURE.contains(&room))) {
        for word in IMPURE.iter().filter(|word| source.code.contains(*word)) {
            problems.push(format!("{}: `{word}` in a pure room; take it as a parameter", source.path));
        }
    }
    fail_if_any(problems);
}

#[test]
fn nothing_is_left_to_be_done() {
    let mut problems = Vec::new();
    for source in sources("src") {
        for word in ["todo!", "unimplemented!", "dbg!", "#[allow(dead_code)]", "#[ignore"] {
            if source.code.contains(word) {
                problems.push(format!("{}: `{word}`", source.path));
            }
        }
    }
    fail_if_any(problems);
}

#[test]
fn a_file_says_what_it_is_and_can_be_held_in_mind() {
    let mut problems = Vec::new();
    for source in [sources("src"), sources("tests")].into_iter().flatten() {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            problems.push(format!("{}: {lines} lines are more than {LINES_MAX}", source.path));
        }
        if !source.text.starts_with("//!") {
            problems.push(format!("{}: the first line says what the file is: `//! ...`", source.path));
        }
    }
    fail_if_any(problems);
}
