//! One schedule: virtual time, a queue of events, a network that loses, repeats and reorders, and everybody in it.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Instant;

use portcullis::session::{KeyId, LateRetry, SessionId};
use portcullis::store::Mirror;
use portcullis::time::Timestamp;

use crate::client::{Answer, Client, Request};
use crate::faults::Fault;
use crate::judge::Judge;
use crate::proxy::{Ask, Proxy, Told};
use crate::random::Random;
use crate::rules::{Flaw, SKEW, ms};
use crate::store::Store;

/// Something that will happen.
pub enum Event {
    /// A client does its next thing.
    Act(usize),
    /// A request reaches its proxy.
    Arrive(usize),
    /// An answer reaches its client.
    Hear(usize, Answer),
    /// A question reaches a server, and what it says reaches the proxy.
    Ask {
        proxy: usize,
        life: u32,
        node: usize,
        task: u32,
        step: u32,
        ask: Ask,
    },
    Told {
        proxy: usize,
        life: u32,
        task: u32,
        step: u32,
        told: Told,
    },
    /// The proxy has waited long enough.
    Overdue {
        proxy: usize,
        life: u32,
        task: u32,
        step: u32,
    },
    /// A proxy looks after everything.
    Look {
        proxy: usize,
        life: u32,
        timer: Option<u32>,
    },
    Replicate,
    Fault(Fault),
}

struct Queued {
    at: u64,
    number: u64,
    event: Event,
}

impl Ord for Queued {
    fn cmp(&self, other: &Queued) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Queued) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Queued {
    fn eq(&self, other: &Queued) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Queued {}

/// The mirrors of the real thing are dear to make, so that they are used again. Sessions' ids never come twice, and what
/// one schedule has listed matters to no other.
pub struct Mirrors {
    mirrors: Vec<Mirror>,
    used: usize,
    /// Time 0 of every schedule.
    zero: Instant,
}

impl Mirrors {
    pub fn new() -> Mirrors {
        Mirrors { mirrors: Vec::new(), used: 0, zero: Instant::now() + std::time::Duration::from_secs(1) }
    }

    /// An empty mirror that knows nothing.
    pub fn fresh(&mut self) -> usize {
        if self.used == self.mirrors.len() {
            self.mirrors.push(Mirror::new());
        }
        let mirror = &self.mirrors[self.used];
        mirror.forget(partition());
        if mirror.revocations.len() > 500 {
            mirror.revocations.remove_expired(Timestamp::from_millis(u64::MAX));
        }
        self.used += 1;
        self.used - 1
    }

    pub fn get(&self, mirror: usize) -> &Mirror {
        &self.mirrors[mirror]
    }

    /// A point in the schedule's time, as the mirror wants it.
    pub fn at(&self, now: u64) -> Instant {
        self.zero + ms(now)
    }
}

/// All sessions of a schedule belong to one subject, and so to one partition.
pub const SUBJECT: &str = "demo";
pub fn partition() -> usize {
    SessionId::partition_of_subject(SUBJECT)
}

/// A schedule while it runs.
pub struct World<'a> {
    pub now: u64,
    pub random: Random,
    pub flaw: Flaw,
    pub mirrors: &'a mut Mirrors,
    pub store: Store,
    pub proxies: Vec<Proxy>,
    pub clients: Vec<Client>,
    pub requests: Vec<Request>,
    pub judge: Judge,
    pub late_retry: LateRetry,
    pub keys: [KeyId; 2],
    /// How many messages out of a thousand are lost or doubled.
    pub loss: u64,
    /// The furthest that two clocks are apart.
    pub apart: u64,
    /// Old entries leave the mirrors now and then.
    pub sweeps: bool,
    pub next_task: u32,
    pub histories: u32,
    /// Endings that wait for the replica: until it has so many changes.
    pub waiting: Vec<(u64, Event)>,
    pub replicating: bool,
    queue: BinaryHeap<Queued>,
    queued: u64,
    /// What has happened, in lines, if somebody wants to read it.
    pub trace: Option<Vec<String>>,
}

impl<'a> World<'a> {
    /// Runs the schedule that `seed` names; says what was broken.
    pub fn run(seed: u64, flaw: Flaw, mirrors: &'a mut Mirrors, trace: bool) -> Result<Counts, Broken> {
        let mut world = World::new(seed, flaw, mirrors, trace);
        let end = world.random.between(8_000, 30_000);
        let mut events = 0;
        while let Some(Queued { at, event, .. }) = world.queue.pop() {
            if at > end {
                break;
            }
            world.now = at;
            world.happen(event);
            events += 1;
            if let Some(what) = world.judge.broken.take() {
                return Err(Broken { what, at, lines: world.trace.unwrap_or_default() });
            }
        }
        Ok(Counts { events, ..world.judge.counts })
    }

