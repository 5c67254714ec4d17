//! The rotation rule: one pure function.
//!
//! Five proxies, two tabs and a lost reply must all end with one cookie, a thief must not share a
//! session unseen, and nobody may be logged out by a reload at the wrong moment. Every arm below
//! closes a hole that a model check found; change one only together with the contract's table.

use std::time::Duration;

use super::{ClientMark, EndReason, KeyId, Rotation, Session};
use crate::time::Timestamp;

/// The longest grace that can be configured.
pub const GRACE_MAX: Duration = Duration::from_secs(60);

/// Who may present the previous refresh token after the grace, when its successor was never used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LateRetry {
    /// Only a client that looks like the one that asked for the rotation.
    #[default]
    SameClient,
    /// Any client. Nobody is logged out by a lost reply, and a thief who waits is noticed later.
    Any,
    /// Nobody. A lost reply that is not retried within the grace logs the user out.
    Off,
}

/// How rotation is configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RotationPolicy {
    /// For how long after a rotation the previous refresh token still yields its successor: up to [`GRACE_MAX`].
    pub grace: Duration,
    /// What holds after that.
    pub late_retry: LateRetry,
}

/// One attempt to refresh, after the refresh token passed its MAC.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The generation of the presented token.
    pub generation: u32,
    /// When it was presented.
    pub now: Timestamp,
    /// The client's mark under the key that the stored record names: compared with the record's.
    pub mark_of_record_key: ClientMark,
    /// The client's mark under `active_mac_key`: kept in the record when this attempt rotates.
    pub mark_of_active_key: ClientMark,
    /// The client's mark under `presented_mac_key`: kept in the record when this attempt is what the store hears first of
    /// the generation.
    pub mark_of_presented_key: ClientMark,
    /// The MAC key that new refresh tokens are made with.
    pub active_mac_key: &'a KeyId,
    /// The MAC key that the presented token is made with.
    pub presented_mac_key: &'a KeyId,
    /// This proxy knows the session as ended, whatever the record says (the store may have been rolled back).
    pub known_ended: bool,
}

/// Why a refresh is refused without suspicion of theft.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The session has ended. A logged-out token that comes back is not theft.
    Ended,
    /// The session is past its absolute end.
    Expired,
    /// There is no such session.
    Unknown,
}

/// What becomes of a refresh. The answer is sent only after what has to be written was committed
/// against exactly the record that was judged; after a lost race the record is read and judged again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The presented token again, within the grace of its own rotation: at most one rotation per grace,
    /// so that a slow tab is never two behind. When the store has lost that rotation, it is told of it.
    Kept {
        /// To be committed, unless the record says all this already.
        write: Option<Session>,
    },
    /// The successor of the presented token.
    Rotated {
        /// To be committed.
        write: Session,
    },
    /// The successor once more, byte for byte: the reply was lost or another tab was first.
    Retried {
        /// To be committed, because the grace opens again; none if it need not.
        write: Option<Session>,
        /// It came after the grace, and is to be audited.
        late: bool,
    },
    /// A stolen token is about, and the session ends.
    Reused {
        /// To be committed.
        write: Session,
    },
    /// No.
    Refused(Refusal),
}

/// Decides on one presented refresh token. `session` is the store's record; none if the store, being
/// sure of its memory, has none.
pub fn rotate(session: Option<&Session>, attempt: &Attempt<'_>, policy: &RotationPolicy) -> Outcome {
    let Some(session) = session else { return Outcome::Refused(Refusal::Unknown) };
    if session.ended.is_some() || attempt.known_ended {
        return Outcome::Refused(Refusal::Ended);
    }
    if attempt.now >= session.ends_at {
        return Outcome::Refused(Refusal::Expired);
    }

    let grace_open = session.rotation.is_some_and(|rotation| attempt.now < rotation.at.plus(policy.grace));
    let presented = attempt.generation;
    let current = session.generation;

    if presented > current {
        // The MAC is ours, so only we can have made it, and the store has lost its rotation. Whoever has not heard of that
        // one yet has its grace from now on: to rotate at once would put such a tab two behind.
        Outcome::Kept { write: Some(caught_up(session, attempt)) }
    } else if presented == current && grace_open {
        let write = (!session.used).then(|| Session { used: true, ..session.clone() });
        Outcome::Kept { write }
    } else if presented == current {
        Outcome::Rotated { write: successor(session, attempt) }
    } else if presented + 1 < current {
        Outcome::Reused { write: session.end(attempt.now, EndReason::Reuse) }
    } else if grace_open && !in_second_half(session, attempt, policy) {
        Outcome::Retried { write: None, late: false }
    } else if !session.used && may_retry_late(session, attempt, policy.late_retry) {
        // Also when the grace is about to close: another tab may be half a grace behind this one, and this one's use of the
        // successor would make it look like a thief.
        let rotation = Rotation { at: attempt.now, client: attempt.mark_of_record_key };
        Outcome::Retried { write: Some(Session { rotation: Some(rotation), ..session.clone() }), late: !grace_open }
    } else if grace_open {
        Outcome::Retried { write: None, late: false }
    } else {
        Outcome::Reused { write: session.end(attempt.now, EndReason::Reuse) }
    }
}

/// The session at the presented generation, which the store has lost. It names the key of the presented token, so that the
/// same token is derived from it, byte for byte.
fn caught_up(session: &Session, attempt: &Attempt<'_>) -> Session {
    Session {
        generation: attempt.generation,
        mac_key: attempt.presented_mac_key.clone(),
        rotation: Some(Rotation { at: attempt.now, client: attempt.mark_of_presented_key }),
        used: true,
        ..session.clone()
    }
}

/// The session, one generation after the presented one.
fn successor(session: &Session, attempt: &Attempt<'_>) -> Session {
    Session {
        generation: attempt.generation.saturating_add(1),
        mac_key: attempt.active_mac_key.clone(),
        rotation: Some(Rotation { at: attempt.now, client: attempt.mark_of_active_key }),
        used: false,
        ..session.clone()
    }
}

fn in_second_half(session: &Session, attempt: &Attempt<'_>, policy: &RotationPolicy) -> bool {
    session.rotation.is_some_and(|rotation| attempt.now >= rotation.at.plus(policy.grace / 2))
}

fn may_retry_late(session: &Session, attempt: &Attempt<'_>, late_retry: LateRetry) -> bool {
    match late_retry {
        LateRetry::Off => false,
        LateRetry::Any => true,
        LateRetry::SameClient => session.rotation.is_some_and(|rotation| rotation.client == attempt.mark_of_record_key),
    }
}
