//! Logging in at the app: it keeps its users, and is asked once, with what was typed.
//!
//! Throttle, a turn, a conversation with the app, a judgement of its answer. What the app said is kept with the session, as
//! nobody can ask again without the password; but an app that knows its own session can be asked with that.
//!
//! What must never happen in here: an answer that was not understood lets somebody in, or costs a user an attempt; a
//! password, a cookie or a body of the app's is logged; an attempt goes uncounted because the client left before its outcome.

mod answer;
mod ask;
#[cfg(any(test, fuzzing))]
pub(in crate::login) mod fuzz;
mod jar;
mod page;
mod spec;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, Method};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use self::answer::{Answer, Unclear};
use self::ask::{App, Ask, Talk, about};
use self::jar::Jar;
use super::lasting::Lasting;
use super::reserved::Reserved;
use super::throttle::{Attempt, Throttle};
use super::turns::Turns;
use super::users::check_name;
use super::{AppSession, Authenticator, Client, Credentials, LoggedIn, LoginError, Principal};

pub use self::jar::Jar as AppCookies;
pub use self::spec::{
    Csrf, JsonIs, Logout, Roles, Sends, ServerSpec, Source, Subject, Success, UpstreamSpec, Userinfo,
};

/// How many logins may wait for their turn, beyond as many as may be under way.
const QUEUE: usize = 64;
/// How long one may wait.
const QUEUE_WAIT_MAX: Duration = Duration::from_secs(5);
/// The app's own session goes into each access token, which goes into a cookie: browsers keep 4096 bytes.
const APP_SESSION_BYTES_MAX: usize = 1024;

const HTML: &str = "text/html, application/xhtml+xml, */*;q=0.8";
const JSON: &str = "application/json, */*;q=0.5";
const FORM_TYPE: &str = "application/x-www-form-urlencoded";
const JSON_TYPE: &str = "application/json";

/// The app's own login.
pub struct UpstreamLogin {
    inner: Arc<Inner>,
    throttle: Arc<Mutex<Throttle>>,
}

struct Inner {
    spec: UpstreamSpec,
    app: App,
    turns: Turns,
    /// The app has refused somebody whom we made up.
    refuses: AtomicBool,
}

/// Why the app's login cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamLoginError {
    /// The authorities to trust.
    #[error("login.upstream: {path}: {problem}", path = path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A server.
    #[error("login.upstream: {server} cannot be asked: {problem}")]
    Server {
        /// Which.
        server: String,
        /// Why.
        problem: String,
    },
}

impl UpstreamLogin {
    /// Logins at this app, which go on where those before have come to.
    ///
    /// # Errors
    /// When the app cannot be asked, whatever it would say. That it answers is not tried here.
    pub fn new(spec: UpstreamSpec, lasting: &Lasting) -> Result<UpstreamLogin, UpstreamLoginError> {
        let app = App::new(&spec)?;
        let turns = Turns::new(spec.at_a_time, spec.at_a_time.saturating_add(QUEUE), QUEUE_WAIT_MAX);
        let inner = Inner { spec, app, turns, refuses: AtomicBool::new(false) };
        Ok(UpstreamLogin { inner: Arc::new(inner), throttle: Arc::clone(&lasting.throttle) })
    }
}

#[async_trait]
impl Authenticator for UpstreamLogin {
    async fn login(&self, credentials: Credentials) -> Result<LoggedIn, LoginError> {
        // Many apps take "Ann" and " ann" for one account: so does the throttle.
        let account = credentials.username.trim().to_lowercase();
        let reserved = Reserved::new(&self.throttle, &account, credentials.address)?;
        if !self.inner.spec.may_be_asked(&credentials.username) {
            reserved.settle(Attempt::Failed);
            return Err(LoginError::Rejected);
        }
        let turn = self.inner.turns.turn().await.ok_or(LoginError::Overloaded)?;
        let inner = Arc::clone(&self.inner);
        // Goes on when the client leaves: what became of the attempt counts.
        let asking = tokio::spawn(async move {
            let result = inner.login(&credentials).await;
            reserved.settle(match &result {
                Ok(_) => Attempt::Succeeded,
                Err(LoginError::Rejected) => Attempt::Failed,
                Err(_) => Attempt::Withdrawn,
            });
            drop(turn);
            result
        });
        asking.await.map_err(|_panicked| LoginError::Unavailable("asking the app went wrong".to_owned()))?
    }

    /// Nobody can be asked who a subject is.
    async fn current(&self, _subject: &str) -> Result<Option<Principal>, LoginError> {
        Ok(None)
    }

    fn is_told_once(&self) -> bool {
        true
    }

