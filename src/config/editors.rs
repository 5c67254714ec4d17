//! The JSON schema of `proxy.yaml` (draft 2020-12): editors complete keys by it, and mark what is wrong while it is written.
//!
//! It is made by asking: every setting of the annotated reference is read, and so is something else in its place, and the
//! questions that the readers ask are the forms that a value can have. So a key that can be read is in the schema, as what it is
//! read as, and nobody writes it down twice. What it is for is said in the reference.
//!
//! What must never happen in here: the schema refuses what `portcullis check` takes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::asked::{Question, way};
use super::item::{Context, Item};
use super::reference::{self, Block};
use super::tree::{self, Id, Node, Value};
use super::{read, scalars};

/// The schema, as text.
pub fn schema() -> String {
    let blocks: Vec<Block> = reference::blocks().into_iter().chain(more()).collect();
    let mut made = Made { asked: asked(&blocks), said: said(&blocks), optional: optional(&blocks) };
    made.name_entries();
    let mut schema = made.shape("");
    let texts = [
        ("$schema", json!("https://json-schema.org/draft/2020-12/schema")),
        ("title", json!("proxy.yaml, the configuration of Portcullis")),
        (
            "$defs",
            json!({
                "variable": { "type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}" },
                "duration": { "type": "string", "pattern": format!("^[0-9]+({})$", scalars::time_units()), "examples": ["30s"] },
                "size": { "type": "string", "pattern": format!("^[0-9]+({})$", scalars::size_units()), "examples": ["10MiB"] },
            }),
        ),
    ];
    if let Some(schema) = schema.as_object_mut() {
        schema.extend(texts.map(|(key, value)| (key.to_owned(), value)));
    }
    format!("{schema:#}\n")
}

/// What cannot stand in the reference, as something else stands there: of several ways to say one thing only one can be written.
fn more() -> impl Iterator<Item = Block> {
    let redis = "keys: { file: k }\nstore: { redis: { sentinels: [redis://s], master_name: m";
    let texts = [
        "listen: { address: 127.0.0.1:8080, h2c: true }\n".to_owned(),
        "listen: { address: 127.0.0.1:8080, tls: { certificate: c, key: k } }\n".to_owned(),
        "listen: { address: 127.0.0.1:8080, tls: [{ certificate: c, key: k }] }\n".to_owned(),
        "listen: [{ address: 127.0.0.1:8080, tls: [{ certificate: c, key: k }] }]\n".to_owned(),
        "admin: { token: 0123456789abcdef0123456789abcdef }\n".to_owned(),
        "admin: { token_env: SECRET }\n".to_owned(),
        format!("{redis}, password: p, sentinel_password: p }} }}\n"),
        format!("{redis}, password_env: SECRET, sentinel_password_env: SECRET }} }}\n"),
        "keys: { file: k }\nstore: redis://localhost\n".to_owned(),
        "keys: { file: k }\nstore: { redis: redis://localhost }\n".to_owned(),
    ];
    texts.into_iter().map(|text| Block { text, about: String::new() })
}

/// What is known about keys. A key is its way: `routes[].upstream`, `upstreams.*.servers[]`.
struct Made {
    asked: BTreeMap<String, Vec<Question>>,
    /// What is said about a key.
    said: BTreeMap<String, String>,
    /// The keys that some table does without.
    optional: BTreeSet<String>,
}

/// What is read in place of what is written.
fn instead(node: &Node) -> [Value; 5] {
    let text = |text: &str| Value::Text { text: text.to_owned(), written: None };
    let item = Node { id: node.id, key: format!("{}[0]", node.key), value: text("x"), raw: None };
    [text("x"), Value::Bool(true), Value::Number(Some(1)), Value::List(vec![item]), Value::Map(Vec::new())]
}

fn asked(blocks: &[Block]) -> BTreeMap<String, Vec<Question>> {
    let mut asked = BTreeMap::new();
    for block in blocks {
        let text = reference::completed(&block.text);
        asked = ask(&text, None, asked);
        for number in 0..nodes(&text) {
            for which in 0..5 {
                asked = ask(&text, Some((number, which)), asked);
            }
        }
    }
    for questions in asked.values_mut() {
        questions.sort();
        questions.dedup();
    }
    asked
}

