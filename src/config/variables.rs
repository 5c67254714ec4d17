//! Every key can be overridden by a variable: `PORTCULLIS_STORE__REDIS__URL` is `store.redis.url`.
//!
//! For containers, where changing a file means another image. The name is the way to the key, in upper case, with two
//! underscores between levels. An entry of a list is named by its number, from 0 (the next one is added), or by its `name`; an entry
//! of a table by its key, with `_` for each sign that is no letter and no digit. A value is text, a number, true or false,
//! whatever is asked for; a list or a table is written as YAML. What a variable says takes the place of what the file says;
//! `${NAME}` in it means nothing.
//!
//! What must never happen in here: a variable with our prefix that sets nothing is passed over; two of them set one key, and
//! one wins.

use std::cmp::Ordering;

use super::errors::hint;
use super::item::Context;
use super::tree::{self, Entry, Id, Node, Value};

const PREFIX: &str = "PORTCULLIS_";

/// Variables of ours that are no keys: arguments of the command line.
const NO_KEYS: [&str; 2] = ["PORTCULLIS_CONFIG", "PORTCULLIS_ADMIN"];

/// A variable that overrides a key.
pub(super) struct Variable {
    pub name: String,
    /// None if it is not UTF-8.
    pub value: Option<String>,
}

impl Variable {
    /// What is wrong with it if there is no such key as `key`.
    pub fn unknown(&self, key: &str, keys: &[&str]) -> String {
        let near = hint(key, keys);
        let one_underscore = keys.iter().any(|known| key.starts_with(&format!("{known}_")));
        let levels = if near.is_empty() && one_underscore { "; two underscores stand between levels" } else { "" };
        format!("there is no key `{key}` for this variable{near}{levels}; allowed here: {}", keys.join(", "))
    }

    fn segments(&self) -> Vec<&str> {
        self.name[PREFIX.len()..].split("__").collect()
    }
}

/// Those of this process; `env` looks up the values.
pub(super) fn of_process(env: &dyn Fn(&str) -> Option<String>) -> Vec<Variable> {
    let named = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let value = value.into_string().ok();
        overrides(&name, value.as_deref()).then(|| match value {
            None => Some(Variable { name, value: None }),
            Some(_) => env(&name).map(|value| Variable { name, value: Some(value) }),
        })
    });
    named.flatten().collect()
}

/// Is it meant for a key? Kubernetes makes variables for every service, also for one that is called like us.
fn overrides(name: &str, value: Option<&str>) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let of_port = rest.split("PORT_").skip(1).any(|port| {
        let digits = port.trim_start_matches(|c: char| c.is_ascii_digit());
        digits.len() < port.len() && ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| digits.starts_with(protocol))
    });
    let is_address =
        value.is_some_and(|value| ["tcp://", "udp://", "sctp://"].iter().any(|begin| value.starts_with(begin)));
    let of_kubernetes = rest.ends_with("SERVICE_HOST")
        || rest.ends_with("SERVICE_PORT")
        || rest.contains("SERVICE_PORT_")
        || of_port
        || (rest.ends_with("PORT") && is_address);
    !NO_KEYS.contains(&name) && !of_kubernetes
}

/// So that shorter names come before those that begin with them, and entry 2 before entry 10.
pub(super) fn by_way(a: &Variable, b: &Variable) -> Ordering {
    let way = |variable: &Variable| -> Vec<(usize, String)> {
        let segments = variable.segments().into_iter();
        segments.map(|segment| (number(segment).unwrap_or(usize::MAX), segment.to_owned())).collect()
    };
    way(a).cmp(&way(b))
}

/// Puts what the variables say in the place of what the file says.
pub(super) fn apply(cx: &Context<'_>, root: &mut Node) {
    for (index, variable) in cx.variables.iter().enumerate() {
        let id = Id::Variable(index);
        let segments = variable.segments();
        let is_plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let set = match &variable.value {
            None => Err("its value is not UTF-8 text; set it anew".to_owned()),
            Some(_)
                if segments
                    .iter()
                    .any(|segment| !segment.starts_with(|c| c != '_') || !segment.chars().all(is_plain)) =>
            {
                Err("this names no key; write its way in upper case, with two underscores between levels, such as \
                     `PORTCULLIS_STORE__REDIS__URL` for `store.redis.url`"
                    .to_owned())
            }
            Some(value) => set(cx, root, &segments, id, value),
        };
        if let Err(message) = set {
            cx.error(cx.place(id, ""), message);
        }
    }
}

