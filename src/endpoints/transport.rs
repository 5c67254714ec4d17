//! How a refresh token travels: in the cookie, or for native clients without a cookie jar in bodies.
//!
//! The session remembers nothing of it. Who has the text of a token could put it into a cookie as well as into a body, unless a
//! browser stands between: a page's script cannot read the cookie, and pages may not use the body, but for the web views that
//! are listed. The transport of the answer is that of the request.
//!
//! What must never happen in here: a choice between two tokens; a cookie for somebody who asked for the body, or a refresh
//! token in a body that a page can read which is not listed.

use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};

use super::refused::Refused;
use super::{Endpoints, Request, body};
use crate::gate::{Reason, Sender};
use crate::token::{RefreshToken, RefreshTokenError};

/// How a refresh token travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// In the cookie.
    Cookie,
    /// In the body of request and response, as `refresh_token`.
    Body,
}

impl Transport {
    /// Its name on the wire and in the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Transport::Cookie => "cookie",
            Transport::Body => "body",
        }
    }

    /// The one of that name.
    pub(super) fn named(name: &str) -> Option<Transport> {
        [Transport::Cookie, Transport::Body].into_iter().find(|transport| transport.as_str() == name)
    }
}

/// What a request carries in place of a password.
pub(super) struct Presented {
    /// How it came, or how it would have, if there is none.
    pub transport: Transport,
    /// The refresh token, or why it is no good. Its MAC and its end have been checked.
    pub token: Result<RefreshToken, Reason>,
}

impl Endpoints {
    /// The refresh token that came, in the cookie or in the body. No store is asked: what does not verify costs nothing.
    /// An error is about the request, not about a token.
    pub(super) fn presented(&self, request: &Request<'_>) -> Result<Presented, Refused> {
        let in_body = in_body(request).map_err(Refused::request)?;
        let has_none = in_body.is_none() && !self.cookie.is_in(request.headers);
        let transport = match request.sender {
            Sender::WebView if has_none => Transport::Body,
            _ if in_body.is_some() => Transport::Body,
            _ => Transport::Cookie,
        };
        self.check(request, transport).map_err(Refused::request)?;
        let text = match &in_body {
            Some(text) => Ok(text.expose_secret()),
            None if transport == Transport::Body => Err(Reason::TokenMissing),
            None => match self.cookie.read(request.headers) {
                Err(Reason::CredentialsAmbiguous) => return Err(Refused::request(Reason::CredentialsAmbiguous)),
                cookie => cookie,
            },
        };
        Ok(Presented { transport, token: text.and_then(|text| self.verified(text)) })
    }

    /// May the refresh token of this request travel so?
    pub(super) fn check(&self, request: &Request<'_>, transport: Transport) -> Result<(), Reason> {
        match (transport, request.sender) {
            (Transport::Body, _) if !self.body_transport => Err(Reason::TransportDisabled),
            (Transport::Body, _) if self.cookie.is_in(request.headers) => Err(Reason::CredentialsAmbiguous),
            (Transport::Body, Sender::Program | Sender::WebView)
            | (Transport::Cookie, Sender::Program | Sender::Page) => Ok(()),
            (Transport::Body, Sender::Page) | (Transport::Cookie, Sender::WebView) | (_, Sender::OtherSite) => {
                Err(Reason::TransportRefused)
            }
        }
    }

    /// The refresh token in the cookie, whatever else there is.
    pub(super) fn in_cookie(&self, headers: &HeaderMap) -> Result<RefreshToken, Reason> {
        self.cookie.read(headers).and_then(|text| self.verified(text))
    }

    fn verified(&self, text: &str) -> Result<RefreshToken, Reason> {
        RefreshToken::verify(&self.keys, text, self.now()).map_err(|error| match error {
            RefreshTokenError::Malformed => Reason::TokenMalformed,
            RefreshTokenError::Invalid => Reason::TokenInvalid,
            RefreshTokenError::Expired => Reason::TokenExpired,
        })
    }
}

/// The refresh token in the body. A body that is there is read, whether bodies are enabled or not: a token in it that nobody
/// looks at would leave its client in the dark.
fn in_body(request: &Request<'_>) -> Result<Option<SecretString>, Reason> {
    if request.body.is_empty() {
        return Ok(None);
    }
    let [token] = body::members(request, ["refresh_token"])?;
    Ok(token)
}
