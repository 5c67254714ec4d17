//! The store: a primary, perhaps a replica that lags behind it, and what can happen to them.
//!
//! A node can read, compare and swap, and append to one stream, each in one atomic step, exactly as the contract's
//! section 5 wants it; it has no rules of its own.

use portcullis::session::{Session, SessionId};

use crate::rules::{Flaw, HEARTBEAT_MIN, KEPT_LONGER, LEASE, TAIL};

/// One entry of the revocation stream. Ids are used again after a failover; nonces never are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    pub id: u64,
    pub nonce: u64,
    /// On the node's clock.
    pub published_at: u64,
    /// Who ended, and when on the clock of the proxy that ended it. None: a heartbeat.
    pub ended: Option<(SessionId, u64)>,
}

/// Everything that a node knows.
#[derive(Clone, Default)]
pub struct State {
    pub records: Vec<Session>,
    pub stream: Vec<Entry>,
    last_id: u64,
    pub epoch: Option<u64>,
    /// Since when the epoch is known to be missing, and in which run of the server.
    amnesia: Option<(u64, u32)>,
    last_heartbeat: Option<u64>,
}

/// One change, as it is replicated.
#[derive(Clone)]
enum Change {
    Put(Session),
    Append(Entry),
    Trim(u64),
    Epoch(Option<u64>),
    Amnesia(Option<(u64, u32)>),
    Heartbeat(u64),
    Clear,
}

impl State {
    pub fn record(&self, id: &SessionId) -> Option<&Session> {
        self.records.iter().find(|record| record.id == *id)
    }

    pub fn lists(&self, id: &SessionId) -> bool {
        self.stream.iter().any(|entry| entry.ended.is_some_and(|(ended, _)| ended == *id))
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(next) => match self.records.iter_mut().find(|record| record.id == next.id) {
                Some(record) => record.clone_from(next),
                None => self.records.push(next.clone()),
            },
            Change::Append(entry) => {
                self.last_id = entry.id;
                self.stream.push(*entry);
            }
            Change::Trim(before) => {
                let newest = self.last_id;
                self.stream.retain(|entry| entry.published_at >= *before || entry.id == newest);
            }
            Change::Epoch(epoch) => self.epoch = *epoch,
            Change::Amnesia(since) => self.amnesia = *since,
            Change::Heartbeat(at) => self.last_heartbeat = Some(*at),
            Change::Clear => *self = State::default(),
        }
    }
}

/// One server.
#[derive(Clone, Default)]
pub struct Node {
    pub state: State,
    /// Its clock is this far from true time.
    pub clock: i64,
    /// A demoted primary goes on answering, and refuses to write.
    pub demoted: bool,
    pub up: bool,
    /// No other server has been started under this number.
    run: u32,
    /// Until then it answers nothing; then it goes on with what has piled up.
    pub paused_until: u64,
    /// Which story its records tell: another one after each failover, rollback and loss.
    pub history: u32,
}

/// What a commit comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Yes,
    Conflict,
    Amnesia,
    ReadOnly,
}

/// All servers.
pub struct Store {
    pub nodes: [Node; 2],
    pub primary: usize,
    /// There are to be two nodes. While one is away, no ending can be acknowledged.
    pub replicated: bool,
    /// The replica is connected.
    pub attached: bool,
    /// There is a third node, which never lags and never takes over: what it has need not wait for the replica.
    pub third: bool,
    /// What the replica has not got yet.
    behind: Vec<Change>,
    /// How many changes there were since the replica was attached, and how many of them it has.
    pub written: u64,
    pub copied: u64,
    pub flaw: Flaw,
    runs: u32,
    snapshot: Option<State>,
}

