//! Rust sources, as far as the rules read them: without comments, texts and tests.

use std::fs;
use std::path::{Path, PathBuf};

/// One file below `src` or `tests`.
pub struct Source {
    /// Its path from the package's folder.
    pub path: String,
    /// The whole text.
    pub text: String,
    /// What is left without comments, the content of texts, and the unit tests.
    pub code: String,
}

/// All Rust files below a folder of the package, in order.
pub fn sources(folder: &str) -> Vec<Source> {
    // Not env!: then the compiled rules can be held against another checkout.
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let mut files = Vec::new();
    collect(&root.join(folder), &mut files);
    files.sort();
    assert!(!files.is_empty(), "there are sources below {folder}");
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).expect("sources are UTF-8");
        let path = file.strip_prefix(&root).expect("it is below the root").to_string_lossy().into_owned();
        Source { code: without_tests(&path, bare(&text)), path, text }
    };
    files.into_iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        match path.extension() {
            _ if path.is_dir() => collect(&path, files),
            Some(extension) if extension == "rs" => files.push(path),
            _ => {}
        }
    }
}

impl Source {
    /// The room below `src` that it belongs to; none for `lib.rs`, `main.rs` and what is for tests only.
    pub fn room(&self) -> Option<&str> {
        let room = self.path.strip_prefix("src/")?.split(['/', '.']).next()?;
        (!["lib", "main", "fuzz"].contains(&room)).then_some(room)
    }

    /// Whether it is `home` (such as `store/redis`) or lies in it.
    pub fn lives_in(&self, home: &str) -> bool {
        let rest = self.path.strip_prefix("src/").and_then(|path| path.strip_prefix(home));
        rest.is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
    }

    /// The names that stand first in a path, such as `redis` in `redis::Client`.
    pub fn path_heads(&self) -> Vec<&str> {
        let code = &self.code;
        code.match_indices("::").filter_map(|(at, _)| word_before(code, at)).collect()
    }

    /// The names that follow `crate::`, each in a group too.
    pub fn rooms_named(&self) -> Vec<&str> {
        let mut named = Vec::new();
        for (at, found) in self.code.match_indices("crate::") {
            let rest = &self.code[at + found.len()..];
            match rest.strip_prefix('{') {
                Some(group) => named.extend(first_words(group)),
                None => named.push(word(rest)),
            }
        }
        named.retain(|name| !name.is_empty());
        named
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn word(text: &str) -> &str {
    &text[..text.find(|character| !is_word(character)).unwrap_or(text.len())]
}

/// The word that ends at `at`, unless it is itself preceded by `::`.
fn word_before(code: &str, at: usize) -> Option<&str> {
    let before = &code[..at];
    let start = before.rfind(|character| !is_word(character)).map_or(0, |at| at + 1);
    (start < at && !before[..start].ends_with("::")).then(|| &before[start..])
}

/// The first word of each member of a `use` group.
fn first_words(group: &str) -> Vec<&str> {
    let (mut words, mut depth, mut expecting) = (Vec::new(), 0, true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expecting = true,
            _ if expecting && is_word(character) => {
                words.push(word(&group[at..]));
                expecting = false;
            }
            _ => {}
        }
    }
    words
}

/// The text without comments and without what stands in quotes.
fn bare(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if let Some(length) = raw_text(rest).filter(|_| !out.ends_with(is_word)) {
            length
        } else if character == '"' {
            quoted(rest)
        } else if character == '\'' {
            // A character, or else a lifetime.
            let mut after = rest[1..].chars();
            match (after.next(), after.next()) {
                (Some('\\'), Some(escaped)) => {
                    2 + escaped.len_utf8() + rest[2 + escaped.len_utf8()..].find('\'').map_or(0, |at| at + 1)
                }
                (Some(one), Some('\'')) => 2 + one.len_utf8(),
                _ => 0,
            }
        } else {
            0
        };
        if skipped == 0 {
            out.push(character);
            rest = &rest[character.len_utf8()..];
        } else {
            rest = &rest[skipped..];
        }
    }
    out
}

fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '"' if !escaped => return at + 1,
            _ => escaped = character == '\\' && !escaped,
        }
    }
    text.len()
}

fn raw_text(text: &str) -> Option<usize> {
    let after = text.strip_prefix("br").or(text.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let content = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = content.find(&end)? + end.len();
    Some(text.len() - content.len() + length)
}

/// Unit tests stand at the bottom of a file or in a file of their own, and may import what they like.
fn without_tests(path: &str, mut code: String) -> String {
    if path.starts_with("src/") && ["/tests.rs", "/tests/", "/fuzz.rs", "/fuzz/"].iter().any(|part| path.contains(part))
    {
        return String::new();
    }
    if let Some(at) = code.find("#[cfg(test)]\nmod ") {
        code.truncate(at);
    }
    code
}

#[test]
fn comments_texts_and_tests_are_no_code() {
    let text = "use a::b; // c::d\n/* e::f */ let x = \"g::h \\\" i::j\"; let y = r#\"k::\"l::m\"#; let z = '\"'; fn f<'a>() { n::o() }\n#[cfg(test)]\nmod tests { p::q }";
    let source = Source { path: "src/x.rs".into(), text: text.into(), code: without_tests("src/x.rs", bare(text)) };
    assert_eq!(source.path_heads(), ["a", "n"]);
    let code =
        "use crate::{gate::{Reason, Reply}, time::Timestamp}; crate::store::get(super::redis::x, redis::y)".to_owned();
    let source = Source { path: "src/store/redis.rs".into(), text: String::new(), code };
    assert_eq!(source.rooms_named(), ["gate", "time", "store"]);
    assert_eq!(source.path_heads(), ["crate", "gate", "time", "crate", "super", "redis"]);
    assert!(source.lives_in("store/redis") && source.lives_in("store") && !source.lives_in("store/red"));
}
