//! Stories, and properties over any interleaving.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::login::limits::Budget;

fn limits() -> ThrottleLimits {
    ThrottleLimits {
        per_address: Budget::new(6, 10),
        per_account_and_address: Budget::new(3, 10),
        per_account: Budget::new(5, 10),
        familiar: Budget::new(4, 10),
        familiar_for: Duration::from_secs(1000),
        entries_max: 1000,
    }
}

fn throttle() -> Throttle {
    Throttle::new(limits(), &[7; 32])
}

fn v4(host: u32) -> IpAddr {
    IpAddr::V4(host.into())
}

fn home() -> IpAddr {
    v4(0xc000_0201)
}

/// An attempt from beginning to end. None if it was not let through.
fn attempt(throttle: &mut Throttle, account: &str, from: IpAddr, attempt: Attempt, now: Instant) -> Option<()> {
    let reservation = throttle.reserve(account, from, now).ok()?;
    throttle.settle(reservation, attempt, now);
    Some(())
}

fn failures_until_refused(throttle: &mut Throttle, account: &str, from: IpAddr, now: Instant) -> usize {
    (0..1000).take_while(|_| attempt(throttle, account, from, Attempt::Failed, now).is_some()).count()
}

#[test]
fn a_budget_is_used_up_says_when_to_come_back_and_fills_up_evenly() {
    let (mut throttle, start) = (throttle(), Instant::now());
    assert_eq!(failures_until_refused(&mut throttle, "demo", home(), start), 3);
    let retry_after = throttle.reserve("demo", home(), start).unwrap_err().retry_after;
    assert_eq!(retry_after, Duration::from_secs(10));
    let nearly = start + retry_after - Duration::from_millis(1);
    assert_eq!(throttle.reserve("demo", home(), nearly).unwrap_err().retry_after, Duration::from_millis(1));
    assert_eq!(failures_until_refused(&mut throttle, "demo", home(), start + retry_after), 1);
    assert_eq!(failures_until_refused(&mut throttle, "demo", home(), start + Duration::from_secs(3600)), 3);
}

#[test]
fn each_kind_of_attack_has_a_bound() {
    let start = Instant::now();
    let mut one_address = throttle();
    let guesses: usize =
        (0..50).map(|n| failures_until_refused(&mut one_address, &format!("user{n}"), home(), start)).sum();
    assert_eq!(guesses, 6, "many accounts from one address");
    let mut one_account = throttle();
    let guesses: usize = (0..50).map(|n| failures_until_refused(&mut one_account, "demo", v4(n), start)).sum();
    assert_eq!(guesses, 5, "one account from many addresses");
}

#[test]
fn right_passwords_cost_nothing() {
    let (mut throttle, now) = (throttle(), Instant::now());
    for user in 0..200 {
        assert!(attempt(&mut throttle, &format!("user{user}"), home(), Attempt::Succeeded, now).is_some());
        assert!(attempt(&mut throttle, "demo", v4(user), Attempt::Withdrawn, now).is_some());
    }
    assert_eq!(
        throttle.addresses.len() + throttle.accounts.len() + throttle.pairs.len(),
        0,
        "what is full is not kept"
    );
}

#[test]
fn attempts_at_once_are_reserved_before_their_outcome_is_known() {
    let (mut throttle, now) = (throttle(), Instant::now());
    let first: Vec<_> = (0..3).map(|_| throttle.reserve("demo", home(), now).unwrap()).collect();
    assert_eq!(throttle.reserve("demo", home(), now).unwrap_err().retry_after, Duration::from_secs(1));
    first.into_iter().for_each(|reservation| throttle.settle(reservation, Attempt::Failed, now));
    assert!(throttle.reserve("demo", home(), now).is_err());
}

