//! A value on its way to being checked: asked for what it ought to be, it answers or notes an error where it stands.
//!
//! Nothing stops at the first error: a question that cannot be answered is `None` and noted, and reading goes on. What was
//! noted decides in the end; a default that stands in for a bad value never reaches anybody.

use std::path::PathBuf;

use super::asked::Question;
pub(super) use super::context::Context;
use super::errors::{Place, Warning, hint, quoted};
use super::files::{FileKind, FileUse};
use super::tree::{Entry, Id, Node, Value};

/// A value and where to note what is wrong with it.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    pub cx: &'a Context<'a>,
    pub node: &'a Node,
}

impl<'a> Item<'a> {
    /// Where it stands.
    pub fn place(self) -> Place {
        self.cx.place(self.node.id, &self.node.key)
    }

    /// Where it stands, for messages about something else: `line 7`.
    pub fn whereabouts(self) -> String {
        self.cx.whereabouts(self.node.id)
    }

    /// Notes that this is wrong.
    pub fn error(self, message: impl Into<String>) {
        self.cx.error(self.place(), message);
    }

    /// Notes that this may surprise.
    pub fn warn(self, message: impl Into<String>) {
        let warning = Warning { place: self.place(), message: message.into() };
        self.cx.warnings.borrow_mut().push(warning);
    }

    /// Notes that this is not what is wanted: `want` goes on after "write".
    fn not(self, want: &str) {
        let what = match &self.node.value {
            Value::Null => "nothing is written here",
            Value::Bool(_) => "this is true or false",
            Value::Number(_) => "this is a number",
            Value::Text { .. } => "this is text",
            Value::List(_) => "this is a list",
            Value::Map(_) => "this is a table",
            Value::Broken => return,
        };
        self.error(format!("{what}; write {want}"));
    }

    /// The text as the file has it, in quotes, without what variables put in and without a password before an `@`.
    pub fn shown(self) -> String {
        let text = match (&self.node.value, &self.node.raw) {
            (Value::Text { text, written }, _) => written.as_ref().unwrap_or(text),
            (_, Some(raw)) => raw,
            (_, None) => return String::new(),
        };
        let (scheme, rest) = text.find("://").map_or(("", text.as_str()), |at| text.split_at(at + 3));
        match rest.rsplit_once('@') {
            Some((user, host)) if user.contains(':') => quoted(&format!("{scheme}…@{host}")),
            _ => quoted(text),
        }
    }

