//! Histories made by hand: the bad ones have to be rejected, each for what is bad in it.

use std::time::Duration;

use super::checker::{Limits, Operation, Outcome, Token, Wish, check};

const LIMITS: Limits =
    Limits { grace: Duration::from_secs(2), max_staleness: Duration::from_secs(3), patience: Duration::from_secs(6) };

fn token(generation: u64) -> Token {
    Token { session: "s".into(), generation, text: format!("s.{generation}") }
}

fn by(client: usize, proxy: usize, begin_ms: u64, end_ms: u64, wish: Wish, outcome: Outcome) -> Operation {
    let [begin, end] = [begin_ms, end_ms].map(Duration::from_millis);
    Operation { client, thief: client > 8, proxy, begin, end, wish, outcome }
}

fn login() -> Operation {
    by(0, 0, 0, 10, Wish::Login { subject: "alice" }, Outcome::Tokens(token(0)))
}

fn refresh(begin_ms: u64, from: u64, to: u64) -> Operation {
    by(0, 0, begin_ms, begin_ms + 10, Wish::Refresh(token(from)), Outcome::Tokens(token(to)))
}

fn logout(begin_ms: u64) -> Operation {
    by(0, 0, begin_ms, begin_ms + 10, Wish::Logout(token(0)), Outcome::LoggedOut)
}

fn call(proxy: usize, begin_ms: u64) -> Operation {
    by(0, proxy, begin_ms, begin_ms + 10, Wish::Call { session: "s".into() }, Outcome::Passed)
}

fn refused(client: usize, begin_ms: u64, from: u64) -> Operation {
    by(client, 0, begin_ms, begin_ms + 10, Wish::Refresh(token(from)), Outcome::Refused("token_reused".into()))
}

#[track_caller]
fn broken(history: &[Operation], what: &str) {
    let problems = check(history, &LIMITS);
    assert!(!problems.is_empty(), "{what} goes unnoticed");
    assert!(problems.iter().all(|problem| problem.starts_with(what)), "{problems:#?}");
}

#[track_caller]
fn well(history: &[Operation]) {
    assert_eq!(check(history, &LIMITS), Vec::<String>::new());
}

#[test]
fn an_ordinary_day_is_well() {
    well(&[
        login(),
        call(0, 20),
        refresh(30, 0, 1),
        refresh(50, 0, 1),
        refresh(5_000, 1, 2),
        logout(6_000),
        call(1, 6_005),
    ]);
    // Another proxy may not have heard of it yet; what overlaps may have come first.
    well(&[login(), logout(20), call(1, 3_029), refresh(25, 0, 1), call(0, 25)]);
}

#[test]
fn a_refresh_after_a_logout_is_noticed() {
    broken(&[login(), logout(20), refresh(31, 0, 1)], "invariant 2");
}

#[test]
fn a_call_after_a_logout_is_noticed() {
    broken(&[login(), logout(20), call(0, 31)], "invariant 2");
    broken(&[login(), logout(20), call(1, 3_031)], "invariant 2");
}

#[test]
fn a_session_that_survives_the_logout_of_all_is_noticed() {
    let other = Token { session: "t".into(), generation: 0, text: "t.0".into() };
    let second = by(1, 0, 0, 10, Wish::Login { subject: "alice" }, Outcome::Tokens(other.clone()));
    let all = by(1, 1, 20, 30, Wish::LogoutAll { subject: "alice", token: other }, Outcome::LoggedOut);
    broken(&[login(), second.clone(), all.clone(), refresh(31, 0, 1)], "invariant 2");
    // One that began while it was under way is not meant.
    let late = Operation { begin: Duration::from_millis(20), end: Duration::from_millis(25), ..login() };
    well(&[late, second.clone(), all.clone(), refresh(31, 0, 1)]);
    // Nor one that began after another session had asked for the same: whoever asks again has ended already.
    let third = Token { session: "u".into(), generation: 0, text: "u.0".into() };
    let first = by(2, 0, 0, 2, Wish::Login { subject: "alice" }, Outcome::Tokens(third.clone()));
    let before = by(2, 0, 11, 12, Wish::LogoutAll { subject: "alice", token: third }, Outcome::LoggedOut);
    let since = Operation { begin: Duration::from_millis(13), end: Duration::from_millis(15), ..login() };
    well(&[since, second.clone(), first.clone(), before.clone(), all.clone(), refresh(31, 0, 1)]);
    broken(&[login(), second, first, before, all, refresh(31, 0, 1)], "invariant 2");
}

