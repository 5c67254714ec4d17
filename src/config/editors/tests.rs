//! The schema is that of the readers, as another's validator understands it.

use std::fs;
use std::path::{Path, PathBuf};

use boon::{Compiler, SchemaIndex, Schemas};

use super::*;
use crate::config::parse;

struct Validator(Schemas, SchemaIndex);

impl Validator {
    fn new() -> Validator {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("proxy.schema.json", serde_json::from_str(&schema()).unwrap()).unwrap();
        compiler.enable_format_assertions();
        let index = compiler.compile("proxy.schema.json", &mut schemas).unwrap_or_else(|why| panic!("{why:#}"));
        Validator(schemas, index)
    }

    fn takes(&self, document: &Json) -> Result<(), String> {
        self.0.validate(document, self.1).map_err(|error| format!("{error:#}"))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What an editor sees.
fn document(node: &Node) -> Json {
    match &node.value {
        Value::Null | Value::Broken => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Number(Some(number)) => json!(number),
        Value::Number(None) => json!(-1.5),
        Value::Text { text, .. } => json!(text),
        Value::List(nodes) => nodes.iter().map(document).collect(),
        Value::Map(entries) => entries.iter().map(|entry| (entry.name.clone(), document(&entry.node))).collect(),
    }
}

fn cases() -> Vec<(String, String)> {
    let of_folder = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().path();
    let mut paths: Vec<PathBuf> = fs::read_dir(root().join("tests/cases/config")).unwrap().map(of_folder).collect();
    paths.sort();
    let yaml = paths.iter().filter(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    let golden = yaml.map(|path| (name(path), fs::read_to_string(path).unwrap()));
    let blocks = reference::blocks().into_iter().chain(more()).map(|block| reference::completed(&block.text));
    let whole = [super::super::tests::SHORT, super::super::tests::LONG, reference::TEXT];
    let whole = whole.map(|text| (text.to_owned(), text.to_owned()));
    golden.chain(whole).chain(blocks.map(|text| (text.clone(), text))).collect()
}

fn env(name: &str) -> Option<String> {
    (name == "SECRET").then(|| "0123456789abcdef0123456789abcdef".to_owned())
}

#[test]
fn the_schema_in_the_repository_is_up_to_date() {
    let path = root().join("proxy.schema.json");
    if std::env::var_os("UPDATE_CASES").is_some() {
        fs::write(&path, schema()).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == schema(), "write it anew: UPDATE_CASES=1 cargo test --lib config::editors");
}

#[test]
fn every_key_has_a_form() {
    fn formless(shape: &Json, at: &str, found: &mut Vec<String>) {
        if let Some(properties) = shape["properties"].as_object() {
            for (key, value) in properties {
                let forms: Vec<&Json> = value["anyOf"].as_array().map_or(vec![value], |forms| forms.iter().collect());
                if forms.iter().all(|form| ["type", "enum", "$ref"].iter().all(|word| form.get(word).is_none())) {
                    found.push(format!("{at}.{key}"));
                }
            }
        }
        match shape {
            Json::Object(all) => all.iter().for_each(|(key, value)| formless(value, &format!("{at}/{key}"), found)),
            Json::Array(all) => all.iter().for_each(|value| formless(value, at, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    formless(&serde_json::from_str(&schema()).unwrap(), "", &mut found);
    assert!(found.is_empty(), "write them in proxy.yaml, or in `more`: {found:?}");
}

#[test]
fn what_check_takes_the_schema_takes() {
    let validator = Validator::new();
    let (mut good, mut refused) = (0, Vec::new());
    for (name, text) in cases() {
        let Ok(node) = tree::parse(&text) else { continue };
        if parse(&text, Path::new("proxy.yaml"), &env).is_ok() {
            good += 1;
            if let Err(why) = validator.takes(&document(&node)) {
                refused.push(format!("{name}: {why}"));
            }
        }
    }
    assert!(good > 20, "{good}");
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

/// Something of another type in each place of each setting: what is taken by one is taken by the other, as far as types go.
#[test]
fn types_are_those_of_the_readers() {
    let validator = Validator::new();
    let (mut taken, mut refused) = (0, 0);
    for block in reference::blocks().into_iter().chain(more()) {
        let text = reference::completed(&block.text);
        for number in 1..nodes(&text) {
            for which in 0..5 {
                let mut root = tree::parse(&text).ok().unwrap();
                let (mut left, mut key) = (number, String::new());
                visit(&mut root, &mut |node| {
                    if left == 0 {
                        key.clone_from(&node.key);
                        node.value = instead(node).into_iter().nth(which).unwrap();
                    }
                    left = left.wrapping_sub(1);
                });
                let cx = Context::new(&text, Path::new("proxy.yaml"), &env);
                read::config(Item { cx: &cx, node: &root });
                let by_schema = validator.takes(&document(&root));
                let errors = cx.errors.into_inner();
                if errors.is_empty() {
                    taken += 1;
                    assert_eq!(by_schema, Ok(()), "{key} {which}\n{text}");
                }
                if errors.iter().any(|error| error.place.key == key && error.message.starts_with("this is a")) {
                    refused += 1;
                    assert!(by_schema.is_err(), "{key} {which}: {errors:?}\n{text}");
                }
            }
        }
    }
    assert!(taken > 100 && refused > 500, "{taken} {refused}");
}

#[test]
fn mistakes_that_editors_can_see_are_marked() {
    let validator = Validator::new();
    let all = cases();
    for name in [
        "types_wrong",
        "not_a_table",
        "key_unknown_top",
        "key_unknown_nested",
        "durations_bad",
        "sizes_bad",
        "route_auth_bad",
        "route_roles_empty",
        "route_methods_bad",
        "route_incomplete",
        "servers_bad",
        "listen_bad",
        "listen_empty",
        "cookie_bad",
        "redis_url_bad",
        "trusted_proxies_bad",
        "algorithm_case",
        "store_unknown",
        "cors_without_origins",
        "routes_empty",
        "upstream_short_with_path",
        "route_paths_bad",
        "native_clients_empty_list",
    ] {
        let (_, text) = all.iter().find(|(known, _)| known == name).unwrap();
        let node = tree::parse(text).ok().unwrap();
        assert!(validator.takes(&document(&node)).is_err(), "{name}");
    }
}
