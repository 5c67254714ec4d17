//! Finds the token that a form wants back, in the page that holds the form.
//!
//! Not a parser of HTML: it looks at tags `input`, outside of comments, and at the two attributes that count. A page that
//! hides its token in another way is not understood, and the login says so.

use std::borrow::Cow;

/// The value of the first `<input>` of this name.
pub(super) fn field<'p>(page: &'p str, name: &str) -> Option<Cow<'p, str>> {
    let mut rest = page;
    loop {
        rest = &rest[rest.find('<')? + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = &comment[comment.find("-->")? + 3..];
            continue;
        }
        let Some(inside) = rest.get(..5).filter(|tag| tag.eq_ignore_ascii_case("input")).map(|_| &rest[5..]) else {
            continue;
        };
        if !inside.starts_with(|c: char| c.is_ascii_whitespace() || c == '/') {
            continue;
        }
        let (mut is_it, mut value) = (false, None);
        let mut attributes = Attributes { rest: inside };
        for (attribute, text) in attributes.by_ref() {
            if attribute.eq_ignore_ascii_case("name") {
                is_it |= decoded(text) == name;
            } else if attribute.eq_ignore_ascii_case("value") {
                value = value.or(Some(text));
            }
        }
        if is_it {
            return value.map(decoded);
        }
        rest = attributes.rest;
    }
}

/// The attributes of a tag, up to its `>`.
struct Attributes<'p> {
    rest: &'p str,
}

impl<'p> Iterator for Attributes<'p> {
    type Item = (&'p str, &'p str);

    fn next(&mut self) -> Option<(&'p str, &'p str)> {
        let blank = |c: char| c.is_ascii_whitespace() || c == '/';
        self.rest = self.rest.trim_start_matches(blank);
        if self.rest.is_empty() || self.rest.starts_with('>') {
            return None;
        }
        // An attribute that begins with `=` has it as the first character of its name.
        let first = self.rest.chars().next().map_or(0, char::len_utf8);
        let end = self.rest[first..].find(|c: char| blank(c) || c == '=' || c == '>');
        let (name, rest) = self.rest.split_at(end.map_or(self.rest.len(), |end| first + end));
        let after = rest.trim_start();
        let Some(value) = after.strip_prefix('=').map(str::trim_start) else {
            self.rest = rest;
            return Some((name, ""));
        };
        let (value, rest) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let value = &value[1..];
                value.find(quote).map_or((value, ""), |end| (&value[..end], &value[end + 1..]))
            }
            _ => value.split_at(value.find(|c: char| c.is_ascii_whitespace() || c == '>').unwrap_or(value.len())),
        };
        self.rest = rest;
        Some((name, value))
    }
}

/// The text with its character references undone: the few by name that stand in attributes, and all by number.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.bytes().take(10).position(|byte| byte == b';');
        match end.and_then(|end| Some((reference(&rest[1..end])?, end))) {
            Some((character, end)) => {
                out.push(character);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn reference(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_token_is_found_however_the_page_is_written() {
        for page in [
            r#"<form><input type="hidden" name="csrf" value="T/+=1"></form>"#,
            r#"<INPUT TYPE=hidden VALUE=T/+=1 NAME=csrf>"#,
            "<input\n  value='T/+=1'\n  name = 'csrf'\n/>",
            r#"<input name="other" value="X"><input name="csrf" value="T&#x2F;&#43;=1"/>"#,
            r#"<!-- <input name="csrf" value="X"> --><input name="csrf" value="T/+=1">"#,
            r#"<inputs name="csrf" value="X"><input disabled name="csrf" value="T/+=1">"#,
            r#"<p title="a > b"><input data-x="name='csrf' >" name="csrf" value="T/+=1">"#,
            r#"<input name="csrf" value="T/+=1"><input name="csrf" value="X">"#,
        ] {
            assert_eq!(field(page, "csrf").as_deref(), Some("T/+=1"), "{page}");
        }
    }

    #[test]
    fn what_is_no_such_field_is_none() {
        for page in [
            "",
            "<",
            "<input",
            "<input name=csrf",
            r#"<input name="csrf">"#,
            r#"<input name="csrf2" value="X">"#,
            r#"<meta name="csrf" content="X">"#,
            r#"<!-- <input name="csrf" value="X">"#,
            r#"<input value="X"><p name="csrf">"#,
        ] {
            assert_eq!(field(page, "csrf"), None, "{page}");
        }
        assert_eq!(decoded("a&b;&unknown;&#xffffffff;&amp;"), "a&b;&unknown;&#xffffffff;&");
    }

    proptest! {
        #[test]
        fn no_page_is_too_odd(page in "[<>!-=\"'a-c/& \u{e4}]{0,200}|(<input [ name=\"'csrf>&#;\u{e4}]{0,30}){0,5}") {
            let _ = field(&page, "csrf");
        }
    }
}
