//! The pure rules as the simulation drives them, the contract's numbers on a small scale, and the flaws that it must find.
//!
//! A flaw is one way to get the contract wrong. Each is switched on by a test of its own, and has to be found:
//! a simulation that cannot fail proves nothing.

use std::time::Duration;

use portcullis::session::{Attempt, EndReason, Outcome, Refusal, Rotation, RotationPolicy, Session, merge, rotate};

/// All times are milliseconds. Small, so that one schedule sees many graces, lifetimes and leases.
pub const GRACE: u64 = 6_000;
/// How long an access token lives.
pub const ACCESS_LIFE: u64 = 12_000;
/// How far clocks may be apart.
pub const SKEW: u64 = 1_000;
/// How long a proxy waits for the store.
pub const DEADLINE: u64 = 400;
/// How long after a session's end an access token of it can be alive, as the proxies reckon it.
pub const TAIL: u64 = ACCESS_LIFE + 2 * SKEW + 2 * DEADLINE;
/// Knowledge of revocations that is older is none.
pub const MAX_STALENESS: u64 = 5_000;
/// How long proxies have to give back what they hold to a store that has lost its memory.
pub const LEASE: u64 = 3_000;
/// How often a proxy looks after everything, and how often while it waits for a store to open.
pub const TICK: u64 = 1_000;
pub const TICK_WHILE_LOST: u64 = 200;
pub const HEARTBEAT_MIN: u64 = 800;
pub const KEPT_LONGER: u64 = 4_000;
/// The absolute life of a session.
pub const SESSION_LIFE: u64 = 60_000;

/// One way to get it wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// None: the contract as it is.
    None,
    // How a commit can be wrong.
    GenerationComparedOnly,
    EpochUnchecked,
    EndingUnpublished,
    AcknowledgedBeforeReplica,
    AcknowledgedUnheard,
    AnsweredBeforeCommit,
    /// A refresh that changes nothing is answered from what was read, without a write that proves that this is the primary.
    AnsweredFromRead,
    // How recovery can be wrong.
    LeaseUnheeded,
    /// How long the epoch has been missing is read from a snapshot that was taken while it was missing.
    LeaseFromSnapshot,
    RevocationsNotGivenBack,
    SessionsNotGivenBack,
    CopiesNotEnded,
    CopiesOverwrite,
    MergeTakesLower,
    MergeForgetsEnding,
    // How the feed can be wrong.
    NonceUnread,
    /// On a new connection, what is in line with the stream is taken to be in line altogether: nothing is given back.
    ReconnectTrusted,
    FreshByReading,
    UnknownIsFresh,
    StaleIsServed,
    ForgottenTooEarly,
    // How rotation can be wrong.
    GraceClosed,
    RetryRotates,
    KeptRotates,
    LateRetryRefused,
    LateRetryOfUsed,
    TabsForgotten,
    EndedRises,
    OwnKnowledgeUnasked,
    AheadRefused,
    /// What is ahead of the store is rotated at once, though its own grace may still be open.
    AheadRotatedAtOnce,
    OldForgiven,
    OwnKeyTaken,
    /// A session without a record is unknown at once, though whoever has a copy had no time to give it back.
    UnsureIsUnknown,
    /// That a session has no record is believed of a server that may be no primary any more.
    AbsentFromRead,
    // How a forged token can matter.
    ForgedBelieved,
}

impl Flaw {
    /// Those that take more schedules than an ordinary test run has time for: name them in `FLAWS`.
    pub const RARE: &[Flaw] = &[
        Flaw::LeaseFromSnapshot,
        Flaw::ReconnectTrusted,
        Flaw::ForgottenTooEarly,
        Flaw::TabsForgotten,
        Flaw::AheadRotatedAtOnce,
        Flaw::OwnKnowledgeUnasked,
    ];

