//! Goes through the requests under way: at once when a session has ended, once a second for everything else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::task::JoinSet;

use super::{Live, PATIENCE};
use crate::gate::{Reason, may_go_on};
use crate::proxy::Compiled;
use crate::session::{PARTITIONS, SessionId};
use crate::store::{Freshness, StoreError, Stored};
use crate::time::Timestamp;

/// How often it is asked whether a session has ended. Endings that come within one such time are one walk.
const LISTEN_EVERY: Duration = Duration::from_millis(25);
/// How often it is asked whether tokens have expired.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So many sessions are asked for at the same time: nobody who refreshes is to wait for this.
const AT_ONCE: usize = 16;

impl Live {
    /// Ends requests whose session ends, for as long as it is polled. Each look goes by the configuration of its time.
    pub async fn watch(&self, current: &ArcSwap<Compiled>) {
        tokio::join!(self.listen(current), self.look(current), self.ask(current));
    }

    async fn listen(&self, current: &ArcSwap<Compiled>) {
        // These outlive every configuration.
        let (mirror, metrics) = {
            let compiled = current.load();
            (Arc::clone(&compiled.mirror), Arc::clone(&compiled.metrics))
        };
        let revocations = &mirror.revocations;
        let mut heard = 0;
        // When those that had only just begun are old enough.
        let mut once_more = None;
        loop {
            let added = revocations.added();
            if added != heard || once_more.take_if(|at| *at <= Instant::now()).is_some() {
                if added != heard {
                    once_more = Some(Instant::now() + PATIENCE + LISTEN_EVERY);
                }
                heard = added;
                let has_not_ended = |session: &SessionId, _| match revocations.contains(session) {
                    true => Err(Reason::SessionEnded),
                    false => Ok(()),
                };
                self.cut(has_not_ended, |reason| metrics.cut(reason));
            }
            tokio::time::sleep(LISTEN_EVERY).await;
        }
    }

    async fn look(&self, current: &ArcSwap<Compiled>) {
        let mut known_at = [Instant::now(); PARTITIONS];
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.cut_unknown(&current.load(), &mut known_at);
        }
    }

    /// By itself: a store that does not answer must not hold up what is cut off without it.
    async fn ask(&self, current: &ArcSwap<Compiled>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let compiled = current.load_full();
            let expired = self.expired(Timestamp::now().minus(compiled.policy.skew));
            if !expired.is_empty() {
                self.renew_or_cut(&compiled, expired).await;
            }
        }
    }

    /// Cuts off what new requests would be refused for as well. A store that has lost its memory is given the time in which
    /// knowledge that grows old still counts: it is usually back in seconds, and nobody has been logged out.
    fn cut_unknown(&self, compiled: &Compiled, known_at: &mut [Instant; PARTITIONS]) {
        let now = Instant::now();
        let patient: [bool; PARTITIONS] =
            std::array::from_fn(|partition| match compiled.mirror.partition_freshness(partition, now) {
                Freshness::Age(_) => {
                    known_at[partition] = now;
                    false
                }
                Freshness::Unknown => now.duration_since(known_at[partition]) <= compiled.max_staleness,
            });
        let facts = compiled.facts(Timestamp::now(), now);
        let judge = |session: &SessionId, _| match may_go_on(&compiled.policy, session, &facts) {
            Err(Reason::RevocationsStale) if patient[session.partition()] => Ok(()),
            judged => judged,
        };
        self.cut(judge, |reason| compiled.metrics.cut(reason));
    }

    /// A token that has expired ends its requests, unless the session was refreshed since: then they go on until the token of
    /// that refresh expires. A store that does not answer is asked again, for as long as old knowledge counts.
    async fn renew_or_cut(&self, compiled: &Compiled, expired: Vec<SessionId>) {
        let mut renewed = HashMap::new();
        let mut refused = HashMap::new();
        let mut is_silent = [false; PARTITIONS];
        for some in expired.chunks(AT_ONCE) {
            let mut asked = JoinSet::new();
            for &session in some {
                if is_silent[session.partition()] {
                    // It would wait as long as those before, one after the other.
                    refused.insert(session, Reason::StoreUnavailable);
                    continue;
                }
                let sessions = Arc::clone(&compiled.endpoints.sessions);
                asked.spawn(async move { (session, sessions.get(&session).await) });
            }
            while let Some(Ok((session, answer))) = asked.join_next().await {
                match good_until(compiled, answer) {
                    Ok(Some(until)) => drop(renewed.insert(session, until)),
                    Ok(None) => drop(refused.insert(session, Reason::SessionEnded)),
                    // Asked again in a second.
                    Err(_) => {
                        is_silent[session.partition()] = true;
                        refused.insert(session, Reason::StoreUnavailable);
                    }
                }
            }
        }
        self.extend(&renewed);
        let now = Timestamp::now().minus(compiled.policy.skew);
        let judge = |session: &SessionId, good_until: Timestamp| match refused.get(session) {
            _ if good_until > now => Ok(()),
            Some(Reason::StoreUnavailable) if good_until.plus(compiled.max_staleness) > now => Ok(()),
            Some(reason) => Err(*reason),
            None if renewed.contains_key(session) => Err(Reason::TokenExpired),
            // Its token has expired since the store was asked.
            None => Ok(()),
        };
        self.cut(judge, |reason| compiled.metrics.cut(reason));
    }
}

/// Until when the newest access token of the session is good; None if the session has ended.
fn good_until(
    compiled: &Compiled,
    answer: Result<Option<Stored>, StoreError>,
) -> Result<Option<Timestamp>, StoreError> {
    let Some(Stored { session, .. }) = answer? else { return Ok(None) };
    if !session.is_live(Timestamp::now()) {
        return Ok(None);
    }
    let endpoints = &compiled.endpoints;
    // Within the grace of a rotation access tokens are made without another one.
    let refreshed_at = session.rotation.map(|rotation| rotation.at.plus(endpoints.rotation.grace));
    Ok(Some(refreshed_at.unwrap_or(session.created_at).plus(endpoints.access.lifetime)))
}
