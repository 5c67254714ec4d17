//! The faults of a Redis and of the way to it: how each begins and ends, for real.

use std::time::Duration;

use super::detour::Way;
use super::rig::Rig;

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing: what all others are compared with.
    None,
    /// `kill -9`, and later started with what it had on disk.
    Killed,
    /// SIGSTOP: connections stay open, nothing is answered.
    Paused,
    /// Answers come late.
    Slow(Duration),
    /// Commands arrive, answers do not.
    Deaf,
    /// Nothing arrives on the way of the first proxy.
    FirstCutOff,
    /// Redis closes all connections.
    Disconnected,
    /// Every command is answered with this.
    Answers(&'static [u8]),
    /// Made a replica of nothing: it answers READONLY to writes.
    ReadOnly,
    /// It has no memory left, and evicts nothing.
    OutOfMemory,
    /// It has forgotten our scripts.
    NoScript,
    /// FLUSHALL.
    Emptied,
    /// Killed, and started with what was last saved: nothing, or a snapshot.
    Restarted,
}

impl Fault {
    /// It begins.
    pub fn begin(self, rig: &mut Rig) {
        match self {
            Fault::None => {}
            Fault::Killed | Fault::Restarted => rig.redis().kill(),
            Fault::Paused => rig.redis().pause(),
            Fault::Slow(by) => rig.all_ways(Way::Slow(by)),
            Fault::Deaf => rig.all_ways(Way::Deaf),
            Fault::FirstCutOff => rig.detours[0].set(Way::Silent),
            Fault::Disconnected => {
                let _: i64 = rig.redis().command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            }
            Fault::Answers(answer) => rig.all_ways(Way::Answers(answer)),
            // Nobody listens on port 1.
            Fault::ReadOnly => rig.redis().command(&["REPLICAOF", "127.0.0.1", "1"]),
            Fault::OutOfMemory => {
                let _: () = rig.redis().command(&["CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction"]);
            }
            Fault::NoScript => rig.redis().command(&["SCRIPT", "FLUSH"]),
            Fault::Emptied => rig.redis().command(&["FLUSHALL"]),
        }
    }

    /// It ends. What happens in one moment has ended with it.
    pub fn end(self, rig: &mut Rig) {
        match self {
            Fault::None | Fault::Disconnected | Fault::NoScript | Fault::Emptied => {}
            Fault::Killed | Fault::Restarted => rig.redis().start_again(),
            Fault::Paused => rig.redis().resume(),
            Fault::Slow(_) | Fault::Deaf | Fault::FirstCutOff | Fault::Answers(_) => rig.all_ways(Way::Open),
            Fault::ReadOnly => rig.redis().command(&["REPLICAOF", "NO", "ONE"]),
            Fault::OutOfMemory => rig.redis().command(&["CONFIG", "SET", "maxmemory", "0"]),
        }
    }
}