    fn new(seed: u64, flaw: Flaw, mirrors: &'a mut Mirrors, trace: bool) -> World<'a> {
        let mut random = Random::new(seed);
        let apart = match random.below(10) {
            0..5 => 0,
            5..9 => SKEW,
            _ => 20 * SKEW,
        };
        let replicated = random.chance(500);
        let clock = |random: &mut Random| random.between(0, apart) as i64;
        let clocks = [clock(&mut random), clock(&mut random)];
        mirrors.used = 0;
        let (proxies, rolled) = (random.between(1, 3) as usize, random.index(4));
        let proxies = (0..proxies)
            .map(|proxy| Proxy::new(clock(&mut random), u8::from(proxy < rolled), mirrors.fresh()))
            .collect();
        let browsers = random.between(1, 2) as usize;
        let thief = random.chance(300);
        let clients = (0..browsers + usize::from(thief))
            .map(|client| Client {
                thief: client == browsers,
                tabs: random.between(1, 3) as usize,
                keeps_newest: random.chance(800),
                jar: None,
                access: None,
                left_over: None,
                newest: 0,
            })
            .collect();
        let loss = random.pick(&[0, 0, 20, 100]);
        let late_retry = random.pick(&[
            LateRetry::SameClient,
            LateRetry::SameClient,
            LateRetry::SameClient,
            LateRetry::Any,
            LateRetry::Off,
        ]);
        let sweeps = random.chance(250);
        let third = replicated && random.chance(500);
        let mut world = World {
            now: 0,
            store: Store::new(replicated, clocks, flaw),
            flaw,
            mirrors,
            proxies,
            clients,
            requests: Vec::new(),
            judge: Judge::default(),
            late_retry,
            keys: [KeyId::from("key 0"), KeyId::from("key 1")],
            loss,
            apart,
            sweeps,
            next_task: 1,
            histories: 0,
            waiting: Vec::new(),
            replicating: false,
            queue: BinaryHeap::new(),
            queued: 0,
            trace: trace.then(Vec::new),
            random,
        };
        world.store.third = third;
        world.begin();
        world
    }

    /// The store has been open for long: everybody starts into an ordinary day, on which things will go wrong.
    fn begin(&mut self) {
        // So that clocks that run behind have a time before.
        self.now = 0;
        for proxy in 0..self.proxies.len() {
            let at = self.random.below(300);
            self.later(at, Event::Look { proxy, life: 0, timer: None });
        }
        for client in 0..self.clients.len() {
            let at = self.random.between(3_500, 6_000);
            self.later(at, Event::Act(client));
        }
        for _ in 0..self.random.below(5) {
            let at = self.random.between(4_000, 20_000);
            let fault = self.any_fault();
            self.later(at, Event::Fault(fault));
        }
        self.tell(|world| {
            let clocks: Vec<i64> = world.proxies.iter().map(|proxy| proxy.clock).collect();
            format!(
                "{} proxies (clocks {clocks:?} ms), {} clients, replica {}, loss {}/1000, late retry {:?}",
                world.proxies.len(),
                world.clients.len(),
                world.store.replicated,
                world.loss,
                world.late_retry
            )
        });
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Act(client) => self.act(client),
            Event::Arrive(request) => self.arrive(request),
            Event::Hear(request, answer) => self.hear(request, answer),
            Event::Ask { proxy, life, node, task, step, ask } => self.asked(proxy, life, node, task, step, ask),
            Event::Told { proxy, life, task, step, told } if self.lives(proxy, life) => match task {
                0 => self.follower_told(proxy, step, told),
                task => self.task_told(proxy, task, step, told),
            },
            Event::Overdue { proxy, life, task, step } if self.lives(proxy, life) => match task {
                0 => self.look_overdue(proxy, step),
                task => self.task_overdue(proxy, task, step),
            },
            Event::Look { proxy, life, timer } if self.lives(proxy, life) => {
                if timer.is_none_or(|timer| timer == self.proxies[proxy].timer) {
                    self.look(proxy);
                }
            }
            Event::Told { .. } | Event::Overdue { .. } | Event::Look { .. } => {}
            Event::Replicate => self.replicate(),
            Event::Fault(fault) => self.fault(fault),
        }
    }

    fn lives(&self, proxy: usize, life: u32) -> bool {
        self.proxies[proxy].up && self.proxies[proxy].life == life
    }

    /// Lets something happen in so many milliseconds.
    pub fn later(&mut self, in_ms: u64, event: Event) {
        self.queued += 1;
        self.queue.push(Queued { at: self.now + in_ms, number: self.queued, event });
    }

    /// How long a message takes: mostly short, sometimes long enough to be overtaken by all others.
    pub fn latency(&mut self) -> u64 {
        match self.random.below(20) {
            0 => self.random.between(50, 300),
            1 if self.loss > 0 => self.random.between(300, 2_500),
            _ => self.random.between(1, 40),
        }
    }

    /// A message on its way: lost, or not.
    pub fn is_lost(&mut self) -> bool {
        let loss = self.loss;
        loss > 0 && self.random.chance(loss)
    }

    /// Writes a line, if anybody reads.
    pub fn tell(&mut self, line: impl FnOnce(&World<'_>) -> String) {
        if self.trace.is_some() {
            let line = format!("{:>6} ms  {}", self.now, line(self));
            if let Some(trace) = &mut self.trace {
                trace.push(line);
            }
        }
    }
}

/// What was tried, so that a simulation in which nothing happens is noticed.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counts {
    pub events: u64,
    pub refreshed: u64,
    pub retried: u64,
    pub passed: u64,
    pub refused: u64,
    pub unknown: u64,
    pub logged_out: u64,
    pub reused: u64,
    pub given_back: u64,
    pub reopened: u64,
}

impl Counts {
    pub fn add(&mut self, more: &Counts) {
        self.events += more.events;
        self.refreshed += more.refreshed;
        self.retried += more.retried;
        self.passed += more.passed;
        self.refused += more.refused;
        self.unknown += more.unknown;
        self.logged_out += more.logged_out;
        self.reused += more.reused;
        self.given_back += more.given_back;
        self.reopened += more.reopened;
    }
}

/// An invariant that did not hold.
pub struct Broken {
    pub what: String,
    pub at: u64,
    pub lines: Vec<String>,
}
