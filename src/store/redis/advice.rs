//! Settings of Redis that would lose sessions or logouts: what is wrong, and what to write instead.
//!
//! Pure: from what Redis says of itself to advice. What it does not let us see is advice too, for silence would read as
//! "all is well".

use std::fmt;

/// What `CONFIG GET` answered; none where it is forbidden, as it often is when Redis is rented.
#[derive(Clone, Default, Debug)]
pub(super) struct Settings {
    /// `save`: when snapshots are taken; empty for never.
    pub save: Option<String>,
    /// `appendfsync`.
    pub appendfsync: Option<String>,
    /// `cluster-require-full-coverage`.
    pub full_coverage: Option<String>,
}

/// Something that the operator should know about this Redis.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Advice {
    /// Records may be thrown away when memory is full.
    Evicts {
        /// `maxmemory-policy`
        policy: String,
    },
    /// Nothing is kept on disk.
    NotPersistent,
    /// There is no append-only file, only a snapshot from time to time.
    SnapshotsOnly,
    /// The append-only file reaches the disk whenever the system likes.
    NeverSynced,
    /// It goes on taking writes when it is cut off from its replicas.
    WritesAlone,
    /// It is one of a cluster, and nobody could take its place.
    NoReplica,
    /// It is one of a cluster that stops as a whole when a part of it is gone.
    StopsAsAWhole,
    /// It does not let us see a setting.
    Unseen(Unseen),
}

/// What cannot be checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unseen {
    /// Whether records are evicted.
    Eviction,
    /// Whether anything is kept on disk.
    Persistence,
    /// When the append-only file reaches the disk.
    Syncing,
    /// Whether it writes without its replicas.
    Replicas,
}

/// What to tell of a Redis whose `INFO` is `info` (empty if that is forbidden).
pub(super) fn advise(info: &str, settings: &Settings) -> Vec<Advice> {
    let field = |name: &str| info_field(info, name);
    let mut advice = Vec::new();

    match (field("maxmemory"), field("maxmemory_policy")) {
        (Some("0"), _) | (_, Some("noeviction")) => {}
        (Some(_), Some(policy)) => advice.push(Advice::Evicts { policy: policy.to_owned() }),
        _ => advice.push(Advice::Unseen(Unseen::Eviction)),
    }

    match (field("aof_enabled"), settings.appendfsync.as_deref(), settings.save.as_deref()) {
        (Some("1"), Some("no"), _) => advice.push(Advice::NeverSynced),
        (Some("1"), Some(_), _) => {}
        (Some("1"), None, _) => advice.push(Advice::Unseen(Unseen::Syncing)),
        (Some("0"), _, Some(save)) if save.trim().is_empty() => advice.push(Advice::NotPersistent),
        (Some("0"), _, Some(_)) => advice.push(Advice::SnapshotsOnly),
        _ => advice.push(Advice::Unseen(Unseen::Persistence)),
    }

    let is_of_a_cluster = field("cluster_enabled") == Some("1");
    match (field("connected_slaves"), field("min_slaves_good_slaves")) {
        (Some("0"), _) if is_of_a_cluster => advice.push(Advice::NoReplica),
        // The second is there only if a number is demanded.
        (Some("0"), _) | (Some(_), Some(_)) => {}
        (Some(_), None) => advice.push(Advice::WritesAlone),
        (None, _) => advice.push(Advice::Unseen(Unseen::Replicas)),
    }

    if is_of_a_cluster && settings.full_coverage.as_deref() == Some("yes") {
        advice.push(Advice::StopsAsAWhole);
    }
    advice
}

/// One field of `INFO`.
pub(super) fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

impl Advice {
    /// Whether acknowledged writes can be lost because of it, as far as can be seen.
    pub(super) fn is_a_loss(&self) -> bool {
        match self {
            Advice::Evicts { .. } | Advice::NotPersistent | Advice::NeverSynced => true,
            Advice::SnapshotsOnly
            | Advice::WritesAlone
            | Advice::NoReplica
            | Advice::StopsAsAWhole
            | Advice::Unseen(_) => false,
        }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Advice::Evicts { policy } => {
                return write!(
                    f,
                    "Redis throws sessions and logouts away when its memory is full (maxmemory-policy {policy}): set \
                     `maxmemory-policy noeviction`"
                );
            }
            Advice::NotPersistent => {
                "Redis keeps nothing on disk, so a restart loses sessions and logouts: set `appendonly yes`"
            }
            Advice::SnapshotsOnly => {
                "Redis is saved by snapshots only, so a crash loses everything since the last one: set `appendonly yes`"
            }
            Advice::NeverSynced => {
                "Redis does not wait for its disk (appendfsync no), so a power cut loses logouts: set `appendfsync \
                 everysec`, or `always`"
            }
            Advice::WritesAlone => {
                "Redis goes on writing when it is cut off from its replicas, and a failover drops that: set \
                 `min-replicas-to-write 1`"
            }
            Advice::NoReplica => {
                "this primary of the cluster has no replica, so while it is gone its users can neither log in nor out: add \
                 one by `redis-cli --cluster add-node --cluster-slave`"
            }
            Advice::StopsAsAWhole => {
                "the cluster answers nobody while a part of it is gone: set `cluster-require-full-coverage no`, and the \
                 users of the other parts do not notice"
            }
            Advice::Unseen(Unseen::Eviction) => {
                "Redis does not show whether it evicts keys: see to it that `maxmemory-policy` is `noeviction`"
            }
            Advice::Unseen(Unseen::Persistence) => {
                "Redis does not show whether it keeps anything on disk: see to it that `appendonly` is `yes`"
            }
            Advice::Unseen(Unseen::Syncing) => {
                "Redis does not show when it writes to its disk: see to it that `appendfsync` is `everysec` or `always`"
            }
            Advice::Unseen(Unseen::Replicas) => {
                "Redis does not show its replicas: if it has some, see to it that `min-replicas-to-write` is 1"
            }
        };
        f.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::Advice::*;
    use super::Unseen::*;
    use super::*;

