//! Fuzz targets of the log: whatever is told stays one line, and a terminal stays as it was.

use super::log::escape::escape;
use crate::fuzz::Target;

pub(crate) const TARGETS: &[Target] = &[("escape", escaped)];

fn escaped(bytes: &[u8]) {
    let line = [bytes, b"\n"].concat();
    let escaped = escape(&line);
    let text = String::from_utf8_lossy(&escaped);
    let (content, end) = text.split_at(text.len() - 1);
    assert_eq!(end, "\n");
    assert!(!content.chars().any(char::is_control), "{content:?}");
    // Harmless text is left alone.
    if bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
        assert_eq!(*escaped, *line);
    }
}
