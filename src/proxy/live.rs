//! Requests under way that stand on a session, so that they end with it: WebSockets, streams of events, long polls, downloads.
//!
//! A request is judged once, and can then last for hours. So each connection (and each stream of HTTP/2) has a seat in this
//! list, which is taken by the request that is served there and speaks for somebody. The list is gone through whenever a
//! session has ended, and once a second for tokens that expire. Whoever may not go on is cut off: on HTTP/1 the connection
//! ends, on HTTP/2 the stream. A request that comes and goes finds its seat there: it takes it, and leaves it.
//!
//! What must never happen in here: a request waits for the list to be gone through, or a lock is held while a store is asked.

mod watch;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;

use crate::gate::{Identity, Reason};
use crate::session::SessionId;
use crate::time::Timestamp;

/// So many that a shard of ten thousand connections is gone through in microseconds.
const SHARDS: usize = 256;

/// A request that is younger may finish whatever becomes of its session: it was allowed when it came.
const PATIENCE: Duration = Duration::from_millis(500);

/// All requests under way that stand on a session.
pub struct Live {
    shards: Box<[Mutex<Shard>]>,
    next: AtomicUsize,
}

type Shard = HashMap<usize, Arc<Seat>, FixedState>;

/// What one request stands on.
struct Standing {
    since: Instant,
    session: SessionId,
    /// When its access token expires, or the newest one that its session is known to have got since.
    good_until: Timestamp,
    /// It has been told to end, and why.
    cut: Option<Reason>,
}

/// Where the requests of one connection stand, one after the other, or that of one stream of HTTP/2.
#[derive(Default)]
struct Seat(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    by: Option<Standing>,
    /// Wakes the task that serves it.
    waker: Option<Waker>,
}

impl Seat {
    /// Held for moments only: by the one request that it belongs to, and by whoever goes through the list.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The seat of a task. It leaves the list when this is dropped.
pub(super) struct Place {
    live: Arc<Live>,
    number: usize,
    seat: Arc<Seat>,
}

impl Place {
    /// Why the request that stands here has to end, if it has to. Else `waker` is woken when that changes.
    pub(super) fn cut(&self, waker: &Waker) -> Option<Reason> {
        let mut taken = self.seat.lock();
        let standing = taken.by.as_ref()?;
        if standing.cut.is_none() && !taken.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            taken.waker = Some(waker.clone());
            return None;
        }
        standing.cut
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let seat = self.live.shard(self.number).remove(&self.number);
        drop(seat);
    }
}

/// One listed request. It leaves its seat when this is dropped.
pub(super) struct Listed(Arc<Seat>);

impl Drop for Listed {
    fn drop(&mut self) {
        self.0.lock().by = None;
    }
}

