//! Who is this? One trait, and the ways to log in that implement it.
//!
//! What must never happen in here: an unknown user and a wrong password can be told apart, by answer or by time;
//! password hashing starves requests; a password is logged.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod hashing;
mod lasting;
pub mod limits;
pub mod password;
mod reserved;
pub mod throttle;
mod turns;
pub mod upstream;
pub mod users;
pub mod users_file;
mod users_login;
mod watch;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderValue;
use secrecy::SecretString;
use tokio::sync::mpsc;

pub use hashing::HashingPool;
pub use lasting::Lasting;
pub use limits::{Budget, HashLimits, LoginLimits, ThrottleLimits};
pub use throttle::Throttle;
pub use upstream::{AppCookies, UpstreamLogin};
pub use users_file::{UsersFile, UsersFileError};
pub use users_login::UsersLogin;

/// What somebody who wants to log in presents.
pub struct Credentials {
    /// The account's name.
    pub username: String,
    /// The password.
    pub password: SecretString,
    /// Where the request comes from: for limits.
    pub address: IpAddr,
    /// What the client calls itself, if it says: for apps that tie a session to it.
    pub user_agent: Option<HeaderValue>,
}

/// Who asks, for apps that tie a session to it.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where the request comes from.
    pub address: IpAddr,
    /// What the client calls itself, if it says.
    pub user_agent: Option<HeaderValue>,
}

/// Somebody who may log in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal {
    /// The stable name: the `sub` claim.
    pub subject: String,
    /// The roles: the `roles` claim.
    pub roles: Vec<String>,
    /// The scopes: the `scope` claim.
    pub scopes: Vec<String>,
}

/// Somebody who has just logged in, or whose session says that they have.
#[derive(Clone, Debug)]
pub struct LoggedIn {
    /// Who it is.
    pub principal: Principal,
    /// The app's own session, if it is kept for the user.
    pub app_session: Option<AppSession>,
}

impl From<Principal> for LoggedIn {
    fn from(principal: Principal) -> LoggedIn {
        LoggedIn { principal, app_session: None }
    }
}

/// The cookies of the app's own session as they stand in a `Cookie` field: `name=value; name=value`.
pub type AppSession = SecretString;

/// Why a login fails.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoginError {
    /// Unknown user or wrong password: nobody is told which.
    #[error("wrong user name or password")]
    Rejected,
    /// Too many attempts, by this account or this address.
    #[error("too many attempts, try again in {retry_after_s} s")]
    TooManyAttempts {
        /// When to try again, in seconds.
        retry_after_s: u32,
    },
    /// More logins are under way than may be.
    #[error("too many logins are under way")]
    Overloaded,
    /// It cannot be told who this is.
    #[error("logins cannot be checked: {0}")]
    Unavailable(String),
}

/// A way to log in.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Who presents these credentials?
    async fn login(&self, credentials: Credentials) -> Result<LoggedIn, LoginError>;

    /// Who is this subject today? None if it may no longer log in. Asked at each refresh, so that a change of roles or
    /// a removal takes effect with the next access token.
    async fn current(&self, subject: &str) -> Result<Option<Principal>, LoginError>;

    /// Is it told only once, at login, who somebody is? Then that is kept with the session, for [`Authenticator::today`].
    fn is_told_once(&self) -> bool {
        false
    }

    /// Who is the subject of this session today? `then` is what was kept at its login, `client` who asks. A session that began with another way
    /// to log in is nobody's here: the same name may be somebody else there.
    async fn today(
        &self,
        subject: &str,
        then: Option<LoggedIn>,
        _client: Client,
    ) -> Result<Option<Principal>, LoginError> {
        match then {
            None => self.current(subject).await,
            Some(_) => Ok(None),
        }
    }

    /// Tells the app that its own session is over, because ours is. None if it need not be told. Nobody waits for this.
    async fn log_out(&self, _app_session: AppSession) -> Option<Result<(), LoginError>> {
        None
    }

    /// Names everybody who may no longer log in from now on, until nobody listens. A way to log in that cannot know by
    /// itself names nobody, and a removal takes effect with the next refresh.
    async fn watch_removed(&self, _removed: mpsc::Sender<String>) {}
}

/// Logins by a users file at `path`. The file must be good now; later it is followed, and read again when it changes.
pub fn users_file(
    path: &Path,
    limits: &LoginLimits,
    lasting: &Lasting,
) -> Result<Arc<dyn Authenticator>, UsersFileError> {
    let file = UsersFile::open(path, limits.hash.clone())?;
    Ok(Arc::new(UsersLogin::new(file, limits, lasting)))
}
