//! What goes wrong around the proxies and the store.

use crate::proxy::Known;
use crate::random::Random;
use crate::world::{Event, World};

/// A fault, or the end of one.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// A proxy dies, with or without its disk.
    Crash {
        proxy: usize,
        disk_too: bool,
    },
    Start(usize),
    /// A proxy and the store cannot hear one another for a while.
    Cut {
        proxy: usize,
        ms: u64,
    },
    /// The primary answers nothing for a while.
    Pause(u64),
    /// The replica takes over. The old primary may go on answering.
    FailOver {
        old_goes_on: bool,
    },
    /// A proxy hears who the primary is now.
    Switch(usize),
    Rejoin,
    Empty,
    Save,
    RollBack,
}

impl World<'_> {
    /// One that can happen here.
    pub fn any_fault(&mut self) -> Fault {
        let proxies = self.proxies.len();
        let random: &mut Random = &mut self.random;
        match random.below(9) {
            0 | 1 => Fault::Crash { proxy: random.index(proxies), disk_too: random.chance(300) },
            2 => Fault::Cut { proxy: random.index(proxies), ms: random.between(300, 9_000) },
            3 => Fault::Pause(random.between(100, 3_000)),
            4 | 5 if self.store.replicated => Fault::FailOver { old_goes_on: random.chance(600) },
            6 => Fault::Empty,
            7 => Fault::Save,
            _ => Fault::Pause(random.between(10, 700)),
        }
    }

    /// Tokens have just been promised to a client: a bad moment for a fault.
    pub fn strike_after_tokens(&mut self) {
        if self.random.chance(30) {
            let fault = match self.random.below(4) {
                0 | 1 => Fault::FailOver { old_goes_on: self.random.chance(600) },
                2 => Fault::Crash { proxy: self.random.index(self.proxies.len()), disk_too: self.random.chance(300) },
                _ => Fault::Empty,
            };
            let at = self.random.pick(&[1, 5, 10, 60]);
            self.later(at, Event::Fault(fault));
        }
    }

    /// A logout has just been promised: the worst moment for a fault.
    pub fn strike_after_logout(&mut self, proxy: usize) {
        let other = self.random.index(self.proxies.len());
        let long = self.random.between(6_000, 12_000);
        let soon = self.random.between(1, 100);
        match self.random.below(12) {
            0 => self.fault(Fault::Cut { proxy: other, ms: long }),
            1 => {
                // It comes back, and hears nothing.
                self.later(soon, Event::Fault(Fault::Crash { proxy: other, disk_too: soon.is_multiple_of(2) }));
                self.later(soon, Event::Fault(Fault::Cut { proxy: other, ms: long }));
            }
            2 => self.later(soon, Event::Fault(Fault::FailOver { old_goes_on: true })),
            3 => {
                // Who ended it is gone for good, and the others have just heard of it.
                self.later(soon, Event::Fault(Fault::Crash { proxy, disk_too: true }));
                let at = self.random.between(200, 1_500);
                self.later(at, Event::Fault(Fault::Empty));
            }
            4 => self.later(soon, Event::Fault(Fault::RollBack)),
            _ => {}
        }
    }

    pub fn fault(&mut self, fault: Fault) {
        self.tell(|_| format!("fault: {fault:?}"));
        let now = self.now;
        match fault {
            Fault::Crash { proxy: number, disk_too } => {
                let mirror = self.mirrors.fresh();
                let proxy = &mut self.proxies[number];
                if !proxy.up {
                    return;
                }
                proxy.up = false;
                proxy.life += 1;
                proxy.mirror = mirror;
                proxy.tasks.clear();
                proxy.held.clear();
                proxy.met.clear();
                if disk_too {
                    proxy.copies.clear();
                }
                (proxy.known, proxy.loaded, proxy.cursor) = (Known::NotYet, false, None);
                (proxy.read_at, proxy.recovered_at, proxy.in_line_since) = (None, None, None);
                let back = self.random.between(100, 4_000);
                self.later(back, Event::Fault(Fault::Start(number)));
            }
            Fault::Start(number) => {
                let primary = self.store.primary;
                let proxy = &mut self.proxies[number];
                (proxy.up, proxy.up_since, proxy.node) = (true, now, primary);
                let life = proxy.life;
                self.later(1, Event::Look { proxy: number, life, timer: None });
            }
            Fault::Cut { proxy, ms } => {
                self.proxies[proxy].cut_until = now + ms;
                self.proxies[proxy].disturbed_at = now + ms;
            }
            Fault::Pause(ms) => {
                let primary = self.store.primary;
                let node = &mut self.store.nodes[primary];
                node.paused_until = node.paused_until.max(now + ms);
                for proxy in &mut self.proxies {
                    proxy.disturbed_at = proxy.disturbed_at.max(now + ms);
                }
            }
            Fault::FailOver { old_goes_on } => {
                // There is one only where the replica is connected.
                if !self.store.attached {
                    return;
                }
                self.new_history();
                self.store.fail_over(self.histories, old_goes_on);
                self.waiting.clear();
                for proxy in 0..self.proxies.len() {
                    let at = self.random.below(if old_goes_on { 7_000 } else { 1_000 });
                    self.proxies[proxy].disturbed_at = self.proxies[proxy].disturbed_at.max(now + at);
                    self.later(at, Event::Fault(Fault::Switch(proxy)));
                }
                let back = self.random.between(7_000, 10_000);
                self.later(back, Event::Fault(Fault::Rejoin));
            }
            Fault::Switch(proxy) => {
                self.proxies[proxy].node = self.store.primary;
                self.moved(proxy);
            }
            Fault::Rejoin => {
                // Whoever is still connected to it is thrown out.
                self.store.rejoin();
                let primary = self.store.primary;
                for proxy in 0..self.proxies.len() {
                    if self.proxies[proxy].node != primary {
                        self.proxies[proxy].node = primary;
                        self.moved(proxy);
                    }
                }
            }
            Fault::Empty => {
                self.new_history();
                self.judge.lost_at = Some(now);
                self.store.empty(self.histories);
                if self.random.chance(300) {
                    let at = self.random.between(100, 2_500);
                    self.later(at, Event::Fault(Fault::Save));
                }
                self.replicate_soon();
            }
            Fault::Save => {
                self.store.save();
                let at = self.random.between(300, 9_000);
                self.later(at, Event::Fault(Fault::RollBack));
            }
            Fault::RollBack => {
                if self.store.roll_back(self.histories + 1) {
                    self.new_history();
                    self.judge.lost_at = Some(now);
                    self.waiting.clear();
                    // It was started again, so all connections are new.
                    (0..self.proxies.len()).for_each(|proxy| self.moved(proxy));
                }
            }
        }
        self.watch_publications();
    }

    fn new_history(&mut self) {
        self.histories += 1;
        self.judge.upset_at = Some(self.now);
    }
}
