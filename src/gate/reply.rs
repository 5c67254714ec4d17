//! An answer that the proxy makes itself.

use std::fmt;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::Reason;

/// A whole answer: head and body. Its Debug shows no body: that may hold tokens.
#[derive(Clone)]
pub struct Reply {
    /// The status code.
    pub status: StatusCode,
    /// The header fields, without `Content-Length` and `Date`, which the writer adds.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body; empty for none.
    pub body: Bytes,
    /// Why, if it is a refusal.
    pub reason: Option<Reason>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("body_bytes", &self.body.len())
            .field("reason", &self.reason)
            .finish()
    }
}

/// The body of a refusal: a problem document (RFC 9457) with the OAuth error code and our reason.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    reason: &'static str,
}

impl Reply {
    /// An answer without a body.
    pub fn empty(status: StatusCode) -> Reply {
        Reply { status, headers: vec![(CACHE_CONTROL, NO_STORE)], body: Bytes::new(), reason: None }
    }

    /// An answer with a JSON body.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Reply {
        let body = serde_json::to_vec(body).unwrap_or_default();
        let headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/json")), (CACHE_CONTROL, NO_STORE)];
        Reply { status, headers, body: body.into(), reason: None }
    }

    /// The refusal for `reason`, with the status that the reason has on a protected route.
    pub fn refusal(reason: Reason) -> Reply {
        let reply = Reply::problem(reason, reason.status(), reason.error());
        match reason.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => reply.with_challenge(reason),
            StatusCode::SERVICE_UNAVAILABLE => reply.with_retry_after(1),
            _ => reply,
        }
    }

    /// The refusal of a grant (RFC 6749 section 5.2): 400 `invalid_grant`, whatever the reason's own status.
    pub fn invalid_grant(reason: Reason) -> Reply {
        Reply::problem(reason, StatusCode::BAD_REQUEST, Some("invalid_grant"))
    }

    fn problem(reason: Reason, status: StatusCode, error: Option<&'static str>) -> Reply {
        let problem = Problem {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: reason.detail(),
            error,
            reason: reason.as_str(),
        };
        let mut reply = Reply::json(status, &problem);
        reply.headers[0].1 = HeaderValue::from_static("application/problem+json");
        reply.reason = Some(reason);
        reply
    }

    /// With a header field more.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Reply {
        self.headers.push((name, value));
        self
    }

    /// With `Retry-After`.
    #[must_use]
    pub fn with_retry_after(self, seconds: u32) -> Reply {
        self.with(RETRY_AFTER, seconds.into())
    }

    /// With the methods that would be allowed.
    #[must_use]
    pub fn with_allow(self, methods: HeaderValue) -> Reply {
        self.with(ALLOW, methods)
    }

    /// With the challenge of RFC 6750 section 3: no error code when no token was sent.
    fn with_challenge(self, reason: Reason) -> Reply {
        let challenge = match reason {
            Reason::TokenMissing => HeaderValue::from_static(r#"Bearer realm="portcullis""#),
            Reason::CrossSite | Reason::TransportRefused => return self,
            _ => {
                let error = reason.error().unwrap_or("invalid_token");
                let text = format!(
                    r#"Bearer realm="portcullis", error="{error}", error_description="{}", reason="{}""#,
                    reason.detail(),
                    reason.as_str()
                );
                HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(r#"Bearer realm="portcullis""#))
            }
        };
        self.with(WWW_AUTHENTICATE, challenge)
    }
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
