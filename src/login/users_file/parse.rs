//! The text of a users file to [`Users`]: our YAML, or a whole htpasswd file.
//!
//! YAML has its home in `config`. This room is the exception, because it must not import `config`, and because the file is
//! read again while requests wait: it is plain structs and nothing else.
//!
//! What must never happen in here: something unknown or doubled is passed over; a message quotes a hash.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::login::limits::HashLimits;
use crate::login::password::PasswordHash;
use crate::login::users::{Entry, Users, check_name, check_role, check_scope};

/// The two shapes of a users file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A map from names to entries.
    Yaml,
    /// Lines of `name:hash`.
    Htpasswd,
}

/// What is wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Line and column, both from 1; none if it is the file as a whole.
    pub position: Option<(usize, usize)>,
    /// What is wrong, and what to write instead.
    pub text: String,
}

/// Reads the text of a users file.
pub fn parse(text: &str, limits: &HashLimits) -> Result<Users, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let entries = match format_of(text) {
        Format::Yaml => parse_yaml(text, limits),
        Format::Htpasswd => parse_htpasswd(text, limits),
    };
    // What is quoted may be a hash that slipped into another place.
    let entries = entries.map_err(|problem| Problem { text: without_hashes(&problem.text), ..problem })?;
    let users = Users::new(entries);
    let (costs, max) = (users.costs().len(), limits.different_costs_max);
    if costs > max {
        let text = format!(
            "the password hashes have {costs} different kinds and costs, at most {max} are allowed, because a rejected \
             login does the work of each; renew the oldest with `portcullis user passwd NAME`"
        );
        return Err(Problem { position: None, text });
    }
    Ok(users)
}

/// Tells the two shapes apart by the first line that says something: in YAML a space or the line's end follows a name's
/// colon, in an htpasswd file never.
pub fn format_of(text: &str) -> Format {
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = lines.next().unwrap_or_default();
    let yaml =
        line.starts_with(['{', '"', '\'', ' ', '%', '&', '?', '-']) || line.ends_with(':') || line.contains(": ");
    if !yaml && line.contains(':') { Format::Htpasswd } else { Format::Yaml }
}

fn parse_htpasswd(text: &str, limits: &HashLimits) -> Result<BTreeMap<String, Entry>, Problem> {
    let mut entries = BTreeMap::new();
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim_end())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let problem = |column, text: String| Problem { position: Some((number, column)), text };
        let Some((name, rest)) = line.split_once(':') else {
            return Err(problem(1, "expected `name:hash`".to_owned()));
        };
        // What follows a second colon is a comment.
        let hash = rest.split(':').next().unwrap_or_default();
        check_name(name).map_err(|text| problem(1, text.to_owned()))?;
        let password = PasswordHash::parse(hash, limits)
            .map_err(|error| problem(name.chars().count() + 2, format!("{name:?}: {error}")))?;
        if entries.insert(name.to_owned(), Entry { password, roles: vec![], scopes: vec![] }).is_some() {
            return Err(problem(1, format!("the user {name:?} is there twice; remove one of the lines")));
        }
    }
    Ok(entries)
}

fn parse_yaml(source: &str, limits: &HashLimits) -> Result<BTreeMap<String, Entry>, Problem> {
    if source.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---") {
        // An editor that has just emptied the file to write it anew must not log everybody out.
        let text =
            "the file holds no user; add one with `portcullis user add NAME`, or write `{}` if nobody may log in";
        return Err(Problem { position: None, text: text.to_owned() });
    }
    FileSeed(limits).deserialize(serde_yaml::Deserializer::from_str(source)).map_err(|error| {
        let position = error.location().map(|location| (location.line(), location.column()));
        let mut text = error.to_string();
        if let Some((line, column)) = position {
            text = text.replace(&format!(" at line {line} column {column}"), "");
            if source.lines().nth(line - 1).is_some_and(|line| line.starts_with('\t')) {
                text += "; indent with spaces instead of tabs";
            }
        }
        Problem { position, text }
    })
}