    async fn today(
        &self,
        _subject: &str,
        then: Option<LoggedIn>,
        client: Client,
    ) -> Result<Option<Principal>, LoginError> {
        let Some(LoggedIn { principal, app_session }) = then else { return Ok(None) };
        if app_session.is_none() && !self.inner.spec.kept_cookies.is_empty() {
            // The app would ask for a login that cannot get through: its key is gone, or it began before cookies were kept.
            return Ok(None);
        }
        match (&self.inner.spec.userinfo, app_session) {
            (Some(userinfo), Some(app_session)) if userinfo.token.is_none() => {
                let turn = self.inner.turns.turn().await.ok_or_else(overloaded)?;
                let today =
                    self.inner.timed(self.inner.ask_again(&userinfo.path, principal, &app_session, client)).await;
                drop(turn);
                today.map_err(LoginError::Unavailable)
            }
            _ => Ok(Some(principal)),
        }
    }

    async fn log_out(&self, app_session: AppSession) -> Option<Result<(), LoginError>> {
        let logout = self.inner.spec.logout.as_ref()?;
        let Some(_turn) = self.inner.turns.turn().await else { return Some(Err(LoginError::Overloaded)) };
        let told = self.inner.timed(self.inner.log_out(logout, &app_session)).await;
        Some(told.map_err(LoginError::Unavailable))
    }
}

fn overloaded() -> LoginError {
    LoginError::Unavailable("too many requests to the app are under way".to_owned())
}

impl Inner {
    async fn login(&self, credentials: &Credentials) -> Result<LoggedIn, LoginError> {
        let result = self.timed(self.ask(credentials)).await.map_err(LoginError::Unavailable)?;
        let logged_in = result.ok_or(LoginError::Rejected)?;
        self.control(credentials).await?;
        Ok(logged_in)
    }

    async fn timed<T>(&self, asking: impl Future<Output = Result<T, Unclear>>) -> Result<T, Unclear> {
        let late = |_| Err(format!("the app has not answered within {:?}", self.spec.timeout));
        tokio::time::timeout(self.spec.timeout, asking).await.unwrap_or_else(late)
    }

    /// Before the first success is believed, somebody who cannot exist must fail: what tells a success may be too wide, and
    /// then every password would be right.
    async fn control(&self, credentials: &Credentials) -> Result<(), LoginError> {
        if self.refuses.load(Ordering::Relaxed) {
            return Ok(());
        }
        let unavailable = |problem: &str| LoginError::Unavailable(problem.to_owned());
        let mut random = [0; 24];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| unavailable("the system gives no random bytes"))?;
        let nobody = Credentials {
            username: format!("nobody-{}", URL_SAFE_NO_PAD.encode(&random[..8])),
            password: SecretString::from(URL_SAFE_NO_PAD.encode(&random[8..])),
            address: credentials.address,
            user_agent: credentials.user_agent.clone(),
        };
        match self.timed(self.ask(&nobody)).await {
            Ok(None) => {
                self.refuses.store(true, Ordering::Relaxed);
                Ok(())
            }
            Ok(Some(_)) => Err(unavailable(
                "login.upstream.success holds for a user who does not exist, so it would let everybody in; \
                 write what only a success has",
            )),
            Err(problem) => Err(LoginError::Unavailable(problem)),
        }
    }

    /// Asks the app who this is. None if it refuses.
    async fn ask(&self, credentials: &Credentials) -> Result<Option<LoggedIn>, Unclear> {
        let spec = &self.spec;
        let mut talk = self.app.talk(about(credentials.address, credentials.user_agent.clone()), Jar::default());
        let csrf = match &spec.csrf {
            Some(csrf) => Some((&*csrf.field, token(&mut talk, csrf).await?)),
            None => None,
        };
        let referer = spec.csrf.as_ref().map_or(&*spec.path, |csrf| &*csrf.from);
        let reads_body = spec.reads_login_body();
        let (method, body, authorization, accept) = spec.sends.request(credentials, csrf);
        let ask = Ask {
            method,
            path: &spec.path,
            body,
            authorization: authorization.clone(),
            accept,
            referer: Some(referer),
            reads_body,
        };
        let answer = talk.ask(ask).await?;
        if !answer.is_success(&spec.success)? {
            tracing::debug!(status = answer.status.as_u16(), "the app refused a login");
            return Ok(None);
        }
        let answer = match &spec.userinfo {
            None => answer,
            Some(userinfo) => {
                let authorization = match &userinfo.token {
                    Some(pointer) => Some(bearer(&answer, pointer)?),
                    None => authorization,
                };
                let ask = Ask { authorization, ..Ask::get(&userinfo.path, JSON) };
                let known = talk.ask(ask).await?.into_known()?;
                known.ok_or_else(|| "the app does not say who has just logged in".to_owned())?
            }
        };
        let principal = self.principal(&answer, &credentials.username)?;
        Ok(Some(LoggedIn { principal, app_session: self.app_session(&talk.jar)? }))
    }

    fn principal(&self, answer: &Answer, typed: &str) -> Result<Principal, Unclear> {
        let subject = answer.subject(&self.spec.subject, typed)?;
        check_name(&subject).map_err(|why| format!("the app names a user who cannot be told on: {why}"))?;
        Ok(Principal { subject, roles: answer.roles(&self.spec.roles)?, scopes: Vec::new() })
    }

    fn app_session(&self, jar: &Jar) -> Result<Option<AppSession>, Unclear> {
        let names = &self.spec.kept_cookies;
        if names.is_empty() {
            return Ok(None);
        }
        if !jar.has_all(names) {
            return Err("the app has not set each cookie of login.upstream.keep_session".to_owned());
        }
        let field = jar.field(Some(names)).unwrap_or_default();
        if field.len() > APP_SESSION_BYTES_MAX {
            return Err(format!(
                "the cookies of login.upstream.keep_session have {} bytes, and {APP_SESSION_BYTES_MAX} are the most that \
                 fit into an access token; keep only the one that names the session",
                field.len()
            ));
        }
        Ok(Some(AppSession::from(field)))
    }

    /// Asks the app who has its session. None if it does not know that session any more, or it is somebody else's.
    async fn ask_again(
        &self,
        path: &str,
        then: Principal,
        app_session: &AppSession,
        client: Client,
    ) -> Result<Option<Principal>, Unclear> {
        let mut talk = self.app.talk(about(client.address, client.user_agent), Jar::of(app_session.expose_secret()));
        let Some(answer) = talk.ask(Ask::get(path, JSON)).await?.into_known()? else { return Ok(None) };
        let today = self.principal(&answer, &then.subject)?;
        Ok((today.subject == then.subject).then_some(today))
    }

    async fn log_out(&self, logout: &Logout, app_session: &AppSession) -> Result<(), Unclear> {
        let mut talk = self.app.talk(HeaderMap::new(), Jar::of(app_session.expose_secret()));
        let csrf = match &logout.csrf {
            Some(csrf) => Some((&*csrf.field, token(&mut talk, csrf).await?)),
            None => None,
        };
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(csrf).finish();
        let body = (logout.method != Method::GET).then(|| (FORM_TYPE, form.into_bytes()));
        let referer = logout.csrf.as_ref().map(|csrf| &*csrf.from);
        let ask =
            Ask { method: logout.method.clone(), body, referer, reads_body: false, ..Ask::get(&logout.path, HTML) };
        let status = talk.ask(ask).await?.status;
        match status.is_client_error() || status.is_server_error() {
            true => Err(format!("the app answers {status}")),
            false => Ok(()),
        }
    }
}

