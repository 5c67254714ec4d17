//! What the black-box tests are written in: the real binary, backends that record, clients that read like people.
//!
//! What must never happen in here: a sleep in place of a condition; a mock of something that can be run; a wait
//! without a deadline.

mod accounts;
mod actors;
mod apps;
mod backend;
mod h2_client;
mod lenient;
mod metrics;
mod portcullis;
mod ports;
mod raw_h2;
mod setups;
mod tls;
mod wire;

#[path = "../../support/redis.rs"]
mod redis;

use std::time::{Duration, Instant};

pub use accounts::{ALICE, Account, BOSS, DEMO, new_keys, remove_user, run_binary, set_roles, users_file};
pub use actors::{Answer, Browser, anon, bearer, client};
pub use apps::{DjangoAdmin, LegacyApp, Radicale};
pub use backend::{EchoBackend, Recorded, Script};
pub use h2_client::{H2Connection, H2Frames, h2_get};
pub use lenient::readings;
pub use metrics::Metrics;
pub use portcullis::Portcullis;
pub use ports::free_port;
#[allow(unused_imports, reason = "the attacks send bodies")]
pub use raw_h2::raw_h2_with;
pub use raw_h2::{H2Answer, raw_h2};
pub use redis::cluster::RedisCluster;
pub use redis::{Options as RedisOptions, RedisServer};
pub use setups::{Cluster, Setup};
#[allow(unused_imports, reason = "not every target speaks TLS")]
pub use tls::SelfSigned;
pub use wire::{RawAnswer, RawConnection, raw};

/// How long a condition may take before the test fails. Generous: it is only waited for when something is broken.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Asks again until there is something; fails with `what` after [`DEADLINE`].
#[track_caller]
pub fn eventually<T, P: AsyncFnMut() -> Option<T>>(what: &str, mut probe: P) -> impl Future<Output = T> {
    let asked_at = std::panic::Location::caller();
    async move {
        let give_up = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            assert!(Instant::now() < give_up, "waited {DEADLINE:?} in vain until {what} ({asked_at})");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Fails with `what` when `future` does not end before [`DEADLINE`].
pub async fn in_time<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: nothing came within {DEADLINE:?}"),
    }
}
