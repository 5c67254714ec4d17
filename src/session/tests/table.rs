//! Every row of the contract's table, as data.

use std::time::Duration;

use super::{GRACE, LIFETIME, START, fresh, rotated};
use crate::session::{
    Attempt, ClientMark, EndReason, KeyId, LateRetry, Outcome, Refusal, Rotation, RotationPolicy, Session, rotate,
};

/// The client that asked for the rotation, and another one.
const SAME: u8 = 1;
const OTHER: u8 = 2;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    /// The current token. Does that have to be written?
    Kept {
        write: bool,
    },
    /// The presented token, of which the store had not heard: it catches up.
    CaughtUp {
        with: u32,
    },
    /// The successor of the presented token.
    Rotated {
        to: u32,
    },
    /// The successor again.
    Retried,
    /// The successor again, shortly before the grace closes: written, and the grace opens again.
    RetriedAndReopened,
    /// The successor again after the grace: written, and the grace opens again.
    RetriedLate,
    /// The session ends.
    Reused,
    Refused(Refusal),
}
use Answer::{CaughtUp, Kept, Refused, Retried, RetriedAndReopened, RetriedLate, Reused, Rotated};

struct Row {
    what: &'static str,
    session: Option<Session>,
    presented: u32,
    /// How long after the rotation.
    after: Duration,
    client: u8,
    policy: RotationPolicy,
    known_ended: bool,
    answer: Answer,
}

/// The session is at generation 5, rotated by `SAME` and not yet used; presented by `SAME`, once the grace is over.
fn row(what: &'static str, presented: u32, answer: Answer) -> Row {
    let policy = RotationPolicy { grace: GRACE, late_retry: LateRetry::SameClient };
    let session = Some(rotated(5, SAME));
    Row { what, session, presented, after: HOUR, client: SAME, policy, known_ended: false, answer }
}

