//! How a proxy serves: calls from the mirror alone; login, refresh and logout by reading, judging and committing
//! against exactly what was read.

use portcullis::session::{Attempt, ClientMark, EndReason, Outcome, Refusal, RotationPolicy, Session, SessionId};
use portcullis::time::Timestamp;

use crate::client::{Access, Answer, Token, Wish};
use crate::proxy::{Ask, Known, Proxy, Task, Told, Work};
use crate::rules::{ACCESS_LIFE, DEADLINE, Flaw, GRACE, LEASE, SESSION_LIFE, SKEW, judge, ms};
use crate::store::Verdict;
use crate::world::{Event, SUBJECT, World, partition};

const ATTEMPTS: u8 = 6;

impl World<'_> {
    /// A request reaches its proxy.
    pub fn arrive(&mut self, request: usize) {
        let (wish, proxy) = (self.requests[request].wish, self.requests[request].proxy);
        if !self.proxies[proxy].up {
            return;
        }
        match wish {
            Wish::Call(access) => self.call(proxy, request, access),
            Wish::Login => {
                let id = SessionId::new(SUBJECT, {
                    let mut random = [0; 15];
                    random[..8].copy_from_slice(&self.random.bits().to_le_bytes());
                    random[7..].copy_from_slice(&self.random.bits().to_le_bytes());
                    // One partition for all.
                    random
                });
                self.begin_task(proxy, Work::Login(id), Some(request));
            }
            Wish::Refresh(token) | Wish::Logout(token) => {
                let forged = !token.genuine && self.flaw != Flaw::ForgedBelieved;
                if forged || token.ends_at <= self.proxies[proxy].now(self.now) {
                    return self.answer(request, Answer::Refused);
                }
                let work = match wish {
                    Wish::Refresh(_) => Work::Refresh(token),
                    _ => Work::Logout(token),
                };
                self.begin_task(proxy, work, Some(request));
            }
        }
    }

    fn call(&mut self, number: usize, request: usize, access: Access) {
        let proxy = &self.proxies[number];
        let mirror = self.mirrors.get(proxy.mirror);
        let freshness = mirror.freshness(&access.session, self.mirrors.at(self.now));
        let clock = proxy.now(self.now);
        let answer = if access.expires_at + SKEW <= clock {
            Answer::Refused
        } else if mirror.revocations.contains(&access.session) {
            self.judge_refused_as_ended(number, access.session);
            Answer::Refused
        } else if !Proxy::is_fresh(freshness, self.flaw) {
            Answer::Unknown
        } else {
            self.judge_passed(number, access.session);
            let met = (access.session, access.generation);
            if !self.proxies[number].met.contains(&met) {
                self.proxies[number].met.push(met);
                self.begin_task(number, Work::Used(met.0, met.1), None);
            }
            Answer::Passed
        };
        self.answer(request, answer);
    }

    fn begin_task(&mut self, proxy: usize, work: Work, request: Option<usize>) {
        if let Work::Refresh(token) | Work::Logout(token) = work
            && !token.genuine
        {
            return self.judge.say("invariant 5: a forged token reached the store".to_owned());
        }
        let Known::Epoch(epoch) = self.proxies[proxy].known else { return self.give_up(request) };
        let id = self.next_task;
        self.next_task += 1;
        let mut task = Task {
            id,
            step: 0,
            work,
            request,
            attempts: 0,
            began: self.now,
            read: None,
            write: None,
            story: (0, 0),
            known_ended: false,
            excused: false,
        };
        let ask = match work {
            Work::Login(session) => {
                let proxy = &self.proxies[proxy];
                let now = Timestamp::from_millis(proxy.now(self.now));
                let key = self.keys[usize::from(proxy.key)].clone();
                let next = Session::begin(session, SUBJECT, now, now.plus(ms(SESSION_LIFE)), key);
                task.write = Some(next.clone());
                Ask::Commit { epoch, expected: None, next: Box::new(next), nonce: self.random.bits() }
            }
            Work::Refresh(Token { session, .. }) | Work::Logout(Token { session, .. }) | Work::Used(session, _) => {
                Ask::Get { epoch, session }
            }
        };
        self.proxies[proxy].tasks.push(task);
        self.ask(proxy, id, 0, ask);
    }

    /// Asks the store; the question or the answer may be lost, the question may arrive twice.
    pub fn ask(&mut self, number: usize, task: u32, step: u32, ask: Ask) {
        let (life, node) = (self.proxies[number].life, self.proxies[number].node);
        self.later(DEADLINE, Event::Overdue { proxy: number, life, task, step });
        let cut = self.now < self.proxies[number].cut_until;
        if cut || self.is_lost() {
            return;
        }
        if self.is_lost() {
            let at = self.latency();
            self.later(at, Event::Ask { proxy: number, life, node, task, step, ask: ask.clone() });
        }
        let at = self.latency();
        self.later(at, Event::Ask { proxy: number, life, node, task, step, ask });
    }

    fn take_task(&mut self, proxy: usize, id: u32, step: u32) -> Option<Task> {
        let tasks = &mut self.proxies[proxy].tasks;
        let place = tasks.iter().position(|task| task.id == id && task.step == step)?;
        Some(tasks.swap_remove(place))
    }

    /// Nobody knows: 503.
    fn give_up(&mut self, request: Option<usize>) {
        if let Some(request) = request {
            self.answer(request, Answer::Unknown);
        }
    }

    pub fn task_overdue(&mut self, proxy: usize, id: u32, step: u32) {
        if let Some(task) = self.take_task(proxy, id, step) {
            match (self.flaw, task.work, task.request) {
                (Flaw::AcknowledgedUnheard, Work::Logout(token), Some(request)) => {
                    self.acknowledge(proxy, token.session, request);
                }
                _ => self.give_up(task.request),
            }
        }
    }

    /// The store has answered a task's question.
    pub fn task_told(&mut self, proxy: usize, id: u32, step: u32, told: Told) {
        let Some(mut task) = self.take_task(proxy, id, step) else { return };
        match told {
            Told::Got { found: None, .. } | Told::Committed { verdict: Some(Verdict::Amnesia), .. } => {
                self.lost(proxy);
                self.give_up(task.request);
            }
            Told::Got { found: Some(found), story, excused } => {
                let mirror = self.mirrors.get(self.proxies[proxy].mirror);
                if let Some(session) = &found {
                    task.known_ended = self.proxies[proxy].knows_ended(mirror, &session.id);
                    self.keep(proxy, session);
                    if let Some(ending) = session.ended {
                        let (at, flaw, proxy) = (ending.at.as_millis(), self.flaw, &mut self.proxies[proxy]);
                        proxy.list(self.mirrors.get(proxy.mirror), session.id, at, at, flaw);
                    }
                }
                (task.story, task.excused) = (story, excused);
                match task.work {
                    Work::Refresh(token) => self.refresh(proxy, task, found, token),
                    Work::Logout(token) => self.log_out(proxy, task, found, token),
                    Work::Used(_, generation) => {
                        if let Some(session) = found
                            && (session.generation, session.used, session.ended.is_some()) == (generation, false, false)
                        {
                            let next = Session { used: true, ..session.clone() };
                            self.commit(proxy, task, Some(session), next);
                        }
                    }
                    Work::Login(_) => self.give_up(task.request),
                }
            }
            Told::Absent(Some(true)) => match (task.request, task.work) {
                (Some(request), Work::Refresh(token)) if self.has_been_in_line(proxy) => {
                    self.judge_refused(proxy, request, token.session, Refusal::Unknown);
                    self.answer(request, Answer::Refused);
                }
                _ => self.give_up(task.request),
            },
            Told::Absent(Some(false)) | Told::Committed { verdict: Some(Verdict::Conflict), .. } => {
                task.attempts += 1;
                match (task.work, self.proxies[proxy].known) {
                    (
                        Work::Refresh(Token { session, .. })
                        | Work::Logout(Token { session, .. })
                        | Work::Used(session, _),
                        Known::Epoch(epoch),
                    ) if task.attempts < ATTEMPTS => {
                        (task.step, task.began) = (task.step + 1, self.now);
                        let (id, step) = (task.id, task.step);
                        self.proxies[proxy].tasks.push(task);
                        self.ask(proxy, id, step, Ask::Get { epoch, session });
                    }
                    _ => self.give_up(task.request),
                }
            }
            Told::Committed { verdict: Some(Verdict::Yes), story, excused } => {
                (task.story, task.excused) = (story, excused);
                self.committed(proxy, task);
            }
            Told::Absent(None) | Told::Committed { verdict: Some(Verdict::ReadOnly) | None, .. } => {
                self.give_up(task.request)
            }
            Told::Looked { .. } | Told::All { .. } | Told::Restored(_) | Told::Reopened { .. } => {}
        }
    }

    fn commit(&mut self, proxy: usize, mut task: Task, expected: Option<Session>, next: Session) {
        let Known::Epoch(epoch) = self.proxies[proxy].known else { return self.give_up(task.request) };
        task.step += 1;
        (task.read, task.write) = (expected.clone(), Some(next.clone()));
        let (id, step, nonce) = (task.id, task.step, self.random.bits());
        if self.flaw == Flaw::AnsweredBeforeCommit
            && let (Work::Refresh(_), Some(request)) = (task.work, task.request)
        {
            self.hand_out(proxy, &task, &next, request);
            task.request = None;
        }
        self.proxies[proxy].tasks.push(task);
        self.ask(proxy, id, step, Ask::Commit { epoch, expected, next: Box::new(next), nonce });
    }

    fn refresh(&mut self, number: usize, task: Task, found: Option<Session>, token: Token) {
        let Some(request) = task.request else { return };
        let proxy = &self.proxies[number];
        let client = self.requests[request].client as u8;
        let key_of_record = found.as_ref().map_or(0, |session| self.key_number(session));
        let active = self.keys[usize::from(proxy.key)].clone();
        let attempt = Attempt {
            generation: token.generation,
            now: Timestamp::from_millis(proxy.now(task.began)),
            mark_of_record_key: mark(client, key_of_record),
            mark_of_active_key: mark(client, proxy.key),
            mark_of_presented_key: mark(client, token.key),
            active_mac_key: &active,
            presented_mac_key: &self.keys[usize::from(token.key)],
            known_ended: task.known_ended && self.flaw != Flaw::EndedRises && self.flaw != Flaw::OwnKnowledgeUnasked,
        };
        let policy = RotationPolicy { grace: ms(GRACE), late_retry: self.late_retry };
        let outcome = judge(found.as_ref(), &attempt, &policy, self.flaw);
        self.judge_outcome(found.as_ref(), &outcome);
        let entitled = self.is_entitled(request, task.began);
        self.requests[request].judged_at.get_or_insert(task.began);
        self.tell(|_| {
            let state = found.as_ref().map(|found| (found.generation, found.used, found.ended.is_some()));
            let outcome = format!("{outcome:?}");
            let outcome = outcome.split([' ', '(']).next().unwrap_or_default().to_owned();
            format!("  proxy {number} judges request {request}: record {state:?}: {outcome}, entitled {entitled}")
        });
        match outcome {
            Outcome::Kept { write } | Outcome::Retried { write, .. } => {
                self.judge.counts.retried += 1;
                let Some(read) = found else { return };
                match write {
                    None if self.flaw == Flaw::AnsweredFromRead => {
                        let task = Task { read: Some(read.clone()), ..task };
                        self.hand_out(number, &task, &read, request);
                    }
                    // Committed as it is: that it can be proves that this is the primary.
                    write => {
                        let next = write.unwrap_or_else(|| read.clone());
                        self.commit(number, task, Some(read), next);
                    }
                }
            }
            Outcome::Rotated { write } => self.commit(number, task, found, write),
            Outcome::Reused { write } => {
                if entitled {
                    self.break_holder(request, "was taken for a thief");
                }
                // What is told of it from now on is true.
                self.judge.ghost(token.session, |ghost| ghost.end_asked = true);
                self.commit(number, task, found, write);
            }
            Outcome::Refused(Refusal::Unknown) if !self.has_been_in_line(number) => {
                self.answer(request, Answer::Unknown);
            }
            Outcome::Refused(Refusal::Unknown) if self.flaw != Flaw::AbsentFromRead => {
                let Known::Epoch(epoch) = self.proxies[number].known else { return self.give_up(Some(request)) };
                let mut task = task;
                task.step += 1;
                let (id, step) = (task.id, task.step);
                self.proxies[number].tasks.push(task);
                self.ask(number, id, step, Ask::Absent { epoch, session: token.session });
            }
            Outcome::Refused(refusal) => {
                self.judge_refused(number, request, token.session, refusal);
                self.answer(request, Answer::Refused);
            }
        }
    }

    /// Has whoever may hold a copy of a session that has no record had the time to give it back?
    fn has_been_in_line(&self, number: usize) -> bool {
        let since = self.proxies[number].in_line_since;
        since.is_some_and(|since| self.now >= since + LEASE) || self.flaw == Flaw::UnsureIsUnknown
    }

    fn log_out(&mut self, number: usize, task: Task, found: Option<Session>, token: Token) {
        let proxy = &self.proxies[number];
        let now = Timestamp::from_millis(proxy.now(self.now));
        let begun = || {
            let key = self.keys[usize::from(proxy.key)].clone();
            Session::begin(token.session, SUBJECT, now, Timestamp::from_millis(token.ends_at), key)
        };
        let next = found.clone().unwrap_or_else(begun).end(now, EndReason::Logout);
        self.commit(number, task, found, next);
    }

    /// What was to be written is written.
    fn committed(&mut self, number: usize, task: Task) {
        let Some(write) = task.write.clone() else { return };
        let flaw = self.flaw;
        self.keep(number, &write);
        if let Some(ending) = write.ended {
            let at = ending.at.as_millis();
            let proxy = &mut self.proxies[number];
            proxy.list(self.mirrors.get(proxy.mirror), write.id, at, at, flaw);
        }
        match (task.work, task.request) {
            (Work::Logout(token), Some(request)) => self.acknowledge(number, token.session, request),
            (Work::Refresh(_), Some(request)) if write.ended.is_some() => {
                self.judge.counts.reused += 1;
                self.answer(request, Answer::Refused);
            }
            (Work::Refresh(_), Some(request)) => self.hand_out(number, &task, &write, request),
            (Work::Login(_), Some(request)) => {
                self.judge.begun(write.id);
                self.hand_out(number, &task, &write, request);
            }
            (Work::Used(..), _) | (_, None) => {}
        }
    }

    fn acknowledge(&mut self, proxy: usize, session: SessionId, request: usize) {
        let now = self.now;
        self.judge.ghost(session, |ghost| {
            ghost.acknowledged_at.get_or_insert(now);
        });
        self.watch_publications();
        self.judge_acknowledged(session);
        self.strike_after_logout(proxy);
        self.answer(request, Answer::LoggedOut);
    }

    /// 200 with tokens.
    fn hand_out(&mut self, number: usize, task: &Task, session: &Session, request: usize) {
        let key = match self.flaw {
            Flaw::OwnKeyTaken => self.proxies[number].key,
            _ => self.key_number(session),
        };
        let ends_at = session.ends_at.as_millis();
        let token = Token { session: session.id, generation: session.generation, key, ends_at, genuine: true };
        let expires_at = (self.proxies[number].now(task.began) + ACCESS_LIFE).min(ends_at);
        let access = Access { session: session.id, generation: session.generation, expires_at };
        self.judge_handed_out(number, task, request, &token);
        self.strike_after_tokens();
        self.answer(request, Answer::Tokens(token, access));
    }

    fn keep(&mut self, number: usize, session: &Session) {
        let ended = self.proxies[number].has_ended_copy(&session.id);
        self.proxies[number].keep(session, self.flaw);
        if ended && !self.proxies[number].has_ended_copy(&session.id) {
            self.judge.say(format!("proxy {number} has forgotten that {} ended", session.id));
        }
    }

    fn key_number(&self, session: &Session) -> u8 {
        u8::from(session.mac_key == self.keys[1])
    }

    /// The store has lost its memory.
    pub fn lost(&mut self, number: usize) {
        let proxy = &mut self.proxies[number];
        proxy.known = Known::Lost;
        proxy.loaded = false;
        self.mirrors.get(proxy.mirror).forget(partition());
    }
}

fn mark(client: u8, key: u8) -> ClientMark {
    let mut bytes = [0; 16];
    (bytes[0], bytes[1]) = (client, key);
    ClientMark(bytes)
}
