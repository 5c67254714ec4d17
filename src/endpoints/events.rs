//! What the endpoints tell the counters and the audit log.
//!
//! Labels come from closed lists, and refusals are named by the one list that body, challenge, metric and log share.
//! What must never happen in here: a token, a password or a cookie is part of an event.

use std::net::IpAddr;

use super::Transport;
use crate::gate::Reason;
use crate::session::SessionId;

/// Is told what happened. Called on the way of the answer: it must neither wait nor fail.
pub trait Events: Send + Sync + 'static {
    /// A login has been answered.
    fn login(&self, outcome: LoginOutcome);
    /// A refresh has been answered.
    fn refresh(&self, outcome: RefreshOutcome);
    /// A logout, of one session or of all, has been answered.
    fn logout(&self, outcome: LogoutOutcome);
    /// The app has been told, or could not be told, that its own session is over.
    fn app_logout(&self, outcome: AppLogoutOutcome);
    /// Something happened that belongs into the audit log.
    fn audit(&self, event: Audit<'_>);
}

/// Declares an outcome: what can go well, and the reasons for which it can be refused.
macro_rules! outcome {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $vdoc:literal])+ $variant:ident = $label:literal,)+ }
     refused { $($reason:ident,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name {
            $($(#[doc = $vdoc])+ $variant,)+
            /// No, or not now.
            Refused(Reason),
        }

        impl $name {
            /// All that can occur: what metrics are made of at start.
            pub const ALL: &[$name] = &[$($name::$variant,)+ $($name::Refused(Reason::$reason),)+];

            /// The names of all of them, in the same order.
            pub const NAMES: &[&'static str] = &[$($label,)+ $(Reason::$reason.as_str(),)+];

            /// Its name in metrics and logs.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $label,)+
                    $name::Refused(reason) => reason.as_str(),
                }
            }
        }
    };
}

outcome! {
    /// How a login ended: a metric label.
    LoginOutcome {
        /// Somebody is logged in.
        Succeeded = "succeeded",
    }
    refused {
        CredentialsWrong, TooManyAttempts, BodyMalformed, BodyTooLarge, MediaTypeUnsupported, CredentialsAmbiguous,
        TransportDisabled, TransportRefused, LoginUnavailable, StoreUnavailable, Overloaded, Internal,
    }
}

outcome! {
    /// How a refresh ended: a metric label.
    RefreshOutcome {
        /// The session moved on by a generation.
        Rotated = "rotated",
        /// The current refresh token again, within its grace.
        Kept = "kept",
        /// The successor again, within the grace: another tab was first, or the reply was lost.
        Retried = "retried",
        /// The successor again, after the grace, because it had never been used.
        RetriedLate = "retried_late",
    }
    refused {
        TokenMissing, CredentialsAmbiguous, BodyMalformed, BodyTooLarge, MediaTypeUnsupported, TransportDisabled,
        TransportRefused, TokenMalformed, TokenInvalid, TokenExpired, TokenReused, SessionEnded, SessionUnknown,
        SubjectRemoved, LoginUnavailable, StoreUnavailable, Overloaded, Internal,
    }
}

outcome! {
    /// How a logout ended: a metric label. Refused is also what the bearer token was refused for.
    LogoutOutcome {
        /// The session has been ended.
        Ended = "ended",
        /// All sessions of the subject have been ended.
        EndedAll = "ended_all",
        /// It had ended before.
        AlreadyEnded = "already_ended",
        /// Nothing was presented that names a session.
        NoSession = "no_session",
    }
    refused {
        TokenMissing, CredentialsAmbiguous, BodyMalformed, BodyTooLarge, MediaTypeUnsupported, TransportDisabled,
        TransportRefused, TokenMalformed, TokenInvalid, TokenExpired, TokenReused, SessionEnded, SessionUnknown,
        RevocationsStale, StoreUnavailable, Overloaded, Internal,
    }
}

/// What became of telling the app that its own session is over: a metric label.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AppLogoutOutcome {
    /// It knows.
    Told,
    /// It could not be told: its own session lives on there, and nobody is let in with it.
    Failed,
}