fn set(cx: &Context<'_>, node: &mut Node, way: &[&str], id: Id, value: &str) -> Result<(), String> {
    let twice = |other: usize| Err(format!("{} sets this, too; keep one of them", cx.variables[other].name));
    let Some((first, rest)) = way.split_first() else {
        return match (node.id, &node.value) {
            (Id::Variable(other), before) if !matches!(before, Value::Null) => twice(other),
            _ => {
                *node = read(value, &node.key, id);
                Ok(())
            }
        };
    };
    if !matches!(node.value, Value::List(_) | Value::Map(_)) {
        if let (Id::Variable(other), false) = (node.id, matches!(node.value, Value::Null)) {
            return twice(other);
        }
        // A short form gives way to the long one.
        node.value = if number(first).is_some() { Value::List(Vec::new()) } else { Value::Map(Vec::new()) };
        node.id = id;
    }
    let key = &node.key;
    match &mut node.value {
        Value::List(nodes) => {
            let at = entry(nodes, first)?;
            if at == nodes.len() {
                nodes.push(Node { id, key: format!("{key}[{at}]"), value: Value::Null, raw: None });
            }
            set(cx, &mut nodes[at], rest, id, value)
        }
        Value::Map(entries) => {
            let mut meant = entries.iter().enumerate().filter(|(_, entry)| spelled(&entry.name) == *first);
            let at = match (meant.next(), meant.next()) {
                (None, _) => entries.len(),
                (Some((_, one)), Some((_, other))) if one.name != other.name => {
                    return Err(format!(
                        "`{first}` can be `{}` or `{}`; call one of them something else",
                        one.name, other.name
                    ));
                }
                (Some((at, _)), _) => at,
            };
            if at == entries.len() {
                let name = first.to_ascii_lowercase();
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                entries.push(Entry { name, id, node: Node { id, key, value: Value::Null, raw: None } });
            }
            set(cx, &mut entries[at].node, rest, id, value)
        }
        _ => Ok(()),
    }
}

/// Which entry of a list is meant; the length if it is to be added.
fn entry(nodes: &[Node], segment: &str) -> Result<usize, String> {
    if let Some(at) = number(segment) {
        let next = nodes.len();
        return if at <= next {
            Ok(at)
        } else {
            Err(format!("there is no entry {at} in this list; the next one is {next}"))
        };
    }
    let name = |node: &Node| match &node.value {
        Value::Map(entries) => {
            entries.iter().find(|entry| entry.name == "name").and_then(|entry| match &entry.node.value {
                Value::Text { text, .. } => Some(spelled(text)),
                _ => None,
            })
        }
        _ => None,
    };
    let names: Vec<Option<String>> = nodes.iter().map(name).collect();
    names.iter().position(|name| name.as_deref() == Some(segment)).ok_or_else(|| {
        let known: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
        let last = nodes.len().saturating_sub(1);
        format!(
            "no entry of this list has the name `{segment}`{}; write one of the names, or a number from 0 to {last}",
            hint(segment, &known)
        )
    })
}

fn number(segment: &str) -> Option<usize> {
    if segment.bytes().all(|byte| byte.is_ascii_digit()) { segment.parse().ok() } else { None }
}

/// A key as names of variables have it.
fn spelled(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// What a variable says. Text is kept beside a list or a table, as a password may look like one.
fn read(value: &str, key: &str, id: Id) -> Node {
    let may_be_more = value.trim_start().starts_with(['[', '{']) || value.trim().contains('\n');
    if may_be_more
        && let Ok(mut node) = tree::parse_below(value, key)
        && matches!(node.value, Value::List(_) | Value::Map(_))
    {
        stand_in(&mut node, id);
        node.raw = Some(value.to_owned());
        return node;
    }
    let value = Value::Text { text: value.to_owned(), written: Some(value.to_owned()) };
    Node { id, key: key.to_owned(), value, raw: None }
}

/// All of it stands in one variable.
fn stand_in(node: &mut Node, id: Id) {
    node.id = id;
    match &mut node.value {
        Value::List(nodes) => nodes.iter_mut().for_each(|node| stand_in(node, id)),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| {
            entry.id = id;
            stand_in(&mut entry.node, id);
        }),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
