//! Gives Redis back what it has lost of sessions: what this proxy holds is joined with what is there.
//!
//! What must never happen in here: a record is written that knows less than the one it replaces. Whatever is written was
//! joined with what was read, and only if that is still there.

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisResult, ServerErrorKind};

use super::keys::evalsha;
use super::{Redis, nonce};
use crate::session::{EndReason, Session, SessionId, merge};
use crate::store::{Stored, record};
use crate::time::Timestamp;

/// How many sessions are given back in one round trip.
pub(super) const CHUNK: usize = 256;
/// How often a record may be another one by the time it is written. Nobody else writes but those who do the same.
const ROUNDS: usize = 16;

/// What this proxy holds of a session.
pub(super) struct Held {
    pub id: SessionId,
    /// Its copy of the record, as bytes.
    pub copy: Option<Bytes>,
    /// When it ended, if the mirror lists it.
    pub ended_at: Option<Timestamp>,
    /// The stream does not say that it has ended.
    pub unpublished: bool,
}

impl Held {
    /// All that is known of the session. None if nobody has its record.
    fn join(&self, current: Option<&Session>) -> Option<Session> {
        let copy = self.copy.clone().and_then(|copy| record::decode(&self.id, copy).ok()).map(|copy| copy.session);
        let joined = match (current, copy) {
            (Some(current), Some(copy)) => merge(current, &copy),
            (current, copy) => current.cloned().or(copy)?,
        };
        // The mirror does not know why it ended; that it did is what counts.
        Some(self.ended_at.map_or(joined.clone(), |ended_at| joined.end(ended_at, EndReason::Logout)))
    }

    /// Does the store know less than this proxy?
    pub(super) fn is_ahead_of(&self, current: Option<&Stored>, now: Timestamp) -> bool {
        if self.ended_at.is_none() && current.map(|current| &current.record) == self.copy.as_ref() {
            return false;
        }
        let current = current.map(|current| &current.session);
        let joined = self.join(current);
        joined.is_some_and(|joined| now < joined.ends_at && current != Some(&joined))
    }
}

impl Redis {
    /// Writes to Redis what it lacks of `held`, which are all in one partition, and publishes what the stream lacks. Returns
    /// how many sessions it lacked something of. The copies learn what Redis knows better.
    pub(super) async fn give_back(
        &self,
        connection: &mut MultiplexedConnection,
        partition: usize,
        mut held: Vec<Held>,
    ) -> RedisResult<usize> {
        let mut given = 0;
        for _ in 0..ROUNDS {
            if held.is_empty() {
                return Ok(given);
            }
            let names = std::iter::once(self.keys.epoch(partition))
                .chain(held.iter().map(|held| self.keys.session(&held.id)))
                .collect::<Vec<_>>();
            let mut read: std::vec::IntoIter<Option<Bytes>> =
                redis::cmd("MGET").arg(names).query_async::<Vec<_>>(connection).await?.into_iter();
            let epoch = read.next().flatten().unwrap_or_default();

            let (mut pipe, mut asked, mut learned) = (redis::pipe(), Vec::new(), Vec::new());
            let now = Timestamp::now();
            for (held, current) in held.into_iter().zip(read) {
                let current = current.and_then(|current| record::decode(&held.id, current).ok());
                if held.is_ahead_of(current.as_ref(), now) {
                    let session = current.as_ref().map(|current| &current.session);
                    let Some(joined) = held.join(session) else { continue };
                    let Ok(record) = record::encode(&joined) else { continue };
                    let revives = session.is_some_and(|session| session.ended.is_none());
                    let publish = joined.ended.filter(|_| revives || held.unpublished).map(|ending| ending.at);
                    let expected = current.as_ref().map(|current| &current.record);
                    let (keys, arguments) = self.commit_call(&epoch, expected, &joined, &record, publish)?;
                    pipe.add_command(evalsha(&self.scripts.commit, keys, &arguments[..]));
                    learned.push(joined);
                    asked.push(held);
                } else {
                    if held.copy.is_some() && current.as_ref().map(|current| &current.record) != held.copy.as_ref() {
                        learned.extend(current.map(|current| current.session));
                    }
                    if let (true, Some(ended_at)) = (held.unpublished, held.ended_at) {
                        let mut publish = redis::cmd("XADD");
                        publish.arg(self.keys.revocations(partition)).arg("*").arg("sid").arg(held.id.to_string());
                        publish.arg("ended_at_ms").arg(ended_at.as_millis()).arg("nonce").arg(nonce()?);
                        pipe.add_command(publish);
                        asked.push(held);
                    }
                }
            }
            if let Some(copies) = &self.copies {
                copies.keep(learned);
            }
            if asked.is_empty() {
                return Ok(given);
            }
            match pipe.query_async::<Vec<String>>(connection).await {
                Ok(answers) => {
                    let count = asked.len();
                    let refused = |answer: &str| ["conflict", "amnesia", "closed"].contains(&answer);
                    // Another one by now, or in another epoch: it is read again.
                    held = asked
                        .into_iter()
                        .zip(answers)
                        .filter(|(_, answer)| refused(answer))
                        .map(|(held, _)| held)
                        .collect();
                    given += count - held.len();
                }
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    self.scripts.commit.load_async(connection).await?;
                    held = asked;
                }
                Err(error) => return Err(error),
            }
        }
        Err((ErrorKind::Client, "sessions that are given back keep changing").into())
    }
}