impl AppLogoutOutcome {
    /// All of them.
    pub const ALL: &[AppLogoutOutcome] = &[AppLogoutOutcome::Told, AppLogoutOutcome::Failed];
    /// The names of all of them, in the same order.
    pub const NAMES: &[&'static str] = &["told", "failed"];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            AppLogoutOutcome::Told => "told",
            AppLogoutOutcome::Failed => "failed",
        }
    }
}

/// What goes into the audit log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Audit<'a> {
    /// Somebody logged in.
    LoggedIn {
        /// Who.
        subject: &'a str,
        /// The new session.
        session: SessionId,
        /// From where.
        address: IpAddr,
        /// How its refresh token travels.
        transport: Transport,
    },
    /// Somebody tried to log in and was refused.
    LoginRefused {
        /// The account, if there is one of that name. What is no account may be a password, typed into the wrong field.
        account: Option<&'a str>,
        /// Why.
        reason: Reason,
        /// From where.
        address: IpAddr,
        /// How the refresh token would have travelled.
        transport: Transport,
    },
    /// A session was refreshed.
    Refreshed {
        /// Whose session.
        subject: &'a str,
        /// The session.
        session: SessionId,
        /// From where.
        address: IpAddr,
        /// How the refresh token came.
        transport: Transport,
    },
    /// A refresh token of ours was refused: its session has ended, or is not known.
    RefreshRefused {
        /// The session.
        session: SessionId,
        /// Why.
        reason: Reason,
        /// From where.
        address: IpAddr,
        /// How the refresh token came.
        transport: Transport,
    },
    /// A refresh token was taken after its grace, because its successor had never been used: a lost reply, or a thief.
    RefreshedLate {
        /// Whose session.
        subject: &'a str,
        /// The session.
        session: SessionId,
        /// From where.
        address: IpAddr,
        /// How the refresh token came.
        transport: Transport,
    },
    /// A refresh token came back that had long been rotated. The session has been ended.
    TokenReused {
        /// Whose session.
        subject: &'a str,
        /// The session.
        session: SessionId,
        /// From where: not necessarily the thief.
        address: IpAddr,
        /// How the refresh token came.
        transport: Transport,
    },
    /// A session has been ended, because its subject may no longer log in.
    SubjectRemoved {
        /// Who.
        subject: &'a str,
        /// The session.
        session: SessionId,
        /// From where it was asked to be refreshed; none if the removal was noticed before anybody asked.
        address: Option<IpAddr>,
        /// How the refresh token came, if it was asked to be refreshed.
        transport: Option<Transport>,
    },
    /// A session has been ended by an operator.
    Revoked {
        /// Whose session.
        subject: &'a str,
        /// The session.
        session: SessionId,
    },
    /// A session has been logged out.
    LoggedOut {
        /// Whose session; none if the store had no record of it, and the token does not say.
        subject: Option<&'a str>,
        /// The session.
        session: SessionId,
        /// From where.
        address: IpAddr,
        /// How the refresh token came; none if an access token named the session.
        transport: Option<Transport>,
    },
    /// All sessions of a subject have been logged out.
    LoggedOutAll {
        /// Who.
        subject: &'a str,
        /// The session that asked for it.
        session: SessionId,
        /// From where.
        address: IpAddr,
        /// How the refresh token came.
        transport: Transport,
    },
}

impl Audit<'_> {
    /// The event's name in the audit log.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Audit::LoggedIn { .. } => "logged_in",
            Audit::LoginRefused { .. } => "login_refused",
            Audit::Refreshed { .. } => "refreshed",
            Audit::RefreshRefused { .. } => "refresh_refused",
            Audit::RefreshedLate { .. } => "refreshed_late",
            Audit::TokenReused { .. } => "token_reused",
            Audit::SubjectRemoved { .. } => "subject_removed",
            Audit::Revoked { .. } => "revoked",
            Audit::LoggedOut { .. } => "logged_out",
            Audit::LoggedOutAll { .. } => "logged_out_all",
        }
    }
}
