//! Asks the sentinels which server is the primary.
//!
//! All are asked at once and most of them have to answer; the one that knows of the latest failover is right. One sentinel
//! alone is not believed: it may be cut off from the others, together with the primary of the past.
//!
//! What must never happen in here: a minority says who the primary is; a sentinel that is silent holds up the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisError, RedisResult};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::dialer::{Address, Named};
use super::options::Access;

/// How long a sentinel may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long the rest are waited for when most have answered: one that is down costs no more than that.
const PATIENCE_WITH_THE_REST: Duration = Duration::from_millis(50);

/// All sentinels that watch one primary.
pub(super) struct Sentinels {
    sentinels: Vec<Arc<Sentinel>>,
    master_name: Arc<str>,
}

struct Sentinel {
    access: Access,
    current: Mutex<Option<MultiplexedConnection>>,
}

impl Sentinels {
    pub(super) fn new(sentinels: Vec<Access>, master_name: String) -> Sentinels {
        let sentinel = |access| Arc::new(Sentinel { access, current: Mutex::default() });
        let sentinels = sentinels.into_iter().map(sentinel).collect();
        Sentinels { sentinels, master_name: master_name.into() }
    }

    /// Where the primary is, as most of the sentinels know it.
    pub(super) async fn primary(&self) -> RedisResult<Named> {
        let mut asked = JoinSet::new();
        for sentinel in &self.sentinels {
            let (sentinel, master_name) = (Arc::clone(sentinel), Arc::clone(&self.master_name));
            asked.spawn(async move { sentinel.ask(&master_name).await });
        }
        let mut until = Instant::now() + PATIENCE;
        let (mut said, mut last_error) = (Vec::new(), None);
        while let Ok(Some(answer)) = tokio::time::timeout_at(until, asked.join_next()).await {
            match answer.unwrap_or_else(|error| Err(std::io::Error::other(error).into())) {
                Ok(answer) => said.push(answer),
                Err(error) => last_error = Some(error),
            }
            if is_most(said.len(), self.sentinels.len()) {
                until = until.min(Instant::now() + PATIENCE_WITH_THE_REST);
            }
        }
        decide(said, self.sentinels.len(), last_error)
    }
}

fn is_most(some: usize, all: usize) -> bool {
    some * 2 > all
}

impl Sentinel {
    async fn ask(&self, master_name: &str) -> RedisResult<Named> {
        let kept = self.current.lock().unwrap_or_else(PoisonError::into_inner).take();
        let kept = match kept {
            None => None,
            // It may have been closed while nobody looked.
            Some(mut connection) => ask(&mut connection, master_name).await.ok().map(|said| (connection, said)),
        };
        let (connection, said) = match kept {
            Some(answered) => answered,
            None => {
                let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
                let client = self.access.client().await?;
                let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
                let said = ask(&mut connection, master_name).await?;
                (connection, said)
            }
        };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        Ok(said)
    }
}

/// The address first: if the epoch grows in between, the answer is older than it says, and is corrected by the next.
async fn ask(connection: &mut MultiplexedConnection, master_name: &str) -> RedisResult<Named> {
    let mut questions = redis::pipe();
    questions.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master_name);
    questions.cmd("SENTINEL").arg("MASTER").arg(master_name);
    let (address, fields): (Option<Address>, HashMap<String, String>) = questions.query_async(connection).await?;
    let epoch = fields.get("config-epoch").and_then(|epoch| epoch.parse().ok());
    match (address, epoch) {
        (Some(address), Some(epoch)) => Ok(Named { address, epoch }),
        _ => Err((ErrorKind::UnexpectedReturnType, "a sentinel does not answer like one").into()),
    }
}

fn decide(said: Vec<Named>, all: usize, last_error: Option<RedisError>) -> RedisResult<Named> {
    if !is_most(said.len(), all) {
        let why = last_error.map(|error| format!("; {error}")).unwrap_or_default();
        let detail = format!("{} of {all}{why}", said.len());
        return Err(RedisError::from((ErrorKind::Io, "too few sentinels say who the primary is", detail)));
    }
    let latest = said.iter().map(|said| said.epoch).max().unwrap_or_default();
    let mut named = said.into_iter().filter(|said| said.epoch == latest);
    let Some(first) = named.next() else { return Err((ErrorKind::Io, "there is no sentinel").into()) };
    match named.find(|other| *other != first) {
        None => Ok(first),
        Some(other) => {
            let detail = format!("{first} or {other}");
            Err((ErrorKind::Io, "the sentinels do not agree who the primary is", detail).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_have_to_answer_and_the_latest_failover_counts() {
        let said = |host: &str, epoch| Named { address: (host.to_owned(), 6379), epoch };
        let decided = |all, said| decide(said, all, None).ok().map(|named| named.address.0);
        assert_eq!(decided(1, vec![said("a", 0)]).as_deref(), Some("a"));
        assert_eq!(decided(3, vec![said("a", 1), said("a", 1)]).as_deref(), Some("a"));
        // Whoever has not heard of the failover yet is wrong, however many they are.
        assert_eq!(decided(3, vec![said("a", 1), said("b", 2), said("a", 1)]).as_deref(), Some("b"));
        assert_eq!(decided(3, vec![said("a", 9), said("b", 10)]).as_deref(), Some("b"));
        for (all, unknown) in [
            (0, vec![]),
            (1, vec![]),
            (2, vec![said("a", 1)]),
            (3, vec![said("a", 7)]),
            (3, vec![said("a", 1), said("b", 1), said("a", 1)]),
        ] {
            assert_eq!(decided(all, unknown), None);
        }
    }
}
