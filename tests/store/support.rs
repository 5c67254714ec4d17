//! Proxies over one store, as the cases see them.

use std::any::Any;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use portcullis::session::{
    Attempt, ClientMark, KeyId, LateRetry, Outcome, PARTITIONS, RotationPolicy, Session, SessionId, rotate,
};
use portcullis::store::embedded::{Embedded, EmbeddedError};
use portcullis::store::memory::Memory;
use portcullis::store::redis::{Copies, Redis, RedisOptions};
use portcullis::store::{
    Backend, Committed, Freshness, Mirror, Observe, Operation, OperationOutcome, Sessions, StoreError,
};
use portcullis::time::Timestamp;

use crate::handed_over::{Process, lend};
use crate::redis_server::cluster::RedisCluster;
use crate::redis_server::{Options as ServerOptions, RedisServer};

/// Access tokens live this long in these tests.
pub const ACCESS_TAIL: Duration = Duration::from_secs(960);
/// What `Sessions` allows a request to the store.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// One proxy's side of the store.
pub struct Proxy {
    pub sessions: Arc<Sessions>,
    pub mirror: Arc<Mirror>,
    pub observed: Arc<Observed>,
    follower: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub fn new(backend: Arc<dyn Backend>, mirror: Arc<Mirror>, observed: Arc<Observed>) -> Proxy {
        let follower = tokio::spawn({
            let (backend, mirror) = (Arc::clone(&backend), Arc::clone(&mirror));
            async move { backend.follow(&mirror).await }
        });
        let sessions = Sessions::new(backend, Arc::clone(&mirror), DEADLINE, ACCESS_TAIL, Arc::clone(&observed) as _);
        Proxy { sessions: Arc::new(sessions), mirror, observed, follower }
    }

    pub fn lists(&self, id: &SessionId) -> bool {
        self.mirror.revocations.contains(id)
    }

    /// The age of what is known of all partitions; none while it is unknown.
    pub fn age(&self) -> Option<Duration> {
        match self.mirror.worst_freshness(Instant::now()) {
            Freshness::Age(age) => Some(age),
            Freshness::Unknown => None,
        }
    }

    pub async fn begin(&self, subject: &str) -> Session {
        let session = begin(subject, Timestamp::now().plus(Duration::from_secs(3600)));
        assert_eq!(self.sessions.commit(None, &session).await.unwrap(), Committed::Yes);
        session
    }

    /// Ends the session as an endpoint would.
    pub async fn end(&self, id: &SessionId) -> Result<(), StoreError> {
        loop {
            let Some(stored) = self.sessions.get(id).await? else { return Ok(()) };
            let next = stored.session.end(Timestamp::now(), portcullis::session::EndReason::Logout);
            if self.sessions.commit(Some(&stored), &next).await? == Committed::Yes {
                return Ok(());
            }
        }
    }

