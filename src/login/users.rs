//! Who may log in, as one reading of a users file found it.
//!
//! What must never happen in here: the time of a rejected attempt tells whether the account exists, or how its password
//! is hashed. So each rejected attempt does the same work: one hash of every cost that the file holds. In a file with one
//! cost, the usual case, that is one hash. What remains: a look-up in a map, some nanoseconds; and with hashes of several
//! costs their order, which only shows in the state of the processor's caches.

use std::collections::BTreeMap;

use super::password::{Cost, HashFailed, PASSWORD_BYTES_MAX, PasswordHash};

/// An account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The password's hash.
    pub password: PasswordHash,
    /// The roles, in the order of the file.
    pub roles: Vec<String>,
    /// The scopes, in the order of the file.
    pub scopes: Vec<String>,
}

/// All accounts.
#[derive(PartialEq, Eq, Debug)]
pub struct Users {
    entries: BTreeMap<String, Entry>,
    /// Each cost that an entry has, once.
    costs: Vec<Cost>,
}

impl Users {
    /// From the entries by name.
    pub fn new(entries: BTreeMap<String, Entry>) -> Users {
        let mut costs = Vec::new();
        for cost in entries.values().map(|entry| entry.password.cost()) {
            if !costs.contains(&cost) {
                costs.push(cost);
            }
        }
        if costs.is_empty() {
            costs.push(Cost::RECOMMENDED);
        }
        Users { entries, costs }
    }

    /// The account of this name, compared byte by byte.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// All accounts by name.
    pub fn entries(&self) -> &BTreeMap<String, Entry> {
        &self.entries
    }

    /// The different costs of the hashes.
    pub fn costs(&self) -> &[Cost] {
        &self.costs
    }

    /// Is there an account of this name, with this password? Takes long: call it on a thread that may be held up.
    pub fn verify(&self, name: &str, password: &[u8]) -> Result<bool, HashFailed> {
        let acceptable = (1..=PASSWORD_BYTES_MAX).contains(&password.len());
        let password = &password[..password.len().min(PASSWORD_BYTES_MAX)];
        let mut spent = None;
        if let Some(entry) = self.get(name) {
            if entry.password.verify(password)? && acceptable {
                return Ok(true);
            }
            spent = Some(entry.password.cost());
        }
        for cost in self.costs.iter().filter(|&&cost| spent != Some(cost)) {
            cost.burn(password)?;
        }
        Ok(false)
    }
}

/// May this be the name of an account? It becomes the `sub` claim and a header value.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    check_text(name, "a user name")
}

/// May this be a role? Roles are joined by commas toward the upstream.
pub fn check_role(role: &str) -> Result<(), &'static str> {
    check_text(role, "a role")
}

/// May this be a scope? A `scope-token` of RFC 6749 section 3.3.
pub fn check_scope(scope: &str) -> Result<(), &'static str> {
    let token = |byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    if (1..=256).contains(&scope.len()) && scope.bytes().all(token) {
        Ok(())
    } else {
        Err("a scope has 1 to 256 visible ASCII characters, without space, quote and backslash (RFC 6749 section 3.3)")
    }
}

fn check_text(text: &str, what: &'static str) -> Result<(), &'static str> {
    // Line separators are not control characters, and yet end a line for many readers, YAML's among them.
    let bad = |char: char| char.is_control() || matches!(char, ',' | '\u{2028}' | '\u{2029}');
    if (1..=256).contains(&text.len()) && !text.contains(bad) && text.trim() == text {
        return Ok(());
    }
    Err(if what == "a role" {
        "a role has 1 to 256 bytes, without commas, control characters and space around it"
    } else {
        "a user name has 1 to 256 bytes, without commas, control characters and space around it"
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::limits::HashLimits;

    fn users(hashes: &[(&str, String)]) -> Users {
        let entry = |hash: &String| Entry {
            password: PasswordHash::parse(hash, &HashLimits::default()).unwrap(),
            roles: vec![],
            scopes: vec![],
        };
        Users::new(hashes.iter().map(|(name, hash)| ((*name).to_owned(), entry(hash))).collect())
    }

    fn bcrypt(password: &str) -> String {
        bcrypt::hash(password, 4).unwrap()
    }

    #[test]
    fn only_the_right_password_of_the_right_account_passes() {
        let long = "x".repeat(PASSWORD_BYTES_MAX);
        let users = users(&[
            ("ann", bcrypt("for ann")),
            ("bob", PasswordHash::make(b"for bob").unwrap().as_str().to_owned()),
            ("eve", PasswordHash::make(b"").unwrap().as_str().to_owned()),
            ("max", PasswordHash::make(long.as_bytes()).unwrap().as_str().to_owned()),
        ]);
        assert_eq!(users.costs().len(), 2);
        assert_eq!(users.verify("ann", b"for ann"), Ok(true));
        assert_eq!(users.verify("bob", b"for bob"), Ok(true));
        assert_eq!(users.verify("max", long.as_bytes()), Ok(true));
        for (name, password) in [("ann", "for bob"), ("bob", "for ann"), ("Ann", "for ann"), ("", ""), ("eve", "")] {
            assert_eq!(users.verify(name, password.as_bytes()), Ok(false), "{name}");
        }
        assert_eq!(users.verify("max", format!("{long}y").as_bytes()), Ok(false), "longer than any password may be");
    }

    #[test]
    fn without_accounts_nobody_passes() {
        let users = users(&[]);
        assert_eq!(users.costs(), [Cost::RECOMMENDED]);
        assert_eq!(users.verify("demo", b"demo"), Ok(false));
    }

    #[test]
    fn names_roles_and_scopes_are_fit_for_claims_and_headers() {
        for good in ["a", "jörg", "a b", "mailto:a@b", "007", &"x".repeat(256)] {
            assert_eq!(check_name(good), Ok(()), "{good:?}");
            assert_eq!(check_role(good), Ok(()), "{good:?}");
        }
        for bad in ["", "a,b", "a\nb", "a\0", "a\u{7f}", "a\u{85}b", "a\u{2028}b", " a", "a ", &"x".repeat(257)] {
            assert!(check_name(bad).is_err() && check_role(bad).is_err(), "{bad:?}");
        }
        assert_eq!(check_scope("read:all/x,y"), Ok(()));
        for bad in ["", "a b", "a\"b", "a\\b", "ä", "a\n", "\u{7f}", &"x".repeat(257)] {
            assert!(check_scope(bad).is_err(), "{bad:?}");
        }
    }
}
