//! Sessions for operators, as far as it is only about texts: what is asked, and how it is answered. No I/O.
//!
//! `GET /sessions?subject=&cursor=`, `GET /sessions/{sid}`, `POST /sessions/revoke`.
//!
//! What must never happen in here: an answer that holds a token or a secret; a selector that means more than was written.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::session::{EndReason, KeyId, Session, SessionId};
use crate::store::Cursor;
use crate::time::Timestamp;

/// A body that says which sessions to revoke is not longer.
pub const BODY_BYTES_MAX: usize = 4096;

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    /// The living sessions: of a subject, or a page of all.
    List {
        /// Whose.
        subject: Option<String>,
        /// Where the page begins.
        from: Option<Cursor>,
    },
    /// One session, living or not.
    Show(SessionId),
    /// End sessions. Which ones is in the body: see [`Selector::read`].
    Revoke,
}

/// Which sessions to revoke.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selector {
    /// This one.
    Session(SessionId),
    /// All of this subject.
    Subject(String),
    /// All whose refresh token is made with this key.
    Key(KeyId),
    /// All there are.
    All,
}

/// An answer that is no success: a problem document (RFC 9457).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The status.
    pub status: StatusCode,
    /// What is wrong, and what to do.
    pub detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into() }
    }

    fn bad(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// As it is sent.
    pub fn response(&self) -> Response<Vec<u8>> {
        let status = self.status;
        let title = status.canonical_reason().unwrap_or("Error");
        let body = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": self.detail });
        let mut response = answer(status, &body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="portcullis-admin""#));
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(ALLOW, HeaderValue::from_static("GET, POST"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// Is this path about sessions?
pub fn is_about_sessions(path: &str) -> bool {
    path == "/sessions" || path.starts_with("/sessions/")
}

/// What a request asks.
pub fn read(method: &Method, path: &str, query: Option<&str>) -> Result<Call, Problem> {
    let expect = |expected: Method, call: Call| {
        if *method == expected {
            return Ok(call);
        }
        Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{path} is for {expected}")))
    };
    match path.strip_prefix("/sessions").unwrap_or(path) {
        "" => {
            let (mut subject, mut from) = (None, None);
            for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
                match &*name {
                    "subject" if subject.is_none() => subject = Some(value.into_owned()),
                    "cursor" if from.is_none() => from = Some(Cursor::from_text(&value)),
                    _ => return Err(Problem::bad("the query can have `subject` and `cursor`, each once")),
                }
            }
            expect(Method::GET, Call::List { subject, from })
        }
        "/revoke" => expect(Method::POST, Call::Revoke),
        other => match SessionId::parse(other.trim_start_matches('/')) {
            Ok(id) => expect(Method::GET, Call::Show(id)),
            Err(wrong) => Err(Problem::new(StatusCode::NOT_FOUND, wrong.to_string())),
        },
    }
}

impl Selector {
    /// From the body of `POST /sessions/revoke`: one of `{"session":ID}`, `{"subject":NAME}`, `{"key":KID}`, `{"all":true}`.
    pub fn read(body: &[u8]) -> Result<Selector, Problem> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            session: Option<SessionId>,
            subject: Option<String>,
            key: Option<KeyId>,
            all: Option<bool>,
        }
        let body: Body = serde_json::from_slice(body)
            .map_err(|error| Problem::bad(format!("the body does not say which sessions to revoke: {error}")))?;
        match (body.session, body.subject, body.key, body.all) {
            (Some(session), None, None, None) => Ok(Selector::Session(session)),
            (None, Some(subject), None, None) => Ok(Selector::Subject(subject)),
            (None, None, Some(key), None) => Ok(Selector::Key(key)),
            (None, None, None, Some(true)) => Ok(Selector::All),
            _ => Err(Problem::bad(r#"write exactly one of "session", "subject", "key" and "all": true"#)),
        }
    }
}

/// A session as an operator sees it. Times are seconds since 1970 (a `NumericDate` of RFC 7519).
#[derive(Serialize)]
pub(super) struct View<'a> {
    session: SessionId,
    subject: &'a str,
    /// `live`, `expired` or `ended`.
    state: &'static str,
    created_at: u64,
    ends_at: u64,
    generation: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotated_at: Option<u64>,
    /// The id of the key that the refresh token is made with.
    key: &'a KeyId,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<EndReason>,
}

impl View<'_> {
    pub(super) fn of(session: &Session, now: Timestamp) -> View<'_> {
        View {
            session: session.id,
            subject: &session.subject,
            state: match session.ended {
                Some(_) => "ended",
                None if session.is_live(now) => "live",
                None => "expired",
            },
            created_at: session.created_at.as_secs(),
            ends_at: session.ends_at.as_secs(),
            generation: session.generation,
            rotated_at: session.rotation.map(|rotation| rotation.at.as_secs()),
            key: &session.mac_key,
            ended_at: session.ended.map(|ending| ending.at.as_secs()),
            ended_by: session.ended.map(|ending| ending.reason),
        }
    }
}

/// An answer with a JSON body.
pub(super) fn answer(status: StatusCode, body: &impl Serialize) -> Response<Vec<u8>> {
    let mut body = serde_json::to_vec(body).unwrap_or_default();
    body.push(b'\n');
    let length = body.len();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(request: &str) -> Result<Call, u16> {
        let (method, target) = request.split_once(' ').unwrap();
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        assert!(is_about_sessions(path), "{path}");
        read(&method.parse().unwrap(), path, query).map_err(|problem| problem.status.as_u16())
    }

    #[test]
    fn requests_are_read_as_written() {
        let id = SessionId::from_bytes([7; 16]);
        assert_eq!(asks("GET /sessions"), Ok(Call::List { subject: None, from: None }));
        let page = Call::List { subject: Some("a b&c".to_owned()), from: Some(Cursor::from_text("17")) };
        assert_eq!(asks("GET /sessions?subject=a+b%26c&cursor=17"), Ok(page));
        assert_eq!(asks(&format!("GET /sessions/{id}")), Ok(Call::Show(id)));
        assert_eq!(asks("POST /sessions/revoke"), Ok(Call::Revoke));
        for (request, status) in [
            ("POST /sessions", 405),
            ("GET /sessions/revoke", 405),
            ("DELETE /sessions/BwcHBwcHBwcHBwcHBwcHBw", 405),
            ("GET /sessions?user=a", 400),
            ("GET /sessions?subject=a&subject=b", 400),
            ("GET /sessions/nothing", 404),
            ("GET /sessions/", 404),
        ] {
            assert_eq!(asks(request), Err(status), "{request}");
        }
        assert!(!is_about_sessions("/session") && !is_about_sessions("/sessionsx") && !is_about_sessions("//sessions"));
    }

    #[test]
    fn a_selector_is_exactly_one_thing() {
        let id = SessionId::from_bytes([7; 16]);
        assert_eq!(Selector::read(format!(r#"{{"session":"{id}"}}"#).as_bytes()), Ok(Selector::Session(id)));
        assert_eq!(Selector::read(br#"{"subject":"demo"}"#), Ok(Selector::Subject("demo".to_owned())));
        assert_eq!(Selector::read(br#"{"key":"k1"}"#), Ok(Selector::Key("k1".into())));
        assert_eq!(Selector::read(br#"{"all":true}"#), Ok(Selector::All));
        for wrong in [
            "",
            "{}",
            "null",
            r#"{"all":false}"#,
            r#"{"all":true,"subject":"demo"}"#,
            r#"{"session":"x"}"#,
            r#"{"sub":"demo"}"#,
            r#"{"subject":null}"#,
        ] {
            let problem = Selector::read(wrong.as_bytes()).unwrap_err();
            assert_eq!(problem.status, StatusCode::BAD_REQUEST, "{wrong}");
        }
    }

    #[test]
    fn a_session_is_shown_with_its_state() {
        let now = Timestamp::from_secs(1_700_000_000);
        let ends_at = Timestamp::from_secs(1_700_000_900);
        let session = Session::begin(SessionId::from_bytes([7; 16]), "demo", now, ends_at, "mac".into());
        let shown = |session: &Session, now| serde_json::to_value(View::of(session, now)).unwrap();
        assert_eq!(
            shown(&session, now),
            json!({ "session": "BwcHBwcHBwcHBwcHBwcHBw", "subject": "demo", "state": "live", "created_at": 1_700_000_000,
                    "ends_at": 1_700_000_900, "generation": 0, "key": "mac" })
        );
        assert_eq!(shown(&session, ends_at)["state"], "expired");
        let ended = shown(&session.end(now, EndReason::Revoked), now);
        assert_eq!((&ended["state"], &ended["ended_by"]), (&json!("ended"), &json!("revoked")));
    }
}
