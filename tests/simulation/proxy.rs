//! A proxy: the mirror, its own copies of sessions, what it is doing, and how it follows the store's stream.

use portcullis::session::{Session, SessionId};
use portcullis::store::{Freshness, Mirror};
use portcullis::time::Timestamp;

use crate::rules::{ACCESS_LIFE, Flaw, TAIL, join};
use crate::store::{Entry, Verdict};

/// What is known of the store's epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known {
    NotYet,
    Lost,
    Epoch(u64),
}

/// One proxy, over all its lives.
pub struct Proxy {
    pub up: bool,
    /// Counts its starts: what was meant for an earlier life is not heard.
    pub life: u32,
    /// The server that it is connected to.
    pub node: usize,
    /// Its clock is this far from true time.
    pub clock: i64,
    /// The MAC key that it makes tokens with.
    pub key: u8,
    /// Until then it and the store cannot hear one another.
    pub cut_until: u64,
    /// Its mirror's place in the pool.
    pub mirror: usize,
    /// What the mirror lists, and until when (its own clock).
    pub held: Vec<(SessionId, u64)>,
    /// The sessions that it keeps on its own disk.
    pub copies: Vec<Session>,
    pub known: Known,
    pub loaded: bool,
    pub cursor: Option<Entry>,
    pub previous_began: Option<u64>,
    /// The look that is under way.
    pub look: u32,
    /// The next look that nobody calls for.
    pub timer: u32,
    pub tasks: Vec<Task>,
    /// Access tokens that it has met.
    pub met: Vec<(SessionId, u32)>,
    /// Since when what it holds has been compared with the server that it is connected to.
    pub in_line_since: Option<u64>,
    // What only the judge reads.
    pub up_since: u64,
    /// It could not look after the store as it should, the last time then.
    pub disturbed_at: u64,
    /// When it last gave back what it held, and when it last read the primary's stream to its end.
    pub recovered_at: Option<u64>,
    pub read_at: Option<u64>,
}

/// What a proxy is doing.
pub struct Task {
    pub id: u32,
    /// The question that it waits for an answer to.
    pub step: u32,
    pub work: Work,
    pub request: Option<usize>,
    pub attempts: u8,
    /// When the session was read, in true time.
    pub began: u64,
    /// The record that was judged.
    pub read: Option<Session>,
    /// What is to be committed, and the token that is answered then.
    pub write: Option<Session>,
    /// Which story the store told then: its history, and how often the session was merged in it.
    pub story: (u32, u32),
    /// This proxy knew the session as ended before it read the record.
    pub known_ended: bool,
    /// A store that had lost its memory, and could not know better, said that the session lives.
    pub excused: bool,
}

/// What for.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    Login(SessionId),
    Refresh(crate::client::Token),
    Logout(crate::client::Token),
    Used(SessionId, u32),
}

/// What a proxy asks of the store.
#[derive(Clone, Debug)]
pub enum Ask {
    Get { epoch: u64, session: SessionId },
    Absent { epoch: u64, session: SessionId },
    Commit { epoch: u64, expected: Option<Session>, next: Box<Session>, nonce: u64 },
    Look { epoch: u64, nonce: u64, cursor: Option<Entry>, asked_at: u64 },
    ReadAll,
    Restore { records: Vec<(Option<Session>, Session)>, revocations: Vec<(SessionId, u64, u64)> },
    Reopen { epoch: u64, nonce: u64, cursor: Option<Entry>, asked_at: u64 },
}

/// What the store says.
#[derive(Clone, Debug)]
pub enum Told {
    /// None: it has lost its memory.
    Got {
        found: Option<Option<Session>>,
        story: (u32, u32),
        excused: bool,
    },
    /// None: the server takes no writes. False: there is a record.
    Absent(Option<bool>),
    /// `None` where the replica has not got it.
    Committed {
        verdict: Option<Verdict>,
        story: (u32, u32),
        excused: bool,
    },
    Looked {
        heartbeat: Option<bool>,
        page: Option<Vec<Entry>>,
        asked_at: u64,
        primary: bool,
        at: u64,
    },
    All {
        entries: Vec<Entry>,
        records: Vec<Session>,
    },
    Restored(bool),
    Reopened {
        epoch: Option<u64>,
        page: Option<Vec<Entry>>,
        asked_at: u64,
        primary: bool,
        at: u64,
    },
}

impl Proxy {
    pub fn new(clock: i64, key: u8, mirror: usize) -> Proxy {
        Proxy {
            up: true,
            life: 0,
            node: 0,
            clock,
            key,
            cut_until: 0,
            mirror,
            held: Vec::new(),
            copies: Vec::new(),
            known: Known::NotYet,
            loaded: false,
            cursor: None,
            previous_began: None,
            look: 0,
            timer: 0,
            tasks: Vec::new(),
            met: Vec::new(),
            in_line_since: None,
            up_since: 0,
            disturbed_at: 0,
            recovered_at: None,
            read_at: None,
        }
    }