#[test]
fn two_tokens_of_one_generation_are_noticed() {
    let other = Token { text: "another".into(), ..token(1) };
    let second = by(0, 1, 40, 50, Wish::Refresh(token(0)), Outcome::Tokens(other));
    broken(&[login(), refresh(35, 0, 1), second], "invariant 3");
}

#[test]
fn a_leap_of_two_generations_is_noticed() {
    broken(&[login(), refresh(20, 0, 2)], "invariant 3");
    broken(&[login(), refresh(20, 0, 1), refresh(3_000, 1, 0)], "invariant 3");
}

#[test]
fn a_holder_who_is_logged_out_is_noticed() {
    broken(&[login(), refused(0, 20, 0)], "invariant 4");
    // The reply was lost.
    let unheard = by(0, 0, 20, 30, Wish::Refresh(token(0)), Outcome::Unheard);
    broken(&[login(), unheard, refused(0, 9_000, 0)], "invariant 4");
    // A tab that was under way while another one was answered.
    let slow = Operation { end: Duration::from_millis(900), ..refused(0, 19, 0) };
    broken(&[login(), refresh(20, 0, 1), slow.clone()], "invariant 4");
    // But not one that took longer than half a grace, nor one that had heard of a newer token.
    well(&[login(), refresh(20, 0, 1), Operation { end: Duration::from_millis(1_100), ..slow }]);
    well(&[login(), refresh(20, 0, 1), refused(0, 40, 0)]);
}

#[test]
fn who_was_robbed_or_has_left_may_be_refused() {
    let steal = by(9, 0, 15, 15, Wish::Steal { session: "s".into() }, Outcome::Passed);
    well(&[login(), steal, refused(0, 20, 0)]);
    well(&[login(), logout(15), refused(0, 30, 0)]);
    well(&[login(), refused(9, 20, 0)]);
}

#[test]
fn a_call_that_is_refused_for_an_end_that_never_came_is_noticed() {
    let over = Operation { outcome: Outcome::Refused("session_ended".into()), ..call(0, 50) };
    broken(&[login(), over.clone()], "invariant 4");
    let other = Token { session: "t".into(), generation: 0, text: "t.0".into() };
    let all = by(1, 1, 20, 30, Wish::LogoutAll { subject: "alice", token: other }, Outcome::LoggedOut);
    let at = |begin, end| {
        let [begin, end] = [begin, end].map(Duration::from_millis);
        Operation { begin, end, ..login() }
    };
    // It began before, or while, all were logged out; or after it.
    well(&[login(), all.clone(), over.clone()]);
    well(&[at(15, 25), all.clone(), over.clone()]);
    well(&[at(25, 35), all.clone(), over.clone()]);
    broken(&[at(31, 35), all, over], "invariant 4");
}

#[test]
fn a_forged_token_that_does_anything_is_noticed() {
    let forged = |outcome| by(0, 0, 20, 30, Wish::Forged, outcome);
    broken(&[login(), forged(Outcome::Tokens(token(0)))], "invariant 5");
    broken(&[login(), forged(Outcome::Unknown)], "invariant 5");
    well(&[login(), forged(Outcome::Refused("token_invalid".into()))]);
}

#[test]
fn what_hangs_is_noticed() {
    broken(&[login(), Operation { end: Duration::from_secs(7), ..call(0, 20) }], "invariant 8");
}
