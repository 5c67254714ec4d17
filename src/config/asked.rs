//! The questions that are asked of values while they are read, for who wants to know what could be written: `editors`.
//!
//! There is no second table of types beside the readers: a key is what its reader asks it to be.

use super::item::Item;
use super::schema::Keys;

/// What a value is asked to be. Several questions about one value are the forms that it can have.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Question {
    /// True or false.
    Bool,
    /// A whole number between two others.
    Number(u64, u64),
    /// A duration; in words, from when to when.
    Duration(String),
    /// A size, in words.
    Size(String),
    /// One of these words.
    OneOf(Vec<String>),
    /// Text, in words.
    Text(String),
    /// Text is like that: a regular expression.
    Like(&'static str),
    /// A list that is not empty.
    List,
    /// A table with free names.
    Entries,
    /// A table with these keys.
    Table(Keys),
    /// A table with this key, and perhaps others.
    Need(String),
}

impl<'a> Item<'a> {
    /// Notes what is asked, if anybody wants to know.
    pub fn asks(self, question: impl FnOnce() -> Question) {
        let Some(asked) = &self.cx.asked else { return };
        asked.borrow_mut().entry(way(&self.node.key)).or_default().push(question());
    }

    /// What the text is like, for editors: a regular expression (ECMA-262) that everything matches that is good. The rest is
    /// for who reads the text.
    pub fn like(self, pattern: &'static str) -> Item<'a> {
        self.asks(|| Question::Like(pattern));
        self
    }
}

/// The way to a key, whatever its number in a list: `routes[].upstream`.
pub(super) fn way(key: &str) -> String {
    let parts = key.split('[').map(|part| part.split_once(']').map_or(part, |(_, after)| after));
    parts.collect::<Vec<_>>().join("[]")
}

/// `ADDRESS:PORT`.
pub(super) const ADDRESS: &str = r"^\S+:[0-9]{1,5}$";
/// Scheme, host and perhaps port.
pub(super) const SERVER: &str = r"^https?://[^/?#@\s]+$";
/// A path in a rule.
pub(super) const PATH: &str = r"^/[^%;?#*\\\s]*$";
/// A Redis or a sentinel.
pub(super) const REDIS: &str = r"^rediss?://\S+$";
/// A host, or all below one.
pub(super) const HOST: &str = r"^[^/@\s]+$";
/// An address or a network.
pub(super) const NETWORK: &str = r"^[0-9a-fA-F.:]+(/[0-9]{1,3})?$";
/// A method.
pub(super) const METHOD: &str = r"^[^a-z\s]+$";
/// A header field.
pub(super) const FIELD: &str = r"^[^:\s]+$";