    /// The text, if it is text. Nothing is noted.
    pub fn as_text(self) -> Option<&'a str> {
        if let Value::Text { text, .. } = &self.node.value { Some(text) } else { None }
    }

    /// Whether it is a table.
    pub fn is_table(self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// Whether it is a list.
    pub fn is_list(self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    /// The text. `want` says what to write instead of anything else.
    pub fn text(self, want: &str) -> Option<&'a str> {
        self.asks(|| Question::Text(want.to_owned()));
        self.as_written(want)
    }

    /// The same, for who says himself what is asked.
    fn as_written(self, want: &str) -> Option<&'a str> {
        match &self.node.value {
            Value::Text { text, .. } if text.is_empty() => {
                self.error(format!("this is empty; write {want}"));
                None
            }
            Value::Text { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) if self.node.raw.is_some() => self.node.raw.as_deref(),
            _ => {
                self.not(want);
                None
            }
        }
    }

    /// What `parse` makes of the text. `want` is for other types; `parse` says itself what is wrong with text. It may repeat
    /// the text only after a `;`, which is cut off if a variable was put in.
    pub fn parse<T>(self, want: &str, parse: impl FnOnce(&'a str) -> Result<T, String>) -> Option<T> {
        self.asks(|| Question::Text(want.to_owned()));
        self.parse_as(want, parse)
    }

    /// The same, for who says himself what is asked.
    pub fn parse_as<T>(self, want: &str, parse: impl FnOnce(&'a str) -> Result<T, String>) -> Option<T> {
        match parse(self.as_written(want)?) {
            Ok(value) => Some(value),
            Err(wrong) => {
                let variable = match &self.node.value {
                    Value::Text { text, written: Some(written) } => text != written,
                    _ => false,
                };
                let wrong = wrong.split(';').next().filter(|_| variable).unwrap_or(&wrong);
                self.error(format!("{} {wrong}", self.shown()));
                None
            }
        }
    }

    /// True or false.
    pub fn bool(self) -> Option<bool> {
        self.asks(|| Question::Bool);
        match &self.node.value {
            Value::Bool(value) => Some(*value),
            Value::Text { text, written: Some(_) } if text == "true" => Some(true),
            Value::Text { text, written: Some(_) } if text == "false" => Some(false),
            _ => {
                self.not("`true` or `false`");
                None
            }
        }
    }

    /// True or false, where a table with `keys` would do as well.
    pub fn true_or_table(self, keys: &[&str]) -> Option<bool> {
        self.asks(|| Question::Bool);
        match &self.node.value {
            Value::Bool(_) | Value::Text { written: Some(_), .. } => self.bool(),
            _ => {
                self.not(&format!("`true`, `false`, or a table with any of: {}", keys.join(", ")));
                None
            }
        }
    }

    /// A whole number between two others.
    pub fn number(self, least: u64, most: u64) -> Option<u64> {
        self.asks(|| Question::Number(least, most));
        let number = match &self.node.value {
            Value::Number(Some(number)) => Some(*number),
            Value::Text { text, written: Some(_) } => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if (least..=most).contains(&number) => Some(number),
            None if !matches!(self.node.value, Value::Number(_)) => {
                self.not(&format!("a whole number from {least} to {most}"));
                None
            }
            Some(_) | None => {
                self.error(format!("write a whole number from {least} to {most}"));
                None
            }
        }
    }

    /// One of a few words.
    pub fn one_of<T: Copy>(self, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.asks(|| Question::OneOf(names.iter().map(|name| (*name).to_owned()).collect()));
        let text = self.as_written(&format!("one of: {}", names.join(", ")))?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let near = hint(text, &names);
            self.error(format!("{} is not known here{near}; write one of: {}", self.shown(), names.join(", ")));
        }
        found
    }

    /// Notes that it is a secret, unless a variable was put in.
    pub fn holds_secret(self) {
        if matches!(self.node.value, Value::Text { written: None, .. }) {
            self.cx.secrets.borrow_mut().push(self.place());
        }
    }

    /// The path of a file, seen from the folder of the configuration.
    pub fn file(self, kind: FileKind) -> Option<PathBuf> {
        let path = self.path()?;
        self.cx.files.borrow_mut().push(FileUse { place: self.place(), path: path.clone(), kind });
        Some(path)
    }

    /// A path, seen from the folder of the configuration.
    pub fn path(self) -> Option<PathBuf> {
        let text = self.text("a path")?;
        Some(self.cx.folder().join(text))
    }

    /// The items, if it is a list. Nothing is noted.
    pub fn items(self) -> Vec<Item<'a>> {
        match &self.node.value {
            Value::List(nodes) => nodes.iter().map(|node| Item { cx: self.cx, node }).collect(),
            _ => Vec::new(),
        }
    }

    /// The items of a list that is not empty.
    pub fn list(self, want: &str) -> Option<Vec<Item<'a>>> {
        self.asks(|| Question::List);
        match &self.node.value {
            Value::List(nodes) if nodes.is_empty() => {
                self.error(format!("this list is empty; write {want}, or leave the key out"));
                None
            }
            Value::List(_) => Some(self.items()),
            _ => {
                self.not(want);
                None
            }
        }
    }

    /// A list of different things, each read by `read`; what cannot be read is left out and noted.
    pub fn list_of<T: PartialEq>(self, want: &str, read: impl Fn(Item<'a>) -> Option<T>) -> Vec<T> {
        let mut values = Vec::new();
        for item in self.list(want).unwrap_or_default() {
            match read(item) {
                Some(value) if values.contains(&value) => item.error("this is in the list twice; remove one"),
                Some(value) => values.push(value),
                None => {}
            }
        }
        values
    }

    /// The names and values of a table whose keys are free names. Each name is there once.
    pub fn entries(self, want: &str) -> Vec<(&'a Entry, Item<'a>)> {
        self.asks(|| Question::Entries);
        self.distinct(want)
    }

    fn distinct(self, want: &str) -> Vec<(&'a Entry, Item<'a>)> {
        let Value::Map(entries) = &self.node.value else {
            self.not(want);
            return Vec::new();
        };
        let mut seen: Vec<&Entry> = Vec::new();
        for entry in entries {
            if let Some(first) = seen.iter().find(|first| first.name == entry.name) {
                let first = self.cx.whereabouts(first.id);
                let place = self.cx.place(entry.id, &entry.node.key);
                self.cx.error(place, format!("this key is there twice, first in {first}; remove one"));
            } else {
                seen.push(entry);
            }
        }
        seen.into_iter().map(|entry| (entry, Item { cx: self.cx, node: &entry.node })).collect()
    }

    /// A table with these keys and no others.
    pub fn table(self, keys: &'static [&'static str]) -> Option<Table<'a>> {
        self.asks(|| Question::Table(keys));
        let allowed = if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") };
        let Value::Map(_) = &self.node.value else {
            self.not(&format!("a table with any of: {allowed}"));
            return None;
        };
        let entries = self.distinct("");
        for (entry, item) in &entries {
            if !keys.contains(&entry.name.as_str()) {
                let message = match entry.id {
                    Id::Text(_) => format!("there is no such key{}; allowed here: {allowed}", hint(&entry.name, keys)),
                    Id::Variable(index) => self.cx.variables[index].unknown(&entry.name, keys),
                };
                self.cx.error(self.cx.place(entry.id, &item.node.key), message);
            }
        }
        Some(Table { item: self, keys, entries })
    }
}