#[test]
fn addresses_are_counted_as_one_subscriber_has_them() {
    let start = Instant::now();
    let same = |left: &str, right: &str| {
        let mut throttle = throttle();
        failures_until_refused(&mut throttle, "demo", left.parse().unwrap(), start);
        throttle.reserve("demo", right.parse().unwrap(), start).is_err()
    };
    assert!(same("2001:db8:0:1::1", "2001:db8:0:1:ffff::2"));
    assert!(!same("2001:db8:0:1::1", "2001:db8:0:2::1"));
    assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
    assert!(!same("192.0.2.1", "192.0.2.2"));
}

#[test]
fn familiarity_ends_and_is_the_accounts_own() {
    let (mut throttle, start) = (throttle(), Instant::now());
    attempt(&mut throttle, "demo", home(), Attempt::Succeeded, start).unwrap();
    assert_eq!(failures_until_refused(&mut throttle, "demo", home(), start), 4);
    assert_eq!(
        failures_until_refused(&mut throttle, "other", home(), start),
        3,
        "another account is no better off there"
    );
    assert_eq!(failures_until_refused(&mut throttle, "demo", home(), start + Duration::from_secs(1001)), 3);
}

#[test]
fn moving_about_forgets_the_oldest_place_of_that_account_only() {
    let (mut throttle, start) = (throttle(), Instant::now());
    let second = Duration::from_secs(1);
    attempt(&mut throttle, "demo", home(), Attempt::Succeeded, start).unwrap();
    for place in 0..100 {
        attempt(&mut throttle, "mover", v4(place), Attempt::Succeeded, start + second * place).unwrap();
    }
    assert_eq!(throttle.familiar.len(), 1 + 16);
    let now = start + second * 100;
    assert_eq!(failures_until_refused(&mut throttle, "demo", home(), now), 4);
    assert_eq!(failures_until_refused(&mut throttle, "mover", v4(99), now), 4);
    assert_eq!(failures_until_refused(&mut throttle, "mover", v4(0), now), 3);
}

#[test]
fn a_victim_logs_in_whatever_ten_thousand_attackers_do_elsewhere() {
    let (mut throttle, start) = (throttle(), Instant::now());
    attempt(&mut throttle, "demo", home(), Attempt::Succeeded, start).unwrap();
    let mut guesses = 0;
    for attacker in 0..10_000 {
        let now = start + Duration::from_millis(u64::from(attacker));
        guesses += failures_until_refused(&mut throttle, "demo", v4(attacker), now);
        failures_until_refused(&mut throttle, &format!("made up {attacker}"), v4(attacker), now);
        if attacker % 100 == 0 {
            assert!(attempt(&mut throttle, "demo", home(), Attempt::Succeeded, now).is_some(), "attacker {attacker}");
        }
    }
    assert_eq!(guesses, 5, "and the attackers had the account's budget for strange addresses, no more");
    assert!(throttle.len() <= 3 * 1000 + 1);
    let now = start + Duration::from_secs(10);
    assert_eq!(failures_until_refused(&mut throttle, "demo", home(), now), 4, "typing errors are borne as ever");
}

#[test]
fn a_flood_forgets_who_guessed_least() {
    let (mut throttle, now) = (throttle(), Instant::now());
    assert_eq!(failures_until_refused(&mut throttle, "demo", home(), now), 3);
    for other in 0..5000 {
        attempt(&mut throttle, &format!("made up {other}"), v4(other), Attempt::Failed, now);
    }
    assert!(throttle.addresses.len() <= 1000 && throttle.accounts.len() <= 1000 && throttle.pairs.len() <= 1000);
    assert!(throttle.reserve("demo", home(), now).is_err(), "the one who is at the bound is still there");
}

