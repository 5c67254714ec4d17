//! The text as a tree in which every key and value can be found again in the text.
//!
//! The YAML reader tells a position only with an error. So every key and value is numbered in the order of the text, and
//! [`locate`] reads the text once more and fails on purpose at the number it is asked for. That costs a parse per error,
//! and nothing when all is well.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, Visitor};

/// A value with its number and the key that leads to it.
#[derive(Debug)]
pub(super) struct Node {
    /// Where it stands.
    pub id: Id,
    /// `routes[2].upstream`; empty for the whole.
    pub key: String,
    /// What it is.
    pub value: Value,
    /// The text of a variable that was read as a list or a table: who asks for text gets this.
    pub raw: Option<String>,
}

/// Where something stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Id {
    /// In the text, with that number: for [`locate`].
    Text(usize),
    /// In the variable with that number, whatever its place there.
    Variable(usize),
}

/// What is written.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// A number; only whole ones that are not negative are ever asked for.
    Number(Option<u64>),
    Text {
        text: String,
        /// What the file says, if variables were put in: messages show this, as the variable may be a secret. What is
        /// known to be text only because variables are has it, too: it may be asked for as a number or as true or false.
        written: Option<String>,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// There was an error about it already.
    Broken,
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: String,
    /// Where the key stands.
    pub id: Id,
    pub node: Node,
}

/// Why there is no tree.
pub(super) struct SyntaxError {
    /// Line and column, from 1, if known.
    pub position: Option<(usize, usize)>,
    pub message: String,
}

/// Reads the whole text.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    parse_below(text, "")
}

/// Reads the text as what stands below a key.
pub(super) fn parse_below(text: &str, key: &str) -> Result<Node, SyntaxError> {
    read(text, key, None).map_err(|error| {
        let mut position = error.location().map(|at| (at.line(), at.column()));
        let mut message = error.to_string();
        if let Some((line, column)) = position {
            message = message.replacen(&format!(" at line {line} column {column}"), "", 1);
        }
        if position.is_some_and(|(line, _)| line > text.lines().count()) {
            position = Some(end(text));
        }
        if message.contains("more than one document") {
            let begin = text.lines().enumerate().filter(|(_, line)| line.starts_with("---")).last();
            position = begin.map(|(index, _)| (index + 1, 1));
            message = "a second document begins after a line `---`; remove that line, or what follows it".to_owned();
        }
        SyntaxError { position, message }
    })
}

/// The end of the last line: where something is missing that the reader looked for after it.
fn end(text: &str) -> (usize, usize) {
    (text.lines().count().max(1), text.lines().last().unwrap_or_default().chars().count() + 1)
}

/// Line and column, from 1, of the key or value with that number.
pub(super) fn locate(text: &str, id: usize) -> Option<(usize, usize)> {
    read(text, "", Some(id)).err()?.location().map(|at| (at.line(), at.column()))
}

fn read(text: &str, key: &str, stop_at: Option<usize>) -> Result<Node, serde_yaml::Error> {
    let counter = Counter { next: Cell::new(0), stop_at };
    Seed { counter: &counter, key: key.to_owned() }.deserialize(serde_yaml::Deserializer::from_str(text))
}

struct Counter {
    next: Cell<usize>,
    stop_at: Option<usize>,
}

impl Counter {
    fn take<E: serde::de::Error>(&self) -> Result<Id, E> {
        let id = self.next.get();
        self.next.set(id + 1);
        if self.stop_at == Some(id) { Err(E::custom("here")) } else { Ok(Id::Text(id)) }
    }
}

struct Seed<'c> {
    counter: &'c Counter,
    key: String,
}

impl Seed<'_> {
    fn node<E: serde::de::Error>(self, value: Value) -> Result<Node, E> {
        Ok(Node { id: self.counter.take()?, key: self.key, value, raw: None })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, true or false, a list or a table")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Node, E> {
        self.node(Value::Null)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Node, E> {
        self.node(Value::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Node, E> {
        self.node(Value::Bool(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Node, E> {
        self.node(Value::Number(Some(value)))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Node, E> {
        self.node(Value::Number(None))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Node, E> {
        self.node(Value::Number(None))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Node, E> {
        self.node(Value::Text { text: text.to_owned(), written: None })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Node, A::Error> {
        Err(A::Error::custom("a tag (`!name`) means nothing here; write the value without it"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let id = self.counter.take()?;
        let mut nodes = Vec::new();
        while let Some(node) =
            list.next_element_seed(Seed { counter: self.counter, key: format!("{}[{}]", self.key, nodes.len()) })?
        {
            nodes.push(node);
        }
        Ok(Node { id, key: self.key, value: Value::List(nodes), raw: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let id = self.counter.take()?;
        let mut entries = Vec::new();
        while let Some((name, key_id)) = map.next_key_seed(KeySeed(self.counter))? {
            let key = if self.key.is_empty() { name.clone() } else { format!("{}.{name}", self.key) };
            let node = map.next_value_seed(Seed { counter: self.counter, key })?;
            entries.push(Entry { name, id: key_id, node });
        }
        Ok(Node { id, key: self.key, value: Value::Map(entries), raw: None })
    }
}

/// A key is its text, whatever it looks like: an upstream may be called `404`.
struct KeySeed<'c>(&'c Counter);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = (String, Id);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed<'_> {
    type Value = (String, Id);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok((name.to_owned(), self.0.take()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_value_is_found_again() {
        let locate = |text, id| match id {
            Id::Text(id) => locate(text, id),
            Id::Variable(_) => None,
        };
        let text = "# a comment\na: 1\nü:\n  - {b: x, c: [true]}\n  - |\n    long\n";
        let Value::Map(entries) = parse(text).ok().unwrap().value else { panic!() };
        assert_eq!(locate(text, entries[0].id), Some((2, 1)));
        assert_eq!(locate(text, entries[0].node.id), Some((2, 4)));
        let Value::List(list) = &entries[1].node.value else { panic!() };
        assert_eq!(list[0].key, "ü[0]");
        assert_eq!(locate(text, list[0].id), Some((4, 5)));
        let Value::Map(inner) = &list[0].value else { panic!() };
        assert_eq!(locate(text, inner[1].id), Some((4, 12)));
        assert_eq!(inner[1].node.key, "ü[0].c");
        let Value::List(flags) = &inner[1].node.value else { panic!() };
        assert_eq!(locate(text, flags[0].id), Some((4, 16)));
        assert_eq!(locate(text, list[1].id), Some((5, 5)));
        assert_eq!(locate(text, Id::Text(99)), None);
    }
}
