//! Fuzz target of the configuration.

use std::path::Path;

use super::parse;
use crate::fuzz::Target;

pub(crate) const TARGETS: &[Target] = &[("config", config)];

/// Every error has a place inside of the file and says something.
fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // What ends a line in YAML 1.1, and the end of the file.
    let lines = text.matches(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() + 2;
    if let Err(errors) = parse(text, Path::new("proxy.yaml"), &|_| None) {
        assert!(!errors.0.is_empty());
        for error in errors.0 {
            assert!(error.place.line <= lines, "{error}");
            assert!(!error.message.is_empty());
        }
    }
}
