//! The list holds what it was told, for as long as it was told to, whatever else goes on; and says when it cannot.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::session::PARTITIONS;

fn id(number: u64) -> SessionId {
    let mut random = [0; 15];
    for (place, bytes) in random.chunks_mut(8).enumerate() {
        // splitmix64.
        let mixed = (number * 2 + place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..bytes.len()]);
    }
    SessionId::new("demo", random)
}

#[test]
fn lists_exactly_what_was_inserted_until_it_expires() {
    let list = RevocationList::new();
    let now = Timestamp::from_secs(1_700_000_000);
    for number in 0..10_000 {
        list.insert(id(number), now.plus(Duration::from_secs(number % 10)));
    }
    assert_eq!(list.len(), 10_000);
    assert!((0..10_000).all(|number| list.contains(&id(number))));
    assert!((10_000..20_000).all(|number| !list.contains(&id(number))));

    list.remove_expired(now.plus(Duration::from_secs(5)));
    assert_eq!(list.len(), 5_000);
    assert!((0..10_000).all(|number| list.contains(&id(number)) == (number % 10 >= 5)));
}

#[test]
fn listing_again_never_shortens() {
    let list = RevocationList::new();
    let now = Timestamp::from_secs(1_700_000_000);
    list.insert(id(1), now.plus(Duration::from_secs(900)));
    list.insert(id(1), now);
    list.remove_expired(now.plus(Duration::from_secs(899)));
    assert!(list.contains(&id(1)));
    assert_eq!((list.until(&id(1)), list.until(&id(2))), (Some(now.plus(Duration::from_secs(900))), None));
    assert_eq!(list.len(), 1);
}

#[test]
fn an_entry_stays_through_the_second_it_names() {
    let list = RevocationList::new();
    list.insert(id(1), Timestamp::from_millis(1_700_000_000_001));
    list.remove_expired(Timestamp::from_millis(1_700_000_001_999));
    assert!(list.contains(&id(1)), "a part of a second is rounded up");
    list.remove_expired(Timestamp::from_secs(1_700_000_002));
    assert!(!list.contains(&id(1)));
}

#[test]
fn readers_never_miss_an_entry_while_others_are_written() {
    let list = RevocationList::new();
    let until = Timestamp::from_secs(1_700_000_000);
    list.insert(id(0), until);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let list = &list;
            scope.spawn(move || (1..5_000).for_each(|number| list.insert(id(number * 2 + writer), until)));
        }
        scope.spawn(|| (0..200_000).for_each(|_| assert!(list.contains(&id(0)))));
    });
    assert_eq!(list.len(), 1 + 2 * 4_999);
}

#[test]
fn what_finds_no_room_is_told_of_until_it_does_not_matter() {
    let list = RevocationList::new();
    let now = Timestamp::from_secs(1_700_000_000);
    list.limit(100);
    (0..100).for_each(|number| list.insert(id(number), now.plus(Duration::from_secs(5))));
    assert!(list.is_complete());
    list.insert(id(7), now.plus(Duration::from_secs(20)));
    assert!(list.is_complete(), "it has its place");
    let added = list.added();
    list.insert(id(100), now.plus(Duration::from_secs(10)));
    assert!(!list.is_complete() && !list.contains(&id(100)) && list.len() == 100);
    assert_ne!(list.added(), added, "whoever listens hears that there is something new");

    list.remove_expired(now.plus(Duration::from_secs(6)));
    assert!(!list.is_complete(), "there is room again, but not for what is missing");
    list.remove_expired(now.plus(Duration::from_secs(10)));
    assert!(!list.is_complete(), "it matters through the second that it names");
    list.remove_expired(now.plus(Duration::from_secs(11)));
    assert!(list.is_complete());
    assert_eq!(list.len(), 1);

    list.limit(0);
    list.insert(id(7), now.plus(Duration::from_secs(30)));
    assert!(list.is_complete() && list.contains(&id(7)), "what is listed stays");
}

/// Bytes of slots for each entry.
fn bytes_each(list: &RevocationList) -> f64 {
    let slots: usize = list.parts.iter().map(|part| part.slots.load().as_ref().map_or(0, |slots| slots.len())).sum();
    (slots * 20) as f64 / list.len() as f64
}

#[test]
fn an_entry_takes_no_more_than_it_should() {
    let until = Timestamp::from_secs(1_700_000_000);
    for count in [10_000, 300_000] {
        let (grown, reserved) = (RevocationList::new(), RevocationList::new());
        reserved.reserve(count as usize);
        for number in 0..count {
            grown.insert(id(number), until);
            reserved.insert(id(number), until.plus(Duration::from_secs(number & 1)));
        }
        assert!(bytes_each(&grown) < 31.0, "{}", bytes_each(&grown));
        assert!(bytes_each(&reserved) < if count > 10_000 { 30.0 } else { 40.0 }, "{}", bytes_each(&reserved));
        reserved.remove_expired(until.plus(Duration::from_secs(1)));
        assert_eq!(reserved.len() as u64, count / 2);
        assert!(bytes_each(&reserved) < 34.5, "{}", bytes_each(&reserved));
        assert!((0..count).all(|number| reserved.contains(&id(number)) == (number & 1 == 1)));
    }
}

/// What a list of these steps must say.
#[derive(Clone, Debug)]
enum Step {
    Insert(u64, u64),
    Forget(u64),
    Reserve(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..400_u64, 0..100_u64).prop_map(|(number, until_s)| Step::Insert(number, until_s)),
        1 => (0..100_u64).prop_map(Step::Forget),
        1 => (0..20_000_usize).prop_map(Step::Reserve),
    ]
}

proptest! {
    #[test]
    fn it_is_a_map(steps in prop::collection::vec(step(), 0..600)) {
        let (list, mut expected) = (RevocationList::new(), BTreeMap::new());
        // All in few parts, so that these fill up.
        let id = |number: u64| {
            let mut bytes = *id(number).as_bytes();
            bytes[1] &= 1;
            SessionId::from_bytes(bytes)
        };
        for step in steps {
            match step {
                Step::Insert(number, until_s) => {
                    list.insert(id(number), Timestamp::from_secs(1000 + until_s));
                    let known = expected.entry(number).or_insert(0);
                    *known = (1000 + until_s).max(*known);
                }
                Step::Forget(now_s) => {
                    list.remove_expired(Timestamp::from_secs(1000 + now_s));
                    expected.retain(|_, until_s| *until_s >= 1000 + now_s);
                }
                Step::Reserve(count) => list.reserve(count),
            }
        }
        prop_assert_eq!(list.len(), expected.len());
        for number in 0..400 {
            let until = expected.get(&number).map(|until_s| Timestamp::from_secs(*until_s));
            prop_assert_eq!(list.until(&id(number)), until);
        }
        let mut listed: Vec<_> = (0..PARTITIONS).flat_map(|partition| list.of_partition(partition)).collect();
        let mut expected: Vec<_> = expected.into_iter().map(|(number, until_s)| (id(number), Timestamp::from_secs(until_s))).collect();
        listed.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(listed, expected);
    }
}