    pub fn now(&self, now: u64) -> u64 {
        now.saturating_add_signed(self.clock)
    }

    /// Keeps a copy of what it has read or written.
    pub fn keep(&mut self, session: &Session, flaw: Flaw) {
        match self.copies.iter_mut().find(|copy| copy.id == session.id) {
            Some(copy) if flaw == Flaw::CopiesOverwrite => copy.clone_from(session),
            Some(copy) => *copy = join(copy, session, Flaw::None),
            None => self.copies.push(session.clone()),
        }
    }

    /// Lists a session that has ended, and ends the copy that it may have.
    pub fn list(&mut self, mirror: &Mirror, session: SessionId, ended_at: u64, published_at: u64, flaw: Flaw) {
        let tail = if flaw == Flaw::ForgottenTooEarly { ACCESS_LIFE / 2 } else { TAIL };
        let until = ended_at.max(published_at) + tail;
        mirror.revocations.insert(session, Timestamp::from_millis(until));
        match self.held.iter_mut().find(|(held, _)| *held == session) {
            Some(held) => held.1 = held.1.max(until),
            None => self.held.push((session, until)),
        }
        if flaw != Flaw::CopiesNotEnded
            && let Some(copy) = self.copies.iter_mut().find(|copy| copy.id == session)
        {
            *copy = copy.end(Timestamp::from_millis(ended_at), portcullis::session::EndReason::Logout);
        }
    }

    /// It knows by itself that the session has ended.
    pub fn knows_ended(&self, mirror: &Mirror, session: &SessionId) -> bool {
        mirror.revocations.contains(session) || self.has_ended_copy(session)
    }

    pub fn has_ended_copy(&self, session: &SessionId) -> bool {
        self.copies.iter().any(|copy| copy.id == *session && copy.ended.is_some())
    }

    /// It could tell the store that the session has ended.
    pub fn holds_ending(&self, session: &SessionId, now: u64) -> bool {
        self.has_ended_copy(session) || self.held.iter().any(|(held, until)| held == session && *until > self.now(now))
    }

    /// May it serve, as far as the age of what it knows goes?
    pub fn is_fresh(freshness: Freshness, flaw: Flaw) -> bool {
        match freshness {
            Freshness::Unknown => flaw == Flaw::UnknownIsFresh,
            Freshness::Age(age) => age.as_millis() as u64 <= crate::rules::MAX_STALENESS || flaw == Flaw::StaleIsServed,
        }
    }

    /// What is to be given back to a store with these entries and records.
    #[expect(clippy::type_complexity, reason = "the two lists of one message")]
    pub fn gives_back(
        &self,
        now: u64,
        entries: &[Entry],
        records: &[Session],
        flaw: Flaw,
    ) -> (Vec<(Option<Session>, Session)>, Vec<(SessionId, u64)>) {
        let listed = |id: &SessionId| entries.iter().any(|entry| entry.ended.is_some_and(|(ended, _)| ended == *id));
        let clock = self.now(now);
        let mut sessions: Vec<(Option<Session>, Session)> = Vec::new();
        let mut revocations: Vec<(SessionId, u64)> = Vec::new();
        if flaw != Flaw::SessionsNotGivenBack {
            for copy in self.copies.iter().filter(|copy| copy.ends_at.as_millis() > clock) {
                let record = records.iter().find(|record| record.id == copy.id);
                let next = record.map_or_else(|| copy.clone(), |record| join(record, copy, flaw));
                if record != Some(&next) {
                    sessions.push((record.cloned(), next));
                }
                if let Some(ending) = copy.ended
                    && ending.at.as_millis() + TAIL > clock
                    && !listed(&copy.id)
                {
                    revocations.push((copy.id, ending.at.as_millis()));
                }
            }
        }
        for (session, until) in self.held.iter().filter(|(_, until)| *until > clock) {
            let ended_at = until - TAIL.min(*until);
            if !listed(session) && !revocations.iter().any(|(known, _)| known == session) {
                revocations.push((*session, ended_at));
            }
            let record = records.iter().find(|record| record.id == *session);
            if let Some(record) = record.filter(|record| record.ended.is_none())
                && !sessions.iter().any(|(_, next)| next.id == *session)
            {
                let ended = record.end(Timestamp::from_millis(ended_at), portcullis::session::EndReason::Logout);
                sessions.push((Some(record.clone()), ended));
            }
        }
        if flaw == Flaw::RevocationsNotGivenBack {
            revocations.clear();
        }
        (sessions, revocations)
    }
}
