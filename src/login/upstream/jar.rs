//! The cookies of one conversation with the app.
//!
//! All requests of a conversation go to one server, so attributes are not looked at but for those that delete.

use http::HeaderMap;
use http::header::SET_COOKIE;
use secrecy::zeroize::Zeroize;

/// Cookies by name. They are secrets: nothing shows them.
#[derive(Default)]
pub struct Jar(Vec<(String, String)>);

impl Jar {
    /// From a `Cookie` field.
    pub fn of(field: &str) -> Jar {
        let pairs = field.split(';').filter_map(|pair| pair.trim().split_once('='));
        Jar(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Takes up what an answer sets. The last of several with one name wins, as in browsers.
    pub fn take(&mut self, headers: &HeaderMap) {
        for (name, value) in set_cookies(headers) {
            self.0.retain(|(other, _)| *other != name);
            if let Some(value) = value {
                self.0.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    /// Takes up what an answer sets of the cookies that are here, and nothing new.
    pub fn update(&mut self, headers: &HeaderMap) {
        let names: Vec<String> = self.0.iter().map(|(name, _)| name.clone()).collect();
        self.take(headers);
        self.0.retain(|(name, _)| names.contains(name));
    }

    /// Those of these names as a `Cookie` field; all of them if no names are given. None if there is none.
    pub fn field(&self, names: Option<&[String]>) -> Option<String> {
        let wanted = |name: &String| names.is_none_or(|names| names.contains(name));
        let pairs: Vec<String> =
            self.0.iter().filter(|(name, _)| wanted(name)).map(|(name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// Is there one of each of these names?
    pub fn has_all(&self, names: &[String]) -> bool {
        names.iter().all(|name| self.0.iter().any(|(other, _)| other == name))
    }
}

impl Drop for Jar {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|(_, value)| value.zeroize());
    }
}

/// The cookies that an answer sets, with their values; none for one that it deletes. What is not text is passed over.
pub(super) fn set_cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, Option<&str>)> {
    headers.get_all(SET_COOKIE).iter().filter_map(|field| {
        let mut parts = field.to_str().ok()?.split(';');
        let (name, value) = parts.next()?.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let deletes = value.is_empty() || value == "\"\"" || parts.any(is_over);
        (!name.is_empty()).then_some((name, (!deletes).then_some(value)))
    })
}

/// Does this attribute say that the cookie is over? Apps delete with an age of zero, or a date at the beginning of time.
fn is_over(attribute: &str) -> bool {
    let Some((name, value)) = attribute.split_once('=') else { return false };
    let (name, value) = (name.trim(), value.trim());
    if name.eq_ignore_ascii_case("max-age") {
        return value.starts_with('-') || value.bytes().all(|byte| byte == b'0');
    }
    name.eq_ignore_ascii_case("expires") && ["1970", "-70", "1969"].iter().any(|year| value.contains(year))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        fields.iter().for_each(|field| {
            headers.append(SET_COOKIE, HeaderValue::from_static(field));
        });
        headers
    }

    #[test]
    fn the_last_one_counts_and_deleted_ones_are_gone() {
        let mut jar = Jar::default();
        jar.take(&headers(&["a=1; Path=/; HttpOnly", "b=x=y", "c=3", "a=2", "no cookie", "=nameless"]));
        assert_eq!(jar.field(None).as_deref(), Some("b=x=y; c=3; a=2"));
        jar.take(&headers(&[
            "a=; Max-Age=0",
            "b=gone; expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/",
            "c=gone; max-age=0",
            "d=4; Max-Age=1209600; expires=Mon, 07 Dec 2026 12:00:00 GMT",
        ]));
        assert_eq!(jar.field(None).as_deref(), Some("d=4"));
        assert_eq!(jar.field(Some(&["a".to_owned()])), None);
        assert!(jar.has_all(&["d".to_owned()]) && !jar.has_all(&["d".to_owned(), "a".to_owned()]));
    }

    #[test]
    fn an_update_brings_nothing_new() {
        let mut jar = Jar::of("a=1; b=2");
        jar.update(&headers(&["a=; Max-Age=0", "a=3", "c=4"]));
        assert_eq!(jar.field(None).as_deref(), Some("b=2; a=3"));
        jar.update(&headers(&["a=5", "a=; Max-Age=0", "b=; Max-Age=0"]));
        assert_eq!(jar.field(None), None);
    }

    #[test]
    fn a_field_is_read_as_it_was_written() {
        assert_eq!(Jar::of("a=1; b=x=y").field(None).as_deref(), Some("a=1; b=x=y"));
    }
}
