//! Logging in with a password from the users file: the throttle, then the queue, then the hash.
//!
//! What must never happen in here: an attempt goes uncounted because the client left before its outcome; any step before
//! the hash depends on whether the account exists.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use secrecy::ExposeSecret;
use tokio::sync::mpsc;

use super::hashing::HashingPool;
use super::lasting::Lasting;
use super::limits::LoginLimits;
use super::reserved::Reserved;
use super::throttle::{Attempt, Throttle};
use super::users::Users;
use super::users_file::UsersFile;
use super::watch::Watch;
use super::{Authenticator, Credentials, LoggedIn, LoginError, Principal};

/// The accounts of a users file.
pub struct UsersLogin {
    file: UsersFile,
    throttle: Arc<Mutex<Throttle>>,
    pool: Arc<HashingPool>,
    watch: Arc<tokio::sync::Mutex<Watch>>,
}

impl UsersLogin {
    /// Checks passwords against `file`, and goes on where those before have come to.
    pub fn new(file: UsersFile, limits: &LoginLimits, lasting: &Lasting) -> UsersLogin {
        let (throttle, watch) = (Arc::clone(&lasting.throttle), Arc::clone(&lasting.watch));
        UsersLogin { file, throttle, pool: lasting.pool(limits), watch }
    }
}

#[async_trait]
impl Authenticator for UsersLogin {
    async fn login(&self, credentials: Credentials) -> Result<LoggedIn, LoginError> {
        let users = self.file.users().await?;
        let Credentials { username, password, address, user_agent: _ } = credentials;
        let reserved = Reserved::new(&self.throttle, &username, address)?;
        let check = move || {
            let right = users.verify(&username, password.expose_secret().as_bytes());
            let attempt = match right {
                Ok(true) => Attempt::Succeeded,
                Ok(false) => Attempt::Failed,
                Err(_) => Attempt::Withdrawn,
            };
            reserved.settle(attempt);
            match right {
                Ok(true) => principal(&users, &username).ok_or(LoginError::Rejected),
                Ok(false) => Err(LoginError::Rejected),
                Err(failed) => Err(LoginError::Unavailable(failed.to_string())),
            }
        };
        Ok(LoggedIn::from(self.pool.run(check).await??))
    }

    async fn current(&self, subject: &str) -> Result<Option<Principal>, LoginError> {
        Ok(principal(&*self.file.users().await?, subject))
    }

    async fn watch_removed(&self, removed: mpsc::Sender<String>) {
        // Those before are gone, or will be in a moment.
        self.watch.lock().await.run(&self.file, removed).await;
    }
}

fn principal(users: &Users, name: &str) -> Option<Principal> {
    let entry = users.get(name)?;
    Some(Principal { subject: name.to_owned(), roles: entry.roles.clone(), scopes: entry.scopes.clone() })
}

#[cfg(test)]
mod tests;
