//! What the login page says above its form: one closed list of sentences.
//!
//! What must never happen in here: a sentence that says more than the API does, such as that a user exists.

use std::borrow::Cow;

use http::header::RETRY_AFTER;

use crate::gate::{Reason, Reply};

/// What the page says above the form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem {
    /// Wrong user or password: the page does not say which.
    CredentialsWrong,
    /// A field is missing, empty or unreadable.
    Incomplete,
    /// Too many tries.
    TooManyAttempts {
        /// Seconds until the next one counts.
        retry_after_s: u32,
    },
    /// It cannot be told right now who may log in, or sessions cannot be written.
    Unavailable,
    /// A note: the session that there was has ended.
    SessionEnded,
    /// A note: the logout was done.
    LoggedOut,
}

impl Problem {
    /// All of them, for checks at start.
    pub(super) const ALL: [Problem; 6] = [
        Problem::CredentialsWrong,
        Problem::Incomplete,
        Problem::TooManyAttempts { retry_after_s: 30 },
        Problem::Unavailable,
        Problem::SessionEnded,
        Problem::LoggedOut,
    ];

    /// Its name in templates and addresses.
    pub const fn name(self) -> &'static str {
        match self {
            Problem::CredentialsWrong => "credentials_wrong",
            Problem::Incomplete => "incomplete",
            Problem::TooManyAttempts { .. } => "too_many_attempts",
            Problem::Unavailable => "unavailable",
            Problem::SessionEnded => "session_ended",
            Problem::LoggedOut => "logged_out",
        }
    }

    /// Did something go wrong? The others are notes.
    pub const fn is_error(self) -> bool {
        match self {
            Problem::CredentialsWrong
            | Problem::Incomplete
            | Problem::TooManyAttempts { .. }
            | Problem::Unavailable => true,
            Problem::SessionEnded | Problem::LoggedOut => false,
        }
    }

    /// The sentence.
    pub fn text(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Problem::CredentialsWrong => "The user name or the password is wrong.",
            Problem::Incomplete => "Enter your user name and your password.",
            Problem::TooManyAttempts { retry_after_s } => {
                let wait = waiting(retry_after_s);
                return Cow::Owned(format!("Too many attempts to log in. Try again in {wait}."));
            }
            Problem::Unavailable => "Logging in is not possible right now. Try again in a moment.",
            Problem::SessionEnded => "Your session has ended. Log in to go on.",
            Problem::LoggedOut => "You are logged out.",
        })
    }

    /// What to say of a refused login.
    pub(in crate::endpoints) fn of(refusal: &Reply) -> Problem {
        match refusal.reason {
            Some(Reason::CredentialsWrong) => Problem::CredentialsWrong,
            Some(Reason::TooManyAttempts) => {
                let wait = refusal.headers.iter().find(|(name, _)| *name == RETRY_AFTER);
                let wait = wait.and_then(|(_, seconds)| seconds.to_str().ok()?.parse().ok());
                Problem::TooManyAttempts { retry_after_s: wait.unwrap_or(1) }
            }
            _ if refusal.status.is_server_error() => Problem::Unavailable,
            _ => Problem::Incomplete,
        }
    }
}

fn waiting(seconds: u32) -> String {
    match seconds {
        0 | 1 => "1 second".to_owned(),
        2..=90 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_become_sentences() {
        for (reply, expected) in [
            (Reply::invalid_grant(Reason::CredentialsWrong), Problem::CredentialsWrong),
            (Reply::refusal(Reason::BodyMalformed), Problem::Incomplete),
            (Reply::refusal(Reason::StoreUnavailable), Problem::Unavailable),
            (Reply::refusal(Reason::LoginUnavailable), Problem::Unavailable),
            (Reply::refusal(Reason::Overloaded), Problem::Unavailable),
            (Reply::refusal(Reason::Internal), Problem::Unavailable),
            (
                Reply::refusal(Reason::TooManyAttempts).with_retry_after(37),
                Problem::TooManyAttempts { retry_after_s: 37 },
            ),
        ] {
            assert_eq!(Problem::of(&reply), expected, "{reply:?}");
        }
    }

    #[test]
    fn a_wait_is_told_in_units_that_people_use() {
        let told = [0, 1, 2, 90, 91, 600].map(waiting);
        assert_eq!(told, ["1 second", "1 second", "2 seconds", "90 seconds", "2 minutes", "10 minutes"]);
    }
}
