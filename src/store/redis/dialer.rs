//! Makes connections to the server that is the primary now.
//!
//! A replica answers reads for ever and tells no news, so a connection to one is not handed out. Whoever connects and finds
//! another server than the last one begins a new *term*: connections of the term before are to a server that may be none
//! the wiser about it, and are given up by everybody.
//!
//! A primary that was cut off from the rest goes on calling itself one. Where there are others who know better (sentinels,
//! the other nodes of a cluster), they are asked who the primary is whenever a connection is made, and once a second after
//! that; without their word nothing is believed for long.
//!
//! What must never happen in here: a connection to a replica gets out; a primary of the past is believed because it says
//! so itself; a setting that loses logouts goes unsaid.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisError, RedisResult, Value, from_redis_value};

use super::advice::{Settings, advise, info_field};
use super::cluster::Cluster;
use super::options::Access;
use super::sentinels::Sentinels;

/// Makes connections for the links and for the follower.
pub(super) struct Dialer {
    access: Access,
    whereabouts: Whereabouts,
    advised: Arc<Advised>,
    seat: Mutex<Seat>,
    /// The term whose streams the follower has read on from where it was; 0 before the first.
    compared: AtomicU64,
}

/// Who says where the primary is.
pub(super) enum Whereabouts {
    /// The configuration.
    Fixed,
    /// Sentinels.
    Sentinels(Sentinels),
    /// The nodes of a cluster: it is who owns this slot.
    Cluster(Arc<Cluster>, u16),
}

/// Host and port.
pub(super) type Address = (String, u16);

/// Who the primary is, as others say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Named {
    pub address: Address,
    /// Grows with each failover.
    pub epoch: u64,
}

/// How long the word of others is good for calls. The follower asks them once a second.
const CONFIRMED_FOR: Duration = Duration::from_secs(5);

/// How old their word may be when the follower asks: all followers of a cluster can then share one round of questions.
const CONFIRMED_JUST_NOW: Duration = Duration::from_millis(500);

/// How long after a failover by sentinels or in a cluster a session may still be read from the primary of the past: until
/// all of those who are asked have heard of it (sentinels talk every two seconds, nodes sooner), and their word before is
/// not good any more.
pub const FAILOVER_NOTICE: Duration = Duration::from_secs(8);

/// Which server was found to be the primary.
#[derive(Default)]
struct Seat {
    /// Its `run_id`: another one after each restart. Empty if Redis does not tell. None once it was no primary: when it is
    /// one again, it has taken over what another one knew.
    run_id: Option<String>,
    /// Where it is, if others said so, and when they were last asked.
    named: Option<(Named, Instant)>,
    term: u64,
}

/// Servers whose settings have been looked at: by address, their `run_id`.
#[derive(Default)]
pub(super) struct Advised(Mutex<HashMap<String, String>>);

/// A connection to the primary.
pub(super) struct Dialed {
    pub connection: MultiplexedConnection,
    /// When this is not [`Dialer::term`] any more, the primary is another server.
    pub term: u64,
}

impl Dialer {
    pub(super) fn new(access: Access, whereabouts: Whereabouts, advised: Arc<Advised>) -> Arc<Dialer> {
        Arc::new(Dialer { access, whereabouts, advised, seat: Mutex::default(), compared: AtomicU64::new(0) })
    }

    /// How often another server than before has been found to be the primary.
    pub(super) fn term(&self) -> u64 {
        self.seat().term
    }

    /// The server was found to be a replica: who is connected next begins a new term, even if it is the same server.
    pub(super) fn demoted(&self) {
        self.seat().run_id = None;
    }

    /// The streams of this term's server go on where those of the term before ended, or it has been closed.
    pub(super) fn compared(&self, term: u64) {
        self.compared.store(term, Ordering::Release);
    }