impl UpstreamSpec {
    /// Can the app be asked about this name, and a success be told on? A colon in Basic would end the name (RFC 7617).
    fn may_be_asked(&self, name: &str) -> bool {
        let tellable = self.subject != Subject::Typed || check_name(name).is_ok();
        tellable && (self.sends != Sends::Basic || !name.contains(|c: char| c == ':' || c.is_control()))
    }

    /// Does anybody look into the body of the login's answer?
    fn reads_login_body(&self) -> bool {
        let in_body = |source: &Source| matches!(source, Source::Json(_));
        let subject = matches!(&self.subject, Subject::Told(source) if in_body(source));
        let roles = matches!(&self.roles, Roles::Told { from, .. } if in_body(from));
        let here = match &self.userinfo {
            Some(userinfo) => userinfo.token.is_some(),
            None => subject || roles,
        };
        here || self.success.json.is_some()
    }
}

type Request = (Method, Option<(&'static str, Vec<u8>)>, Option<HeaderValue>, &'static str);

impl Sends {
    fn request(&self, credentials: &Credentials, csrf: Option<(&str, String)>) -> Request {
        let (name, secret) = (&*credentials.username, credentials.password.expose_secret());
        match self {
            Sends::Form { username, password, extra } => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                form.extend_pairs(extra);
                form.extend_pairs(csrf);
                form.append_pair(username, name).append_pair(password, secret);
                (Method::POST, Some((FORM_TYPE, form.finish().into_bytes())), None, HTML)
            }
            Sends::Json { username, password, extra } => {
                let mut members: Map<String, Value> = extra.iter().cloned().collect();
                members.extend(csrf.map(|(field, token)| (field.to_owned(), token.into())));
                members.insert(username.clone(), name.into());
                members.insert(password.clone(), secret.into());
                (Method::POST, Some((JSON_TYPE, Value::Object(members).to_string().into_bytes())), None, JSON)
            }
            Sends::Basic => {
                let both = STANDARD.encode(format!("{name}:{secret}"));
                (Method::GET, None, HeaderValue::try_from(format!("Basic {both}")).ok(), JSON)
            }
        }
    }
}

/// The token that a page holds in a hidden field.
async fn token(talk: &mut Talk<'_>, csrf: &Csrf) -> Result<String, Unclear> {
    let page = talk.ask(Ask::get(&csrf.from, HTML)).await?;
    let text = String::from_utf8_lossy(&page.body);
    let token = page::field(&text, &csrf.field).map(|token| token.into_owned());
    token.ok_or_else(|| {
        format!("the app answers {} at {}, with no field {:?} in it", page.status, csrf.from, csrf.field)
    })
}

fn bearer(answer: &Answer, pointer: &str) -> Result<HeaderValue, Unclear> {
    let json = answer.json()?;
    let value = json.text(pointer).and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok());
    value.ok_or_else(|| "the app's answer holds no token".to_owned())
}

#[cfg(test)]
mod tests;