impl Live {
    /// An empty list.
    pub fn new() -> Live {
        Live { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), next: AtomicUsize::new(0) }
    }

    /// Lists the request that this task serves, which has been there `since` then.
    pub(super) fn list(self: &Arc<Live>, identity: &Identity, since: Instant) -> Option<Listed> {
        let seat = super::watch::place(|| self.place(), |place| Arc::clone(&place.seat))?;
        let standing = Standing { since, session: identity.session, good_until: identity.expires_at, cut: None };
        seat.lock().by = Some(standing);
        Some(Listed(seat))
    }

    fn place(self: &Arc<Live>) -> Place {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let seat = Arc::new(Seat::default());
        self.shard(number).insert(number, Arc::clone(&seat));
        Place { live: Arc::clone(self), number, seat }
    }

    /// Cuts off all requests that `may_go_on` has a reason against, and tells `cut` each reason. Those that have only just
    /// begun are left alone: most of them are over in a moment, and their client gets an answer and not a closed connection.
    fn cut(&self, may_go_on: impl Fn(&SessionId, Timestamp) -> Result<(), Reason>, cut: impl Fn(Reason)) {
        let Some(begun_before) = Instant::now().checked_sub(PATIENCE) else { return };
        self.each(|taken| {
            let Some(standing) = taken.by.as_mut().filter(|it| it.cut.is_none() && it.since <= begun_before) else {
                return;
            };
            if let Err(reason) = may_go_on(&standing.session, standing.good_until) {
                standing.cut = Some(reason);
                // If there is none, it has not been waiting for anything yet, and looks before it does.
                if let Some(waker) = &taken.waker {
                    waker.wake_by_ref();
                }
                cut(reason);
            }
        });
    }

    /// The sessions that requests stand on whose tokens have expired at `now`.
    fn expired(&self, now: Timestamp) -> Vec<SessionId> {
        let mut sessions = Vec::new();
        self.each(|taken| sessions.extend(taken.by.as_ref().filter(|it| it.good_until <= now).map(|it| it.session)));
        sessions.sort_unstable();
        sessions.dedup();
        sessions
    }

    /// These sessions have got access tokens that are good until then.
    fn extend(&self, sessions: &HashMap<SessionId, Timestamp>) {
        self.each(|taken| {
            if let Some(standing) = &mut taken.by
                && let Some(&good_until) = sessions.get(&standing.session)
            {
                standing.good_until = standing.good_until.max(good_until);
            }
        });
    }

    /// Goes through the list.
    fn each(&self, mut visit: impl FnMut(&mut Taken)) {
        for shard in 0..SHARDS {
            self.shard(shard).values().for_each(|seat| visit(&mut seat.lock()));
        }
    }

    fn shard(&self, number: usize) -> MutexGuard<'_, Shard> {
        self.shards[number % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Live {
    fn default() -> Live {
        Live::new()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::sync::oneshot;

    use super::*;
    use crate::proxy::watch::{Watch, over};
    use crate::token::AccessClaims;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn identity(number: u8, expires_at: Timestamp) -> Identity {
        let claims = serde_json::json!({
            "iss": "a", "aud": "a", "sub": "alice", "sid": SessionId::new("alice", [number; 15]), "gen": 0, "jti": "a",
            "iat": 0, "exp": expires_at.as_secs(), "session_exp": expires_at.as_secs(), "roles": [],
        });
        let claims: AccessClaims = serde_json::from_value(claims).expect("claims");
        Identity::from_claims(&claims).expect("an identity")
    }

    /// A request that is listed and then goes on for ever. It answers whether it was cut off.
    async fn request(live: &Arc<Live>, identity: &Identity, listed: oneshot::Sender<()>) -> bool {
        let serve = async {
            let _listed = live.list(identity, Instant::now()).expect("nobody else has listed it");
            let _ = listed.send(());
            std::future::pending::<Option<()>>().await
        };
        over(Watch::stream(), |_| (), serve).await.is_none()
    }

    #[tokio::test]
    async fn only_those_are_cut_off_that_may_not_go_on() {
        let live = Arc::new(Live::new());
        let [alice, boss] = [1, 2].map(|number| identity(number, NOW));
        let grow_old = || live.each(|taken| taken.by.iter_mut().for_each(|it| it.since -= PATIENCE));
        let mut requests = Vec::new();
        for who in [&alice, &boss, &alice] {
            let (listed, done) = oneshot::channel();
            let (live, who) = (Arc::clone(&live), identity(who.session.as_bytes()[1], NOW));
            requests.push(tokio::spawn(async move { request(&live, &who, listed).await }));
            done.await.expect("it is listed");
        }
        let told = RefCell::new(0);
        let judge = |session: &SessionId, _| match *session == alice.session {
            true => Err(Reason::SessionEnded),
            false => Ok(()),
        };
        live.cut(judge, |_| panic!("they have only just begun"));
        grow_old();
        for _ in 0..2 {
            live.cut(judge, |_| *told.borrow_mut() += 1);
        }
        let [first, second, third] = <[_; 3]>::try_from(requests).expect("three of them");
        assert!(first.await.expect("it ends") && third.await.expect("it ends"));
        assert!(!second.is_finished());
        assert_eq!(told.into_inner(), 2, "each is told once");
        assert_eq!(live.expired(NOW), [boss.session]);
        second.abort();
        assert!(second.await.is_err());
        assert_eq!(live.expired(NOW), [], "who leaves is not listed any more");
    }

    #[tokio::test]
    async fn a_newer_token_is_never_replaced_by_an_older_one() {
        let live = Arc::new(Live::new());
        let alice = identity(1, NOW);
        let later = NOW.plus(Duration::from_secs(60));
        let serve = async {
            let listed = live.list(&alice, Instant::now()).expect("it is watched over");
            for until in [later, NOW] {
                live.extend(&HashMap::from([(alice.session, until)]));
            }
            assert_eq!((live.expired(NOW), live.expired(later)), (vec![], vec![alice.session]));
            drop(listed);
            assert_eq!(live.expired(later), []);
            Some(())
        };
        over(Watch::stream(), |_| (), serve).await.expect("nobody cuts it off");
    }

    #[tokio::test]
    async fn a_request_is_not_cut_off_for_the_one_before_it() {
        let live = Arc::new(Live::new());
        let [alice, boss] = [1, 2].map(|number| identity(number, NOW));
        let serve = async {
            for who in [&alice, &boss] {
                let _listed = live.list(who, Instant::now() - PATIENCE).expect("it is watched over");
                let ended = |session: &SessionId, _| match *session == alice.session {
                    true => Err(Reason::SessionEnded),
                    false => Ok(()),
                };
                // The first one is told to end, and has ended already when its task is looked at.
                live.cut(ended, |_| ());
            }
            let _listed = live.list(&boss, Instant::now()).expect("it is watched over");
            tokio::task::yield_now().await;
            Some(())
        };
        over(Watch::stream(), |_| (), serve).await.expect("nobody cuts it off");
        assert!(live.expired(NOW).is_empty());
    }
}
