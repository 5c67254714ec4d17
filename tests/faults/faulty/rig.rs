//! What faults are injected into: proxies, each with its own way to one Redis, or one proxy with the embedded store.

use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::detour::{Detour, Way};
use crate::harness::{EchoBackend, Portcullis, RedisOptions, RedisServer, new_keys};

/// Who logs in here.
pub const USER: &str = "guest";
/// The password. Its hash is a cheap one: logins are not what is measured.
pub const PASSWORD: &str = "a-word-for-guests";

/// See the module.
pub struct Rig {
    /// The proxies.
    pub gates: Vec<Portcullis>,
    /// What they share, unless there is only one.
    pub redis: Option<RedisServer>,
    /// The ways from the proxies to Redis, in their order.
    pub detours: Vec<Detour>,
    _app: EchoBackend,
    _shared: TempDir,
}

/// How a rig is made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// None: one proxy with the embedded store.
    pub proxies: Option<usize>,
    /// Redis keeps what it has acknowledged.
    pub durable: bool,
    /// How old the news of logouts may be, as it stands in the configuration.
    pub max_staleness: &'static str,
    /// Added to the configuration.
    pub more: String,
    /// The environment of the first proxy.
    pub environment: Vec<(&'static str, &'static str)>,
}

impl Plan {
    /// So many proxies on one Redis.
    pub fn redis(proxies: usize) -> Plan {
        Plan { proxies: Some(proxies), ..Plan::embedded() }
    }

    /// One proxy.
    pub fn embedded() -> Plan {
        Plan { proxies: None, durable: true, max_staleness: "30s", more: String::new(), environment: Vec::new() }
    }
}

impl Rig {
    /// Starts everything. A new Redis opens after three seconds.
    pub async fn start(plan: &Plan) -> Rig {
        let shared = TempDir::new().expect("a temporary folder");
        let app = EchoBackend::start().await;
        let users = shared.path().join("htpasswd");
        let hash = bcrypt::hash(PASSWORD, 4).expect("the password is hashed");
        std::fs::write(&users, format!("{USER}:{hash}\n")).expect("the users file is written");
        std::fs::set_permissions(&users, std::fs::Permissions::from_mode(0o600)).expect("it is made private");
        // A short grace, so that a refresh is a rotation as often as possible.
        let mut config = format!(
            "upstream: {}\npublic: [/public]\nusers: {{ file: {} }}\nrotation: {{ grace: 1s }}\n\
             revocation: {{ max_staleness: {} }}\n{}\n",
            app.url(),
            users.display(),
            plan.max_staleness,
            plan.more
        );
        let mut redis = None;
        let mut detours = Vec::new();
        if let Some(proxies) = plan.proxies {
            let server = RedisServer::start_with(RedisOptions { durable: plan.durable, ..RedisOptions::default() });
            let keys = shared.path().join("keys.jwks");
            new_keys(&keys);
            config += &format!("keys: {{ file: {} }}\n", keys.display());
            for _ in 0..proxies {
                detours.push(Detour::to(server.port()).await);
            }
            redis = Some(server);
        }
        let mut starting = Vec::new();
        for number in 0..plan.proxies.unwrap_or(1) {
            let store = detours.get(number).map_or(String::new(), |detour| {
                format!("store: {{ redis: {{ url: \"redis://127.0.0.1:{}\" }} }}\n", detour.port)
            });
            let environment = if number == 0 { plan.environment.clone() } else { Vec::new() };
            starting.push(start_gate(config.clone() + &store, environment));
        }
        let gates = futures::future::join_all(starting).await;
        Rig { gates, redis, detours, _app: app, _shared: shared }
    }

    /// The Redis of this rig.
    pub fn redis(&mut self) -> &mut RedisServer {
        self.redis.as_mut().expect("this rig has a Redis")
    }

    /// The same way for all proxies.
    pub fn all_ways(&self, way: Way) {
        self.detours.iter().for_each(|detour| detour.set(way));
    }
}

async fn start_gate(config: String, environment: Vec<(&'static str, &'static str)>) -> Portcullis {
    Portcullis::start_with(&config, &environment).await
}
