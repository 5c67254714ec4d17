//! An answer of the app, and what it means: pure.
//!
//! What must never happen in here: an answer that was not understood lets somebody in, or is taken for a wrong password.

use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use url::Url;

use super::jar::set_cookies;
use super::spec::{JsonIs, Roles, Source, Subject, Success};

/// An answer, as far as it was read.
pub(super) struct Answer {
    /// Where it comes from.
    pub url: Url,
    /// `scheme://authority` as the app may know itself.
    pub origins: Vec<String>,
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The body; empty if nobody needs it.
    pub body: Vec<u8>,
}

/// Why an answer tells nothing: for the operator. It never holds anything that the app or the user sent.
pub(super) type Unclear = String;

impl Answer {
    /// Is this a login that succeeded?
    pub fn is_success(&self, success: &Success) -> Result<bool, Unclear> {
        let status = self.status.as_u16();
        let named = success.status.contains(&status);
        let expected = named || (self.status.is_redirection() && success.redirect.is_some());
        if !expected {
            self.is_about_credentials()?;
            if self.status.is_client_error() {
                return Ok(false);
            }
        }
        let wrong_status = !success.status.is_empty() && !named;
        let wrong_redirect = success.redirect.as_ref().is_some_and(|wanted| !self.redirects_to(wanted));
        let cookie = |name: &String| set_cookies(&self.headers).filter(|(set, _)| set == name).last();
        let no_cookie = success.cookie.as_ref().is_some_and(|name| !matches!(cookie(name), Some((_, Some(_)))));
        if wrong_status || wrong_redirect || no_cookie {
            return Ok(false);
        }
        match &success.json {
            None => Ok(true),
            Some(json) => Ok(self.json()?.is(json)),
        }
    }

    /// Can the app have meant the credentials? Not if it is in trouble, or has no login there.
    fn is_about_credentials(&self) -> Result<(), Unclear> {
        match self.status.as_u16() {
            500.. | 408 | 425 | 429 => Err(format!("the app answers {}", self.status)),
            301 | 308 => Err(format!("the app answers {}: it wants to be asked elsewhere", self.status)),
            404 | 405 | 410 | 415 => Err(format!("the app answers {}: it has no such login there", self.status)),
            _ => Ok(()),
        }
    }

