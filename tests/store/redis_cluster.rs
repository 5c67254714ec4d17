//! Three primaries of a real Redis Cluster, with and without replicas: whatever becomes of a node and wherever a slot goes,
//! no acknowledged logout is forgotten, an owner of the past is not believed, and all goes on by itself.
//!
//! What was measured is printed (`--nocapture`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use portcullis::session::{Outcome, Session, SessionId};
use portcullis::store::Committed;
use portcullis::time::Timestamp;

use crate::redis_server::Options;
use crate::redis_server::cluster::RedisCluster;
use crate::support::{Proxy, begin, cluster_options, new_id, open_epochs, redis_proxy_with, until, within};

/// Noticing, voting and promoting is up to the cluster, on a machine that is busy.
const FAILOVER: Duration = Duration::from_secs(30);

async fn start(replicas: bool, node_timeout_ms: u32) -> RedisCluster {
    let options = Options { durable: true, cluster_node_timeout: Some(node_timeout_ms), ..Options::default() };
    let cluster = RedisCluster::start(replicas, &options);
    open_epochs(&cluster, &cluster_options(&cluster).key_prefix);
    cluster
}

async fn two_proxies(cluster: &RedisCluster) -> [Arc<Proxy>; 2] {
    let proxies = [(); 2].map(|()| Arc::new(redis_proxy_with(&cluster_options(cluster))));
    until("both are open", async || proxies.iter().all(|proxy| proxy.age().is_some())).await;
    proxies
}

fn slot_of(cluster: &RedisCluster, id: &SessionId) -> u16 {
    cluster.slot(&format!("{{{:02}}}", id.partition()))
}

/// A subject whose sessions are at this node.
fn subject_at(cluster: &RedisCluster, node: usize) -> String {
    let mut subjects = (0..1000).map(|number| format!("user{number}"));
    subjects.find(|subject| cluster.owns(node, slot_of(cluster, &new_id(subject)))).unwrap()
}

/// Whether the session was found ended; none if nobody can tell.
async fn has_ended(proxy: &Proxy, id: &SessionId) -> Option<bool> {
    proxy.sessions.get(id).await.ok().map(|stored| stored.is_none_or(|stored| stored.session.ended.is_some()))
}

fn is_fresh(proxy: &Proxy) -> bool {
    proxy.age().is_some_and(|age| age < Duration::from_millis(1500))
}

fn in_an_hour() -> Timestamp {
    Timestamp::now().plus(Duration::from_secs(3600))
}