/// Reads the text, with something else in place of one value, and adds what was asked.
fn ask(
    text: &str,
    replace: Option<(usize, usize)>,
    asked: BTreeMap<String, Vec<Question>>,
) -> BTreeMap<String, Vec<Question>> {
    let Ok(mut root) = tree::parse(text) else { return asked };
    if let Some((number, which)) = replace {
        let mut left = number;
        visit(&mut root, &mut |node| {
            if left == 0
                && let Some(value) = instead(node).into_iter().nth(which)
            {
                node.value = value;
            }
            left = left.wrapping_sub(1);
        });
    }
    let cx = Context { asked: Some(RefCell::new(asked)), ..Context::new(text, Path::new(""), &|_| None) };
    read::config(Item { cx: &cx, node: &root });
    cx.asked.map(RefCell::into_inner).unwrap_or_default()
}

fn visit(node: &mut Node, look: &mut dyn FnMut(&mut Node)) {
    look(node);
    match &mut node.value {
        Value::List(nodes) => nodes.iter_mut().for_each(|node| visit(node, look)),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| visit(&mut entry.node, look)),
        _ => {}
    }
}

fn nodes(text: &str) -> usize {
    let mut number = 0;
    if let Ok(mut root) = tree::parse(text) {
        visit(&mut root, &mut |_| number += 1);
    }
    number
}

/// What the reference says about each key: before a whole setting, or behind a key.
fn said(blocks: &[Block]) -> BTreeMap<String, String> {
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    for block in blocks {
        let Ok(root) = tree::parse(&block.text) else { continue };
        let lines: Vec<&str> = block.text.lines().collect();
        let Value::Map(entries) = &root.value else { continue };
        if let ([first, ..], false) = (entries.as_slice(), block.about.is_empty()) {
            add(&mut said, &first.name, &block.about);
        }
        remarks(&root, &block.text, &lines, &mut said);
    }
    said
}

fn add(said: &mut BTreeMap<String, String>, key: &str, sentence: &str) {
    let all = said.entry(key.to_owned()).or_default();
    if !all.contains(sentence) {
        *all += if all.is_empty() { "" } else { "\n\n" };
        *all += sentence;
    }
}

fn remarks(node: &Node, text: &str, lines: &[&str], said: &mut BTreeMap<String, String>) {
    match &node.value {
        Value::List(nodes) => nodes.iter().for_each(|node| remarks(node, text, lines, said)),
        Value::Map(entries) => {
            for entry in entries {
                let Id::Text(id) = entry.id else { continue };
                let line = tree::locate(text, id).and_then(|(line, column)| Some((lines.get(line - 1)?, column)));
                // Only the first key of a line is meant.
                let first = line.filter(|(line, column)| line[..column - 1].trim_matches([' ', '-']).is_empty());
                if let Some(remark) = first.and_then(|(line, _)| reference::remark(line)) {
                    add(said, &way(&entry.node.key), remark);
                }
                remarks(&entry.node, text, lines, said);
            }
        }
        _ => {}
    }
}

/// The keys that are missing somewhere in the reference, and nothing is wrong.
fn optional(blocks: &[Block]) -> BTreeSet<String> {
    let mut optional = BTreeSet::new();
    let (mut every, mut seen) = (BTreeMap::<String, BTreeSet<String>>::new(), Vec::new());
    for block in blocks {
        let Ok(mut root) = tree::parse(&reference::completed(&block.text)) else { continue };
        visit(&mut root, &mut |node| {
            if let Value::Map(entries) = &node.value {
                let names: BTreeSet<String> = entries.iter().map(|entry| entry.name.clone()).collect();
                every.entry(way(&node.key)).or_default().extend(names.clone());
                seen.push((way(&node.key), names));
            }
        });
    }
    for (table, names) in seen {
        optional.extend(every[&table].difference(&names).map(|name| format!("{table}.{name}")));
    }
    optional
}

