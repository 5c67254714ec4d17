//! Makes connections to the server that is the primary now.
//!
//! A replica answers reads for ever and tells no news, so a connection to one is not handed out. Whoever connects and finds
//! another server than the last one begins a new *term*: connections of the term before are to a server that may be none
//! the wiser about it, and are given up by everybody.
//!
//! A primary that was cut off from the rest goes on calling itself one. Where there are sentinels, they are asked who the
//! primary is whenever a connection is made, and once a second after that; without their word nothing is believed for long.
//!
//! What must never happen in here: a connection to a replica gets out; a primary of the past is believed because it says
//! so itself; a setting that loses logouts goes unsaid.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisError, RedisResult, Value, from_redis_value};

use super::advice::{Settings, advise, info_field};
use super::options::Access;
use super::sentinels::{Address, Sentinels};

/// Makes connections for the links and for the follower.
pub(super) struct Dialer {
    access: Access,
    sentinels: Option<Sentinels>,
    seat: Mutex<Seat>,
}

/// How long the word of the sentinels is good for calls. The follower asks them once a second.
const CONFIRMED_FOR: Duration = Duration::from_secs(5);

/// How long after a failover by sentinels a session may still be read from the primary of the past: until all of them have
/// heard of it (they talk every two seconds), and their word before is not good any more.
pub const FAILOVER_NOTICE: Duration = Duration::from_secs(8);

/// Which server was found to be the primary.
#[derive(Default)]
struct Seat {
    /// Its `run_id`: another one after each restart. Empty if Redis does not tell.
    run_id: Option<String>,
    /// Where it is, if sentinels said so, and when they were last asked.
    named: Option<(Address, Instant)>,
    term: u64,
}

/// A connection to the primary.
pub(super) struct Dialed {
    pub connection: MultiplexedConnection,
    /// When this is not [`Dialer::term`] any more, the primary is another server.
    pub term: u64,
}

impl Dialer {
    pub(super) fn new(access: Access, sentinels: Option<Sentinels>) -> Arc<Dialer> {
        Arc::new(Dialer { access, sentinels, seat: Mutex::default() })
    }

    /// How often another server than before has been found to be the primary.
    pub(super) fn term(&self) -> u64 {
        self.seat().term
    }

    /// A new connection.
    pub(super) async fn connect(&self, config: &AsyncConnectionConfig) -> RedisResult<Dialed> {
        let (named, access) = match &self.sentinels {
            None => (None, self.access.clone()),
            Some(sentinels) => {
                let asked_at = Instant::now();
                let address = sentinels.primary().await?;
                (Some((address.clone(), asked_at)), self.access.at(address))
            }
        };
        let client = access.client().await?;
        let mut connection = client.get_multiplexed_async_connection_with_config(config).await?;
        refuse_replica(redis::cmd("ROLE").query_async(&mut connection).await?)?;
        // It may be forbidden. Then one server cannot be told from another, but by its streams.
        let info: String = redis::cmd("INFO").query_async(&mut connection).await.or_else(unless_silent)?;
        // The second is Valkey's.
        if ["redis_mode", "server_mode"].iter().any(|field| info_field(&info, field) == Some("cluster")) {
            let detail = "use one that is not part of a cluster, or several with sentinels".to_owned();
            return Err((ErrorKind::Io, "Redis Cluster is not supported yet", detail).into());
        }
        let run_id = info_field(&info, "run_id").unwrap_or_default();
        let (term, is_new) = self.take_seat(run_id, named);
        if is_new {
            // Nobody waits for it.
            tokio::spawn(give_advice(info, connection.clone()));
        }
        Ok(Dialed { connection, term })
    }

    /// Asks the sentinels, if there are any, whether the primary is still the same. An error if not, or if they do not say.
    pub(super) async fn confirm(&self) -> RedisResult<()> {
        let Some(sentinels) = &self.sentinels else { return Ok(()) };
        let asked_at = Instant::now();
        let named = sentinels.primary().await?;
        let mut seat = self.seat();
        match &mut seat.named {
            Some((address, confirmed_at)) if *address == named => {
                *confirmed_at = asked_at;
                Ok(())
            }
            _ => {
                (seat.named, seat.run_id) = (None, None);
                seat.term += 1;
                Err((ErrorKind::Io, "another Redis is the primary now", format!("{}:{}", named.0, named.1)).into())
            }
        }
    }

    /// An error if the sentinels were asked too long ago for calls to go on.
    pub(super) fn confirmed_lately(&self) -> RedisResult<()> {
        match (&self.sentinels, &self.seat().named) {
            (None, _) => Ok(()),
            (Some(_), Some((_, at))) if at.elapsed() < CONFIRMED_FOR => Ok(()),
            (Some(_), _) => Err((ErrorKind::Io, "no word from the sentinels whether this Redis is the primary").into()),
        }
    }

    /// The term of the server, and whether it has just begun.
    fn take_seat(&self, run_id: &str, named: Option<(Address, Instant)>) -> (u64, bool) {
        let mut seat = self.seat();
        let moved = seat.named.as_ref().map(|(address, _)| address) != named.as_ref().map(|(address, _)| address);
        let is_new = moved || seat.run_id.as_deref() != Some(run_id);
        seat.named = named;
        if is_new {
            seat.run_id = Some(run_id.to_owned());
            seat.term += 1;
        }
        (seat.term, is_new)
    }

    fn seat(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
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

async fn give_advice(info: String, mut connection: MultiplexedConnection) {
    let mut settings = Settings::default();
    for (name, value) in [("save", &mut settings.save), ("appendfsync", &mut settings.appendfsync)] {
        let answer: RedisResult<Vec<String>> =
            redis::cmd("CONFIG").arg("GET").arg(name).query_async(&mut connection).await;
        *value = answer.ok().and_then(|pair| pair.into_iter().nth(1));
    }
    for advice in advise(&info, &settings) {
        if advice.is_a_loss() {
            tracing::warn!("{advice}");
        } else {
            tracing::info!("{advice}");
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