    /// Refreshes as an endpoint would. Also says whether this call's own write made the successor.
    pub async fn refresh(&self, id: &SessionId, generation: u32, client: u8) -> Result<(Outcome, bool), StoreError> {
        let key = KeyId::from("mac");
        let policy = RotationPolicy { grace: Duration::from_secs(30), late_retry: LateRetry::SameClient };
        loop {
            let stored = self.sessions.get(id).await?;
            let attempt = Attempt {
                generation,
                now: Timestamp::now(),
                mark_of_record_key: ClientMark([client; 16]),
                mark_of_active_key: ClientMark([client; 16]),
                mark_of_presented_key: ClientMark([client; 16]),
                active_mac_key: &key,
                presented_mac_key: &key,
                known_ended: self.lists(id),
            };
            let outcome = rotate(stored.as_ref().map(|stored| &stored.session), &attempt, &policy);
            let write = match &outcome {
                Outcome::Kept { write } => write.as_ref(),
                Outcome::Rotated { write } | Outcome::Reused { write } => Some(write),
                Outcome::Retried { write, .. } => write.as_ref(),
                Outcome::Refused(_) => None,
            };
            let Some(write) = write else { return Ok((outcome, false)) };
            if self.sessions.commit(stored.as_ref(), write).await? == Committed::Yes {
                let rotated = matches!(outcome, Outcome::Rotated { .. });
                return Ok((outcome, rotated));
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

/// Two proxies over one store. Local stores have but one process, so there both are the same.
pub struct Rig {
    pub a: Arc<Proxy>,
    pub b: Arc<Proxy>,
    /// What has to live as long: a folder, a server.
    _keep: Box<dyn Any + Send + Sync>,
}

impl Rig {
    pub async fn memory() -> Rig {
        let mirror = Arc::new(Mirror::new());
        Rig::alone(Arc::new(Memory::new(Arc::clone(&mirror))), mirror, ())
    }

    pub async fn embedded() -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let mirror = Arc::new(Mirror::new());
        let store = Embedded::open(&folder.path().join("sessions.redb"), Arc::clone(&mirror), ACCESS_TAIL).unwrap();
        Rig::alone(Arc::new(store), mirror, folder)
    }

    /// The file has gone from the one process to the other, which answers for both.
    pub async fn handed_over() -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessions.redb");
        let old = Process::open(&path).unwrap();
        let moving = old.store.let_go().await;
        let new = Process::open(&path).unwrap();
        moving.lend(lend(&new).0);
        Rig { a: Arc::new(old.proxy()), b: Arc::new(new.proxy()), _keep: Box::new(folder) }
    }

    pub async fn redis() -> Rig {
        let server = RedisServer::start();
        open_epoch(&server);
        let [a, b] = [redis_proxy(&server), redis_proxy(&server)].map(Arc::new);
        until("both proxies have read the store", async || a.age().is_some() && b.age().is_some()).await;
        Rig { a, b, _keep: Box::new(std::sync::Mutex::new(server)) }
    }

    pub async fn redis_with_copies() -> Rig {
        let server = RedisServer::start();
        open_epoch(&server);
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [a, b] = [0, 1].map(|number| Arc::new(copying_proxy(&server, folders[number].path())));
        until("both proxies have read the store", async || a.age().is_some() && b.age().is_some()).await;
        Rig { a, b, _keep: Box::new((std::sync::Mutex::new(server), folders)) }
    }

    /// On one cluster as long as there is somebody on it, each rig with a prefix of its own.
    pub async fn redis_cluster() -> Rig {
        static SHARED: std::sync::Mutex<Weak<RedisCluster>> = std::sync::Mutex::new(Weak::new());
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let cluster = {
            let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
            let cluster = shared.upgrade().unwrap_or_else(|| {
                let options = ServerOptions { cluster_node_timeout: Some(15_000), ..ServerOptions::default() };
                Arc::new(RedisCluster::start(false, &options))
            });
            *shared = Arc::downgrade(&cluster);
            cluster
        };
        let options = RedisOptions {
            key_prefix: format!("rig{}:", NEXT.fetch_add(1, Ordering::Relaxed)),
            ..cluster_options(&cluster)
        };
        open_epochs(&cluster, &options.key_prefix);
        let [a, b] = [redis_proxy_with(&options), redis_proxy_with(&options)].map(Arc::new);
        until("both proxies have read the store", async || a.age().is_some() && b.age().is_some()).await;
        Rig { a, b, _keep: Box::new(cluster) }
    }

    fn alone(backend: Arc<dyn Backend>, mirror: Arc<Mirror>, keep: impl Any + Send + Sync) -> Rig {
        let proxy = Arc::new(Proxy::new(backend, mirror, Arc::default()));
        Rig { a: Arc::clone(&proxy), b: proxy, _keep: Box::new(keep) }
    }
}

/// A proxy on the server.
pub fn redis_proxy(server: &RedisServer) -> Proxy {
    redis_proxy_with(&redis_options(server))
}

pub fn redis_options(server: &RedisServer) -> RedisOptions {
    RedisOptions { deadline: DEADLINE, ..RedisOptions::new(server.url()) }
}

pub fn redis_proxy_with(options: &RedisOptions) -> Proxy {
    redis_proxy_whose_tokens_live(options, ACCESS_TAIL)
}

/// A proxy that is configured otherwise than the others.
pub fn redis_proxy_whose_tokens_live(options: &RedisOptions, access_tail: Duration) -> Proxy {
    let (mirror, observed) = (Arc::new(Mirror::new()), Arc::new(Observed::default()));
    let store = Redis::new(options, Arc::clone(&mirror), access_tail, Arc::clone(&observed) as _).unwrap();
    Proxy::new(Arc::new(store), mirror, observed)
}

/// A proxy on the server that keeps copies in `folder`. Waits until the one before has let go of them.
pub fn copying_proxy(server: &RedisServer, folder: &Path) -> Proxy {
    copying_proxy_with(&redis_options(server), folder)
}

pub fn copying_proxy_with(options: &RedisOptions, folder: &Path) -> Proxy {
    let (mirror, observed) = (Arc::new(Mirror::new()), Arc::new(Observed::default()));
    let began = Instant::now();
    let copies = loop {
        match Copies::open(&folder.join("copies.redb"), Arc::clone(&mirror), ACCESS_TAIL) {
            Err(EmbeddedError::InUse { .. }) if began.elapsed() < Duration::from_secs(5) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            copies => break copies.unwrap(),
        }
    };
    let store = Redis::new(options, Arc::clone(&mirror), ACCESS_TAIL, Arc::clone(&observed) as _).unwrap();
    Proxy::new(Arc::new(store.with_copies(copies)), mirror, observed)
}

/// Of all the nodes it is told one: it has to learn the others.
pub fn cluster_options(cluster: &RedisCluster) -> RedisOptions {
    let url = "redis://named-by-the-cluster:1".to_owned();
    let seed = cluster.nodes[cluster.nodes.len() - 1].url();
    RedisOptions { cluster: vec![seed], deadline: DEADLINE, ..RedisOptions::new(url) }
}

/// As [`open_epoch`].
pub fn open_epochs(cluster: &RedisCluster, prefix: &str) {
    for partition in 0..PARTITIONS {
        cluster.set(&format!("{prefix}{{{partition:02}}}:epoch"), "before");
    }
}

/// As if the store had been used before: proxies need not wait for one another.
pub fn open_epoch(server: &RedisServer) {
    let mut connection = server.connection();
    for partition in 0..PARTITIONS {
        let key = format!("portcullis:{{{partition:02}}}:epoch");
        redis::cmd("SET").arg(key).arg("before").exec(&mut connection).unwrap();
    }
}

/// What the store reported of itself.
#[derive(Default)]
pub struct Observed {
    pub requests: std::sync::Mutex<Vec<(Operation, OperationOutcome)>>,
    pub propagations: std::sync::Mutex<Vec<Duration>>,
}

impl Observe for Observed {
    fn store_request(&self, operation: Operation, outcome: OperationOutcome, _: Duration) {
        self.requests.lock().unwrap().push((operation, outcome));
    }
    fn revocation_propagated(&self, delay: Duration) {
        self.propagations.lock().unwrap().push(delay);
    }
}

/// A session that nobody has stored yet.
pub fn begin(subject: &str, ends_at: Timestamp) -> Session {
    Session::begin(new_id(subject), subject, Timestamp::now(), ends_at, KeyId::from("mac"))
}

pub fn new_id(subject: &str) -> SessionId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut random = [0; 15];
    random[..8].copy_from_slice(&number.to_be_bytes());
    random[8..12].copy_from_slice(&std::process::id().to_be_bytes());
    SessionId::new(subject, random)
}

/// Waits until `condition` holds; fails the test if it has not come to hold for long.
pub async fn until(what: &str, condition: impl AsyncFnMut() -> bool) {
    within(Duration::from_secs(15), what, condition).await;
}

/// Waits until `condition` holds; fails the test if that takes longer than `limit`.
pub async fn within(limit: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < limit, "still not so after {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
