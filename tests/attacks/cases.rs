//! Cases as they stand in `tests/cases/attacks`, and the neighbourhoods that they stand for.
//!
//! A group names axes; it stands for every combination of their values. `{axis}` is filled in wherever it stands, and so are,
//! when a request is made: `{case}`, its number; `{host}`; `{alice}` and `{boss}`, access tokens; `{cookie}`, alice's refresh
//! token; `{forged}`, the token that the group describes. A character up to U+00FF stands for one byte.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The classes, in the order of the table: name, and the file with the groups.
const FILES: [&str; 12] = [
    include_str!("../cases/attacks/honest.yaml"),
    include_str!("../cases/attacks/paths.yaml"),
    include_str!("../cases/attacks/metadata.yaml"),
    include_str!("../cases/attacks/identity.yaml"),
    include_str!("../cases/attacks/values.yaml"),
    include_str!("../cases/attacks/credentials.yaml"),
    include_str!("../cases/attacks/framing.yaml"),
    include_str!("../cases/attacks/framing_http2.yaml"),
    include_str!("../cases/attacks/upgrade.yaml"),
    include_str!("../cases/attacks/tokens.yaml"),
    include_str!("../cases/attacks/cookies.yaml"),
    include_str!("../cases/attacks/cross_site.yaml"),
];

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asker {
    /// Somebody without any right.
    #[default]
    Nobody,
    /// Alice, with her token: she may see `/member`.
    Alice,
    /// The same with her token in the cookie.
    AliceByCookie,
    /// Boss, with her token: she has the role `admin`.
    Boss,
    /// Alice, whose claims hold what an attacker made up; signed with the proxy's own key.
    Hostile,
}

/// What has to come out, beside what always has to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// Whatever the oracle allows.
    #[default]
    Safe,
    /// Nothing reaches a backend.
    Refused,
    /// It reaches the backend, with exactly the identity of who asks.
    Arrives,
}

/// Over which protocol a request goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Protocol {
    Http1,
    Http2,
}

/// A request, or a neighbourhood of them while its axes are not filled in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The class of the table that it belongs to.
    pub class: String,
    /// What is tried.
    pub name: String,
    #[serde(default, rename = "as")]
    pub askers: Vec<Asker>,
    #[serde(default = "get")]
    pub method: String,
    #[serde(default)]
    pub target: String,
    #[serde(default)]
    pub fields: Vec<(String, String)>,
    #[serde(default)]
    pub body: Option<String>,
    /// The bytes of an HTTP/1 connection, in place of method, target and fields.
    #[serde(default)]
    pub raw: Option<String>,
    /// The fields of an HTTP/2 request with their pseudo-fields, in place of method, target and fields.
    #[serde(default)]
    pub http2: Option<Vec<(String, String)>>,
    #[serde(default)]
    pub expect: Expect,
    /// The statuses that it may be answered with; any if there are none.
    #[serde(default)]
    pub answers: Vec<u16>,
    /// The token that `{forged}` stands for.
    #[serde(default)]
    pub token: Option<Value>,
    /// Only the lenient backend takes part: it alone can do what the case asks of it.
    #[serde(default)]
    pub lenient_only: bool,
    #[serde(default)]
    axes: BTreeMap<String, Vec<Value>>,
}

fn get() -> String {
    "GET".to_owned()
}

/// All cases: of each group every combination, or of a large one every n-th, so that about `at_most` are left.
pub fn all(at_most: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    for file in FILES {
        let groups: Vec<Case> = serde_yaml::from_str(file).unwrap_or_else(|error| panic!("{error} in {}", &file[..80]));
        for group in groups {
            let expanded = expand(group);
            let step = expanded.len().div_ceil(at_most);
            cases.extend(expanded.into_iter().step_by(step));
        }
    }
    cases
}

fn expand(mut group: Case) -> Vec<Case> {
    let axes = std::mem::take(&mut group.axes);
    let mut cases = vec![group];
    for (axis, values) in axes {
        let mark = format!("{{{axis}}}");
        cases = cases.iter().flat_map(|case| values.iter().map(|value| case.with(&mark, value))).collect();
    }
    cases
}

impl Case {
    fn with(&self, mark: &str, value: &Value) -> Case {
        let text = as_text(value);
        let fill = |template: &str| template.replace(mark, &text);
        let fill_pairs = |pairs: &[(String, String)]| {
            pairs.iter().map(|(name, value)| (fill(name), fill(value))).collect::<Vec<_>>()
        };
        Case {
            method: fill(&self.method),
            target: fill(&self.target),
            fields: fill_pairs(&self.fields),
            body: self.body.as_deref().map(fill),
            raw: self.raw.as_deref().map(fill),
            http2: self.http2.as_deref().map(fill_pairs),
            token: self.token.as_ref().map(|token| filled(token, mark, value)),
            ..self.clone()
        }
    }

    /// The protocols that it can go over.
    pub fn protocols(&self) -> Vec<Protocol> {
        match (&self.raw, &self.http2) {
            (Some(_), None) => vec![Protocol::Http1],
            (None, Some(_)) => vec![Protocol::Http2],
            _ => vec![Protocol::Http1, Protocol::Http2],
        }
    }

    /// Those who ask.
    pub fn askers(&self) -> Vec<Asker> {
        if self.askers.is_empty() { vec![Asker::Nobody] } else { self.askers.clone() }
    }
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A text that is nothing but the mark becomes the value itself, whatever its type.
fn filled(template: &Value, mark: &str, value: &Value) -> Value {
    match template {
        Value::String(text) if text == mark => value.clone(),
        Value::String(text) => Value::String(text.replace(mark, &as_text(value))),
        Value::Array(items) => items.iter().map(|item| filled(item, mark, value)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| (name.replace(mark, &as_text(value)), filled(member, mark, value)))
            .collect(),
        other => other.clone(),
    }
}

/// Characters up to U+00FF as one byte each; `{long:N}` is that many `x`.
pub fn bytes(text: &str) -> Vec<u8> {
    let mut text = text.to_owned();
    while let Some(at) = text.find("{long:") {
        let end = at + text[at..].find('}').expect("{long:N} is closed");
        let count: usize = text[at + 6..end].parse().expect("{long:N} has a number");
        text.replace_range(at..=end, &"x".repeat(count));
    }
    text.chars().map(|mark| u8::try_from(u32::from(mark)).expect("cases hold bytes: characters up to U+00FF")).collect()
}
