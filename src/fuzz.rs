//! Fuzz targets: every parser of foreign input as a function of bytes, with what must hold for its result.
//!
//! They exist in tests and under `cfg(fuzzing)` only. Each room has its own in a file `fuzz.rs`, where it can reach what is
//! private. `cargo test --lib fuzz` runs all of them over their seeds and thousands of mutations; `make fuzz` runs them
//! guided by coverage, for as long as one likes (see `fuzz/`).
//!
//! What must never happen in here: a target that only waits for a panic where something can be said about the result.

mod decision;

/// A target's name, and what it does with any bytes. It panics if something does not hold.
pub type Target = (&'static str, fn(&[u8]));

/// All targets, by room.
pub const TARGETS: [&[Target]; 8] = [
    decision::TARGETS,
    crate::config::fuzz::TARGETS,
    crate::endpoints::fuzz::TARGETS,
    crate::gate::fuzz::TARGETS,
    crate::login::fuzz::TARGETS,
    crate::store::fuzz::TARGETS,
    crate::telemetry::fuzz::TARGETS,
    crate::token::fuzz::TARGETS,
];

/// The target of this name.
pub fn target(name: &str) -> Option<fn(&[u8])> {
    TARGETS.iter().copied().flatten().find(|(other, _)| *other == name).map(|(_, run)| *run)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use proptest::prelude::*;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

    use super::*;

    /// Seeds of a target: one a line in `fuzz/seeds/NAME.txt`, with Rust's escapes for what is no text.
    fn seeds(name: &str) -> Vec<Vec<u8>> {
        let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(format!("{name}.txt"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.lines().map(unescaped).collect()
    }

    fn unescaped(line: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = line.bytes();
        while let Some(byte) = rest.next() {
            match (byte, byte == b'\\') {
                (_, false) => bytes.push(byte),
                _ => match rest.next() {
                    Some(b'n') => bytes.push(b'\n'),
                    Some(b'r') => bytes.push(b'\r'),
                    Some(b't') => bytes.push(b'\t'),
                    Some(b'x') => {
                        let digits: String = [rest.next(), rest.next()].into_iter().flatten().map(char::from).collect();
                        bytes.push(u8::from_str_radix(&digits, 16).expect("two digits follow `\\x`"));
                    }
                    other => bytes.extend(other),
                },
            }
        }
        bytes
    }

    /// What happens to a seed.
    #[derive(Clone, Debug)]
    enum Edit {
        Put(prop::sample::Index, Vec<u8>),
        Cut(prop::sample::Index, u8),
        Repeat(prop::sample::Index, u8),
        Join(prop::sample::Index, prop::sample::Index),
    }

    fn edit() -> impl Strategy<Value = Edit> {
        let interesting = prop_oneof![
            Just(b"%2e".to_vec()),
            Just(b"%2F".to_vec()),
            Just(b"%5c".to_vec()),
            Just(b"%25".to_vec()),
            Just(b"..".to_vec()),
            Just(b"/".to_vec()),
            Just(b";".to_vec()),
            Just(b"\\".to_vec()),
            Just(b",".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\"".to_vec()),
            Just(b"\0".to_vec()),
            Just(b"-1".to_vec()),
            Just(b"99999999999999999999".to_vec()),
            Just(b"null".to_vec()),
            Just(b"[".to_vec()),
            Just(b"{".to_vec()),
            Just(b"\xc0\xaf".to_vec()),
            prop::collection::vec(any::<u8>(), 1..4),
        ];
        prop_oneof![
            4 => (any::<prop::sample::Index>(), interesting).prop_map(|(at, what)| Edit::Put(at, what)),
            2 => (any::<prop::sample::Index>(), 1..8_u8).prop_map(|(at, count)| Edit::Cut(at, count)),
            1 => (any::<prop::sample::Index>(), 1..16_u8).prop_map(|(at, count)| Edit::Repeat(at, count)),
            1 => (any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(at, with)| Edit::Join(at, with)),
        ]
    }

    fn edited(seeds: &[Vec<u8>], seed: prop::sample::Index, edits: &[Edit]) -> Vec<u8> {
        let mut bytes = seed.get(seeds).clone();
        for edit in edits {
            let place = |at: &prop::sample::Index, bytes: &[u8]| at.index(bytes.len() + 1);
            match edit {
                Edit::Put(at, what) => {
                    let at = place(at, &bytes);
                    bytes.splice(at..at, what.iter().copied());
                }
                Edit::Cut(at, count) => {
                    let at = place(at, &bytes);
                    let end = (at + usize::from(*count)).min(bytes.len());
                    bytes.drain(at..end);
                }
                Edit::Repeat(at, count) => {
                    let at = place(at, &bytes);
                    let end = (at + 4).min(bytes.len());
                    let part = bytes[at..end].repeat(usize::from(*count));
                    bytes.splice(at..at, part);
                }
                Edit::Join(at, with) => {
                    let at = place(at, &bytes);
                    bytes.truncate(at);
                    bytes.extend(with.get(seeds));
                }
            }
        }
        bytes
    }

    #[test]
    fn every_target_holds_for_its_seeds_and_what_is_made_of_them() {
        for (name, run) in TARGETS.iter().copied().flatten() {
            let seeds = seeds(name);
            assert!(seeds.len() > 1, "{name}: there are seeds");
            seeds.iter().for_each(|seed| run(seed));
            let strategy = (any::<prop::sample::Index>(), prop::collection::vec(edit(), 1..6));
            // The same at each run: news is for `make fuzz` to find.
            let config = Config { cases: 1500, failure_persistence: None, ..Config::default() };
            let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
            let held = runner.run(&strategy, |(seed, edits)| {
                run(&edited(&seeds, seed, &edits));
                Ok(())
            });
            if let Err(error) = held {
                panic!("{name}: {error}");
            }
        }
    }

    #[test]
    fn seeds_are_of_targets() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
        for file in fs::read_dir(folder).expect("there are seeds") {
            let name = file.expect("it can be read").path();
            let name = name.file_stem().and_then(|name| name.to_str()).expect("a name");
            assert!(target(name).is_some(), "{name} is no target");
        }
    }
}
