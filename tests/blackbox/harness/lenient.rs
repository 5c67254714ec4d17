//! How backends read paths: each of these readings is some real server's.

use std::collections::BTreeSet;

/// Every path that some lenient backend could take the target for: decoded once or more, parameters cut off,
/// backslashes turned, slashes merged, dot segments resolved, case folded, in any order.
pub fn readings(target: &str) -> BTreeSet<String> {
    const STEPS: [fn(&str) -> String; 6] =
        [decode, cut_parameters, turn_backslashes, merge_slashes, resolve_dots, fold_case];
    let path = target.split(['?', '#']).next().unwrap_or_default().to_owned();
    let mut found = BTreeSet::from([path.clone()]);
    let mut open = vec![path];
    while let Some(path) = open.pop() {
        for step in STEPS {
            let next = step(&path);
            if found.len() < 1_000 && found.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    found
}

fn decode(path: &str) -> String {
    let bytes = path.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn cut_parameters(path: &str) -> String {
    path.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect::<Vec<_>>().join("/")
}

fn turn_backslashes(path: &str) -> String {
    path.replace('\\', "/")
}

fn merge_slashes(path: &str) -> String {
    let mut out = String::new();
    for character in path.chars() {
        if character != '/' || !out.ends_with('/') {
            out.push(character);
        }
    }
    out
}

fn resolve_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

fn fold_case(path: &str) -> String {
    path.to_lowercase()
}

#[test]
fn readings_see_through_the_usual_disguises() {
    for disguise in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/..;x/admin",
        "/public%2f..%2fadmin",
        "/public/%252e%252e/admin",
        "/x\\..\\ADMIN",
    ] {
        assert!(readings(disguise).contains("/admin"), "{disguise}: {:?}", readings(disguise));
    }
    assert!(!readings("/public/app.css").contains("/admin"));
}