/// The text with every hash in it shortened to its beginning.
fn without_hashes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = ["$2", "$argon2"].iter().filter_map(|start| rest.find(start)).min() {
        let end = rest[at..].find(|c: char| !c.is_ascii_alphanumeric() && !"$./+=,-".contains(c));
        let end = end.map_or(rest.len(), |end| at + end);
        out.push_str(&rest[..at]);
        // Shorter ones are examples of ours.
        out.push_str(if end - at > 16 { "$..." } else { &rest[at..end] });
        rest = &rest[end..];
    }
    out + rest
}

struct FileSeed<'a>(&'a HashLimits);

impl<'de> DeserializeSeed<'de> for FileSeed<'_> {
    type Value = BTreeMap<String, Entry>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FileSeed<'_> {
    type Value = BTreeMap<String, Entry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from user names to entries, such as `demo: { password: \"$argon2id$...\", roles: [user] }`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let entries = RefCell::new(BTreeMap::new());
        // Checked while the key is read, so that a complaint points at it.
        let check = |name: &str| match check_name(name) {
            Ok(()) if entries.borrow().contains_key(name) => {
                Err(format!("the user {name:?} is there twice; remove one of the entries"))
            }
            other => other.map_err(str::to_owned),
        };
        while let Some(name) = map.next_key_seed(TextSeed("a user name", &check))? {
            let entry = map.next_value_seed(EntrySeed(self.0))?;
            entries.borrow_mut().insert(name, entry);
        }
        Ok(entries.into_inner())
    }
}

struct EntrySeed<'a>(&'a HashLimits);

impl<'de> DeserializeSeed<'de> for EntrySeed<'_> {
    type Value = Entry;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Entry, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for EntrySeed<'_> {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`password:`, and perhaps `roles:` and `scopes:`, indented under the user's name")
    }

    fn visit_str<E: de::Error>(self, _hash: &str) -> Result<Entry, E> {
        Err(E::custom(format_args!("expected {}", &self as &dyn de::Expected)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let seen = RefCell::new(Vec::new());
        let check = |key: &str| match key {
            _ if seen.borrow().iter().any(|earlier| earlier == key) => Err(format!("`{key}` is there twice")),
            "password" | "roles" | "scopes" => Ok(()),
            _ => Err(format!("unknown key `{}`; the keys are `password`, `roles` and `scopes`", key.escape_debug())),
        };
        let (mut password, mut roles, mut scopes) = (None, vec![], vec![]);
        while let Some(key) = map.next_key_seed(TextSeed("a key", &check))? {
            match key.as_str() {
                "password" => password = Some(map.next_value_seed(HashSeed(self.0))?),
                "roles" => roles = map.next_value_seed(ListSeed("roles", check_role))?,
                _ => scopes = map.next_value_seed(ListSeed("scopes", check_scope))?,
            }
            seen.borrow_mut().push(key);
        }
        let password = password.ok_or_else(|| A::Error::custom("the user has no `password`"))?;
        Ok(Entry { password, roles, scopes })
    }
}

struct HashSeed<'a>(&'a HashLimits);

impl<'de> DeserializeSeed<'de> for HashSeed<'_> {
    type Value = PasswordHash;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<PasswordHash, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for HashSeed<'_> {
    type Value = PasswordHash;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a password hash")
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<PasswordHash, E> {
        PasswordHash::parse(text, self.0).map_err(E::custom)
    }
}

/// A list of texts, under the key of this name.
struct ListSeed(&'static str, fn(&str) -> Result<(), &'static str>);

impl<'de> DeserializeSeed<'de> for ListSeed {
    type Value = Vec<String>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ListSeed {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list, such as `{}: [one, two]`", self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<String>, A::Error> {
        let mut list = Vec::new();
        let check = |text: &str| (self.1)(text).map_err(str::to_owned);
        while let Some(text) = sequence.next_element_seed(TextSeed("a text", &check))? {
            list.push(text);
        }
        Ok(list)
    }
}

/// A text, called so in complaints, that must pass a check. It fails while it is read, so that the complaint points at it.
struct TextSeed<'a>(&'static str, &'a dyn Fn(&str) -> Result<(), String>);

impl<'de> DeserializeSeed<'de> for TextSeed<'_> {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for TextSeed<'_> {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        (self.1)(text).map(|()| text.to_owned()).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests;
