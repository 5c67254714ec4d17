//! Secrets, in one way wherever there is one: as `KEY`, as `KEY_env`, which names a variable, or as `KEY_file`.

use std::path::PathBuf;

use secrecy::SecretString;

use crate::config::files::FileKind;
use crate::config::item::{Item, Table};

/// A secret that was read, or the file that it is in.
pub(super) enum Secret {
    Fixed(SecretString),
    File(PathBuf),
}

/// The one of `keys`, a secret's three, that is there, and what it says.
pub(super) fn secret<'a>(
    table: &Table<'a>,
    keys: &[&'static str; 3],
    kind: FileKind,
    example: &str,
) -> Option<(Item<'a>, Option<Secret>)> {
    let (key, item) = table.at_most_one(keys)?;
    let [plain, of_env, _] = *keys;
    let fixed = if key == plain {
        let secret = item.text(&format!("the secret in quotes, best as `\"${{{example}}}\"`"));
        item.holds_secret();
        secret.map(SecretString::from)
    } else if key == of_env {
        let name = item.text(&format!("the name of an environment variable, such as `{example}`"));
        name.and_then(|name| {
            let value = (item.cx.env)(name).filter(|value| !value.is_empty());
            if value.is_none() {
                item.error(format!("the environment variable {} is not set; set it", item.shown()));
            }
            value.map(SecretString::from)
        })
    } else {
        return Some((item, item.file(kind).map(Secret::File)));
    };
    Some((item, fixed.map(Secret::Fixed)))
}
