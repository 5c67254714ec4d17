//! A line stays a line, and a terminal stays as it was.

use std::borrow::Cow;

/// The line with everything that could break it, or drive a terminal, written as `\u001b`. That is valid in a JSON string
/// too, and means the same there. The line's own end stays.
pub(in crate::telemetry) fn escape(line: &[u8]) -> Cow<'_, [u8]> {
    let text = String::from_utf8_lossy(line);
    let (content, end) = match text.strip_suffix('\n') {
        Some(content) => (content, "\n"),
        None => (&*text, ""),
    };
    if !content.chars().any(is_harmful) {
        return Cow::Borrowed(line);
    }
    let mut escaped = String::with_capacity(line.len() + 32);
    for char in content.chars() {
        match is_harmful(char) {
            true => escaped.push_str(&format!("\\u{:04x}", u32::from(char))),
            false => escaped.push(char),
        }
    }
    escaped.push_str(end);
    Cow::Owned(escaped.into_bytes())
}

/// Control characters (C0, DEL, C1), line and paragraph separators, and what turns the direction of writing.
pub(in crate::telemetry) fn is_harmful(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_harmful_changes() {
        assert_eq!(*escape("grüße 日本\n".as_bytes()), *"grüße 日本\n".as_bytes());
        assert_eq!(
            *escape(b"a\x1b[0m\r\nb\n"),
            *br"a\u001b[0m\u000d\u000ab
"
        );
        assert_eq!(*escape(b"no end"), *b"no end");
    }
}
