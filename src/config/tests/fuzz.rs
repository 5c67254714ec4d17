//! Whatever is done to a configuration: no panic, and what is said has a place in the file.

use std::path::Path;

use proptest::prelude::*;

use super::{LONG, SHORT, env};
use crate::config::{parse, reference};

fn texts() -> Vec<String> {
    let blocks = reference::blocks().into_iter().map(|block| reference::completed(&block.text));
    [SHORT, LONG, reference::TEXT].into_iter().map(str::to_owned).chain(blocks).collect()
}

/// Where a cut is: at the nearest boundary of a character.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn check(text: &str) -> Result<(), TestCaseError> {
    let Err(errors) = parse(text, Path::new("proxy.yaml"), &env) else { return Ok(()) };
    prop_assert!(!errors.0.is_empty());
    // What ends a line is more in YAML than elsewhere.
    let lines: Vec<&str> = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).collect();
    for error in errors.0 {
        if error.message.starts_with("nothing is in this file") {
            continue;
        }
        let line = error.place.line.checked_sub(1).and_then(|line| lines.get(line));
        prop_assert!(line.is_some(), "no such line: {error}");
        let width = line.map_or(0, |line| line.chars().count());
        prop_assert!((1..=width + 1).contains(&error.place.column), "no such column: {error}\n{text:?}");
        prop_assert!(!error.message.is_empty());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// Some text is cut out and some is put in, twice.
    #[test]
    fn any_text_is_read_or_explained(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..40_usize, "[a-zä0-9:,{}\\[\\]&*!|>'\"%#@$?~<= \n\t-]{0,12}"), 1..3),
    ) {
        let texts = texts();
        let mut text = which.get(&texts).clone();
        for (at, cut, put) in changes {
            let start = boundary(&text, at.index(text.len() + 1));
            let end = boundary(&text, start + cut).max(start);
            text.replace_range(start..end, &put);
        }
        check(&text)?;
    }

    /// A line stands somewhere else, or twice, or deeper.
    #[test]
    fn lines_that_are_moved_are_read_or_explained(
        which in any::<prop::sample::Index>(),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
        stays in any::<bool>(),
        indent in 0..5_usize,
    ) {
        let texts = texts();
        let mut lines: Vec<String> = which.get(&texts).lines().map(str::to_owned).collect();
        let from = from.index(lines.len());
        let line = if stays { lines[from].clone() } else { lines.remove(from) };
        lines.insert(to.index(lines.len() + 1), format!("{}{line}", " ".repeat(indent)));
        check(&lines.join("\n"))?;
    }
}
