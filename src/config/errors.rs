//! What is wrong with a configuration: where, and what to write instead.
//!
//! What must never happen in here: the value of a secret in a message.

use std::fmt;
use std::path::PathBuf;

/// A place in the file. It prints as `proxy.yaml:12:5: routes[2].upstream`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The line, from 1; 0 if the trouble is with the file as a whole.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The key: `routes[2].upstream`. Empty for the file as a whole.
    pub key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if self.key.is_empty() { Ok(()) } else { write!(f, ": {}", self.key) }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ConfigError {
    /// Where.
    pub place: Place,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// Everything that is wrong, in the order of the file. Prints one a line. Never empty.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

/// What is allowed and still worth a look: it prints like an error and refuses nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Warning {
    /// Where.
    pub place: Place,
    /// What may surprise, and what to write instead.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Text from the file as messages show it.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut shown: String = text.chars().take(LONGEST).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("\"{}\"", shown.escape_debug())
}

/// The one of `words` that was probably meant by `word`, if one is close enough.
pub(super) fn nearest<'w>(word: &str, words: &[&'w str]) -> Option<&'w str> {
    words
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// ` (did you mean "…"?)` if one of `words` is close enough, else nothing.
pub(super) fn hint(word: &str, words: &[&str]) -> String {
    nearest(word, words).map_or(String::new(), |near| format!(" (did you mean {}?)", quoted(near)))
}

/// How many letters must be put in, taken out or replaced to get from one word to the other, whatever their case
/// (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_only_what_is_near() {
        assert_eq!(nearest("jenkin", &["crm", "jenkins"]), Some("jenkins"));
        assert_eq!(nearest("Upsteam", &["upstream", "users"]), Some("upstream"));
        assert_eq!(nearest("banana", &["crm", "jenkins"]), None);
        assert_eq!(nearest("x", &["crm"]), None);
    }

    #[test]
    fn what_is_quoted_is_one_line_and_not_endless() {
        assert_eq!(quoted("a\nb"), r#""a\nb""#);
        assert!(quoted(&"ä".repeat(500)).chars().count() < 90);
    }
}
