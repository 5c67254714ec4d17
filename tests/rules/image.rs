//! The image is built from few files: what the Dockerfile copies. A build that needs another one fails where nobody looks.

use std::fs;
use std::path::Path;

use crate::source::sources;

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What is copied out of the folder in which the image is built.
fn copied() -> Vec<String> {
    let dockerfile = text("Dockerfile");
    let lines =
        dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--from"));
    let mut files = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (_to, from) = words.split_last().expect("a place to copy to");
        files.extend(from.iter().map(|file| (*file).to_owned()));
    }
    assert!(files.contains(&"src".to_owned()), "{files:?}");
    files
}

#[test]
fn what_the_image_is_built_from_is_sent_to_the_build() {
    let ignore = text(".dockerignore");
    let sent: Vec<&str> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let missing: Vec<_> = copied().into_iter().filter(|file| !sent.contains(&file.as_str())).collect();
    assert!(missing.is_empty(), "the Dockerfile copies what .dockerignore keeps back: {missing:?}");
}

#[test]
fn the_sources_include_only_what_the_image_is_built_from() {
    let copied = copied();
    let root = fs::canonicalize(env!("CARGO_MANIFEST_DIR")).expect("our folder");
    let mut missing = Vec::new();
    for source in sources("src") {
        let folder = root.join(&source.path).parent().expect("a file is in a folder").to_owned();
        for included in source.text.split("include_str!(\"").skip(1) {
            let name = included.split('"').next().unwrap_or_default();
            let file = fs::canonicalize(folder.join(name)).expect("it was included");
            if !copied.iter().any(|from| file.starts_with(root.join(from))) {
                missing.push(format!("{} includes {name}", source.path));
            }
        }
    }
    assert!(missing.is_empty(), "the Dockerfile does not copy it: {missing:?}");
}

/// Cargo looks for a target without a path in the usual places, and does not read a manifest of which it finds one missing.
#[test]
fn targets_that_are_not_in_the_image_have_a_path() {
    let manifest = text("Cargo.toml");
    for target in manifest.split("\n[[").skip(1) {
        let target = target.split("\n\n").next().unwrap_or_default();
        assert!(target.contains("\npath = "), "a path is missing:\n[[{target}");
    }
}
