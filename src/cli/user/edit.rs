//! One change to the text of a users file. Comments, order and style of everything else stay, because the text is
//! edited and not written anew; and the result counts only if, read again, it differs by exactly that change.

use crate::login::HashLimits;
use crate::login::password::PasswordHash;
use crate::login::users::{Entry, Users};
use crate::login::users_file::parse::parse;

/// What is to change. The name must be missing for the first, and be there for the others.
pub(super) enum Change<'a> {
    Add { name: &'a str, entry: &'a Entry },
    SetPassword { name: &'a str, password: &'a PasswordHash },
    Remove { name: &'a str },
}

/// The text cannot be edited without changing more than was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EditError {
    /// The entry was not found as lines of its own.
    #[error(
        "the user's entry is not a block of lines of its own; write it as `name:` with the rest indented below, or edit by hand"
    )]
    NoBlock,
    /// What came out did not read as expected.
    #[error("this change cannot be made to the way the file is written (is all of it inside `{{ }}`?); edit by hand")]
    Unexpected,
}

/// Does the text hold no user because it says nothing at all?
pub(super) fn is_blank(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---")
}

/// The text after the change. `users` is what the text says before it.
pub(super) fn apply(text: &str, users: &Users, change: &Change<'_>) -> Result<String, EditError> {
    let mut entries = users.entries().clone();
    let candidates = match change {
        Change::Add { name, entry } => {
            entries.insert((*name).to_owned(), (*entry).clone());
            vec![append(text, name, entry)]
        }
        Change::SetPassword { name, password } => {
            let entry = entries.get_mut(*name).ok_or(EditError::NoBlock)?;
            let old = std::mem::replace(&mut entry.password, (*password).clone());
            exchange(text, block(text, name)?, old.as_str(), password.as_str())
        }
        Change::Remove { name } => {
            entries.remove(*name);
            let block = block(text, name)?;
            let rest = [&text[..block.start], &text[block.end..]].concat();
            // A file without users says so, lest it be taken for a half-written one.
            vec![if entries.is_empty() { format!("{}{{}}\n", ending_in_newline(rest)) } else { rest }]
        }
    };
    let expected = Users::new(entries);
    let as_expected = |text: &String| parse(text, &HashLimits::UNLIMITED).is_ok_and(|users| users == expected);
    candidates.into_iter().find(as_expected).ok_or(EditError::Unexpected)
}

fn append(text: &str, name: &str, entry: &Entry) -> String {
    let kept: String = text.split_inclusive('\n').filter(|line| line.trim() != "{}").collect();
    let list = |texts: &[String]| texts.iter().map(|text| scalar(text)).collect::<Vec<_>>().join(", ");
    let mut text = ending_in_newline(kept);
    text += &format!("{}:\n  password: {}\n", scalar(name), entry.password.as_str());
    text += &format!("  roles: [{}]\n", list(&entry.roles));
    if !entry.scopes.is_empty() {
        text += &format!("  scopes: [{}]\n", list(&entry.scopes));
    }
    text
}

/// The ways to put one hash in the place of another within a block: each occurrence, as it stands and in quotes.
fn exchange(text: &str, block: std::ops::Range<usize>, old: &str, new: &str) -> Vec<String> {
    let quoted = format!("\"{new}\"");
    let places = text[block.clone()].match_indices(old).map(|(index, _)| block.start + index);
    places.flat_map(|at| [new, &quoted].map(|new| [&text[..at], new, &text[at + old.len()..]].concat())).collect()
}

/// The lines of the user's entry: from its key to the last indented line before the next key. Comments before the next
/// key belong to that one.
fn block(text: &str, name: &str) -> Result<std::ops::Range<usize>, EditError> {
    let mut blocks: Vec<std::ops::Range<usize>> = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        let blank = line.trim().is_empty();
        if !blank && !line.starts_with([' ', '\t', '#', '%', '\u{feff}']) && line.trim_end() != "---" {
            blocks.push(start..end);
        } else if let (false, true, Some(last)) = (blank, line.starts_with([' ', '\t']), blocks.last_mut()) {
            last.end = end;
        }
        start = end;
    }
    let is_wanted = |block: &std::ops::Range<usize>| {
        let users = parse(&text[block.clone()], &HashLimits::UNLIMITED);
        users.is_ok_and(|users| users.entries().keys().eq([name]))
    };
    blocks.into_iter().find(is_wanted).ok_or(EditError::NoBlock)
}

