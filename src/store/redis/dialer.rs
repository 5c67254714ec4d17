//! Makes connections to the server that is the primary now.
//!
//! A replica answers reads for ever and tells no news, so a connection to one is not handed out. Whoever connects and finds
//! another server than the last one begins a new *term*: connections of the term before are to a server that may be none
//! the wiser about it, and are given up by everybody.
//!
//! What must never happen in here: a connection to a replica gets out; a setting that loses logouts goes unsaid.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisError, RedisResult, Value, from_redis_value};

use super::advice::{Settings, advise, info_field};
use super::options::Access;

/// Makes connections for the links and for the follower.
pub(super) struct Dialer {
    access: Access,
    seat: Mutex<Seat>,
}

/// Which server was found to be the primary.
#[derive(Default)]
struct Seat {
    /// Its `run_id`: another one after each restart. Empty if Redis does not tell.
    run_id: Option<String>,
    term: u64,
}

/// A connection to the primary.
pub(super) struct Dialed {
    pub connection: MultiplexedConnection,
    /// When this is not [`Dialer::term`] any more, the primary is another server.
    pub term: u64,
}

impl Dialer {
    pub(super) fn new(access: Access) -> Arc<Dialer> {
        Arc::new(Dialer { access, seat: Mutex::default() })
    }

    /// How often another server than before has been found to be the primary.
    pub(super) fn term(&self) -> u64 {
        self.seat().term
    }

    /// A new connection.
    pub(super) async fn connect(&self, config: &AsyncConnectionConfig) -> RedisResult<Dialed> {
        let client = self.access.client()?;
        let mut connection = client.get_multiplexed_async_connection_with_config(config).await?;
        refuse_replica(redis::cmd("ROLE").query_async(&mut connection).await?)?;
        // It may be forbidden. Then one server cannot be told from another, but by its streams.
        let info: String = redis::cmd("INFO").query_async(&mut connection).await.or_else(unless_silent)?;
        let run_id = info_field(&info, "run_id").unwrap_or_default();
        let (term, is_new) = self.take_seat(run_id);
        if is_new {
            // Nobody waits for it.
            tokio::spawn(give_advice(info, connection.clone()));
        }
        Ok(Dialed { connection, term })
    }

    /// The term of the server, and whether it has just begun.
    fn take_seat(&self, run_id: &str) -> (u64, bool) {
        let mut seat = self.seat();
        let is_new = seat.run_id.as_deref() != Some(run_id);
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
