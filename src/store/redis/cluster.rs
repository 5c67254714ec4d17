//! Asks the nodes of a cluster who owns a slot.
//!
//! As with sentinels, one node alone is not believed: it may be cut off from the others, and its slots may be another's
//! by now. All primaries are asked at once, and most of them have to answer. Everybody in this process who asks at the
//! same time shares one round of questions.
//!
//! What must never happen in here: a minority says who owns a slot; a round that began before somebody asked is his
//! answer; a node that is silent holds up the others.

mod picture;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisError, RedisResult};
use tokio::task::JoinSet;

use self::picture::{Picture, View};
use super::dialer::{Address, Named};
use super::options::Access;

/// How long the nodes may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long the rest are waited for when most have answered: one that is down costs no more than that.
const PATIENCE_WITH_THE_REST: Duration = Duration::from_millis(50);

/// A cluster, as it is known so far.
pub(super) struct Cluster {
    /// Those that the configuration names: who is there at the beginning.
    seeds: Vec<Address>,
    /// How each node is spoken to, but for its address.
    access: Access,
    nodes: Mutex<Nodes>,
    latest: tokio::sync::Mutex<Option<Round>>,
}

#[derive(Default)]
struct Nodes {
    connections: HashMap<Address, MultiplexedConnection>,
    /// The primaries of the last round in which most answered.
    primaries: Vec<Address>,
    /// Most have answered in the last round: the seeds are not needed.
    is_known: bool,
}

/// One round of questions, and what came of it.
struct Round {
    began: Instant,
    result: RedisResult<Arc<Picture>>,
}

impl Cluster {
    pub(super) fn new(seeds: Vec<Address>, access: Access) -> Arc<Cluster> {
        Arc::new(Cluster { seeds, access, nodes: Mutex::default(), latest: tokio::sync::Mutex::default() })
    }

    /// Who owns the slot, as most of the primaries know, asked not before `not_before`; and when they were asked.
    pub(super) async fn owner(self: &Arc<Self>, slot: u16, not_before: Instant) -> RedisResult<(Named, Instant)> {
        let mut latest = self.latest.lock().await;
        let (began, picture) = match &*latest {
            Some(Round { began, result }) if *began >= not_before => (*began, result.clone()),
            _ => {
                let began = Instant::now();
                let result = self.ask_all().await.map(Arc::new);
                *latest = Some(Round { began, result: result.clone() });
                (began, result)
            }
        };
        drop(latest);
        Ok((picture?.owner(slot)?, began))
    }

    async fn ask_all(self: &Arc<Self>) -> RedisResult<Picture> {
        let (mut asking, mut asked, mut next) = (JoinSet::new(), HashSet::new(), self.whom_to_ask());
        let (mut picture, mut last_error) = (Picture::default(), None);
        let mut until = Instant::now() + PATIENCE;
        loop {
            for address in next.drain(..) {
                if asked.insert(address.clone()) {
                    let cluster = Arc::clone(self);
                    asking.spawn(async move { cluster.ask(address).await });
                }
            }
            let Ok(Some(answer)) = tokio::time::timeout_at(until.into(), asking.join_next()).await else { break };
            match answer.unwrap_or_else(|error| Err(std::io::Error::other(error).into())) {
                Ok(view) => {
                    next.extend(view.primaries().cloned());
                    picture.add(view);
                }
                Err(error) => last_error = Some(error),
            }
            if picture.is_of_most() {
                until = until.min(Instant::now() + PATIENCE_WITH_THE_REST);
            }
        }
        self.remember(&picture, &asked);
        if picture.is_of_most() {
            return Ok(picture);
        }
        let (some, all) = picture.answered();
        let why = last_error.map(|error| format!("; {error}")).unwrap_or_default();
        let detail = format!("{some} of {all}{why}");
        Err(RedisError::from((ErrorKind::Io, "too few primaries of the cluster say who owns a slot", detail)))
    }

    fn whom_to_ask(&self) -> Vec<Address> {
        let nodes = self.nodes();
        let seeds = if nodes.is_known { &[][..] } else { &self.seeds };
        nodes.primaries.iter().chain(seeds).cloned().collect()
    }

    fn remember(&self, picture: &Picture, asked: &HashSet<Address>) {
        let mut nodes = self.nodes();
        nodes.is_known = picture.is_of_most();
        if nodes.is_known {
            nodes.primaries = picture.primaries().cloned().collect();
        }
        nodes.connections.retain(|address, _| asked.contains(address));
    }

    async fn ask(&self, address: Address) -> RedisResult<View> {
        let kept = self.nodes().connections.remove(&address);
        let kept = match kept {
            None => None,
            // It may have been closed while nobody looked.
            Some(mut connection) => nodes_of(&mut connection).await.ok().map(|said| (connection, said)),
        };
        let (connection, said) = match kept {
            Some(answered) => answered,
            None => {
                let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
                let client = self.access.at(address.clone()).client().await?;
                let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
                let said = nodes_of(&mut connection).await?;
                (connection, said)
            }
        };
        let view = View::read(&said, &address, self.access.is_tls());
        self.nodes().connections.insert(address, connection);
        view.ok_or_else(|| (ErrorKind::UnexpectedReturnType, "a node does not answer like one of a cluster").into())
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn nodes_of(connection: &mut MultiplexedConnection) -> RedisResult<String> {
    redis::cmd("CLUSTER").arg("NODES").query_async(connection).await
}
