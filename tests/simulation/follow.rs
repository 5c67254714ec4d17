//! The servers' side of every question, and how a proxy follows the stream: looks, reads inclusively, gives back what
//! the store has lost, and calls itself no fresher than a heartbeat proves.

use crate::proxy::{Ask, Known, Told};
use crate::rules::{Flaw, TICK, TICK_WHILE_LOST};
use crate::store::{Entry, Verdict};
use crate::world::{Event, World, partition};

impl World<'_> {
    /// A question reaches a server.
    pub fn asked(&mut self, proxy: usize, life: u32, node: usize, task: u32, step: u32, ask: Ask) {
        let now = self.now;
        let server = &self.store.nodes[node];
        if !server.up {
            return;
        }
        if now < server.paused_until {
            let wait = server.paused_until - now + self.random.below(20);
            return self.later(wait, Event::Ask { proxy, life, node, task, step, ask });
        }
        let (history, primary) = (server.history, node == self.store.primary);
        let story = |world: &World<'_>, session| (history, world.judge.merges_of(session));
        let entries = server.state.stream.len();
        let told = match ask {
            Ask::Get { epoch, session } => {
                let state = &self.store.nodes[node].state;
                let blind = state.epoch.is_none() && self.flaw == Flaw::EpochUnchecked;
                let found = (state.epoch == Some(epoch) || self.flaw == Flaw::EpochUnchecked)
                    .then(|| state.record(&session).cloned());
                if blind {
                    self.judge.say("a store that has lost its memory was believed".to_owned());
                }
                Told::Got { found, story: story(self, &session), excused: self.excused(proxy, &session) }
            }
            Ask::Absent { epoch, session } => {
                let server = &self.store.nodes[node];
                match server.state.epoch == Some(epoch) {
                    _ if server.demoted => Told::Absent(None),
                    true => Told::Absent(Some(server.state.record(&session).is_none())),
                    false => Told::Got { found: None, story: story(self, &session), excused: false },
                }
            }
            Ask::Commit { epoch, expected, next, nonce } => {
                // What the world was like before it.
                let excused = self.excused(proxy, &next.id);
                let before = self.store.nodes[node].state.record(&next.id).cloned();
                let verdict = self.store.commit(node, now, epoch, expected.as_ref(), &next, nonce);
                if verdict == Verdict::Yes {
                    self.judge_written(before.as_ref(), &next, false);
                }
                let waits = verdict == Verdict::Yes
                    && next.ended.is_some()
                    && self.store.replicated
                    && self.flaw != Flaw::AcknowledgedBeforeReplica;
                let attached = self.store.attached;
                let verdict = Some(verdict).filter(|_| !waits || attached || self.store.third);
                let told = Told::Committed { verdict, story: story(self, &next.id), excused };
                if waits && attached {
                    let need = self.store.written;
                    self.waiting.push((need, Event::Told { proxy, life, task, step, told }));
                    self.wake(node, entries);
                    return self.replicate_soon();
                }
                told
            }
            Ask::Look { epoch, nonce, cursor, asked_at } => {
                let heartbeat = self.store.heartbeat(node, now, epoch, nonce, false);
                let page = match heartbeat {
                    Some(false) => Some(Vec::new()),
                    _ => self.store.read(node, cursor.as_ref()),
                };
                Told::Looked { heartbeat, page, asked_at, primary, at: now }
            }
            Ask::ReadAll => {
                let state = &self.store.nodes[node].state;
                Told::All { entries: state.stream.clone(), records: state.records.clone() }
            }
            Ask::Restore { records, revocations } => {
                for (expected, next) in &records {
                    let before = self.store.nodes[node].state.record(&next.id).cloned();
                    if before == *expected && !self.store.nodes[node].demoted {
                        self.judge_written(before.as_ref(), next, true);
                    }
                }
                Told::Restored(self.store.restore(node, now, &records, &revocations))
            }
            Ask::Reopen { epoch, nonce, cursor, asked_at } => {
                let (mut epoch, since) = self.store.reopen(node, now, epoch);
                if let Some(since) = since {
                    self.judge_reopened(since);
                }
                if epoch.is_some_and(|epoch| self.store.heartbeat(node, now, epoch, nonce, true) != Some(true)) {
                    epoch = None;
                }
                Told::Reopened { epoch, page: self.store.read(node, cursor.as_ref()), asked_at, primary, at: now }
            }
        };
        self.wake(node, entries);
        self.replicate_soon();
        if now >= self.proxies[proxy].cut_until && !self.is_lost() {
            let at = self.latency();
            self.later(at, Event::Told { proxy, life, task, step, told });
        }
    }

    /// Proxies sleep in the server until there is news.
    fn wake(&mut self, node: usize, entries_before: usize) {
        self.watch_publications();
        let stream = &self.store.nodes[node].state.stream;
        if stream.len() <= entries_before || stream.last().is_none_or(|last| last.ended.is_none()) {
            return;
        }
        for proxy in 0..self.proxies.len() {
            if self.proxies[proxy].node == node && self.now >= self.proxies[proxy].cut_until {
                let (at, life) = (self.latency(), self.proxies[proxy].life);
                self.later(at, Event::Look { proxy, life, timer: None });
            }
        }
    }

    pub fn replicate_soon(&mut self) {
        if self.store.attached && self.store.lag() > 0 && !self.replicating {
            self.replicating = true;
            let at = if self.random.chance(150) { self.random.between(100, 600) } else { self.random.between(1, 25) };
            self.later(at, Event::Replicate);
        }
    }

    pub fn replicate(&mut self) {
        self.replicating = false;
        let count = self.random.between(1, 8) as usize;
        self.store.replicate(count);
        let copied = self.store.copied;
        let (done, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(|(need, _)| *need <= copied);
        self.waiting = waiting;
        let done: Vec<(u64, Event)> = done;
        for (_, event) in done {
            if !self.is_lost() {
                let at = self.latency();
                self.later(at, event);
            }
        }
        self.replicate_soon();
    }

    /// A proxy looks after everything.
    pub fn look(&mut self, number: usize) {
        let proxy = &mut self.proxies[number];
        proxy.look += 1;
        let step = proxy.look;
        let nonce = self.random.bits();
        let ask = match (proxy.loaded, proxy.known) {
            (true, Known::Epoch(epoch)) => Ask::Look { epoch, nonce, cursor: proxy.cursor, asked_at: self.now },
            _ => {
                proxy.loaded = false;
                Ask::ReadAll
            }
        };
        self.ask(number, 0, step, ask);
    }

    fn look_later(&mut self, number: usize) {
        let proxy = &mut self.proxies[number];
        proxy.timer += 1;
        let (pause, life, timer) = (if proxy.loaded { TICK } else { TICK_WHILE_LOST }, proxy.life, Some(proxy.timer));
        self.later(pause, Event::Look { proxy: number, life, timer });
    }

    /// Nothing came: the connection is given up.
    pub fn look_overdue(&mut self, number: usize, step: u32) {
        if self.proxies[number].look != step {
            return;
        }
        self.proxies[number].look += 1;
        self.proxies[number].disturbed_at = self.proxies[number].disturbed_at.max(self.now);
        self.reconnected(number);
        self.look_later(number);
    }

    /// On a new connection nothing follows from what the one before had not shown.
    pub fn reconnected(&mut self, number: usize) {
        let proxy = &mut self.proxies[number];
        proxy.previous_began = None;
        if !matches!(self.flaw, Flaw::ReconnectTrusted | Flaw::NonceUnread) {
            proxy.loaded = false;
        }
    }

    /// The server that it was connected to is another one now, or was started again: what was under way has failed.
    pub fn moved(&mut self, number: usize) {
        for task in std::mem::take(&mut self.proxies[number].tasks) {
            if let Some(request) = task.request {
                self.answer(request, crate::client::Answer::Unknown);
            }
        }
        let life = self.proxies[number].life;
        self.proxies[number].look += 1;
        self.reconnected(number);
        if !self.proxies[number].loaded {
            self.proxies[number].in_line_since = None;
        }
        self.later(1, Event::Look { proxy: number, life, timer: None });
    }

    /// The store has answered a look.
    pub fn follower_told(&mut self, number: usize, step: u32, told: Told) {
        if self.proxies[number].look != step {
            return;
        }
        self.proxies[number].look += 1;
        match told {
            Told::Looked { heartbeat: Some(false), .. } => self.lost(number),
            Told::Looked { page: None, .. } => {
                self.tell(|_| format!("  proxy {number} finds a gap"));
                self.proxies[number].loaded = false;
            }
            Told::Looked { heartbeat, page: Some(page), asked_at, primary, at } => {
                let mut fresh = page.iter().any(|entry| entry.ended.is_none()).then_some(());
                if heartbeat.is_none() {
                    fresh = None;
                }
                self.take_in(number, &page);
                let proxy = &mut self.proxies[number];
                let mut until = fresh.and(proxy.previous_began);
                if self.flaw == Flaw::FreshByReading {
                    until = Some(asked_at);
                }
                proxy.previous_began = Some(asked_at);
                if primary {
                    proxy.read_at = Some(at);
                }
                self.synced(number, until);
            }
            Told::All { entries, records } => return self.give_back(number, &entries, &records),
            Told::Restored(true) => return self.reopen(number),
            Told::Restored(false) => {}
            Told::Reopened { epoch: None, .. } => self.lost(number),
            Told::Reopened { page: None, .. } => {}
            Told::Reopened { epoch: Some(epoch), page: Some(page), asked_at, primary, at } => {
                self.take_in(number, &page);
                let proxy = &mut self.proxies[number];
                (proxy.known, proxy.loaded, proxy.previous_began) = (Known::Epoch(epoch), true, Some(asked_at));
                proxy.in_line_since = Some(self.now);
                if primary {
                    (proxy.read_at, proxy.recovered_at) = (Some(at), Some(at));
                }
                self.judge_in_line(number);
                self.tell(|_| format!("  proxy {number} is in line with epoch {:x}", epoch % 0x10000));
                self.synced(number, Some(asked_at));
            }
            Told::Got { .. } | Told::Absent(_) | Told::Committed { .. } => {}
        }
        self.look_later(number);
    }

    fn synced(&mut self, number: usize, until: Option<u64>) {
        if let Some(until) = until {
            self.mirrors.get(self.proxies[number].mirror).synced(partition(), self.mirrors.at(until));
        }
        if self.sweeps && self.random.chance(300) {
            let proxy = &mut self.proxies[number];
            let clock = proxy.now(self.now);
            let now = portcullis::time::Timestamp::from_millis(clock);
            self.mirrors.get(proxy.mirror).revocations.remove_expired(now);
        }
    }

    fn take_in(&mut self, number: usize, page: &[Entry]) {
        let flaw = self.flaw;
        for entry in page {
            let proxy = &mut self.proxies[number];
            if let Some((session, ended_at)) = entry.ended {
                proxy.list(self.mirrors.get(proxy.mirror), session, ended_at, entry.published_at, flaw);
            }
            proxy.cursor = Some(*entry);
            let alive = |session| proxy.copies.iter().any(|copy| copy.id == session && copy.ended.is_none());
            if entry.ended.is_some_and(|(session, _)| alive(session)) {
                self.judge.say(format!("proxy {number} keeps a living copy of a session whose revocation it has read"));
            }
        }
    }

    /// Everything that this proxy holds and the store does not.
    fn give_back(&mut self, number: usize, entries: &[Entry], records: &[portcullis::session::Session]) {
        self.proxies[number].cursor = None;
        // First, so that no living copy is given back of a session whose revocation stands in the stream.
        self.take_in(number, entries);
        let (sessions, revocations) = self.proxies[number].gives_back(self.now, entries, records, self.flaw);
        if sessions.is_empty() && revocations.is_empty() {
            return self.reopen(number);
        }
        self.judge.counts.given_back += 1;
        self.tell(|_| {
            format!("  proxy {number} gives back {} sessions and {} revocations", sessions.len(), revocations.len())
        });
        let revocations = revocations.into_iter().map(|(id, at)| (id, at, self.random.bits())).collect();
        let step = self.proxies[number].look;
        self.ask(number, 0, step, Ask::Restore { records: sessions, revocations });
    }

    fn reopen(&mut self, number: usize) {
        let (epoch, nonce) = (self.random.bits(), self.random.bits());
        let (step, cursor) = (self.proxies[number].look, self.proxies[number].cursor);
        self.ask(number, 0, step, Ask::Reopen { epoch, nonce, cursor, asked_at: self.now });
    }
}