impl Made {
    /// Where names are free, each stands for all.
    fn name_entries(&mut self) {
        let free = |questions: &Vec<Question>| questions.contains(&Question::Entries);
        let tables: Vec<String> =
            self.asked.iter().filter(|(_, asked)| free(asked)).map(|(key, _)| key.clone()).collect();
        let renamed = |key: &str| {
            let table =
                tables.iter().find(|table| key.strip_prefix(table.as_str()).is_some_and(|rest| rest.starts_with('.')));
            let Some(table) = table else { return key.to_owned() };
            let rest = &key[table.len() + 1..];
            format!("{table}.*{}", &rest[rest.find(['.', '[']).unwrap_or(rest.len())..])
        };
        let mut asked: BTreeMap<String, Vec<Question>> = BTreeMap::new();
        for (key, questions) in std::mem::take(&mut self.asked) {
            let all = asked.entry(renamed(&key)).or_default();
            all.extend(questions);
            all.sort();
            all.dedup();
        }
        self.asked = asked;
        let mut said = BTreeMap::new();
        for (key, sentence) in std::mem::take(&mut self.said) {
            add(&mut said, &renamed(&key), &sentence);
        }
        self.said = said;
        self.optional = self.optional.iter().map(|key| renamed(key)).collect();
    }

    /// What can stand at a key.
    fn shape(&self, key: &str) -> Json {
        let questions = self.asked.get(key).map(Vec::as_slice).unwrap_or_default();
        let mut forms: Vec<Json> = Vec::new();
        let mut wants = Vec::new();
        let patterns: Vec<&str> =
            questions.iter().filter_map(|q| if let Question::Like(p) = q { Some(*p) } else { None }).collect();
        for question in questions {
            match question {
                Question::Bool => forms.push(json!({ "type": "boolean" })),
                Question::Number(least, most) => {
                    forms.push(json!({ "type": "integer", "minimum": least, "maximum": most }));
                }
                Question::Duration(want) => {
                    forms.push(json!({ "$ref": "#/$defs/duration" }));
                    wants.push(want.as_str());
                }
                Question::Size(want) => {
                    forms.push(json!({ "$ref": "#/$defs/size" }));
                    wants.push(want.as_str());
                }
                Question::OneOf(words) => forms.push(json!({ "enum": words })),
                Question::Text(want) => {
                    wants.push(want.as_str());
                    match patterns.as_slice() {
                        [] => forms.push(json!({ "type": "string", "minLength": 1 })),
                        all => forms.extend(all.iter().map(|pattern| json!({ "type": "string", "pattern": pattern }))),
                    }
                }
                Question::Like(_) | Question::Need(_) => {}
                Question::List => {
                    forms.push(json!({ "type": "array", "minItems": 1, "items": self.shape(&format!("{key}[]")) }));
                }
                Question::Entries => {
                    let entry = self.shape(&format!("{key}.*"));
                    forms.push(json!({ "type": "object", "additionalProperties": entry }));
                }
                Question::Table(keys) => forms.push(self.table(key, keys, questions)),
            }
        }
        let is_any_text = forms.iter().any(|form| form["type"] == "string" && form.get("pattern").is_none());
        let is_scalar = |form: &Json| !matches!(form["type"].as_str(), Some("array" | "object"));
        if forms.iter().any(is_scalar) && !is_any_text {
            forms.push(json!({ "$ref": "#/$defs/variable" }));
        }
        forms.dedup();
        let mut shape = match <[Json; 1]>::try_from(forms) {
            Ok([Json::Object(form)]) => form,
            Ok([form]) => Map::from_iter([("anyOf".to_owned(), json!([form]))]),
            Err(forms) => Map::from_iter([("anyOf".to_owned(), Json::Array(forms))]),
        };
        wants.dedup();
        let about = self.said.get(key).cloned().or_else(|| (!wants.is_empty()).then(|| wants.join("; or ")));
        if let Some(about) = about {
            shape.insert("description".to_owned(), about.into());
        }
        Json::Object(shape)
    }

    fn table(&self, key: &str, keys: &[&str], questions: &[Question]) -> Json {
        let below = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
        let properties: Map<String, Json> =
            keys.iter().map(|name| ((*name).to_owned(), self.shape(&below(name)))).collect();
        let is_needed =
            |name: &&String| keys.contains(&name.as_str()) && !self.optional.contains(&format!("{key}.{name}"));
        let needed = questions.iter().filter_map(|q| if let Question::Need(name) = q { Some(name) } else { None });
        let required: BTreeSet<&String> = needed.filter(is_needed).collect();
        let mut table = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        if let (Some(table), false) = (table.as_object_mut(), required.is_empty()) {
            table.insert("required".to_owned(), json!(required));
        }
        table
    }
}

#[cfg(test)]
mod tests;
