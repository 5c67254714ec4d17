//! The names of keys, and the scripts.
//!
//! Everything that one commit touches carries the same hash tag, `{07}` say, and so lives in one slot of a cluster. There
//! is no key without such a tag.

use std::fmt::Display;

use redis::{Cmd, Script, ToRedisArgs};

use crate::session::SessionId;

/// The partition that is home to what the proxies say of themselves.
pub(super) const PROXIES_IN: usize = 0;

/// How many slots a cluster has.
const SLOTS: u16 = 16384;

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

    /// What the names of all session records look like, for `SCAN`; or of those in one partition.
    pub(super) fn sessions(&self, partition: Option<usize>) -> String {
        match partition {
            None => format!("{}{{??}}:s:*", self.prefix),
            Some(partition) => self.key(partition, "s:*"),
        }
    }

    pub(super) fn ticket(&self, ticket: &SessionId) -> String {
        self.key(ticket.partition(), format_args!("t:{ticket}"))
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

    /// A key that is never there.
    pub(super) fn nowhere(&self, partition: usize) -> String {
        self.key(partition, "nowhere")
    }

    /// What the proxies say of themselves. It has nothing to do with the partition that it is in.
    pub(super) fn proxies(&self) -> String {
        self.key(PROXIES_IN, "proxies")
    }

    fn key(&self, partition: usize, name: impl Display) -> String {
        format!("{}{{{partition:02}}}:{name}", self.prefix)
    }
}

/// The slot of all keys of a partition: CRC-16 (XMODEM) of what is in the braces.
pub(super) fn slot(partition: usize) -> u16 {
    crc16(format!("{partition:02}").as_bytes()) % SLOTS
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        let step = |crc: u16, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        (0..8).fold(crc ^ (u16::from(*byte) << 8), step)
    })
}

/// The scripts. Each says itself what it does.
pub(super) struct Scripts {
    pub absent: Script,
    pub announce: Script,
    pub close: Script,
    pub commit: Script,
    pub heartbeat: Script,
    pub reopen: Script,
}

impl Scripts {
    pub(super) fn new() -> Scripts {
        Scripts {
            absent: Script::new(include_str!("scripts/absent.lua")),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_has_one_slot() {
        // The check value in the specification of Redis Cluster.
        assert_eq!(crc16(b"123456789"), 0x31c3);
        // As `CLUSTER KEYSLOT portcullis:{07}:epoch` says.
        assert_eq!([slot(0), slot(7), slot(15)], [13254, 801, 4178]);
    }
}