/// A table whose keys are known.
pub(super) struct Table<'a> {
    pub item: Item<'a>,
    keys: &'static [&'static str],
    entries: Vec<(&'a Entry, Item<'a>)>,
}

impl<'a> Table<'a> {
    /// The value of a key, if it is there.
    pub fn get(&self, key: &str) -> Option<Item<'a>> {
        debug_assert!(self.keys.contains(&key), "{key} is not in the schema");
        self.entries.iter().find(|(entry, _)| entry.name == key).map(|(_, item)| *item)
    }

    /// The table below a key; an empty one if the key is not there, or holds no table, which is noted.
    pub fn section(&self, key: &str, keys: &'static [&'static str]) -> Table<'a> {
        let absent = Table { item: self.item, keys, entries: Vec::new() };
        self.get(key).and_then(|item| item.table(keys)).unwrap_or(absent)
    }

    /// The value of a key that must be there. `want` says what to write.
    pub fn need(&self, key: &str, want: &str) -> Option<Item<'a>> {
        let found = self.get(key);
        self.item.asks(|| Question::Need(key.to_owned()));
        if found.is_none() {
            self.item.error(format!("`{key}` is missing; write {want}"));
        }
        found
    }

    /// The one of several keys that is there. More than one is an error.
    pub fn at_most_one(&self, keys: &[&'static str]) -> Option<(&'static str, Item<'a>)> {
        let mut there = keys.iter().filter_map(|key| self.get(key).map(|item| (*key, item)));
        let first = there.next();
        if let (Some((key, _)), Some((other, item))) = (first, there.next()) {
            item.error(format!("`{other}` and `{key}` are two ways to say one thing; keep one of them"));
        }
        first
    }
}