    /// What `INFO` has instead of what is well; `save`; `appendfsync`; the advice.
    type Row<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>, Option<&'a str>, &'a [Advice]);

    #[test]
    fn what_is_said_of_a_node_of_a_cluster() {
        const NODE: &str = "maxmemory:0\r\naof_enabled:1\r\nconnected_slaves:0\r\ncluster_enabled:1\r\n";
        let advice = |info: &str, coverage: Option<&str>| {
            let full_coverage = coverage.map(str::to_owned);
            advise(info, &Settings { save: None, appendfsync: Some("always".to_owned()), full_coverage })
        };
        assert_eq!(advice(NODE, Some("no")), [NoReplica]);
        let with_replica = NODE.replace("slaves:0", "slaves:1\r\nmin_slaves_good_slaves:1");
        assert_eq!(advice(&with_replica, Some("no")), []);
        assert_eq!(advice(&with_replica, None), []);
        assert_eq!(advice(&with_replica, Some("yes")), [StopsAsAWhole]);
        assert_eq!(advice(&with_replica.replace("cluster_enabled:1", "cluster_enabled:0"), Some("yes")), []);
        for advice in [NoReplica, StopsAsAWhole] {
            assert!(advice.to_string().contains('`'), "it says what to write: {advice}");
        }
    }

    #[test]
    fn what_is_said_of_each_redis() {
        const ALL_WELL: &str = "maxmemory:0\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\nconnected_slaves:0\r\n";
        let evicts = |policy: &str| Evicts { policy: policy.to_owned() };
        let rows: [Row<'_>; 18] = [
            (&[], Some(""), Some("everysec"), &[]),
            (&[], Some("3600 1"), Some("always"), &[]),
            (&[("maxmemory:0", "maxmemory:1048576")], Some(""), Some("always"), &[]),
            // An eviction policy without a limit does nothing.
            (&[("policy:noeviction", "policy:allkeys-lru")], Some(""), Some("always"), &[]),
            (
                &[("maxmemory:0", "maxmemory:9"), ("policy:noeviction", "policy:allkeys-lru")],
                Some(""),
                Some("always"),
                &[evicts("allkeys-lru")],
            ),
            (
                &[("maxmemory:0", "maxmemory:9"), ("policy:noeviction", "policy:volatile-ttl")],
                Some(""),
                Some("always"),
                &[evicts("volatile-ttl")],
            ),
            (&[("maxmemory:0\r\n", "")], Some(""), Some("always"), &[]),
            (
                &[("maxmemory_policy:noeviction\r\n", ""), (":0", ":9")],
                Some(""),
                Some("always"),
                &[Unseen(Eviction), WritesAlone],
            ),
            (&[], Some(""), Some("no"), &[NeverSynced]),
            (&[], None, None, &[Unseen(Syncing)]),
            (&[("aof_enabled:1", "aof_enabled:0")], Some(""), Some("everysec"), &[NotPersistent]),
            (&[("aof_enabled:1", "aof_enabled:0")], Some("  "), Some("no"), &[NotPersistent]),
            (&[("aof_enabled:1", "aof_enabled:0")], Some("60 1"), Some("no"), &[SnapshotsOnly]),
            (&[("aof_enabled:1", "aof_enabled:0")], None, None, &[Unseen(Persistence)]),
            (&[("aof_enabled:1", "xaof_enabled:1")], Some("60 1"), Some("always"), &[Unseen(Persistence)]),
            (&[("slaves:0", "slaves:2")], Some(""), Some("always"), &[WritesAlone]),
            (&[("slaves:0", "slaves:2\r\nmin_slaves_good_slaves:0")], Some(""), Some("always"), &[]),
            (&[(ALL_WELL, "")], None, None, &[Unseen(Eviction), Unseen(Persistence), Unseen(Replicas)]),
        ];
        for (changes, save, appendfsync, expected) in rows {
            let info = changes.iter().fold(ALL_WELL.to_owned(), |info, (from, to)| info.replace(from, to));
            let settings = Settings {
                save: save.map(str::to_owned),
                appendfsync: appendfsync.map(str::to_owned),
                full_coverage: None,
            };
            let advice = advise(&info, &settings);
            assert_eq!(advice, expected, "{info} {settings:?}");
            for advice in advice {
                assert!(advice.to_string().contains('`'), "it says what to write: {advice}");
            }
        }
    }
}
