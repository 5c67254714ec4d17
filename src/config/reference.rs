//! `proxy.yaml` at the root, the annotated reference, taken apart: settings, and what is said about them.
//!
//! Settings that are commented out are runs of lines that start with `#` and a key. Explanations start with `#` and a space, and
//! stand before them or behind a key.

/// The reference as it is.
pub(super) const TEXT: &str = include_str!("../../proxy.yaml");

/// A setting with all that is below it.
#[derive(Default)]
pub(super) struct Block {
    /// The lines.
    pub text: String,
    /// The explanation before it.
    pub about: String,
}

/// What stands in the reference: first what is in force, as one block, then what is commented out.
pub(super) fn blocks() -> Vec<Block> {
    let mut in_force = Block::default();
    let mut blocks = Vec::new();
    let mut block = Block::default();
    let mut about = String::new();
    for line in TEXT.lines().chain([""]) {
        let setting = line.strip_prefix('#').filter(|rest| !rest.is_empty());
        let starts = setting.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
        let goes_on = !block.text.is_empty() && setting.is_some_and(|rest| rest.starts_with("  "));
        match setting {
            Some(setting) if starts || goes_on => {
                if block.text.is_empty() {
                    block.about = std::mem::take(&mut about);
                }
                block.text += setting;
                block.text.push('\n');
                continue;
            }
            _ if !block.text.is_empty() => blocks.push(std::mem::take(&mut block)),
            _ => {}
        }
        match setting.and_then(|rest| rest.strip_prefix(' ')) {
            Some(sentence) if !sentence.starts_with('-') => {
                about += if about.is_empty() { "" } else { " " };
                about += sentence;
            }
            _ => about.clear(),
        }
        if !line.starts_with('#') {
            in_force.text += line;
            in_force.text.push('\n');
        }
    }
    blocks.insert(0, in_force);
    blocks
}

/// A block with what it lacks to be a whole file.
pub(super) fn completed(block: &str) -> String {
    let app_keeps_users = block.contains("success:");
    let has = |key: &str| {
        (key == "users" && app_keeps_users) || block.lines().any(|line| line.starts_with(&format!("{key}:")))
    };
    let mut text = block.to_owned();
    for (key, line) in [
        ("listen", "listen: 127.0.0.1:8080\n"),
        ("users", "users: users.yaml\n"),
        ("upstreams", "upstream: http://127.0.0.1:3000\n"),
    ] {
        let short_form_is_there = key == "upstreams" && has("upstream");
        if !has(key) && !short_form_is_there {
            text += line;
        }
    }
    text
}

/// What is said behind a key, in its line.
pub(super) fn remark(line: &str) -> Option<&str> {
    let (before, remark) = line.split_once(" # ").or_else(|| line.split_once("  #"))?;
    (!before.trim().is_empty()).then_some(remark.trim())
}