/// From when each logout was asked for.
async fn measure_logouts(one: &Proxy, other: &Proxy) {
    let (mut acknowledged, mut heard) = (Vec::new(), Vec::new());
    for number in 0..200 {
        let session = one.begin(&format!("user{number}")).await;
        let asked = Instant::now();
        let end = async {
            one.end(&session.id).await.unwrap();
            asked.elapsed()
        };
        let hear = async {
            while !other.lists(&session.id) {
                tokio::task::yield_now().await;
            }
            asked.elapsed()
        };
        let (ended_after, heard_after) = tokio::join!(end, hear);
        acknowledged.push(ended_after);
        heard.push(heard_after);
    }
    for (what, mut after) in [("acknowledged", acknowledged), ("heard by the other proxy", heard)] {
        after.sort();
        println!("logouts {what} after p50 {:?}, p99 {:?}, worst {:?}", after[99], after[197], after[199]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_killed_is_replaced_and_nothing_is_forgotten() {
    let mut cluster = start(true, 1000).await;
    let [one, other] = two_proxies(&cluster).await;

    measure_logouts(&one, &other).await;

    let (mut ended, mut living) = (Vec::new(), Vec::new());
    for number in 0..60 {
        let subject = format!("user{number}");
        let [leaving, staying] = [one.begin(&subject).await, one.begin(&subject).await];
        one.end(&leaving.id).await.unwrap();
        let (outcome, _) = one.refresh(&staying.id, 0, 1).await.unwrap();
        assert!(matches!(outcome, Outcome::Rotated { .. }), "{outcome:?}");
        ended.push(leaving.id);
        living.push(staying.id);
    }
    let subject = subject_at(&cluster, 0);
    let (session, slot) = (one.begin(&subject).await, slot_of(&cluster, &new_id(&subject)));
    let elsewhere = one.begin(&subject_at(&cluster, 1)).await;

    let killed = Instant::now();
    cluster.nodes[0].kill();
    within(FAILOVER, "a replica has taken over", async || cluster.owner(slot).is_some()).await;
    let failed_over = Instant::now();
    for (number, proxy) in [&one, &other].into_iter().enumerate() {
        within(FAILOVER, "refreshes work", async || proxy.refresh(&session.id, 0, number as u8).await.is_ok()).await;
        within(FAILOVER, "logouts work", async || proxy.end(&session.id).await.is_ok()).await;
        within(FAILOVER, "and elsewhere", async || proxy.end(&elsewhere.id).await.is_ok()).await;
    }
    let back = failed_over.elapsed();
    within(FAILOVER, "the news is fresh", async || is_fresh(&one) && is_fresh(&other)).await;
    println!(
        "failover after {:?}; refreshes and logouts {back:?} after that, fresh {:?} after that",
        failed_over - killed,
        failed_over.elapsed()
    );
    for proxy in [&one, &other] {
        for id in &ended {
            assert_eq!(has_ended(proxy, id).await, Some(true));
            assert!(proxy.lists(id));
        }
        for id in &living {
            let stored = proxy.sessions.get(id).await.unwrap().unwrap().session;
            assert_eq!((stored.generation, stored.ended), (1, None));
        }
    }

    // It comes back as a replica, and nobody takes it for what it was.
    cluster.nodes[0].start_again();
    let newer = one.begin(&subject).await;
    one.end(&newer.id).await.unwrap();
    within(FAILOVER, "it follows the new one", async || {
        assert_eq!(has_ended(&other, &newer.id).await, Some(true));
        cluster.nodes[0].command::<String>(&["INFO", "replication"]).contains("master_link_status:up")
    })
    .await;
    assert!(!cluster.owns(0, slot));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_of_the_past_that_wakes_up_is_not_believed() {
    let cluster = start(true, 1000).await;
    let [one, other] = two_proxies(&cluster).await;
    let subject = subject_at(&cluster, 0);
    let slot = slot_of(&cluster, &new_id(&subject));
    let [session, later] = [one.begin(&subject).await, one.begin(&subject).await];

    cluster.nodes[0].pause();
    within(FAILOVER, "a replica has taken over", async || (3..6).any(|node| cluster.owns(node, slot))).await;
    let failed_over = Instant::now();
    for proxy in [&one, &other] {
        within(FAILOVER, "logouts work", async || proxy.end(&session.id).await.is_ok()).await;
    }
    println!("a primary that hung: logouts {:?} after the failover", failed_over.elapsed());
    within(FAILOVER, "the news is fresh", async || is_fresh(&one) && is_fresh(&other)).await;

    let stream = format!("portcullis:{{{:02}}}:revocations", session.id.partition());
    cluster.nodes[0].resume();
    let written = || -> Option<i64> { cluster.nodes[0].try_command(&["XLEN", &stream]).ok() };
    let at_first = written();
    within(FAILOVER, "it has heard that it is a replica now", async || {
        for proxy in [&one, &other] {
            assert_eq!(has_ended(proxy, &session.id).await, Some(true));
            assert!(proxy.age().is_some_and(|age| age < Duration::from_secs(4)), "{:?}", proxy.age());
        }
        // Nobody gives it a heartbeat while it takes itself for the owner.
        let (before, now) = (cluster.owns(0, slot), written());
        assert!(!before || !cluster.owns(0, slot) || now == at_first, "{at_first:?} {now:?}");
        cluster.nodes[0].command::<String>(&["INFO", "replication"]).contains("role:slave")
    })
    .await;
    one.end(&later.id).await.unwrap();
    until("the other hears of it", async || other.lists(&later.id)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_most_of_the_primaries_no_logout_is_acknowledged_and_nothing_believed_for_long() {
    // The nodes themselves do not notice in time.
    let cluster = start(false, 30_000).await;
    let [proxy, _] = two_proxies(&cluster).await;
    let subject = subject_at(&cluster, 0);
    let session = proxy.begin(&subject).await;

    cluster.nodes[1].pause();
    proxy.end(&proxy.begin(&subject).await.id).await.unwrap();
    cluster.nodes[2].pause();
    let gone = Instant::now();
    let stored = proxy.sessions.get(&session.id).await.unwrap();
    let next = session.end(Timestamp::now(), portcullis::session::EndReason::Logout);
    let ended = proxy.sessions.commit(stored.as_ref(), &next).await;
    assert!(ended.is_err(), "another may own the slot by now: {ended:?}");
    within(FAILOVER, "logins are refused", async || proxy.sessions.get(&new_id(&subject)).await.is_err()).await;
    println!("refused {:?} after most primaries were gone", gone.elapsed());
    assert!(cluster.owns(0, slot_of(&cluster, &session.id)));

    cluster.nodes[1].resume();
    cluster.nodes[2].resume();
    let back = Instant::now();
    within(FAILOVER, "logouts work", async || proxy.end(&session.id).await.is_ok()).await;
    within(FAILOVER, "the news is fresh", async || is_fresh(&proxy)).await;
    println!("logouts and fresh news {:?} after they were back", back.elapsed());
}

/// What one client was told.
#[derive(Default)]
struct Told {
    ended: Vec<SessionId>,
    /// Sessions, and the generation that each has at least.
    living: Vec<(Session, u32)>,
    refused: usize,
}

/// Begins, refreshes and ends sessions until it is told to stop; what is refused is left as it may be.
async fn client(proxy: Arc<Proxy>, subject: String, stop: Arc<AtomicBool>) -> Told {
    let (mut told, mut stays) = (Told::default(), false);
    while !stop.load(Ordering::Relaxed) {
        let session = begin(&subject, in_an_hour());
        match proxy.sessions.commit(None, &session).await {
            Ok(Committed::Yes) => {}
            Ok(Committed::Conflict) => panic!("nobody else has this id"),
            Err(_) => {
                told.refused += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
        }
        let generation = u32::from(proxy.refresh(&session.id, 0, 1).await.is_ok());
        stays = !stays;
        if stays {
            told.living.push((session, generation));
        } else if proxy.end(&session.id).await.is_ok() {
            told.ended.push(session.id);
        } else {
            // It may have ended all the same.
            told.refused += 1;
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_is_moved_under_commits_loses_nothing() {
    let cluster = start(false, 15_000).await;
    let [one, other] = two_proxies(&cluster).await;
    let subject = subject_at(&cluster, 0);
    let slot = slot_of(&cluster, &new_id(&subject));
    for _ in 0..200 {
        one.begin(&subject).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let proxy = Arc::clone(if number % 2 == 0 { &one } else { &other });
            tokio::spawn(client(proxy, subject.clone(), Arc::clone(&stop)))
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;

    // There, and back.
    let cluster = Arc::new(cluster);
    for (from, to) in [(0, 1), (1, 0)] {
        let began = Instant::now();
        let moved = Arc::clone(&cluster);
        let migrate = move || moved.migrate(slot, from, to, Duration::from_millis(10));
        tokio::task::spawn_blocking(migrate).await.unwrap();
        assert!(cluster.owns(to, slot) && !cluster.owns(from, slot));
        let arrived = Instant::now();
        for proxy in [&one, &other] {
            let works = async || {
                let session = begin(&subject, in_an_hour());
                matches!(proxy.sessions.commit(None, &session).await, Ok(Committed::Yes))
            };
            within(FAILOVER, "logins work", works).await;
        }
        println!("moved in {:?}; logins work {:?} after that", arrived - began, arrived.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    let (mut ended, mut living, mut refused) = (0, 0, 0);
    for told in clients {
        let told = told.await.unwrap();
        for id in &told.ended {
            assert_eq!(has_ended(&other, id).await, Some(true));
            until("both list it", async || one.lists(id) && other.lists(id)).await;
        }
        for (session, generation) in &told.living {
            let stored = other.sessions.get(&session.id).await.unwrap().expect("it was acknowledged").session;
            assert!(stored.ended.is_none() && stored.generation >= *generation, "{stored:?}");
        }
        (ended, living) = (ended + told.ended.len(), living + told.living.len());
        refused += told.refused;
    }
    println!("{ended} logouts and {living} sessions are as acknowledged, {refused} calls were refused");
    assert!(ended > 0 && living > 0 && refused > 0, "{ended} {living} {refused}");
}
