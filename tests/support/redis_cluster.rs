//! A real Redis Cluster on loopback, of nodes that die with the test.

use std::time::{Duration, Instant};

use super::{Options, RedisServer};

/// How long the nodes may take to agree. Two seconds are the least: a primary that has just started waits as long.
const AGREEMENT: Duration = Duration::from_secs(30);

/// A running cluster.
pub struct RedisCluster {
    /// Its nodes, the primaries of the beginning first.
    pub nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Three primaries, which have about as many slots each; and three replicas, one for each, if `replicas`. `options` are
    /// for each node.
    pub fn start(replicas: bool, options: &Options) -> RedisCluster {
        let count = if replicas { 6 } else { 3 };
        let mut nodes = vec![RedisServer::start_with(options.clone())];
        // With TLS they have to trust one another.
        let options = Options { certificate_of: Some(nodes[0].folder().to_owned()), ..options.clone() };
        nodes.extend((1..count).map(|_| RedisServer::start_with(options.clone())));
        let cluster = RedisCluster { nodes };
        let nodes = &cluster.nodes;
        let run = |node: usize, words: &[&str]| nodes[node].command::<()>(&[&["CLUSTER"], words].concat());
        for (node, (first, last)) in [("0", "5460"), ("5461", "10922"), ("10923", "16383")].into_iter().enumerate() {
            run(node, &["SET-CONFIG-EPOCH", &(node + 1).to_string()]);
            run(node, &["ADDSLOTSRANGE", first, last]);
        }
        for (one, node) in nodes.iter().enumerate() {
            for other in 0..one {
                run(other, &["MEET", "127.0.0.1", &node.port().to_string()]);
            }
        }
        cluster.until("all have met", |node| node.lines().filter(|line| !line.contains("handshake")).count() == count);
        for replica in 3..count {
            run(replica, &["REPLICATE", &cluster.id(replica - 3)]);
        }
        cluster.until("all know the replicas", |node| node.matches("slave").count() == count - 3);
        let ready = |node: &RedisServer| {
            node.command::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
                && !node.command::<String>(&["INFO", "replication"]).contains("master_link_status:down")
        };
        cluster.wait("it is open", || nodes.iter().all(ready));
        cluster
    }

    /// The URLs of its nodes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(RedisServer::url).collect()
    }

    /// What a node says of itself and the others, if it answers.
    pub fn view(&self, node: usize) -> Option<String> {
        self.nodes[node].try_command(&["CLUSTER", "NODES"]).ok()
    }

    /// By which name the nodes know it.
    pub fn id(&self, node: usize) -> String {
        self.nodes[node].command(&["CLUSTER", "MYID"])
    }

    /// The slot of a key.
    pub fn slot(&self, key: &str) -> u16 {
        self.nodes[0].command(&["CLUSTER", "KEYSLOT", key])
    }

    /// Does this node take itself for the owner of the slot?
    pub fn owns(&self, node: usize, slot: u16) -> bool {
        let Some(view) = self.view(node) else { return false };
        let Some(myself) = view.lines().find(|line| line.contains("myself,master")) else { return false };
        myself.split(' ').skip(8).filter(|slots| !slots.starts_with('[')).any(|slots| {
            let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
            (first.parse().unwrap()..=last.parse().unwrap()).contains(&slot)
        })
    }

    /// The one that owns the slot as far as it knows itself.
    pub fn owner(&self, slot: u16) -> Option<usize> {
        (0..self.nodes.len()).find(|node| self.owns(*node, slot))
    }

    /// Sets a key wherever it belongs.
    pub fn set(&self, key: &str, value: &str) {
        let taken = self.nodes.iter().any(|node| node.try_command::<()>(&["SET", key, value]).is_ok());
        assert!(taken, "no node takes {key}");
    }

    /// Moves a slot while it is used: a few keys at a time, with a pause after each few.
    pub fn migrate(&self, slot: u16, from: usize, to: usize, pause: Duration) {
        let (slot, ids) = (slot.to_string(), [self.id(from), self.id(to)]);
        let set = |node: usize, words: &[&str]| {
            self.nodes[node].command::<()>(&[&["CLUSTER", "SETSLOT", &slot], words].concat());
        };
        set(to, &["IMPORTING", &ids[0]]);
        set(from, &["MIGRATING", &ids[1]]);
        loop {
            let keys: Vec<String> = self.nodes[from].command(&["CLUSTER", "GETKEYSINSLOT", &slot, "10"]);
            if keys.is_empty() {
                break;
            }
            let port = self.nodes[to].port().to_string();
            let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            words.extend(keys.iter().map(String::as_str));
            let _: String = self.nodes[from].command(&words);
            std::thread::sleep(pause);
        }
        for node in [to, from].into_iter().chain((0..self.nodes.len()).filter(|node| ![from, to].contains(node))) {
            // A replica need not be told.
            if self.view(node).is_some_and(|view| view.contains("myself,master")) {
                set(node, &["NODE", &ids[1]]);
            }
        }
    }

    fn until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        self.wait(what, || (0..self.nodes.len()).all(|node| self.view(node).is_some_and(|view| holds(&view))));
    }

    fn wait(&self, what: &str, condition: impl Fn() -> bool) {
        let began = Instant::now();
        while !condition() {
            assert!(began.elapsed() < AGREEMENT, "still not so: {what}\n{:?}", self.view(0));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