impl Store {
    pub fn new(replicated: bool, clocks: [i64; 2], flaw: Flaw) -> Store {
        let node = |place: usize| Node { clock: clocks[place], run: place as u32, up: true, ..Node::default() };
        Store {
            nodes: [node(0), node(1)],
            primary: 0,
            replicated,
            attached: replicated,
            third: false,
            behind: Vec::new(),
            written: 0,
            copied: 0,
            flaw,
            runs: 2,
            snapshot: None,
        }
    }

    fn change(&mut self, node: usize, change: Change) {
        self.nodes[node].state.apply(&change);
        if node == self.primary && self.attached {
            self.written += 1;
            self.behind.push(change);
        }
    }

    /// The replica gets at most this many changes.
    pub fn replicate(&mut self, at_most: usize) {
        if !self.attached {
            return;
        }
        let count = at_most.min(self.behind.len());
        for change in self.behind.drain(..count) {
            self.nodes[1 - self.primary].state.apply(&change);
        }
        self.copied += count as u64;
    }

    /// How far the replica is behind.
    pub fn lag(&self) -> usize {
        self.behind.len()
    }

    /// The primary, as the world sees it.
    pub fn truth(&self) -> &State {
        &self.nodes[self.primary].state
    }

    fn now_on(&self, node: usize, now: u64) -> u64 {
        now.saturating_add_signed(self.nodes[node].clock)
    }

    fn append(&mut self, node: usize, now: u64, nonce: u64, ended: Option<(SessionId, u64)>) {
        let entry =
            Entry { id: self.nodes[node].state.last_id + 1, nonce, published_at: self.now_on(node, now), ended };
        self.change(node, Change::Append(entry));
    }

    /// Compare the whole record, swap it, publish the ending: one step.
    pub fn commit(
        &mut self,
        node: usize,
        now: u64,
        epoch: u64,
        expected: Option<&Session>,
        next: &Session,
        nonce: u64,
    ) -> Verdict {
        if self.nodes[node].demoted {
            return Verdict::ReadOnly;
        }
        let state = &self.nodes[node].state;
        if self.flaw != Flaw::EpochUnchecked && state.epoch != Some(epoch) {
            return Verdict::Amnesia;
        }
        let found = state.record(&next.id);
        let as_expected = match (found, expected) {
            (Some(found), Some(expected)) if self.flaw == Flaw::GenerationComparedOnly => {
                found.generation == expected.generation
            }
            (found, expected) => found == expected,
        };
        if !as_expected {
            return Verdict::Conflict;
        }
        if let (Some(ending), false) = (next.ended, expected.is_some_and(|expected| expected.ended.is_some()))
            && self.flaw != Flaw::EndingUnpublished
        {
            self.append(node, now, nonce, Some((next.id, ending.at.as_millis())));
        }
        self.change(node, Change::Put(next.clone()));
        Verdict::Yes
    }

    /// A proxy gives back what the store has lost: records by compare and swap, revocations to the stream. False if a
    /// record was another one by then.
    pub fn restore(
        &mut self,
        node: usize,
        now: u64,
        records: &[(Option<Session>, Session)],
        revocations: &[(SessionId, u64, u64)],
    ) -> bool {
        if self.nodes[node].demoted {
            return false;
        }
        for (session, ended_at, nonce) in revocations {
            if !self.nodes[node].state.lists(session) {
                self.append(node, now, *nonce, Some((*session, *ended_at)));
            }
        }
        let mut all = true;
        for (expected, next) in records {
            match self.nodes[node].state.record(&next.id) == expected.as_ref() {
                true => self.change(node, Change::Put(next.clone())),
                false => all = false,
            }
        }
        all
    }

