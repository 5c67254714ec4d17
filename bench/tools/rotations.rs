//! What a store bears: its own code is asked for rotations, by many at once, without HTTP, tokens or signatures.
//!
//! What a rotation costs Redis is seen at the moment at which Redis is what there is too little of, and no proxy alone gets
//! it there.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::session::{Attempt, ClientMark, KeyId, LateRetry, RotationPolicy, Session, rotate};
use portcullis::store::embedded::Embedded;
use portcullis::store::memory::Memory;
use portcullis::store::redis::{Redis, RedisOptions};
use portcullis::store::{Backend, Committed, Freshness, Mirror, Observe, Operation, OperationOutcome, Sessions};
use portcullis::time::Timestamp;
use serde_json::json;

use crate::Outcome;
use crate::histogram::Histogram;
use crate::prepare::{Numbers, policy};
use crate::process::cpu_ns;

/// Arguments of `rotations`. With neither a URL nor a file, sessions are in memory.
#[derive(clap::Args)]
pub struct Args {
    /// A Redis that nobody else uses.
    #[arg(long, conflicts_with = "embedded")]
    redis: Option<String>,
    /// The file of an embedded store, which is made.
    #[arg(long)]
    embedded: Option<PathBuf>,
    /// As many rotate at a time, each its own session.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// The store's own process, if it has one.
    #[arg(long, value_delimiter = ',')]
    store_pids: Vec<u32>,
}

/// No call takes longer.
const DEADLINE: Duration = Duration::from_secs(5);

/// For how long it is tried how fast the disk is, before and after.
const PROBE: Duration = Duration::from_millis(500);

/// Rotates as fast as the store answers, and prints one JSON value.
pub fn run(args: &Args) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let before = args.embedded.as_deref().map(probe).transpose()?;
    let mut told = runtime.block_on(measure(args))?;
    let after = args.embedded.as_deref().map(probe).transpose()?;
    told["syncs_per_second"] = json!(before.zip(after).map(|(before, after)| (before + after) / 2.0));
    println!("{told}");
    Ok(())
}

async fn measure(args: &Args) -> Outcome<serde_json::Value> {
    let (mirror, tail, observe) = (Arc::new(Mirror::new()), policy().lifetime, Arc::new(Unobserved));
    let backend: Arc<dyn Backend> = match (&args.redis, &args.embedded) {
        (Some(url), _) => {
            let options = RedisOptions { deadline: DEADLINE, ..RedisOptions::new(url) };
            Arc::new(Redis::new(&options, Arc::clone(&mirror), tail, Arc::clone(&observe) as _)?)
        }
        (None, Some(path)) => Arc::new(Embedded::open(path, Arc::clone(&mirror), tail)?),
        (None, None) => Arc::new(Memory::new(Arc::clone(&mirror))),
    };
    let follower = tokio::spawn({
        let (backend, mirror) = (Arc::clone(&backend), Arc::clone(&mirror));
        async move { backend.follow(&mirror).await }
    });
    let sessions = Arc::new(Sessions::new(backend, Arc::clone(&mirror), DEADLINE, tail, observe));
    // A new Redis waits for proxies that may know more.
    let began = Instant::now();
    while mirror.worst_freshness(Instant::now()) == Freshness::Unknown {
        if began.elapsed() > Duration::from_secs(30) {
            return Err("the store does not open".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let (mut begun, mut numbers) = (Vec::new(), Numbers(3));
    for number in 0..args.clients {
        let (subject, now) = (format!("user{number:06}@example.com"), Timestamp::now());
        let ends_at = now.plus(Duration::from_secs(30 * 86_400));
        let session = Session::begin(numbers.session(&subject), &subject, now, ends_at, key());
        if sessions.commit(None, &session).await? != Committed::Yes {
            return Err("a session is there already".into());
        }
        begun.push(session);
    }
    let own_pid = [std::process::id()];
    let before = (cpu_ns(&own_pid), cpu_ns(&args.store_pids), Instant::now());
    let until = before.2 + Duration::from_secs_f64(args.seconds);
    let clients: Vec<_> =
        begun.into_iter().map(|session| tokio::spawn(rotate_on(Arc::clone(&sessions), session, until))).collect();
    let mut latencies = Histogram::new();
    for client in clients {
        latencies.add(&client.await?.map_err(|error| format!("{error}"))?);
    }
    let elapsed = before.2.elapsed();
    let per_one = |cpu_ns: u64| cpu_ns as f64 / 1000.0 / latencies.total().max(1) as f64;
    let mut told = latencies.to_json();
    told["per_second"] = (latencies.total() as f64 / elapsed.as_secs_f64()).into();
    told["cpu_us"] = per_one(cpu_ns(&own_pid) - before.0).into();
    told["store_cpu_us"] = per_one(cpu_ns(&args.store_pids) - before.1).into();
    follower.abort();
    Ok(told)
}

/// Rotates one session again and again, as `/refresh` does without a grace.
async fn rotate_on(
    sessions: Arc<Sessions>,
    session: Session,
    until: Instant,
) -> Result<Histogram, Box<dyn std::error::Error + Send + Sync>> {
    let rule = RotationPolicy { grace: Duration::ZERO, late_retry: LateRetry::SameClient };
    let (mut latencies, key, mark) = (Histogram::new(), key(), ClientMark([7; 16]));
    for generation in session.generation.. {
        let asked = Instant::now();
        if asked >= until {
            break;
        }
        let stored = sessions.get(&session.id).await?.ok_or("the session is gone")?;
        let attempt = Attempt {
            generation,
            now: Timestamp::now(),
            mark_of_record_key: mark,
            mark_of_active_key: mark,
            mark_of_presented_key: mark,
            active_mac_key: &key,
            presented_mac_key: &key,
            known_ended: false,
        };
        let portcullis::session::Outcome::Rotated { write } = rotate(Some(&stored.session), &attempt, &rule) else {
            return Err("a rotation is none".into());
        };
        if sessions.commit(Some(&stored), &write).await? != Committed::Yes {
            return Err("somebody else has this session".into());
        }
        latencies.record(asked.elapsed());
    }
    Ok(latencies)
}

/// As long as a thumbprint is.
fn key() -> KeyId {
    KeyId::from("p8oXk7C1yHqQk2m9m3pS0n7TqXw4bS9mJr3d8i1q0uE")
}

/// How often a second the disk under `path` has taken a page for good: what the embedded store is limited by.
fn probe(path: &Path) -> Outcome<f64> {
    let path = path.with_extension("probe");
    let mut file = File::create(&path)?;
    let (began, mut syncs) = (Instant::now(), 0);
    while began.elapsed() < PROBE {
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        syncs += 1;
    }
    let elapsed = began.elapsed();
    fs::remove_file(&path)?;
    Ok(f64::from(syncs) / elapsed.as_secs_f64())
}

struct Unobserved;

impl Observe for Unobserved {
    fn store_request(&self, _: Operation, _: OperationOutcome, _: Duration) {}
    fn revocation_propagated(&self, _: Duration) {}
}
