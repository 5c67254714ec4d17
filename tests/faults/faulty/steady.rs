//! Clients that go on through every fault: some read, some refresh, some come and go, and some try the doors of those
//! who left.
//!
//! About 100 calls a second for each proxy, whatever the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::caller::{Caller, Jar, Reply};
use super::rig::Rig;

/// See the module. They stop when this is dropped.
pub struct Steady {
    pub caller: Caller,
    stopping: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

/// Sessions that are kept and refreshed, for each proxy.
const REFRESHERS: usize = 3;
/// Those who come and go, for each proxy.
const VISITORS: usize = 2;

impl Steady {
    /// They begin.
    pub async fn start(rig: &Rig) -> Steady {
        let caller = Caller::of(rig);
        let stopping = Arc::new(AtomicBool::new(false));
        let mut steady = Steady { caller: caller.clone(), stopping, tasks: JoinSet::new() };
        let gates = caller.gates();
        for gate in 0..gates {
            let on = On { caller: caller.clone(), stopping: Arc::clone(&steady.stopping), gate };
            // Somebody who logged in at one proxy and is sent to the next.
            let reader = caller.login_at_last((gate + 1) % gates).await;
            steady.tasks.spawn(on.clone().walk());
            steady.tasks.spawn(on.clone().read(reader));
            for number in 0..REFRESHERS {
                let jar = caller.login_at_last(gate).await;
                steady.tasks.spawn(on.clone().refresh(jar, number));
            }
            for _ in 0..VISITORS {
                steady.tasks.spawn(on.clone().come_and_go());
            }
            steady.tasks.spawn(on.try_old_doors());
        }
        steady
    }

    /// Some more with sessions that are kept and refreshed: what they hold is newer than a snapshot that was taken before.
    pub async fn newcomers(&mut self) {
        for gate in 0..self.caller.gates() {
            let jar = self.caller.login_at_last(gate).await;
            let on = On { caller: self.caller.clone(), stopping: Arc::clone(&self.stopping), gate };
            self.tasks.spawn(on.refresh(jar, 0));
        }
    }

    /// They finish what they are doing.
    pub async fn stop(mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// One of them, and where.
#[derive(Clone)]
struct On {
    caller: Caller,
    stopping: Arc<AtomicBool>,
    gate: usize,
}

impl On {
    async fn goes_on(&self, pause_ms: u64) -> bool {
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        !self.stopping.load(Ordering::Relaxed)
    }

    async fn walk(self) {
        while self.goes_on(25).await {
            self.caller.public(self.gate).await;
        }
    }

    async fn read(self, mut jar: Jar) {
        while self.goes_on(25).await {
            if !is_no(&self.caller.protected(self.gate, &jar).await) {
                continue;
            }
            // An access token has its time; that the session has ended is what the refresh says.
            let reply = self.caller.refresh(self.gate, &mut jar).await;
            if is_no(&reply) {
                self.caller.book.thrown_out(reply.reason);
                jar = self.login().await;
            }
        }
    }

    /// The last of them is sent from proxy to proxy.
    async fn refresh(self, mut jar: Jar, number: usize) {
        let mut turn = self.gate;
        while self.goes_on(150).await {
            turn += usize::from(number + 1 == REFRESHERS);
            let reply = self.caller.refresh(turn % self.caller.gates(), &mut jar).await;
            if is_no(&reply) {
                self.caller.book.thrown_out(reply.reason);
                jar = self.login().await;
            }
        }
    }

    async fn come_and_go(self) {
        while self.goes_on(100).await {
            let Some(jar) = self.caller.login(self.gate).await else { continue };
            while self.caller.logout(self.gate, &jar).await.status != 204 && self.goes_on(100).await {}
        }
    }

    /// With what those had who logged out.
    async fn try_old_doors(self) {
        let mut number = self.gate;
        while self.goes_on(20).await {
            number += 1;
            let Some(logout) = self.caller.book.some_logout(number) else { continue };
            let after = Instant::now().saturating_duration_since(logout.at);
            if self.caller.status_of(self.gate, &logout.token).await == 200 {
                self.caller.book.revived(after);
            }
        }
    }

    async fn login(&self) -> Jar {
        loop {
            if let Some(jar) = self.caller.login(self.gate).await {
                return jar;
            }
            if !self.goes_on(100).await {
                return Jar::default();
            }
        }
    }
}

/// Not "later", and not "cannot tell".
fn is_no(reply: &Reply) -> bool {
    (400..500).contains(&reply.status)
}
