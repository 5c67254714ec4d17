//! The names of keys, and the scripts.
//!
//! Everything that one commit touches carries the same hash tag, `{07}` say, and so lives in one slot of a cluster.

use std::fmt::Display;

use redis::{Cmd, Script, ToRedisArgs};

use crate::session::SessionId;

/// Key names under one prefix.
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: String) -> Keys {
        Keys { prefix }
    }

    pub(super) fn session(&self, id: &SessionId) -> String {
        self.key(id.partition(), format_args!("s:{id}"))
    }

    /// What all names of session records look like, for `SCAN`.
    pub(super) fn sessions(&self) -> String {
        format!("{}{{??}}:s:*", self.prefix)
    }

    /// The living sessions of a subject, scored by their absolute end.
    pub(super) fn subject(&self, subject: &str) -> String {
        self.key(SessionId::partition_of_subject(subject), format_args!("u:{subject}"))
    }

    pub(super) fn revocations(&self, partition: usize) -> String {
        self.key(partition, "revocations")
    }

    pub(super) fn epoch(&self, partition: usize) -> String {
        self.key(partition, "epoch")
    }

    fn heartbeat(&self, partition: usize) -> String {
        self.key(partition, "heartbeat")
    }

    /// How long entries of the stream are kept.
    fn kept(&self, partition: usize) -> String {
        self.key(partition, "kept")
    }

    /// What the heartbeat script needs.
    pub(super) fn for_heartbeat(&self, partition: usize) -> [String; 4] {
        [self.epoch(partition), self.revocations(partition), self.heartbeat(partition), self.kept(partition)]
    }

    pub(super) fn amnesia_since(&self, partition: usize) -> String {
        self.key(partition, "amnesia_since")
    }

    pub(super) fn giving_back(&self, partition: usize) -> String {
        self.key(partition, "giving_back")
    }

    /// What the proxies say of themselves. It belongs to no partition, and is touched alone.
    pub(super) fn proxies(&self) -> String {
        format!("{}proxies", self.prefix)
    }

    fn key(&self, partition: usize, name: impl Display) -> String {
        format!("{}{{{partition:02}}}:{name}", self.prefix)
    }
}

/// The scripts. Each says itself what it does.
pub(super) struct Scripts {
    pub announce: Script,
    pub close: Script,
    pub commit: Script,
    pub heartbeat: Script,
    pub reopen: Script,
}

impl Scripts {
    pub(super) fn new() -> Scripts {
        Scripts {
            announce: Script::new(include_str!("scripts/announce.lua")),
            close: Script::new(include_str!("scripts/close.lua")),
            commit: Script::new(include_str!("scripts/commit.lua")),
            heartbeat: Script::new(include_str!("scripts/heartbeat.lua")),
            reopen: Script::new(include_str!("scripts/reopen.lua")),
        }
    }
}

/// A call of a script that Redis has already, to be pipelined.
pub(super) fn evalsha<const N: usize>(script: &Script, keys: [String; N], arguments: impl ToRedisArgs) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(script.get_hash()).arg(N).arg(&keys[..]).arg(arguments);
    command
}
