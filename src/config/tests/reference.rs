//! `proxy.yaml` at the root, the annotated reference: it loads, and every setting in it is valid and shows its default.

use std::collections::BTreeSet;
use std::fs;

use super::{env, folder, read, root};
use crate::config::reference::{self, completed};
use crate::config::tree::{self, Node, Value};
use crate::config::*;

#[test]
fn the_reference_loads_as_it_is() {
    let text = fs::read_to_string(root().join("proxy.yaml")).unwrap();
    let folder = folder(&[("proxy.yaml", &text, 0o644), ("users.yaml", "", 0o600)]);
    let config = load(&folder.path().join("proxy.yaml"), &env).unwrap();
    assert_eq!(config.warnings, []);

    let absent = tempfile::tempdir().unwrap();
    fs::write(absent.path().join("proxy.yaml"), &text).unwrap();
    let said = load(&absent.path().join("proxy.yaml"), &env).unwrap_err().to_string();
    assert!(said.contains("make it with `portcullis user add`"), "{said}");
}

/// The settings of the reference that are commented out.
fn commented_settings() -> Vec<String> {
    reference::blocks().into_iter().skip(1).map(|block| block.text).collect()
}

#[test]
fn every_setting_of_the_reference_is_valid_and_shows_its_default() {
    // No default, or another one than shown: an example stands there.
    let examples = [
        "listen:",
        "admin: { socket",
        "trusted_proxies:",
        "login:\n  upstream:",
        "login: { upstream:",
        "origins:",
        "limits: {",
        "log: {",
        "endpoints: {",
        "login_page: {",
        "login_page:\n",
        "cors:",
        "native_clients:",
        "keys:",
        "store: { memory",
        "store:\n",
        "upstreams:",
    ];
    let plain = format!("{:?}", Config { warnings: Vec::new(), ..read(&completed("")) });
    let blocks = commented_settings();
    assert!(blocks.len() > 20, "{blocks:#?}");
    for block in blocks {
        let config =
            parse(&completed(&block), Path::new("proxy.yaml"), &env).unwrap_or_else(|errors| panic!("{block}{errors}"));
        assert_eq!(
            config.warnings.iter().filter(|w| !w.place.key.starts_with("cors")).count(),
            0,
            "{:#?}",
            config.warnings
        );
        if !examples.iter().any(|example| block.starts_with(example)) {
            assert_eq!(format!("{config:?}"), plain, "{block}");
        }
    }
}

#[test]
fn every_key_stands_in_the_reference() {
    let mut seen = BTreeSet::new();
    let text = fs::read_to_string(root().join("proxy.yaml")).unwrap();
    collect_keys(&tree::parse(&text).ok().unwrap(), "", &mut seen);
    for block in commented_settings() {
        collect_keys(&tree::parse(&block).ok().unwrap(), "", &mut seen);
    }
    // Shown in the text beside `password_file`: only one of the three can be given.
    for of in ["", "sentinel_"] {
        seen.extend(["password", "password_env"].map(|key| format!("store.redis.{of}{key}")));
    }
    seen.extend(["admin.token", "admin.token_env"].map(str::to_owned));
    assert!(text.contains("`token: \"${") && text.contains("`token_env: "));
    assert!(text.contains("`password: \"${") && text.contains("`password_env: "));
    let known = schema::ALL.iter().flat_map(|(table, keys)| {
        keys.iter().map(move |key| if table.is_empty() { (*key).to_owned() } else { format!("{table}.{key}") })
    });
    let missing: Vec<String> = known.filter(|key| !seen.contains(key)).collect();
    assert!(missing.is_empty(), "not in proxy.yaml: {missing:?}");
}

fn collect_keys(node: &Node, at: &str, seen: &mut BTreeSet<String>) {
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                let name = if at == "upstreams" { "*" } else { &entry.name };
                let key = if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
                collect_keys(&entry.node, &key, seen);
                seen.insert(key);
            }
        }
        Value::List(nodes) => nodes.iter().for_each(|node| collect_keys(node, &format!("{at}[]"), seen)),
        _ => {}
    }
}