fn rows() -> Vec<Row> {
    let used = || Some(Session { used: true, ..rotated(5, SAME) });
    let ended = |reason| Some(rotated(5, SAME).end(START, reason));
    let no_grace = RotationPolicy { grace: Duration::ZERO, late_retry: LateRetry::SameClient };
    let late = |late_retry| RotationPolicy { grace: GRACE, late_retry };
    let moment = Duration::from_millis(1);
    vec![
        Row { after: SECOND, ..row("current, grace open", 5, Kept { write: true }) },
        Row {
            after: SECOND,
            session: used(),
            ..row("current, grace open, known to be used", 5, Kept { write: false })
        },
        Row { after: SECOND, client: OTHER, ..row("current, grace open, another client", 5, Kept { write: true }) },
        Row { after: GRACE - moment, ..row("current, the last moment of the grace", 5, Kept { write: true }) },
        Row { after: GRACE, ..row("current, the grace is over", 5, Rotated { to: 6 }) },
        row("current, long after", 5, Rotated { to: 6 }),
        Row { session: used(), client: OTHER, ..row("current, used, another client", 5, Rotated { to: 6 }) },
        Row { after: Duration::ZERO, policy: no_grace, ..row("current, no grace at all", 5, Rotated { to: 6 }) },
        Row { session: Some(fresh()), after: Duration::ZERO, ..row("current, just logged in", 0, Rotated { to: 1 }) },
        Row { after: SECOND, ..row("previous, grace open", 4, Retried) },
        Row { after: SECOND, session: used(), ..row("previous, grace open, used", 4, Retried) },
        Row { after: SECOND, client: OTHER, ..row("previous, grace open, another client", 4, Retried) },
        Row { after: SECOND, policy: late(LateRetry::Off), ..row("previous, grace open, no late retry", 4, Retried) },
        Row { after: GRACE / 2 - moment, ..row("previous, the first half of the grace", 4, Retried) },
        Row { after: GRACE / 2, ..row("previous, the second half of the grace", 4, RetriedAndReopened) },
        Row { after: GRACE - moment, ..row("previous, the last moment of the grace", 4, RetriedAndReopened) },
        Row { after: GRACE - moment, session: used(), ..row("previous, the last moment, used", 4, Retried) },
        Row { after: GRACE - moment, client: OTHER, ..row("previous, the last moment, another client", 4, Retried) },
        Row {
            after: GRACE - moment,
            policy: late(LateRetry::Off),
            ..row("previous, the last moment, no late retry", 4, Retried)
        },
        Row { after: GRACE, ..row("previous, late, unused, same client", 4, RetriedLate) },
        row("previous, very late, unused, same client", 4, RetriedLate),
        Row { policy: late(LateRetry::Any), client: OTHER, ..row("previous, late, any client may", 4, RetriedLate) },
        Row { policy: no_grace, after: Duration::ZERO, ..row("previous, no grace, unused", 4, RetriedLate) },
        Row { client: OTHER, ..row("previous, late, another client", 4, Reused) },
        Row { session: used(), ..row("previous, late, used", 4, Reused) },
        Row { session: used(), policy: late(LateRetry::Any), ..row("previous, late, used, any client may", 4, Reused) },
        Row { policy: late(LateRetry::Off), ..row("previous, late, nobody may", 4, Reused) },
        Row { after: SECOND, ..row("older, though the grace is open", 3, Reused) },
        row("older, long after", 3, Reused),
        row("the first of all", 0, Reused),
        row("ahead of the store", 6, CaughtUp { with: 6 }),
        row("far ahead of the store", 9, CaughtUp { with: 9 }),
        Row { after: SECOND, ..row("ahead of the store, grace open", 6, CaughtUp { with: 6 }) },
        Row {
            client: OTHER,
            session: used(),
            ..row("ahead of the store, used, another client", 6, CaughtUp { with: 6 })
        },
        Row { after: Duration::ZERO, policy: no_grace, ..row("ahead of the store, no grace", 6, CaughtUp { with: 6 }) },
        Row { session: Some(fresh()), ..row("ahead of a session that has never rotated", 1, CaughtUp { with: 1 }) },
        row("as far ahead as can be", u32::MAX, CaughtUp { with: u32::MAX }),
        Row { known_ended: true, ..row("ahead of the store, known as ended", 6, Refused(Refusal::Ended)) },
        Row { session: None, ..row("no record", 5, Refused(Refusal::Unknown)) },
        Row { session: None, known_ended: true, ..row("no record, known as ended", 5, Refused(Refusal::Unknown)) },
        Row { session: ended(EndReason::Logout), ..row("logged out, current", 5, Refused(Refusal::Ended)) },
        Row { session: ended(EndReason::Logout), ..row("logged out, previous", 4, Refused(Refusal::Ended)) },
        Row { session: ended(EndReason::Logout), ..row("logged out, old: no theft", 0, Refused(Refusal::Ended)) },
        Row { session: ended(EndReason::Reuse), ..row("ended by reuse, ahead", 6, Refused(Refusal::Ended)) },
        Row { known_ended: true, ..row("known as ended, the record is older", 5, Refused(Refusal::Ended)) },
        Row { known_ended: true, ..row("known as ended, an old token", 1, Refused(Refusal::Ended)) },
        Row { after: LIFETIME, ..row("past its end, current", 5, Refused(Refusal::Expired)) },
        Row { after: LIFETIME, ..row("past its end, an old token: no theft", 1, Refused(Refusal::Expired)) },
        Row { after: LIFETIME - moment, ..row("the last moment before its end", 5, Rotated { to: 6 }) },
    ]
}

