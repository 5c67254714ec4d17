//! What is noted while a configuration is read: errors, warnings, files that are named.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::asked::Question;
use super::errors::{ConfigError, Place, Warning};
use super::files::FileUse;
use super::tree::{self, Id};
use super::variables::{self, Variable};

/// What is noted while a file is read.
pub(super) struct Context<'a> {
    pub text: &'a str,
    pub origin: &'a Path,
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Those that override keys.
    pub variables: Vec<Variable>,
    pub errors: RefCell<Vec<ConfigError>>,
    pub warnings: RefCell<Vec<Warning>>,
    pub files: RefCell<Vec<FileUse>>,
    /// Where secrets stand as they are.
    pub secrets: RefCell<Vec<Place>>,
    /// What was asked of each key, if anybody wants to know.
    pub asked: Option<RefCell<BTreeMap<String, Vec<Question>>>>,
}

impl<'a> Context<'a> {
    pub fn new(text: &'a str, origin: &'a Path, env: &'a dyn Fn(&str) -> Option<String>) -> Context<'a> {
        Context {
            text,
            origin,
            env,
            variables: Vec::new(),
            errors: RefCell::default(),
            warnings: RefCell::default(),
            files: RefCell::default(),
            secrets: RefCell::default(),
            asked: None,
        }
    }

    /// The same, with variables that override keys.
    pub fn with_variables(mut self, mut variables: Vec<Variable>) -> Context<'a> {
        variables.sort_by(variables::by_way);
        self.variables = variables;
        self
    }

    /// The place of the key or value with that number.
    pub fn place(&self, id: Id, key: &str) -> Place {
        match id {
            // Nobody looks at the errors then, and finding their places takes time.
            Id::Text(_) if self.asked.is_some() => {
                Place { file: PathBuf::new(), line: 0, column: 0, key: key.to_owned() }
            }
            Id::Text(number) => {
                let (line, column) = tree::locate(self.text, number).unwrap_or_default();
                Place { file: self.origin.to_owned(), line, column, key: key.to_owned() }
            }
            Id::Variable(index) => {
                Place { file: self.variables[index].name.clone().into(), line: 0, column: 0, key: key.to_owned() }
            }
        }
    }

    /// Where the key or value with that number is, for messages about something else: `line 7`.
    pub fn whereabouts(&self, id: Id) -> String {
        let place = self.place(id, "");
        if place.line > 0 { format!("line {}", place.line) } else { place.to_string() }
    }

    /// The folder of the file, from which relative paths are seen.
    pub fn folder(&self) -> &'a Path {
        self.origin.parent().unwrap_or(Path::new(""))
    }

    /// Notes an error.
    pub fn error(&self, place: Place, message: impl Into<String>) {
        self.errors.borrow_mut().push(ConfigError { place, message: message.into() });
    }
}
