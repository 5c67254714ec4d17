//! Partitions that are always on one server, and the connections to it.
//!
//! One Redis has all partitions, and so has the primary that sentinels name. In a cluster each partition lives in a slot of
//! its own, which can move without the others; so each is by itself, with connections, a follower and a term of its own,
//! even where a node happens to own several. A node that is gone, or a slot on its way, then concerns nobody else.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisResult, Value};

use super::dialer::{Dialer, Whereabouts};
use super::keys::slot;
use super::link::Link;
use super::options::{RedisOptions, RedisOptionsError};
use crate::session::PARTITIONS;

/// All partitions, or one of a cluster.
pub(super) struct Shard {
    pub partitions: Range<usize>,
    pub dialer: Arc<Dialer>,
    pub calls: Link,
    /// Commits that end a session have a connection of their own: they wait for a replica, and nobody else should.
    pub endings: Link,
}

impl Shard {
    /// One for all partitions, or one for each.
    pub(super) fn all(options: &RedisOptions) -> Result<Vec<Shard>, RedisOptionsError> {
        let (access, advised) = (options.access()?, Arc::default());
        let shard = |partitions, whereabouts| {
            let dialer = Dialer::new(access.clone(), whereabouts, Arc::clone(&advised));
            let link = || Link::new(Arc::clone(&dialer), options.deadline);
            Shard { partitions, calls: link(), endings: link(), dialer }
        };
        let one_of =
            |cluster, partition| shard(partition..partition + 1, Whereabouts::Cluster(cluster, slot(partition)));
        Ok(match (options.cluster()?, options.sentinels()?) {
            (Some(cluster), _) => (0..PARTITIONS).map(|partition| one_of(Arc::clone(&cluster), partition)).collect(),
            (None, Some(sentinels)) => vec![shard(0..PARTITIONS, Whereabouts::Sentinels(sentinels))],
            (None, None) => vec![shard(0..PARTITIONS, Whereabouts::Fixed)],
        })
    }

    /// Where replicas are connected, waits until one of them has all that was written on `connection`; and makes sure that
    /// it was written to the primary, as far as others know who that is.
    pub(super) async fn replicated(
        &self,
        connection: &mut MultiplexedConnection,
        patience: Duration,
    ) -> RedisResult<()> {
        let role: Vec<Value> = redis::cmd("ROLE").query_async(connection).await?;
        let replicas = match role.get(2) {
            Some(Value::Array(replicas)) => replicas.len(),
            _ => return Err((ErrorKind::Io, "this Redis is not the primary any more").into()),
        };
        if replicas == 0 {
            return self.dialer.confirm().await;
        }
        let patience_ms = patience.as_millis() as u64;
        let reached: i64 = redis::cmd("WAIT").arg(1).arg(patience_ms).query_async(connection).await?;
        match reached {
            0 => Err((ErrorKind::Client, "no replica has the write yet").into()),
            _ => self.dialer.confirm().await,
        }
    }
}
