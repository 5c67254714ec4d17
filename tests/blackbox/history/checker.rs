//! Holds a recorded history against the contract's invariants. PURE: what it needs to know stands in the history.
//!
//! Times are those of one monotonic clock. What overlaps may have happened in any order, and is never held against anybody.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// A refresh token that was seen.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Token {
    pub session: String,
    pub generation: u64,
    /// The cookie's value.
    pub text: String,
}

/// What was asked.
#[derive(Clone, PartialEq, Debug)]
pub enum Wish {
    Login {
        subject: &'static str,
    },
    Refresh(Token),
    Logout(Token),
    LogoutAll {
        subject: &'static str,
        token: Token,
    },
    Call {
        session: String,
    },
    /// A refresh token that does not verify.
    Forged,
    /// Not a request: a thief gets hold of what belongs to the session.
    Steal {
        session: String,
    },
}

/// What came of it.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    Tokens(Token),
    Passed,
    LoggedOut,
    /// A 4xx, and why.
    Refused(String),
    /// 503 and its kin: nobody knows.
    Unknown,
    /// No answer was heard.
    Unheard,
}

/// One thing that somebody did.
#[derive(Clone, PartialEq, Debug)]
pub struct Operation {
    pub client: usize,
    pub thief: bool,
    pub proxy: usize,
    pub begin: Duration,
    pub end: Duration,
    pub wish: Wish,
    pub outcome: Outcome,
}

/// How often what came of it.
#[derive(Default, Debug)]
pub struct Tally {
    tokens: usize,
    passed: usize,
    logged_out: usize,
    refused: usize,
    unknown: usize,
    unheard: usize,
}

impl Tally {
    /// A day without one of these proves little. What nobody knows may stay away.
    pub fn all_is_tried(&self) -> bool {
        [self.tokens, self.passed, self.logged_out, self.refused, self.unheard].iter().all(|count| *count > 0)
    }
}

pub fn tally(history: &[Operation]) -> Tally {
    let mut tally = Tally::default();
    for operation in history {
        let count = match operation.outcome {
            Outcome::Tokens(_) => &mut tally.tokens,
            Outcome::Passed => &mut tally.passed,
            Outcome::LoggedOut => &mut tally.logged_out,
            Outcome::Refused(_) => &mut tally.refused,
            Outcome::Unknown => &mut tally.unknown,
            Outcome::Unheard => &mut tally.unheard,
        };
        *count += 1;
    }
    tally
}

/// How the proxies were configured.
pub struct Limits {
    pub grace: Duration,
    pub max_staleness: Duration,
    /// Nothing may take longer.
    pub patience: Duration,
}

/// What does not hold, one line each; empty if all is well.
pub fn check(history: &[Operation], limits: &Limits) -> Vec<String> {
    let logins = logins(history);
    let mut problems = Vec::new();
    ended_stays_ended(history, limits, &logins, &mut problems);
    one_successor(history, &mut problems);
    holders_stay(history, limits, &logins, &mut problems);
    for operation in history {
        if operation.wish == Wish::Forged && !matches!(operation.outcome, Outcome::Refused(_) | Outcome::Unheard) {
            problems.push(format!("invariant 5: a forged token was not refused: {operation:?}"));
        }
        if operation.end - operation.begin > limits.patience {
            problems.push(format!("invariant 8: it took longer than {:?}: {operation:?}", limits.patience));
        }
    }
    problems
}

/// By session, the login that began it.
type Logins<'a> = HashMap<&'a str, Login>;

struct Login {
    subject: &'static str,
    /// The session may have begun from here on...
    asked: Duration,
    /// ... and had begun for certain here.
    answered: Duration,
}

fn logins(history: &[Operation]) -> Logins<'_> {
    let logins = history.iter().filter_map(|operation| match (&operation.wish, &operation.outcome) {
        (Wish::Login { subject }, Outcome::Tokens(token)) => {
            let login = Login { subject, asked: operation.begin, answered: operation.end };
            Some((&*token.session, login))
        }
        _ => None,
    });
    logins.collect()
}

/// The sessions that an operation has ended, if it was done.
fn must_end<'a>(operation: &'a Operation, logins: &Logins<'a>) -> Vec<&'a str> {
    match &operation.wish {
        Wish::Logout(token) => vec![&token.session],
        Wish::LogoutAll { subject, token } => {
            let before =
                logins.iter().filter(|(_, login)| login.subject == *subject && login.answered < operation.begin);
            let mut all: Vec<&str> = before.map(|(session, _)| *session).collect();
            all.push(&token.session);
            all
        }
        _ => Vec::new(),
    }
}

/// Whether an operation, whatever came of it, may have ended the session.
fn may_end(operation: &Operation, session: &str, logins: &Logins<'_>) -> bool {
    match &operation.wish {
        Wish::Steal { session: named } => named == session,
        Wish::Logout(token) => token.session == session,
        Wish::LogoutAll { subject, token } => {
            let meant = |login: &Login| login.subject == *subject && login.asked < operation.end;
            token.session == session || logins.get(session).is_some_and(meant)
        }
        _ => false,
    }
}

