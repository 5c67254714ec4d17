//! The table forgets when it has to, and never answers with anything else than what was asked for.

use proptest::prelude::*;

use super::*;

/// splitmix64.
fn mixed(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn hash(number: u64) -> Hash {
    [mixed(number), mixed(mixed(number))]
}

fn put(table: &Table<u64>, number: u64) {
    table.put(hash(number), Arc::new(number), |other| *other == number);
}

fn find(table: &Table<u64>, number: u64) -> Option<u64> {
    table.find(hash(number), |other| *other == number).map(|found| *found)
}

#[test]
fn nearly_all_are_kept_until_it_is_nearly_full() {
    let table = Table::new(10_000);
    (0..9_000).for_each(|number| put(&table, number));
    let kept = (0..9_000).filter(|&number| find(&table, number).is_some()).count();
    assert!(kept > 8_900, "{kept}");
    assert_eq!(table.len(), kept);
    (0..100_000).for_each(|number| put(&table, number));
    let kept = (0..100_000).filter(|&number| find(&table, number).is_some()).count();
    assert!((9_900..=10_000).contains(&kept), "{kept}");
    assert_eq!(table.len(), kept);
}

#[test]
fn those_that_come_back_stay_when_strangers_pass() {
    let table = Table::new(1024);
    for round in 0..100_000 {
        if round % 100 == 0 {
            (0..256).filter(|&number| find(&table, number).is_none()).for_each(|number| put(&table, number));
        }
        put(&table, 1_000 + round);
    }
    let kept = (0..256).filter(|&number| find(&table, number).is_some()).count();
    assert!(kept > 230, "{kept}");
}

#[test]
fn what_is_put_twice_is_kept_once() {
    let table = Table::new(64);
    (0..10).for_each(|_| put(&table, 1));
    assert_eq!((table.len(), find(&table, 1)), (1, Some(1)));
}

#[test]
fn what_goes_is_dropped() {
    let table = Table::new(100_000);
    (0..50_000).for_each(|number| put(&table, number));
    let (kept, gone): (Vec<u64>, Vec<u64>) = (0..50_000).partition(|number| number % 3 == 0);
    let before = table.len();
    // Once for each part.
    (0..100_000_usize.div_ceil(PART * WAYS)).for_each(|_| table.retain_some(|number| **number % 3 == 0));
    assert!(gone.iter().all(|&number| find(&table, number).is_none()));
    assert_eq!(kept.iter().filter(|&&number| find(&table, number).is_some()).count(), table.len());
    assert!(before > 49_900 && table.len() > 16_600, "{before} {}", table.len());
    table.retain_some(|_| false);
}

#[test]
fn whatever_the_bytes_say_nothing_is_taken_for_another() {
    // All have the same hash: the same two places, and the same tag.
    let table = Table::new(1 << 10);
    let same = hash(1);
    (0..100_u64).for_each(|number| table.put(same, Arc::new(number), |other| *other == number));
    assert_eq!(table.len(), 2 * WAYS);
    let found = |number: u64| table.find(same, |other| *other == number).map(|it| *it);
    assert!((0..100).all(|number| found(number).is_none_or(|other| other == number)));
    assert_eq!((0..100).filter(|&number| found(number).is_some()).count(), 2 * WAYS);
}

#[test]
fn readers_find_what_is_there_while_others_write() {
    let table = Table::new(1 << 16);
    put(&table, 0);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let table = &table;
            scope.spawn(move || (1..5_000).for_each(|number| put(table, number * 2 + writer)));
        }
        scope.spawn(|| (0..100).for_each(|_| table.retain_some(|number| **number % 5 != 1)));
        scope.spawn(|| (0..200_000).for_each(|_| assert_eq!(find(&table, 0), Some(0))));
    });
    let kept = (0..10_000).filter(|&number| find(&table, number).is_some()).count();
    assert_eq!(table.len(), kept);
}

proptest! {
    #[test]
    fn the_bytes_that_are_zero(bytes in prop::array::uniform8(prop_oneof![Just(0_u8), Just(1), Just(0x7f), 0..0x80_u8])) {
        let found = zeros(u64::from_le_bytes(bytes)).to_le_bytes();
        for (byte, found) in bytes.iter().zip(found) {
            prop_assert_eq!(found, if *byte == 0 { 0x80 } else { 0 });
        }
    }
}
