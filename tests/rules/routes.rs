//! What the configuration says about routes that never match, against the gate that matches them.
//!
//! Every small table of routes: what is accepted has a request for each of its routes, and what is refused as unreachable is never
//! found by any request.

use std::path::Path;

use http::{HeaderName, Method};
use portcullis::config;
use portcullis::gate::{Auth, Credentials, HostPattern, Match, PathPattern, Route, RouteTable};
use proptest::prelude::*;

const HOSTS: [&str; 4] = ["", "a.x.example", "*.x.example", "*.a.x.example"];
const PATHS: [&str; 5] = ["/", "/a", "/a/", "/A/b", "/a/b"];
const METHODS: [&[&str]; 6] = [&[], &["GET"], &["HEAD"], &["POST"], &["GET", "POST"], &["GET", "HEAD"]];

#[derive(Clone, Debug)]
struct Rule {
    host: &'static str,
    path: &'static str,
    is_prefix: bool,
    methods: &'static [&'static str],
}

fn rule() -> impl Strategy<Value = Rule> {
    let parts = (prop::sample::select(&HOSTS[..]), prop::sample::select(&PATHS[..]), any::<bool>(), 0..METHODS.len());
    parts.prop_map(|(host, path, is_prefix, methods)| Rule { host, path, is_prefix, methods: METHODS[methods] })
}

fn written(rules: &[Rule]) -> String {
    let mut text =
        "listen: 127.0.0.1:8080\nusers: u\nupstreams: { app: { servers: [http://a] } }\nroutes:\n".to_owned();
    for (i, rule) in rules.iter().enumerate() {
        let key = if rule.is_prefix { "path_prefix" } else { "path" };
        text += &format!("  - {{ name: r{i}, upstream: app, {key}: {}", rule.path);
        if !rule.host.is_empty() {
            text += &format!(", host: \"{}\"", rule.host);
        }
        if !rule.methods.is_empty() {
            text += &format!(", methods: [{}]", rule.methods.join(", "));
        }
        text += " }\n";
    }
    text
}

fn compiled(rules: &[Rule]) -> Option<RouteTable> {
    let route = |(i, rule): (usize, &Rule)| Route {
        name: format!("r{i}"),
        host: match rule.host.strip_prefix("*.") {
            Some(below) => HostPattern::Below(below.to_owned()),
            None if rule.host.is_empty() => HostPattern::Any,
            None => HostPattern::Exact(rule.host.to_owned()),
        },
        path: match rule.is_prefix {
            true => PathPattern::Prefix(rule.path.to_owned()),
            false => PathPattern::Exact(rule.path.to_owned()),
        },
        methods: rule.methods.iter().map(|method| method.parse().expect("a method")).collect(),
        upstream: 0,
        auth: Auth::Required,
        roles_any: Vec::new(),
        roles_all: Vec::new(),
        scopes: Vec::new(),
        credentials: Credentials { header: true, cookie: false, ticket: false },
        token_header: HeaderName::from_static("authorization"),
        keep_authorization: false,
        encoded_slashes: false,
    };
    RouteTable::new(rules.iter().enumerate().map(route).collect()).ok()
}

/// The routes that some request finds.
fn found(table: &RouteTable) -> Vec<usize> {
    let hosts = ["other.example", "a.x.example", "b.x.example", "b.a.x.example"];
    let paths = ["/", "/a", "/a/", "/a/c", "/a/b", "/a/b/", "/a/b/c", "/A/b", "/A/b/", "/A/b/c", "/c"];
    let methods = [Method::GET, Method::HEAD, Method::POST, Method::from_bytes(b"PURGE").expect("a method")];
    let mut found = Vec::new();
    for host in hosts {
        for path in paths {
            for method in &methods {
                for matched in [
                    table.find(host.as_bytes(), path.as_bytes(), method),
                    table.find_folded(host.as_bytes(), path.to_ascii_lowercase().as_bytes(), method),
                ] {
                    if let Match::Route(index) = matched {
                        found.push(index);
                    }
                }
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn what_the_configuration_says_about_routes_is_so(rules in prop::collection::vec(rule(), 1..7)) {
        let read = config::parse(&written(&rules), Path::new("proxy.yaml"), &|_| None);
        let table = compiled(&rules);
        match (read, table) {
            (Ok(_), None) => prop_assert!(false, "accepted, and the gate refuses it"),
            (Ok(_), Some(table)) => prop_assert_eq!(found(&table), (0..rules.len()).collect::<Vec<_>>()),
            (Err(errors), None) => prop_assert!(errors.to_string().contains("for the same requests"), "{errors}"),
            (Err(errors), Some(table)) => {
                let found = found(&table);
                for error in errors.0 {
                    prop_assert!(error.message.contains("can never match"), "{error}");
                    let number = error.place.key.trim_start_matches("routes[").trim_end_matches(']');
                    prop_assert!(!found.contains(&number.parse().unwrap()), "{error}");
                }
            }
        }
    }
}