    /// All that have to be found.
    pub const ALL: &[Flaw] = &[
        Flaw::GenerationComparedOnly,
        Flaw::EpochUnchecked,
        Flaw::EndingUnpublished,
        Flaw::AcknowledgedBeforeReplica,
        Flaw::AcknowledgedUnheard,
        Flaw::AnsweredBeforeCommit,
        Flaw::AnsweredFromRead,
        Flaw::LeaseUnheeded,
        Flaw::LeaseFromSnapshot,
        Flaw::RevocationsNotGivenBack,
        Flaw::SessionsNotGivenBack,
        Flaw::CopiesNotEnded,
        Flaw::CopiesOverwrite,
        Flaw::MergeTakesLower,
        Flaw::MergeForgetsEnding,
        Flaw::NonceUnread,
        Flaw::ReconnectTrusted,
        Flaw::FreshByReading,
        Flaw::UnknownIsFresh,
        Flaw::StaleIsServed,
        Flaw::ForgottenTooEarly,
        Flaw::GraceClosed,
        Flaw::RetryRotates,
        Flaw::KeptRotates,
        Flaw::LateRetryRefused,
        Flaw::LateRetryOfUsed,
        Flaw::TabsForgotten,
        Flaw::EndedRises,
        Flaw::OwnKnowledgeUnasked,
        Flaw::AheadRefused,
        Flaw::AheadRotatedAtOnce,
        Flaw::OldForgiven,
        Flaw::OwnKeyTaken,
        Flaw::UnsureIsUnknown,
        Flaw::AbsentFromRead,
        Flaw::ForgedBelieved,
    ];
}

/// The rule for a refresh, or a flawed one.
pub fn judge(session: Option<&Session>, attempt: &Attempt<'_>, policy: &RotationPolicy, flaw: Flaw) -> Outcome {
    let right = rotate(session, attempt, policy);
    let Some(session) = session else { return right };
    let is_ahead = attempt.generation > session.generation;
    let successor = || Session {
        generation: attempt.generation.max(session.generation) + 1,
        mac_key: attempt.active_mac_key.clone(),
        rotation: Some(Rotation { at: attempt.now, client: attempt.mark_of_active_key }),
        used: false,
        ..session.clone()
    };
    match (flaw, right) {
        (Flaw::GraceClosed, Outcome::Retried { late: false, .. }) => {
            Outcome::Reused { write: session.end(attempt.now, EndReason::Reuse) }
        }
        (Flaw::RetryRotates, Outcome::Retried { .. }) => Outcome::Rotated { write: successor() },
        (Flaw::AheadRotatedAtOnce, Outcome::Kept { .. }) if is_ahead => Outcome::Rotated { write: successor() },
        (Flaw::KeptRotates, Outcome::Kept { .. }) if !is_ahead => Outcome::Rotated { write: successor() },
        (Flaw::LateRetryRefused, Outcome::Retried { late: true, .. }) => {
            Outcome::Reused { write: session.end(attempt.now, EndReason::Reuse) }
        }
        (Flaw::TabsForgotten, Outcome::Retried { write: Some(_), late: false }) => {
            Outcome::Retried { write: None, late: false }
        }
        (Flaw::EndedRises, Outcome::Refused(Refusal::Ended)) => {
            Outcome::Rotated { write: Session { ended: None, ..successor() } }
        }
        (Flaw::AheadRefused, Outcome::Kept { .. }) if is_ahead => {
            Outcome::Reused { write: session.end(attempt.now, EndReason::Reuse) }
        }
        (Flaw::OldForgiven | Flaw::LateRetryOfUsed, Outcome::Reused { .. })
            if flaw == Flaw::OldForgiven || attempt.generation + 1 == session.generation =>
        {
            Outcome::Retried { write: None, late: true }
        }
        (_, right) => right,
    }
}

/// The join of two copies, or a flawed one.
pub fn join(left: &Session, right: &Session, flaw: Flaw) -> Session {
    match flaw {
        Flaw::MergeTakesLower => match left.generation <= right.generation {
            true => Session { ended: left.ended.or(right.ended), ..left.clone() },
            false => Session { ended: left.ended.or(right.ended), ..right.clone() },
        },
        Flaw::MergeForgetsEnding => {
            let merged = merge(left, right);
            Session { ended: right.ended.filter(|_| right.generation >= left.generation), ..merged }
        }
        _ => merge(left, right),
    }
}

/// Milliseconds as a duration.
pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
