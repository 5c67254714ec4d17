//! Fuzz targets of the ways to log in: users files, and the answers of apps.

use super::limits::HashLimits;
use super::users_file::parse;
use crate::fuzz::Target;

pub(crate) const TARGETS: &[Target] =
    &[("users_file", users_file), ("page", super::upstream::fuzz::page), ("jar", super::upstream::fuzz::jar)];

/// A problem has a place inside of the file, and quotes no hash.
fn users_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match parse::parse(text, &HashLimits::default()) {
        Ok(users) => assert!(users.entries().keys().all(|name| !name.is_empty())),
        Err(problem) => {
            let lines = text.matches(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() + 2;
            assert!(problem.position.is_none_or(|(line, column)| line >= 1 && column >= 1 && line <= lines));
            // A hash of the seeds, unless it is broken.
            assert!(!problem.text.contains("$2y$04$EGdrhbKUv8Oc9v"), "{}", problem.text);
        }
    }
}