/// When another logout of all, which may have ended the session that asks here, began. Who asks with a session that has ended
/// so is told that all was ended then: what has begun since is not meant.
fn already_asked(logout: &Operation, history: &[Operation], logins: &Logins<'_>) -> Option<Duration> {
    let Wish::LogoutAll { subject, token } = &logout.wish else { return None };
    let begun = logins.get(token.session.as_str()).map_or(Duration::ZERO, |login| login.answered);
    let others = history.iter().filter(|other| {
        let same = matches!(&other.wish, Wish::LogoutAll { subject: other, .. } if other == subject);
        same && !std::ptr::eq(*other, logout) && begun <= other.end && other.begin < logout.end
    });
    others.map(|other| other.begin).min()
}

/// Invariant 2: nothing accepts what was logged out.
fn ended_stays_ended<'a>(history: &'a [Operation], limits: &Limits, logins: &Logins<'a>, problems: &mut Vec<String>) {
    let mut ended: HashMap<&str, Vec<&Operation>> = HashMap::new();
    for logout in history.iter().filter(|operation| operation.outcome == Outcome::LoggedOut) {
        let not_since = already_asked(logout, history, logins);
        for session in must_end(logout, logins) {
            let begun = logins.get(session).map_or(Duration::ZERO, |login| login.answered);
            if not_since.is_none_or(|asked| begun < asked) {
                ended.entry(session).or_default().push(logout);
            }
        }
    }
    for operation in history {
        let (session, refreshed) = match (&operation.wish, &operation.outcome) {
            (Wish::Refresh(token), Outcome::Tokens(_)) => (&token.session, true),
            (Wish::Call { session }, Outcome::Passed) => (session, false),
            _ => continue,
        };
        for logout in ended.get(session.as_str()).into_iter().flatten() {
            let told = logout.proxy == operation.proxy;
            let until = if refreshed || told { logout.end } else { logout.end + limits.max_staleness };
            if operation.begin > until {
                problems.push(format!("invariant 2: {operation:?} came after {logout:?}"));
            }
        }
    }
}

/// Invariant 3: a generation has one token, and a presented token one successor.
fn one_successor(history: &[Operation], problems: &mut Vec<String>) {
    let mut minted: HashMap<(&str, u64), &str> = HashMap::new();
    for operation in history {
        let Outcome::Tokens(token) = &operation.outcome else { continue };
        let first = *minted.entry((&token.session, token.generation)).or_insert(&token.text);
        if first != token.text {
            problems.push(format!("invariant 3: a second token of one generation: {operation:?}"));
        }
        if let Wish::Refresh(presented) = &operation.wish
            && (presented.session != token.session
                || !(presented.generation..=presented.generation + 1).contains(&token.generation))
        {
            problems.push(format!("invariant 3: not a successor: {operation:?}"));
        }
    }
}

/// Invariant 4: who presents the newest token it has, within half a grace of its other tabs, is not refused; and nobody
/// is told that a session has ended which nobody has ended.
fn holders_stay<'a>(history: &'a [Operation], limits: &Limits, logins: &Logins<'a>, problems: &mut Vec<String>) {
    // In the order in which they ended, so that what has gone wrong before is known.
    let mut in_order: Vec<&Operation> = history.iter().collect();
    in_order.sort_by_key(|operation| operation.end);
    let mut let_go: HashSet<&str> = HashSet::new();
    let ended_by = |session: &str, before: Duration| {
        history.iter().any(|other| other.begin < before && may_end(other, session, logins))
    };
    for operation in in_order {
        let refused = matches!(operation.outcome, Outcome::Refused(_));
        match &operation.wish {
            Wish::Refresh(token) if !operation.thief => {
                if !entitled(history, operation, token, limits) {
                    let_go.insert(&token.session);
                } else if refused
                    && !let_go.contains(token.session.as_str())
                    && !ended_by(&token.session, operation.end)
                {
                    problems.push(format!("invariant 4: logged out by us: {operation:?}"));
                }
            }
            Wish::Call { session } => {
                let over = matches!(&operation.outcome, Outcome::Refused(reason) if reason == "session_ended");
                if over && !let_go.contains(session.as_str()) && !ended_by(session, operation.end) {
                    problems.push(format!("invariant 4: nobody has ended this session: {operation:?}"));
                }
            }
            _ => {}
        }
    }
}

fn entitled(history: &[Operation], operation: &Operation, token: &Token, limits: &Limits) -> bool {
    history.iter().filter(|other| other.client == operation.client && !std::ptr::eq(*other, operation)).all(|other| {
        match (&other.wish, &other.outcome) {
            (_, Outcome::Tokens(received)) if received.session == token.session => {
                let heard_before = other.end < operation.begin;
                if heard_before {
                    return received.generation <= token.generation;
                }
                // The other tab's answer came while this one was under way.
                other.begin > operation.end || operation.end.saturating_sub(other.begin) <= limits.grace / 2
            }
            _ => true,
        }
    })
}
