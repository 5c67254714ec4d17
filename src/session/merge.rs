//! Copies of a session form a lattice, and this is its join.
//!
//! Ended wins over live, a higher generation over a lower one. Copies can be merged in any order and
//! any number of times: recovery after a store lost its memory rests on that.

use super::{Ending, Session};

/// The least session that knows all that `left` and `right` know. Both must be copies of one session.
#[must_use]
pub fn merge(left: &Session, right: &Session) -> Session {
    debug_assert_eq!(left.id, right.id, "only copies of one session can be merged");
    let newer = std::cmp::max_by(left, right, |left, right| order(left).cmp(&order(right)));
    let same_generation = left.generation == right.generation;
    Session {
        used: if same_generation { left.used || right.used } else { newer.used },
        ended: earlier(left.ended, right.ended),
        // These never differ between copies that we made; the join must be total all the same.
        subject: left.subject.clone().max(right.subject.clone()),
        created_at: left.created_at.min(right.created_at),
        ends_at: left.ends_at.min(right.ends_at),
        // Some wins over none: a record that was made from a token to end a session knows nothing of its login.
        told: left.told.clone().max(right.told.clone()),
        ..newer.clone()
    }
}

fn order(session: &Session) -> impl Ord {
    (session.generation, session.rotation, session.mac_key.clone())
}

fn earlier(left: Option<Ending>, right: Option<Ending>) -> Option<Ending> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (left, right) => left.or(right),
    }
}