    /// Is this the answer of an app that knows whose session it is asked with? None if it does not.
    pub fn into_known(self) -> Result<Option<Answer>, Unclear> {
        match self.status {
            status if status.is_success() => Ok(Some(self)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(None),
            // To its login page, whatever it is called.
            StatusCode::FOUND | StatusCode::SEE_OTHER | StatusCode::TEMPORARY_REDIRECT => Ok(None),
            status => Err(format!("the app answers {status} when it is asked who it is")),
        }
    }

    fn redirects_to(&self, wanted: &str) -> bool {
        let Some(location) = self.headers.get(LOCATION).and_then(|location| location.to_str().ok()) else {
            return false;
        };
        let Some(to) = self.status.is_redirection().then(|| self.url.join(location).ok()).flatten() else {
            return false;
        };
        if !self.origins.contains(&to.origin().ascii_serialization()) {
            return false;
        }
        let target = &to[url::Position::BeforePath..url::Position::AfterQuery];
        match wanted.strip_suffix('*') {
            Some(prefix) => target.starts_with(prefix),
            None => target == wanted,
        }
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Json, Unclear> {
        match serde_json::from_slice(&self.body) {
            Ok(value) => Ok(Json(value)),
            Err(_) => Err("the app's answer is not the JSON that was expected".to_owned()),
        }
    }

    /// Who the app says it is.
    pub fn subject(&self, subject: &Subject, typed: &str) -> Result<String, Unclear> {
        let told = match subject {
            Subject::Typed => return Ok(typed.to_owned()),
            Subject::Told(Source::Json(pointer)) => self.json()?.0.pointer(pointer).and_then(word),
            Subject::Told(Source::Header(name)) => {
                let mut values = self.headers.get_all(name).iter();
                let one = values.next().and_then(|value| std::str::from_utf8(value.as_bytes()).ok()).map(str::to_owned);
                one.filter(|_| values.next().is_none())
            }
        };
        told.filter(|told| !told.is_empty()).ok_or_else(|| "the app's answer does not say who it is".to_owned())
    }

    /// What the app says they may be.
    pub fn roles(&self, roles: &Roles) -> Result<Vec<String>, Unclear> {
        let (from, map) = match roles {
            Roles::Fixed(roles) => return Ok(roles.clone()),
            Roles::Told { from, map } => (from, map),
        };
        let words: Vec<String> = match from {
            Source::Json(pointer) => match self.json()?.0.pointer(pointer) {
                None | Some(Value::Null) => Vec::new(),
                Some(Value::Array(values)) => values.iter().filter_map(word).collect(),
                Some(value) => vec![word(value).ok_or_else(|| "the app's answer has no roles there".to_owned())?],
            },
            Source::Header(name) => {
                let values = self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
                values.flat_map(|value| value.split(',')).map(|word| word.trim().to_owned()).collect()
            }
        };
        let mut roles: Vec<String> = Vec::new();
        for word in words {
            let role = match map {
                None => Some(word),
                Some(map) => map.iter().find(|(theirs, _)| *theirs == word).map(|(_, role)| role.clone()),
            };
            // A role opens doors and closes none: without one that cannot be told, less is open.
            roles.extend(role.filter(|role| crate::login::users::check_role(role).is_ok() && !roles.contains(role)));
        }
        Ok(roles)
    }
}

/// A JSON document.
pub(super) struct Json(pub Value);

impl Json {
    fn is(&self, json: &JsonIs) -> bool {
        let value = self.0.pointer(&json.pointer).unwrap_or(&Value::Null);
        match &json.equals {
            Some(equals) => value == equals,
            None => !matches!(value, Value::Null | Value::Bool(false)),
        }
    }

    /// A text at this place.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.0.pointer(pointer)?.as_str()
    }
}

fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use serde_json::json;

    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        Answer {
            url: Url::parse("http://10.0.0.5:8080/accounts/login/?next=/").unwrap(),
            origins: vec!["http://10.0.0.5:8080".to_owned(), "https://app.example.com".to_owned()],
            status: StatusCode::from_u16(status).unwrap(),
            headers: map,
            body: body.as_bytes().to_vec(),
        }
    }

    fn redirect(to: &'static str, wanted: &str) -> Result<bool, Unclear> {
        let success = Success { redirect: Some(wanted.to_owned()), ..Success::default() };
        answer(302, &[("location", to)], "").is_success(&success)
    }

    #[test]
    fn a_redirect_must_lead_exactly_there() {
        for (to, wanted) in [
            ("/", "/"),
            ("../../", "/"),
            ("index.php", "/accounts/login/index.php"),
            ("http://10.0.0.5:8080/home", "/home"),
            ("https://app.example.com/home", "/home"),
            ("/home#top", "/home"),
            ("/?continue", "/?continue"),
            ("/projects/7?tab=2", "/projects/*"),
        ] {
            assert_eq!(redirect(to, wanted), Ok(true), "{to} {wanted}");
        }
        for (to, wanted) in [
            ("/login?error", "/"),
            ("/?error=1", "/"),
            ("//evil.example/", "/"),
            ("http://app.example.com/", "/"),
            ("https://10.0.0.5:8080/", "/"),
            ("/home/../login", "/home/*"),
            ("/projectsx", "/projects/*"),
            ("http://[", "/"),
        ] {
            assert_eq!(redirect(to, wanted), Ok(false), "{to} {wanted}");
        }
        let success = Success { redirect: Some("/".to_owned()), ..Success::default() };
        assert_eq!(answer(200, &[("location", "/")], "").is_success(&success), Ok(false));
    }

    #[test]
    fn all_that_is_asked_for_must_hold() {
        let success = Success {
            status: vec![200],
            cookie: Some("sid".to_owned()),
            json: Some(JsonIs { pointer: "/ok".to_owned(), equals: Some(json!(true)) }),
            redirect: None,
        };
        let cookie = ("set-cookie", "sid=1; HttpOnly");
        assert_eq!(answer(200, &[cookie], r#"{"ok":true}"#).is_success(&success), Ok(true));
        for (status, headers, body) in [
            (201, &[cookie][..], r#"{"ok":true}"#),
            (401, &[cookie], r#"{"ok":true}"#),
            (200, &[], r#"{"ok":true}"#),
            (200, &[("set-cookie", "sid=; Max-Age=0")], r#"{"ok":true}"#),
            (200, &[cookie, ("set-cookie", "sid=deleted; Max-Age=0")], r#"{"ok":true}"#),
            (200, &[("set-cookie", "SID=1")], r#"{"ok":true}"#),
            (200, &[cookie], r#"{"ok":"true"}"#),
            (200, &[cookie], r#"{"ok":1}"#),
            (200, &[cookie], "[]"),
        ] {
            assert_eq!(answer(status, headers, body).is_success(&success), Ok(false), "{status} {headers:?} {body}");
        }
        // A wrong password is often answered in another format.
        assert_eq!(answer(401, &[], "<html>").is_success(&success), Ok(false));
    }

    #[test]
    fn trouble_is_no_wrong_password() {
        let by_cookie = Success { cookie: Some("sid".to_owned()), ..Success::default() };
        let cookie = ("set-cookie", "sid=1");
        for status in [301, 308, 404, 405, 408, 410, 415, 425, 429, 500, 502, 503, 599] {
            assert!(answer(status, &[cookie], "").is_success(&by_cookie).is_err(), "{status}");
        }
        for status in [400, 401, 403, 422] {
            assert_eq!(answer(status, &[cookie], "").is_success(&by_cookie), Ok(false), "{status}");
        }
        // Unless the configuration knows better.
        let by_status = Success { status: vec![404], ..Success::default() };
        assert_eq!(answer(404, &[], "").is_success(&by_status), Ok(true));
        let json = JsonIs { pointer: "/user".to_owned(), equals: None };
        let by_json = Success { json: Some(json), ..Success::default() };
        for body in ["", "<html>", "{\"user\":", "{} {}"] {
            assert!(answer(200, &[], body).is_success(&by_json).is_err(), "{body}");
        }
        for (body, is) in
            [("{}", false), (r#"{"user":null}"#, false), (r#"{"user":false}"#, false), (r#"{"user":0}"#, true)]
        {
            assert_eq!(answer(200, &[], body).is_success(&by_json), Ok(is), "{body}");
        }
    }

    #[test]
    fn subject_and_roles_are_read_where_the_configuration_says() {
        let body =
            r#"{"user":{"login":"ann","id":7,"admin":true,"groups":["admins","a,b",1,null,"admins"],"one":"x"}}"#;
        let answer = answer(200, &[("x-user", "ann"), ("x-roles", "a, b"), ("x-roles", "c")], body);
        let by_json = |pointer: &str| answer.subject(&Subject::Told(Source::Json(pointer.to_owned())), "typed");
        assert_eq!(answer.subject(&Subject::Typed, "typed").as_deref(), Ok("typed"));
        assert_eq!(by_json("/user/login").as_deref(), Ok("ann"));
        assert_eq!(by_json("/user/id").as_deref(), Ok("7"));
        assert!(by_json("/user").is_err() && by_json("/user/name").is_err() && by_json("/user/groups").is_err());
        let by_header = |name| answer.subject(&Subject::Told(Source::Header(HeaderName::from_static(name))), "typed");
        assert_eq!(by_header("x-user").as_deref(), Ok("ann"));
        assert!(by_header("x-none").is_err() && by_header("x-roles").is_err(), "none, or two");

        let told = |from, map: Option<&[(&str, &str)]>| {
            let map = map.map(|map| map.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect());
            answer.roles(&Roles::Told { from, map }).unwrap()
        };
        let json = |pointer: &str| Source::Json(pointer.to_owned());
        assert_eq!(told(json("/user/groups"), None), ["admins", "1"]);
        assert_eq!(told(json("/user/groups"), Some(&[("admins", "admin")])), ["admin"]);
        assert_eq!(told(json("/user/admin"), Some(&[("true", "admin")])), ["admin"]);
        assert_eq!(told(json("/user/one"), None), ["x"]);
        assert_eq!(told(json("/user/none"), None), [""; 0]);
        assert_eq!(told(Source::Header(HeaderName::from_static("x-roles")), None), ["a", "b", "c"]);
        assert!(answer.roles(&Roles::Told { from: json("/user"), map: None }).is_err());
    }
}