fn ending_in_newline(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// A text as a YAML scalar: plain where every reader agrees on it, else in double quotes, where JSON's escapes hold.
fn scalar(text: &str) -> String {
    const TAKEN: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.' | '@' | '/'))
        && !TAKEN.contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    const NEW: &str = "$argon2id$v=19$m=256,t=3,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    const BCRYPT: &str = "$2y$04$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie";

    fn new_hash() -> PasswordHash {
        PasswordHash::parse(NEW, &HashLimits::UNLIMITED).unwrap()
    }

    fn spell(text: &str) -> String {
        text.replace("OLD", OLD).replace("NEW", NEW).replace("BCRYPT", BCRYPT)
    }

    fn edit(text: &str, change: &Change<'_>) -> Result<String, EditError> {
        let text = spell(text);
        let users =
            if is_blank(&text) { Users::new(BTreeMap::new()) } else { parse(&text, &HashLimits::UNLIMITED).unwrap() };
        apply(&text, &users, change)
    }

    fn entry(roles: &[&str], scopes: &[&str]) -> Entry {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Entry { password: new_hash(), roles: texts(roles), scopes: texts(scopes) }
    }

    const FILE: &str = "# head\n\nann: # the boss\n  password: OLD # since May\n  # indented\n  roles: [ a,  b ]\n\n\
                        # about bob\n\"bob\": {roles: [], password: \"OLD\"}\n\n# about 7\n7:\n    password: 'BCRYPT'\n\
                        # tail\n";

    #[test]
    fn everything_else_stays_as_it_is() {
        let cases = [
            (Change::SetPassword { name: "ann", password: &new_hash() }, FILE.replacen("OLD", "NEW", 1)),
            (Change::SetPassword { name: "bob", password: &new_hash() }, FILE.replace("\"OLD\"", "\"NEW\"")),
            (Change::SetPassword { name: "7", password: &new_hash() }, FILE.replace("BCRYPT", "NEW")),
            (Change::Remove { name: "bob" }, FILE.replace("\"bob\": {roles: [], password: \"OLD\"}\n", "")),
            (Change::Remove { name: "7" }, FILE.replace("7:\n    password: 'BCRYPT'\n", "")),
            (
                Change::Remove { name: "ann" },
                FILE.replace("ann: # the boss\n  password: OLD # since May\n  # indented\n  roles: [ a,  b ]\n", ""),
            ),
            (
                Change::Add { name: "carl: the 2nd", entry: &entry(&["user", "on call"], &["read:all"]) },
                format!(
                    "{FILE}\"carl: the 2nd\":\n  password: NEW\n  roles: [user, \"on call\"]\n  scopes: [\"read:all\"]\n"
                ),
            ),
        ];
        for (change, expected) in cases {
            assert_eq!(edit(FILE, &change), Ok(spell(&expected)));
        }
    }

    #[test]
    fn edges_of_files() {
        let entry = entry(&[], &[]);
        let add = Change::Add { name: "ann", entry: &entry };
        let added = "ann:\n  password: NEW\n  roles: []\n";
        for (before, kept) in [("", ""), ("# x", "# x\n"), ("{}\n", ""), ("# x\n{}", "# x\n"), ("---\n", "---\n")] {
            assert_eq!(edit(before, &add), Ok(spell(&format!("{kept}{added}"))), "{before:?}");
        }
        assert_eq!(edit("bob: {password: BCRYPT}", &add), Ok(spell(&format!("bob: {{password: BCRYPT}}\n{added}"))));
        let remove = Change::Remove { name: "ann" };
        assert_eq!(edit("# x\nann:\n  password: OLD", &remove), Ok("# x\n{}\n".to_owned()));
        assert_eq!(
            edit("ann:\r\n  password: OLD\r\nbob:\r\n  password: OLD\r\n", &remove),
            Ok(spell("bob:\r\n  password: OLD\r\n"))
        );
    }

    #[test]
    fn the_hash_is_quoted_where_its_commas_would_end_it() {
        let change = Change::SetPassword { name: "ann", password: &new_hash() };
        assert_eq!(
            edit("ann: {password: BCRYPT, roles: []}", &change),
            Ok(spell("ann: {password: \"NEW\", roles: []}"))
        );
        let text = "ann:\n  # was BCRYPT\n  password: BCRYPT # BCRYPT\n";
        assert_eq!(edit(text, &change), Ok(spell("ann:\n  # was BCRYPT\n  password: NEW # BCRYPT\n")));
    }

    #[test]
    fn what_cannot_be_edited_safely_is_left_alone() {
        let all_in_braces = "{ann: {password: \"OLD\"}, bob: {password: \"OLD\"}}\n";
        let shared = "ann:\n  password: &p OLD\nbob:\n  password: *p\n";
        let entry = entry(&[], &[]);
        assert_eq!(edit(all_in_braces, &Change::Add { name: "carl", entry: &entry }), Err(EditError::Unexpected));
        assert_eq!(edit(all_in_braces, &Change::Remove { name: "ann" }), Err(EditError::NoBlock));
        assert_eq!(edit(shared, &Change::Remove { name: "ann" }), Err(EditError::Unexpected));
        assert_eq!(edit(shared, &Change::Remove { name: "bob" }), Err(EditError::NoBlock));
        let change = Change::SetPassword { name: "ann", password: &new_hash() };
        assert_eq!(edit(shared, &change), Err(EditError::Unexpected), "it would change bob's too");
        assert_eq!(
            edit("bob:\n  password: OLD\n...\n", &Change::Add { name: "ann", entry: &entry }),
            Err(EditError::Unexpected)
        );
    }

    proptest! {
        #[test]
        fn any_name_and_role_that_may_be_can_be_written(name in "\\PC{1,20}", role in "\\PC{1,20}") {
            use crate::login::users::{check_name, check_role};
            prop_assume!(check_name(&name).is_ok() && check_role(&role).is_ok() && name != "bob");
            let added = edit("bob:\n  password: OLD\n", &Change::Add { name: &name, entry: &entry(&[&role], &[]) });
            prop_assert!(added.is_ok(), "{name:?} {role:?}");
            let removed = edit(&added.unwrap(), &Change::Remove { name: &name });
            prop_assert_eq!(removed, Ok(spell("bob:\n  password: OLD\n")));
        }
    }
}