#[test]
fn every_row_of_the_contract_s_table() {
    for Row { what, session, presented, after, client, policy, known_ended, answer } in rows() {
        let now = START.plus(after);
        let (new_key, presented_key) = (KeyId::from("key 1"), KeyId::from("key 2"));
        let attempt = Attempt {
            generation: presented,
            now,
            mark_of_record_key: ClientMark([client; 16]),
            mark_of_active_key: ClientMark([client + 100; 16]),
            mark_of_presented_key: ClientMark([client + 200; 16]),
            active_mac_key: &new_key,
            presented_mac_key: &presented_key,
            known_ended,
        };
        let outcome = rotate(session.as_ref(), &attempt, &policy);
        let current = session.as_ref().map_or(0, |session| session.generation);
        let found = match &outcome {
            Outcome::Kept { write: Some(write) } if write.generation != current => CaughtUp { with: write.generation },
            Outcome::Kept { write } => Kept { write: write.is_some() },
            Outcome::Rotated { write } => Rotated { to: write.generation },
            Outcome::Retried { write: None, late: false } => Retried,
            Outcome::Retried { write: Some(_), late: false } => RetriedAndReopened,
            Outcome::Retried { write: Some(_), late: true } => RetriedLate,
            Outcome::Retried { write: None, late: true } => panic!("{what}: the grace opens again"),
            Outcome::Reused { .. } => Reused,
            Outcome::Refused(refusal) => Refused(*refusal),
        };
        assert_eq!(found, answer, "{what}");

        // What is written is the session that was read, but for what the row says.
        let before = session.unwrap_or_else(fresh);
        match outcome {
            Outcome::Kept { write: Some(write) } if presented > before.generation => {
                let rotation = Rotation { at: now, client: ClientMark([client + 200; 16]) };
                let (mac_key, rotation) = (presented_key, Some(rotation));
                let expected = Session { generation: presented, mac_key, rotation, used: true, ..before };
                assert_eq!(write, expected, "{what}");
            }
            Outcome::Kept { write: Some(write) } => {
                assert_eq!(write, Session { used: true, ..before }, "{what}");
            }
            Outcome::Rotated { write } => {
                let rotation = write.rotation.expect("a rotation made it");
                assert_eq!((rotation.at, rotation.client), (now, ClientMark([client + 100; 16])), "{what}");
                let expected = Session {
                    generation: presented + 1,
                    mac_key: new_key,
                    rotation: Some(rotation),
                    used: false,
                    ..before
                };
                assert_eq!(write, expected, "{what}");
            }
            Outcome::Retried { write: Some(write), .. } => {
                let rotation = write.rotation.expect("a rotation made it");
                assert_eq!((rotation.at, rotation.client), (now, ClientMark([client; 16])), "{what}");
                assert_eq!(write, Session { rotation: Some(rotation), ..before }, "{what}: the successor is the same");
            }
            Outcome::Reused { write } => assert_eq!(write, before.end(now, EndReason::Reuse), "{what}"),
            Outcome::Kept { write: None } | Outcome::Retried { write: None, .. } | Outcome::Refused(_) => {}
        }
    }
}

/// So the store need not hear of it.
#[test]
fn whether_the_first_generation_was_used_decides_nothing() {
    let key = KeyId::from("key 1");
    for (presented, after, late_retry) in [(0, SECOND), (0, HOUR), (1, SECOND), (2, HOUR)]
        .into_iter()
        .flat_map(|(presented, after)| [LateRetry::SameClient, LateRetry::Any].map(|late| (presented, after, late)))
    {
        let attempt = Attempt {
            generation: presented,
            now: START.plus(after),
            mark_of_record_key: ClientMark([SAME; 16]),
            mark_of_active_key: ClientMark([SAME; 16]),
            mark_of_presented_key: ClientMark([SAME; 16]),
            active_mac_key: &key,
            presented_mac_key: &key,
            known_ended: false,
        };
        let policy = RotationPolicy { grace: GRACE, late_retry };
        let outcomes = [false, true].map(|used| rotate(Some(&Session { used, ..fresh() }), &attempt, &policy));
        assert_eq!(outcomes[0], outcomes[1], "{presented} after {after:?}");
    }
}
