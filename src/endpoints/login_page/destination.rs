//! Where a browser goes after a login: a path of this same origin, and nowhere else.
//!
//! What must never happen in here: a text that some browser could take for another origin (an open redirect).

use crate::gate::{Path, RETURN_TO_BYTES_MAX};

/// Where to go if nothing else was said, or nothing good.
pub(super) const HOME: &str = "/";

/// `text`, if it is a target of this origin, path and query; else `/`. The login page itself is no place to go to.
pub(in crate::endpoints) fn destination<'t>(text: &'t str, login_path: &str) -> &'t str {
    match is_of_this_origin(text) {
        Some(path) if path.decoded() != login_path.as_bytes() => text,
        _ => HOME,
    }
}

/// Browsers take `//x` for a host, `\` for `/`, and drop tabs and line ends anywhere (WHATWG URL, "basic URL parser"). So the
/// text is read as strictly as the target of a request; that alone leaves only a second slash to be refused.
fn is_of_this_origin(text: &str) -> Option<Path<'_>> {
    let path = Path::read(text.as_bytes()).ok().filter(|_| text.len() <= RETURN_TO_BYTES_MAX)?;
    // Decoded: an app that decodes once more and redirects would make a host of it.
    (!path.decoded().starts_with(b"//")).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_this_origin_are_followed_as_they_are() {
        let long = format!("/{}", "x".repeat(RETURN_TO_BYTES_MAX - 1));
        for text in [
            "/",
            "/app",
            "/app/",
            "/app?x=1&y=%2F%2Fevil.example&z=//evil.example",
            "/a%20b/%C3%A4",
            "/a//b",
            "/a;v=1",
            "/@evil.example",
            "/:80/",
            "/https://evil.example",
            "/a?next=\\evil.example",
            "/...",
            "/loginx",
            "/login/x",
            "/app/login",
            &long,
        ] {
            assert_eq!(destination(text, "/login"), text);
        }
    }

    #[test]
    fn nothing_leads_to_another_origin() {
        let (long, long_query) = (format!("/{}", "x".repeat(3 * 1024)), format!("/?{}", "x".repeat(3 * 1024)));
        for text in [
            // No path.
            "",
            " ",
            "app",
            "?x",
            "#x",
            ".",
            "..",
            "*",
            // Another host.
            "//evil.example",
            "//evil.example/%2e%2e",
            "///evil.example",
            "////evil.example",
            "//",
            "//@evil.example",
            "//user:password@evil.example",
            "//evil.example:443/",
            "//app.example.com@evil.example",
            "//[::1]/",
            "//2130706433/",
            // A backslash is a slash to browsers.
            "/\\evil.example",
            "\\/evil.example",
            "\\\\evil.example",
            "/\\/evil.example",
            "/\\\\evil.example",
            "/a\\..\\..\\evil.example",
            // In disguise.
            "/%2f/evil.example",
            "/%2Fevil.example",
            "/%2f%2fevil.example",
            "/%5cevil.example",
            "/%5C%5Cevil.example",
            "/%252f/evil.example",
            "%2f%2fevil.example",
            "/%c0%af/evil.example",
            // Another scheme.
            "https://evil.example",
            "http://evil.example",
            "HTTPS://evil.example",
            "https:evil.example",
            "https:/evil.example",
            "https:///evil.example",
            "https:\\\\evil.example",
            "ht\ntps://evil.example",
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "java\tscript:alert(1)",
            "\u{1}javascript:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "mailto:a@evil.example",
            "blob:https://evil.example/1",
            "://evil.example",
            ":evil.example",
            // Browsers drop tabs, line ends, and blanks at the ends.
            "/\t/evil.example",
            "/\n/evil.example",
            "/\r\n/evil.example",
            "\t//evil.example",
            "\n/app",
            " //evil.example",
            " /app",
            "/app ",
            "/ /evil.example",
            "/\0/evil.example",
            "/\u{b}/evil.example",
            "/%09/evil.example",
            "/%0a/evil.example",
            "/%0d%0aSet-Cookie:%20a=b",
            "/app\r\nSet-Cookie: a=b",
            "/app?x\r\ny",
            "/%00/x",
            // Dots that are resolved, and leave two slashes.
            "/..//evil.example",
            "/.//evil.example",
            "/app/..//evil.example",
            "/%2e%2e//evil.example",
            "/..;//evil.example",
            "/./\\evil.example",
            "/.",
            "/a/..",
            // Signs that normalize to slashes, dots or at signs, and anything else that is not ASCII.
            "/\u{ff0f}evil.example",
            "\u{ff0f}\u{ff0f}evil.example",
            "/\u{2215}evil.example",
            "/\u{2044}/evil.example",
            "\u{3002}evil.example",
            "/\u{200b}/evil.example",
            "\u{feff}//evil.example",
            "/\u{e4}",
            "/\u{85}/evil.example",
            // A fragment is never sent, so nobody can have wanted it.
            "/#//evil.example",
            "/app#x",
            // Too long.
            &long,
            &long_query,
            // The login page itself.
            "/login",
            "/login?return_to=/login",
            "/%6cogin",
        ] {
            assert_eq!(destination(text, "/login"), "/", "{text:?}");
        }
    }

    proptest::proptest! {
        /// Whatever is followed begins with one slash, has nothing that browsers drop or fold, and stands in a header.
        #[test]
        fn what_is_followed_is_a_path(text in "[/\\\\]{0,3}[a-z:@.%2fF5cC#?&; \t\n\u{ff0f}]{0,12}[/\\\\]{0,2}[a-z.]{0,6}") {
            let to = destination(&text, "/login");
            proptest::prop_assert!(to.starts_with('/') && !to.starts_with("//"), "{to:?}");
            proptest::prop_assert!(to.bytes().all(|byte| byte.is_ascii_graphic()), "{to:?}");
            let path = to.split('?').next().unwrap_or_default();
            proptest::prop_assert!(!path.contains('\\') && !path.contains('#'), "{to:?}");
        }
    }
}