#[derive(Clone, Debug)]
enum Step {
    Reserve { account: u8, from: u8 },
    Settle { index: usize, attempt: Attempt },
    Wait { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let attempt = prop_oneof![4 => Just(Attempt::Failed), 1 => Just(Attempt::Succeeded), 1 => Just(Attempt::Withdrawn)];
    prop_oneof![
        4 => (0..3_u8, 0..3_u8).prop_map(|(account, from)| Step::Reserve { account, from }),
        3 => (any::<usize>(), attempt).prop_map(|(index, attempt)| Step::Settle { index, attempt }),
        1 => (0..30_000_u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

/// The most failures in any window are the budget and what it fills up by in the window.
fn assert_bounded(failures: &[Duration], budget: Budget, what: &str) {
    for (first, from) in failures.iter().enumerate() {
        for (last, until) in failures.iter().enumerate().skip(first) {
            let allowed = u128::from(budget.attempts) + (*until - *from).as_millis() / budget.refill.as_millis();
            assert!((last - first + 1) as u128 <= allowed, "{what}: {} within {:?}", last - first + 1, *until - *from);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_interleaving_lets_more_guesses_through(steps in proptest::collection::vec(step(), 1..200)) {
        let (mut throttle, start, mut elapsed) = (throttle(), Instant::now(), Duration::ZERO);
        let mut open = Vec::new();
        let (mut familiar, mut addresses, mut accounts, mut pairs) =
            (HashMap::new(), HashMap::new(), HashMap::new(), HashMap::new());
        let pass = |elapsed: Duration| start + elapsed;
        for step in steps {
            match step {
                Step::Wait { millis } => elapsed += Duration::from_millis(millis),
                Step::Reserve { account, from } => {
                    let name = account.to_string();
                    if let Ok(reservation) = throttle.reserve(&name, v4(from.into()), pass(elapsed)) {
                        open.push((account, from, reservation));
                    }
                }
                Step::Settle { index, attempt } if !open.is_empty() => {
                    let (account, from, reservation) = open.swap_remove(index % open.len());
                    if attempt == Attempt::Failed && reservation.familiar {
                        familiar.entry((account, from)).or_insert_with(Vec::new).push(elapsed);
                    } else if attempt == Attempt::Failed {
                        addresses.entry(from).or_insert_with(Vec::new).push(elapsed);
                        accounts.entry(account).or_insert_with(Vec::new).push(elapsed);
                        pairs.entry((account, from)).or_insert_with(Vec::new).push(elapsed);
                    }
                    throttle.settle(reservation, attempt, pass(elapsed));
                }
                Step::Settle { .. } => {}
            }
        }
        let limits = limits();
        familiar.values().for_each(|failures| assert_bounded(failures, limits.familiar, "familiar"));
        addresses.values().for_each(|failures| assert_bounded(failures, limits.per_address, "address"));
        accounts.values().for_each(|failures| assert_bounded(failures, limits.per_account, "account"));
        pairs.values().for_each(|failures| assert_bounded(failures, limits.per_account_and_address, "pair"));
        // Once all is settled and time has passed, nothing is held against anybody.
        for (_, _, reservation) in open {
            throttle.settle(reservation, Attempt::Withdrawn, pass(elapsed));
        }
        let later = pass(elapsed + Duration::from_secs(100));
        for account in 0..3 {
            prop_assert!(throttle.reserve(&account.to_string(), v4(0), later).is_ok());
        }
    }

    #[test]
    fn a_victim_keeps_its_own_budget_against_any_attack(
        steps in proptest::collection::vec((0..2_u8, 1..50_u32, step()), 1..200),
        own_failures in 0..4_usize,
    ) {
        let (mut throttle, now) = (throttle(), Instant::now());
        attempt(&mut throttle, "0", v4(0), Attempt::Succeeded, now).unwrap();
        for _ in 0..own_failures {
            attempt(&mut throttle, "0", v4(0), Attempt::Failed, now).unwrap();
        }
        let mut open = Vec::new();
        for (account, from, step) in steps {
            match step {
                Step::Reserve { .. } => open.extend(throttle.reserve(&account.to_string(), v4(from), now)),
                // Attackers never have the victim's password; their own they may have.
                Step::Settle { index, .. } if !open.is_empty() => {
                    let reservation: Reservation = open.swap_remove(index % open.len());
                    throttle.settle(reservation, Attempt::Failed, now);
                }
                _ => drop(attempt(&mut throttle, "attacker", v4(from), Attempt::Succeeded, now)),
            }
        }
        prop_assert!(attempt(&mut throttle, "0", v4(0), Attempt::Succeeded, now).is_some());
    }
}