    /// The epoch; a new one is opened once the proxies have had their lease to give back what they hold. The second is
    /// since when that had been missing, if one was opened now.
    pub fn reopen(&mut self, node: usize, now: u64, new: u64) -> (Option<u64>, Option<u64>) {
        let clock = self.now_on(node, now);
        let (state, run) = (&self.nodes[node].state, self.nodes[node].run);
        if state.epoch.is_some() || self.nodes[node].demoted {
            return (state.epoch, None);
        }
        match state.amnesia {
            // Of another run: the lease is one of an earlier amnesia, out of a snapshot.
            Some((since, in_run)) if since <= clock && (in_run == run || self.flaw == Flaw::LeaseFromSnapshot) => {
                if clock - since < LEASE && self.flaw != Flaw::LeaseUnheeded {
                    return (None, None);
                }
                self.change(node, Change::Epoch(Some(new)));
                self.change(node, Change::Amnesia(None));
                (Some(new), Some(since.saturating_add_signed(-self.nodes[node].clock)))
            }
            _ => {
                self.change(node, Change::Amnesia(Some((clock, run))));
                (None, None)
            }
        }
    }

    /// A heartbeat, unless there was one just now. `None`: the node refuses to write. False: another epoch.
    pub fn heartbeat(&mut self, node: usize, now: u64, epoch: u64, nonce: u64, at_once: bool) -> Option<bool> {
        if self.nodes[node].demoted {
            return None;
        }
        if self.nodes[node].state.epoch != Some(epoch) {
            return Some(false);
        }
        let clock = self.now_on(node, now);
        let last = self.nodes[node].state.last_heartbeat;
        if at_once || last.is_none_or(|last| last > clock || clock - last >= HEARTBEAT_MIN) {
            self.append(node, now, nonce, None);
            self.change(node, Change::Trim(clock.saturating_sub(TAIL + KEPT_LONGER)));
            self.change(node, Change::Heartbeat(clock));
        }
        Some(true)
    }

    /// Reads on from `cursor`, inclusively. None: a gap.
    pub fn read(&self, node: usize, cursor: Option<&Entry>) -> Option<Vec<Entry>> {
        let stream = &self.nodes[node].state.stream;
        let Some(cursor) = cursor else { return Some(stream.clone()) };
        let place = stream.iter().position(|entry| match self.flaw {
            Flaw::NonceUnread => entry.id == cursor.id,
            _ => entry == cursor,
        });
        if self.flaw == Flaw::NonceUnread && place.is_none() {
            return Some(stream.iter().filter(|entry| entry.id > cursor.id).copied().collect());
        }
        Some(stream[place? + 1..].to_vec())
    }

    /// The replica takes over as far as it is; the primary is demoted.
    pub fn fail_over(&mut self, history: u32, old_goes_on: bool) {
        self.behind.clear();
        self.attached = false;
        self.nodes[self.primary].demoted = true;
        self.nodes[self.primary].up = old_goes_on;
        self.primary = 1 - self.primary;
        self.nodes[self.primary].history = history;
        self.nodes[self.primary].demoted = false;
        self.snapshot = None;
    }

    /// The demoted node comes back as a replica with all that the primary has.
    pub fn rejoin(&mut self) {
        let other = 1 - self.primary;
        self.nodes[other].state = self.nodes[self.primary].state.clone();
        self.nodes[other].history = self.nodes[self.primary].history;
        (self.nodes[other].up, self.nodes[other].demoted) = (true, true);
        (self.attached, self.written, self.copied) = (true, 0, 0);
        self.behind.clear();
    }

    /// Everything is gone, on the replica as well.
    pub fn empty(&mut self, history: u32) {
        self.change(self.primary, Change::Clear);
        self.nodes[self.primary].history = history;
    }

    /// What a later rollback goes back to.
    pub fn save(&mut self) {
        self.snapshot = Some(self.truth().clone());
    }

    /// Back to the snapshot. False if there is none.
    pub fn roll_back(&mut self, history: u32) -> bool {
        let Some(snapshot) = self.snapshot.take() else { return false };
        let primary = self.primary;
        self.nodes[primary].run = self.runs;
        self.runs += 1;
        self.nodes[primary].state = snapshot;
        self.nodes[primary].history = history;
        if self.attached {
            self.rejoin();
        }
        true
    }
}
