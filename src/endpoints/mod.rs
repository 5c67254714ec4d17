//! `/login`, `/refresh`, `/logout`, `/logout/all`, `/userinfo` and the JWK set: one use case a file, no HTTP stack.
//!
//! A use case takes a [`Request`] and makes a [`Reply`]. Whoever calls has already checked the method, the size of the
//! head and where the request comes from (cross-site POSTs), and has verified the bearer token if there is one.
//!
//! What must never happen in here: a token leaves before the record that it belongs to was committed; a 204 for a
//! session that was not ended in the store; a 4xx because the store could not be asked (a client would throw
//! its session away); a cookie cleared by anything but a logout; a refresh token in cookie and body at once; a secret in a
//! log, an event or a `Debug`.

mod app_sessions;
mod body;
mod cookie;
mod credentials;
mod end;
mod events;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod jwks;
mod login;
mod login_form;
mod login_page;
mod logout;
mod logout_all;
mod refresh;
mod refused;
mod removed;
mod ticket;
mod tokens;
mod told;
mod transport;
mod userinfo;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

pub use self::app_sessions::AppSessions;
pub use self::body::BODY_BYTES_MAX;
pub use self::cookie::{CookieShape, SameSite};
pub use self::events::{AppLogoutOutcome, Audit, Events, LoginOutcome, LogoutOutcome, RefreshOutcome};
use self::login_form::Form;
pub use self::login_page::{LoginPage, LoginPageError, LoginPageOptions, Problem, Shown};
pub use self::refresh::Renewed;
use self::refused::Refused;
pub use self::removed::Removed;
pub use self::transport::Transport;
use crate::gate::{Endpoint, Identity, Reason, Reply, Sender};
use crate::login::Authenticator;
use crate::session::RotationPolicy;
use crate::store::Sessions;
use crate::time::Timestamp;
use crate::token::{AccessPolicy, KeySet};

/// Says what time it is: [`Timestamp::now`], except in tests.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How often a lost race is run again. Each loss means that another request has won, and after a rotation the losers
/// change nothing: more than two in a row are hardly possible.
const ATTEMPTS: usize = 16;

/// The endpoints, wired. One per configuration.
pub struct Endpoints {
    /// The keys that tokens are made with.
    pub keys: Arc<KeySet>,
    /// What access tokens have in common.
    pub access: AccessPolicy,
    /// How refresh tokens rotate.
    pub rotation: RotationPolicy,
    /// How long a session lives after login, whatever is refreshed.
    pub session_lifetime: Duration,
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// The way to log in.
    pub login: Arc<dyn Authenticator>,
    /// The refresh cookie.
    pub cookie: CookieShape,
    /// The cookie with the access token; none if no route takes one.
    pub access_cookie: Option<CookieShape>,
    /// Native clients may carry the refresh token in bodies.
    pub body_transport: bool,
    /// The login page, if there is one.
    pub login_page: Option<LoginPage>,
    /// What apps have made of their own sessions since.
    pub app_sessions: Arc<AppSessions>,
    /// Who counts, and who keeps the audit log.
    pub events: Arc<dyn Events>,
    /// What time it is.
    pub clock: Clock,
}

/// A request to an endpoint. It has no `Debug`: headers and body hold secrets.
pub struct Request<'a> {
    /// The query of its target, without the `?`.
    pub query: &'a [u8],
    /// All header fields, as they came.
    pub headers: &'a HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The client, as trusted proxies say.
    pub address: IpAddr,
    /// Who sends it.
    pub sender: Sender,
    /// Whom the bearer token speaks for, if one was sent and verified, and its session is not known as ended.
    pub identity: Option<&'a Identity>,
    /// Why the bearer token was refused, if one was sent and was refused.
    pub bearer_refused: Option<Reason>,
}

impl Endpoints {
    /// Serves a request. The answer is complete but for what every answer gets (CORS, `Date`, `Content-Length`).
    pub async fn serve(&self, endpoint: Endpoint, request: Request<'_>) -> Reply {
        match endpoint {
            Endpoint::Login => {
                let form = self.login_page.as_ref().map_or(Ok(None), |_| Form::read(&request));
                let result = match &form {
                    Ok(_) => self.login(&request).await,
                    Err(reason) => Err(Refused::request(*reason)),
                };
                let (outcome, reply) = result.unwrap_or_else(|no| (LoginOutcome::Refused(no.reason), no.reply));
                self.events.login(outcome);
                self.login_answered(form.ok().flatten().as_ref(), reply)
            }
            Endpoint::LoginPage => self.login_page(&request),
            Endpoint::Refresh => {
                let result = self.refresh(&request).await;
                let (outcome, reply) = result.unwrap_or_else(|no| (RefreshOutcome::Refused(no.reason), no.reply));
                self.events.refresh(outcome);
                reply
            }
            Endpoint::Logout | Endpoint::LogoutAll => {
                let result = if endpoint == Endpoint::Logout {
                    self.logout(&request).await
                } else {
                    self.logout_all(&request).await
                };
                let (outcome, reply) = match result {
                    Ok((outcome, transport)) => (outcome, self.logged_out(transport)),
                    Err(no) => (LogoutOutcome::Refused(no.reason), no.reply),
                };
                self.events.logout(outcome);
                self.logout_answered(&request, reply)
            }
            Endpoint::Ticket => self.ticket(&request).await.unwrap_or_else(|refused| refused.reply),
            Endpoint::Userinfo => self.userinfo(&request),
            Endpoint::Jwks => self.jwks(),
        }
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }
}