    /// An error if the server is another one than before, and nobody has looked yet whether it was rolled back.
    pub(super) fn is_compared(&self, term: u64) -> RedisResult<()> {
        match self.compared.load(Ordering::Acquire) {
            // Nothing has been read before that it could be behind.
            0 => Ok(()),
            compared if compared == term => Ok(()),
            _ => Err((ErrorKind::Io, "another Redis than before; what it holds is being compared").into()),
        }
    }

    /// A new connection.
    pub(super) async fn connect(&self, config: &AsyncConnectionConfig) -> RedisResult<Dialed> {
        let named = self.whereabouts.primary(Instant::now()).await?;
        let access = match &named {
            None => self.access.clone(),
            Some((named, _)) => self.access.at(named.address.clone()),
        };
        let client = access.client().await?;
        let mut connection = client.get_multiplexed_async_connection_with_config(config).await?;
        refuse_replica(redis::cmd("ROLE").query_async(&mut connection).await?).inspect_err(|_| self.demoted())?;
        // It may be forbidden. Then one server cannot be told from another, but by its streams.
        let info: String = redis::cmd("INFO").query_async(&mut connection).await.or_else(unless_silent)?;
        self.whereabouts.refuse_other_mode(&info)?;
        let run_id = info_field(&info, "run_id").unwrap_or_default();
        let term = self.take_seat(run_id, named);
        let address = access.address();
        if self.advised.is_new(&address, run_id) {
            // Nobody waits for it.
            tokio::spawn(give_advice(address, info, connection.clone()));
        }
        Ok(Dialed { connection, term })
    }

    /// Asks those who know, if there are any, whether the primary is still the same. An error if not, or if they do not say.
    pub(super) async fn confirm(&self) -> RedisResult<()> {
        self.confirm_as_of(Instant::now()).await
    }

    /// The same, and their word of just now will do.
    pub(super) async fn confirm_once_a_tick(&self) -> RedisResult<()> {
        self.confirm_as_of(Instant::now().checked_sub(CONFIRMED_JUST_NOW).unwrap_or_else(Instant::now)).await
    }

    async fn confirm_as_of(&self, not_before: Instant) -> RedisResult<()> {
        let Some((named, asked_at)) = self.whereabouts.primary(not_before).await? else { return Ok(()) };
        let mut seat = self.seat();
        match &mut seat.named {
            Some((before, confirmed_at)) if *before == named => {
                *confirmed_at = asked_at.max(*confirmed_at);
                Ok(())
            }
            _ => {
                (seat.named, seat.run_id) = (None, None);
                seat.term += 1;
                Err((ErrorKind::Io, "another Redis is the primary now", named.to_string()).into())
            }
        }
    }

    /// An error if those who know were asked too long ago for calls to go on.
    pub(super) fn confirmed_lately(&self) -> RedisResult<()> {
        match (&self.whereabouts, &self.seat().named) {
            (Whereabouts::Fixed, _) => Ok(()),
            (_, Some((_, at))) if at.elapsed() < CONFIRMED_FOR => Ok(()),
            (Whereabouts::Sentinels(_), _) => {
                Err((ErrorKind::Io, "no word from the sentinels whether this Redis is the primary").into())
            }
            (Whereabouts::Cluster(..), _) => {
                Err((ErrorKind::Io, "no word from most of the cluster whether this node owns the slot").into())
            }
        }
    }

    /// The term of the server.
    fn take_seat(&self, run_id: &str, named: Option<(Named, Instant)>) -> u64 {
        let mut seat = self.seat();
        let moved = seat.named.as_ref().map(|(before, _)| before) != named.as_ref().map(|(named, _)| named);
        let is_new = moved || seat.run_id.as_deref() != Some(run_id);
        seat.named = named;
        if is_new {
            seat.run_id = Some(run_id.to_owned());
            seat.term += 1;
        }
        seat.term
    }

