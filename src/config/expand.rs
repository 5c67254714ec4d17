//! `${VARIABLE}` in text: the value of an environment variable. `$${` is a plain `${`.
//!
//! It happens in values only, after the YAML is read: a value cannot become a key, a list or a comment. What came from a
//! variable is not looked at: it stands there as it is.

use super::item::Context;
use super::tree::{Id, Node, Value};

/// Puts in the variables, everywhere below `node`. One that is not set is an error.
pub(super) fn expand(cx: &Context<'_>, node: &mut Node) {
    if matches!(node.id, Id::Variable(_)) && !matches!(node.value, Value::List(_) | Value::Map(_)) {
        return;
    }
    match &mut node.value {
        Value::Text { text, written } if text.contains("${") => match expanded(text, cx.env) {
            Ok(value) => *written = Some(std::mem::replace(text, value)),
            Err(message) => {
                cx.error(cx.place(node.id, &node.key), message);
                node.value = Value::Broken;
            }
        },
        Value::List(nodes) => nodes.iter_mut().for_each(|node| expand(cx, node)),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| expand(cx, &mut entry.node)),
        Value::Text { .. } | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Broken => {}
    }
}

fn expanded(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut value = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(escaped) = before.strip_suffix('$') {
            value.push_str(escaped);
            value.push_str("${");
            rest = &from[2..];
            continue;
        }
        value.push_str(before);
        let name = from[2..].split('}').next().unwrap_or_default();
        if from.len() < name.len() + 3 {
            return Err("a `${` is never closed; write `${NAME}`, or `$${` for the two characters themselves".into());
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(plain) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err("between `${` and `}` stands the name of a variable, of A-Z, a-z, 0-9 and _; \
                        write `${NAME}`, or `$${` for the two characters themselves"
                .into());
        }
        value.push_str(&env(name).ok_or_else(|| {
            format!("the environment variable {name} is not set; set it, or write the value in place of `${{{name}}}`")
        })?);
        rest = &from[name.len() + 3..];
    }
    value.push_str(rest);
    Ok(value)
}

#[cfg(test)]
mod tests {
    fn expanded(text: &str) -> Result<String, String> {
        super::expanded(text, &|name| (name == "A").then(|| "${B}".to_owned()))
    }

    #[test]
    fn variables_are_put_in_once() {
        assert_eq!(expanded("x${A}y${A}").as_deref(), Ok("x${B}y${B}"));
        assert_eq!(expanded("$${A} $A $$").as_deref(), Ok("${A} $A $$"));
        assert_eq!(expanded("${A}$${").as_deref(), Ok("${B}${"));
    }

    #[test]
    fn what_is_no_variable_is_an_error() {
        for text in ["${", "${A", "${}", "${A-b}", "${1A}", "${B}", "ä${ä}"] {
            assert!(expanded(text).is_err(), "{text}");
        }
    }
}
