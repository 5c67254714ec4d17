//! Merging copies of a session: any order, any number of times; and what has ended stays ended.

use proptest::prelude::*;

use super::{GRACE, START, fresh};
use crate::session::{
    Attempt, ClientMark, EndReason, Ending, KeyId, LateRetry, Outcome, Refusal, Rotation, RotationPolicy, Session,
    ToldAtLogin, merge, rotate,
};

fn time() -> impl Strategy<Value = crate::time::Timestamp> {
    // Few, so that copies often agree.
    (0_u64..4).prop_map(|seconds| START.plus(std::time::Duration::from_secs(seconds)))
}

fn rotation() -> impl Strategy<Value = Rotation> {
    (time(), 0_u8..3).prop_map(|(at, client)| Rotation { at, client: ClientMark([client; 16]) })
}

fn ending() -> impl Strategy<Value = Ending> {
    let reason = prop_oneof![Just(EndReason::Logout), Just(EndReason::Reuse), Just(EndReason::Revoked)];
    (time(), reason).prop_map(|(at, reason)| Ending { at, reason })
}

fn told() -> impl Strategy<Value = ToldAtLogin> {
    (0_usize..2, 0_usize..2, proptest::option::of("[ab]")).prop_map(|(roles, scopes, app_session)| ToldAtLogin {
        roles: vec!["staff".to_owned(); roles],
        scopes: vec!["read".to_owned(); scopes],
        app_session,
    })
}

/// Copies of one session, as they could be held anywhere, and worse.
fn copy() -> impl Strategy<Value = Session> {
    let key = prop_oneof![Just(KeyId::from("key 0")), Just(KeyId::from("key 1"))];
    let (rotation, ended) = (proptest::option::of(rotation()), proptest::option::of(ending()));
    (0_u32..4, key, rotation, any::<bool>(), ended, proptest::option::of(told())).prop_map(
        |(generation, mac_key, rotation, used, ended, told)| Session {
            generation,
            mac_key,
            rotation,
            used,
            ended,
            told: told.map(std::sync::Arc::new),
            ..fresh()
        },
    )
}

proptest! {
    #[test]
    fn merging_is_commutative(a in copy(), b in copy()) {
        prop_assert_eq!(merge(&a, &b), merge(&b, &a));
    }

    #[test]
    fn merging_is_associative(a in copy(), b in copy(), c in copy()) {
        prop_assert_eq!(merge(&merge(&a, &b), &c), merge(&a, &merge(&b, &c)));
    }

    #[test]
    fn merging_is_idempotent(a in copy(), b in copy()) {
        prop_assert_eq!(merge(&a, &a), a.clone());
        let merged = merge(&a, &b);
        prop_assert_eq!(merge(&merged, &a), merged.clone());
        prop_assert_eq!(merge(&b, &merged), merged);
    }

    #[test]
    fn the_merged_copy_knows_all_that_both_know(a in copy(), b in copy()) {
        let merged = merge(&a, &b);
        prop_assert_eq!(merged.generation, a.generation.max(b.generation));
        prop_assert_eq!(merged.ended.is_some(), a.ended.is_some() || b.ended.is_some());
        // Used is a generation's own: what was seen of an older one says nothing of the newest.
        let newest = [&a, &b].into_iter().filter(|copy| copy.generation == merged.generation);
        prop_assert_eq!(merged.used, newest.into_iter().any(|copy| copy.used));
        prop_assert_eq!(merged.told.is_some(), a.told.is_some() || b.told.is_some());
        for copy in [&a, &b] {
            prop_assert!(copy.ended.is_none_or(|ending| merged.ended <= Some(ending)));
        }
    }

    #[test]
    fn nothing_makes_an_ended_session_live(
        session in copy(), ending in ending(), other in copy(), generation in 0_u32..6, seconds in 0_u64..100,
    ) {
        let ended = Session { ended: Some(ending), ..session };
        let now = START.plus(std::time::Duration::from_secs(seconds));
        prop_assert!(!ended.is_live(now));
        prop_assert!(!merge(&ended, &other).is_live(now));
        prop_assert_eq!(ended.end(now, EndReason::Revoked), ended.clone());

        let key = KeyId::from("key 1");
        let mark = ClientMark([0; 16]);
        let attempt = Attempt {
            generation,
            now,
            mark_of_record_key: mark,
            mark_of_active_key: mark,
            mark_of_presented_key: mark,
            active_mac_key: &key,
            presented_mac_key: &key,
            known_ended: false,
        };
        for late_retry in [LateRetry::SameClient, LateRetry::Any, LateRetry::Off] {
            let policy = RotationPolicy { grace: GRACE, late_retry };
            prop_assert_eq!(rotate(Some(&ended), &attempt, &policy), Outcome::Refused(Refusal::Ended));
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written(session in copy()) {
        let text = serde_json::to_string(&session).unwrap();
        prop_assert_eq!(serde_json::from_str::<Session>(&text).unwrap(), session);
    }
}