    fn seat(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Whereabouts {
    /// Where the primary is, as others say who were asked not before `not_before`, and when that was. None: nobody says.
    async fn primary(&self, not_before: Instant) -> RedisResult<Option<(Named, Instant)>> {
        match self {
            Whereabouts::Fixed => Ok(None),
            Whereabouts::Sentinels(sentinels) => {
                let asked_at = Instant::now();
                Ok(Some((sentinels.primary().await?, asked_at)))
            }
            Whereabouts::Cluster(cluster, slot) => cluster.owner(*slot, not_before).await.map(Some),
        }
    }

    /// A node of a cluster has but a part of the keys.
    fn refuse_other_mode(&self, info: &str) -> RedisResult<()> {
        // The second is Valkey's.
        let is_node = ["redis_mode", "server_mode"].iter().any(|field| info_field(info, field) == Some("cluster"));
        if !is_node || matches!(self, Whereabouts::Cluster(..)) {
            return Ok(());
        }
        let detail = "write its nodes as `cluster`".to_owned();
        Err((ErrorKind::Io, "this Redis is a node of a cluster, which has but a part of the keys", detail).into())
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.address.0, self.address.1)
    }
}

impl Advised {
    /// Once for each start of each server.
    fn is_new(&self, address: &str, run_id: &str) -> bool {
        let mut advised = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        advised.insert(address.to_owned(), run_id.to_owned()).as_deref() != Some(run_id)
    }
}

/// An error that the server sent is an answer: it does not let us see. Any other error is none.
fn unless_silent<T: Default>(error: RedisError) -> RedisResult<T> {
    match error.code() {
        Some(_) => Ok(T::default()),
        None => Err(error),
    }
}

/// `ROLE` is an error if it says anything but "master".
fn refuse_replica(role: Value) -> RedisResult<()> {
    let role: Vec<Value> = from_redis_value(role)?;
    let text = |value: &Value| {
        String::from_utf8_lossy(from_redis_value::<Vec<u8>>(value.clone()).unwrap_or_default().as_slice()).into_owned()
    };
    let detail = match role.as_slice() {
        [role, ..] if text(role) == "master" => return Ok(()),
        [role, host, port, ..] if text(role) == "slave" => {
            let port: u16 = from_redis_value(port.clone())?;
            format!(
                "its primary is {}:{port}; write that address, or a name that always leads to the primary",
                text(host)
            )
        }
        _ => "write the address of the primary".to_owned(),
    };
    Err((ErrorKind::Io, "this Redis is a replica, which cannot be written and may be behind", detail).into())
}

async fn give_advice(address: String, info: String, mut connection: MultiplexedConnection) {
    let mut settings = Settings::default();
    for (name, value) in [
        ("save", &mut settings.save),
        ("appendfsync", &mut settings.appendfsync),
        ("cluster-require-full-coverage", &mut settings.full_coverage),
    ] {
        let answer: RedisResult<Vec<String>> =
            redis::cmd("CONFIG").arg("GET").arg(name).query_async(&mut connection).await;
        *value = answer.ok().and_then(|pair| pair.into_iter().nth(1));
    }
    for advice in advise(&info, &settings) {
        if advice.is_a_loss() {
            tracing::warn!(redis = address, "{advice}");
        } else {
            tracing::info!(redis = address, "{advice}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_primary_is_used_and_a_replica_names_it() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let primary = Value::Array(vec![text("master"), Value::Int(3), Value::Array(vec![])]);
        assert!(refuse_replica(primary).is_ok());
        let replica = vec![text("slave"), text("10.0.0.7"), Value::Int(6380), text("connected"), Value::Int(3)];
        let refused = refuse_replica(Value::Array(replica)).unwrap_err().to_string();
        assert!(refused.contains("10.0.0.7:6380"), "{refused}");
        for other in [vec![text("sentinel"), Value::Array(vec![])], vec![text("slave")], vec![]] {
            assert!(refuse_replica(Value::Array(other)).is_err());
        }
    }
}
