//! What a browser without scripts is answered: the use cases are those of the API, and only their answers are pages.
//!
//! What must never happen in here: a decision on who may log in or is logged out; a token in a body.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::login_page::{Problem, Shown, see_other};
use super::refused::Refused;
use super::tokens::random;
use super::{Endpoints, Request};
use crate::gate::{Reason, Reply, is_navigation};

/// What the login page's form sends besides the password.
pub(super) struct Form {
    return_to: String,
    username: String,
}

impl Form {
    /// The form of a login page: one that says where to go afterwards. None for everything else, which is the API's.
    ///
    /// Refused: two places to go to.
    pub(super) fn read(request: &Request<'_>) -> Result<Option<Form>, Reason> {
        if !is_form(request) {
            return Ok(None);
        }
        let fields = || form_urlencoded::parse(&request.body);
        let mut places = fields().filter(|(name, _)| name == "return_to").map(|(_, value)| value);
        let Some(return_to) = places.next() else { return Ok(None) };
        if places.next().is_some() {
            return Err(Reason::BodyMalformed);
        }
        let username = fields().find(|(name, _)| name == "username").map(|(_, value)| value.into_owned());
        Ok(Some(Form { return_to: return_to.into_owned(), username: username.unwrap_or_default() }))
    }
}

fn is_form(request: &Request<'_>) -> bool {
    let media_type = request.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

impl Endpoints {
    /// `GET /login`.
    pub(super) fn login_page(&self, request: &Request<'_>) -> Reply {
        let Some(page) = &self.login_page else { return Reply::refusal(Reason::RouteUnknown) };
        let value = |wanted: &str| {
            form_urlencoded::parse(request.query).find(|(name, _)| name == wanted).map(|(_, value)| value)
        };
        let note = [Problem::LoggedOut, Problem::SessionEnded].into_iter().find(|note| value(note.name()).is_some());
        let return_to = value("return_to").unwrap_or_default();
        let shown = Shown { return_to: &return_to, username: "", problem: note };
        with_nonce(|nonce| page.render(&shown, nonce))
    }

    /// The answer of a login, for the form that asked for it.
    pub(super) fn login_answered(&self, form: Option<&Form>, reply: Reply) -> Reply {
        let (Some(form), Some(page)) = (form, &self.login_page) else { return reply };
        if reply.status == StatusCode::OK {
            return see_other(reply, page.destination(&form.return_to));
        }
        with_nonce(|nonce| page.refused(reply, &form.return_to, &form.username, nonce))
    }

    /// The answer of a logout, for a browser that shows what comes.
    pub(super) fn logout_answered(&self, request: &Request<'_>, reply: Reply) -> Reply {
        let Some(page) = self.login_page.as_ref().filter(|_| is_navigation(request.headers)) else { return reply };
        if reply.status == StatusCode::NO_CONTENT {
            return see_other(reply, &page.address(None, Some(Problem::LoggedOut)));
        }
        with_nonce(|nonce| page.not_logged_out(reply, nonce))
    }

    /// The answer to a form that met no living session, if there is a login page to tell of.
    pub fn not_saved(&self, reason: Reason) -> Reply {
        match &self.login_page {
            Some(page) => with_nonce(|nonce| page.not_saved(reason, nonce)),
            None => Reply::refusal(reason),
        }
    }
}

/// A nonce of 128 random bits, in characters that stand in a header and in an attribute as they are.
fn with_nonce(page: impl FnOnce(&str) -> Reply) -> Reply {
    match random::<16>() {
        Ok(bytes) => page(&URL_SAFE_NO_PAD.encode(bytes)),
        Err(Refused { reply, .. }) => reply,
    }
}
