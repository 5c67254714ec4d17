//! Watches over what one task serves, a connection or a stream of HTTP/2: deadlines, and the order to cut it off.
//!
//! Hooks say how far a request has come; the time is looked at only when there is nothing else to do. So a request that comes
//! and goes in one piece costs no timer, no channel and no reading of the clock: a timer is made when something is first
//! waited for, one for all requests of a connection, and it is set anew only to ring sooner, or after it has rung.
//!
//! What must never happen in here: a request that was read waits for a deadline of its head; an upgraded connection or a
//! stream of events for that of a body.

use std::cell::{Cell, OnceCell};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};

use super::live::Place;
use super::watched::Link;
use crate::gate::Reason;
use crate::telemetry::Limit;

tokio::task_local! {
    static WATCH: Watch;
}

/// How far it has come.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Nobody knows yet which protocol the client speaks. It has until then.
    Silent(Instant),
    /// HTTP/2: its preface is awaited until then.
    Preface(Instant),
    /// HTTP/1: the head of the first request is awaited until then, or that of a later one whose first bytes are there.
    Head(Instant),
    /// HTTP/1: another request may come. The connection had `received` so many bytes when the last one had ended, and is closed
    /// then if it gets no more. Nobody has looked at the clock yet if that is not known.
    Idle { received: u64, until: Option<Instant> },
    /// A request is under way; or HTTP/2, whose streams are watched by themselves.
    Serving,
}

/// What is awaited of the body of a request.
#[derive(Clone, Copy, Debug)]
enum Body {
    /// Nothing.
    Done,
    /// HTTP/1: how long the client was waited for.
    Timed { waited: Duration, since: Option<Instant> },
    /// HTTP/2: more of it until then. That a client is waited for cannot be seen there.
    Until(Instant),
}

/// What is watched over.
pub(super) struct Watch {
    stage: Cell<Stage>,
    body: Cell<Body>,
    /// Where its requests are listed that end with their session.
    place: OnceCell<Place>,
    /// Why it was cut off.
    why: Cell<Option<Reason>>,
    header_timeout: Duration,
    keep_alive: Cell<Duration>,
    link: Option<Arc<Link>>,
}

impl Watch {
    /// A connection that was just opened.
    pub(super) fn connection(link: Arc<Link>, header_timeout: Duration) -> Watch {
        Watch { header_timeout, link: Some(link), ..Watch::at(Stage::Silent(Instant::now() + header_timeout)) }
    }

    /// A stream of HTTP/2. Its head has been read.
    pub(super) fn stream() -> Watch {
        Watch::at(Stage::Serving)
    }

    fn at(stage: Stage) -> Watch {
        Watch {
            stage: Cell::new(stage),
            body: Cell::new(Body::Done),
            place: OnceCell::new(),
            why: Cell::default(),
            header_timeout: Duration::ZERO,
            keep_alive: Cell::default(),
            link: None,
        }
    }

    fn received(&self) -> u64 {
        self.link.as_ref().map_or(0, |link| link.received())
    }

    /// Until when something has to happen, and what limit that is, if it is one. Asked when there is nothing left to do.
    fn due(&self) -> Option<(Instant, Option<Limit>)> {
        match self.stage.get() {
            Stage::Silent(until) | Stage::Preface(until) | Stage::Head(until) => {
                Some((until, Some(Limit::HeaderTimeout)))
            }
            Stage::Idle { received, .. } if self.received() > received => {
                let until = Instant::now() + self.header_timeout;
                self.stage.set(Stage::Head(until));
                Some((until, Some(Limit::HeaderTimeout)))
            }
            Stage::Idle { until: Some(until), .. } => Some((until, None)),
            Stage::Idle { received, until: None } => {
                let until = Instant::now() + self.keep_alive.get();
                self.stage.set(Stage::Idle { received, until: Some(until) });
                Some((until, None))
            }
            Stage::Serving => match self.body.get() {
                Body::Done => None,
                Body::Until(until) => Some((until, Some(Limit::BodyTimeout))),
                Body::Timed { waited, since } => {
                    let is_waiting = self.link.as_ref().is_some_and(|link| link.take_waiting());
                    match (is_waiting, since) {
                        (true, None) => self.body.set(Body::Timed { waited, since: Some(Instant::now()) }),
                        (false, Some(since)) => {
                            self.body.set(Body::Timed { waited: waited + since.elapsed(), since: None });
                        }
                        (true, Some(_)) | (false, None) => {}
                    }
                    None
                }
            },
        }
    }

    fn is_cut(&self, context: &mut Context<'_>) -> bool {
        let why = self.place.get().and_then(|place| place.cut(context.waker()));
        if why.is_some() {
            self.why.set(why);
        }
        why.is_some()
    }
}

/// Serves with `work`, unless a deadline passes, of which `expired` is told, or it is cut off. Then all of it is dropped.
pub(super) async fn over<T>(watch: Watch, expired: impl Fn(Limit), work: impl Future<Output = Option<T>>) -> Option<T> {
    WATCH.scope(watch, watched(expired, work)).await
}

/// All of it is dropped within the scope: whoever looks back then can ask why.
async fn watched<T>(expired: impl Fn(Limit), work: impl Future<Output = Option<T>>) -> Option<T> {
    let mut work = pin!(work);
    let mut timer: Option<(Instant, Pin<Box<Sleep>>)> = None;
    std::future::poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        WATCH.with(|watch| {
            if watch.is_cut(context) {
                return Poll::Ready(None);
            }
            let Some((due, limit)) = watch.due() else { return Poll::Pending };
            let (rings, timer) = timer.get_or_insert_with(|| (due, Box::pin(sleep_until(due.into()))));
            if due < *rings {
                *rings = due;
                timer.as_mut().reset(due.into());
            }
            while timer.as_mut().poll(context).is_ready() {
                if due <= Instant::now() {
                    limit.into_iter().for_each(&expired);
                    return Poll::Ready(None);
                }
                *rings = due;
                timer.as_mut().reset(due.into());
            }
            Poll::Pending
        })
    })
    .await
}

/// Tells the watch over this task. Streams of HTTP/2 are tasks of their own.
fn tell<T>(tell: impl FnOnce(&Watch) -> T) -> Option<T> {
    WATCH.try_with(tell).ok()
}

/// The connection speaks HTTP/2, and its preface is read next.
pub(super) fn preface_expected() {
    tell(|watch| {
        if let Stage::Silent(until) = watch.stage.get() {
            watch.stage.set(Stage::Preface(until));
        }
        if let Some(link) = &watch.link {
            link.speaks_http2();
        }
    });
}

/// If its preface was awaited: it is there.
pub(super) fn preface_read() {
    tell(|watch| {
        if matches!(watch.stage.get(), Stage::Preface(_)) {
            watch.stage.set(Stage::Serving);
        }
    });
}

/// Is it still open which protocol the client speaks?
pub(super) fn is_silent() -> bool {
    tell(|watch| matches!(watch.stage.get(), Stage::Silent(_))).unwrap_or(false)
}

/// HTTP/1: a request is awaited, the first one of the connection or another.
pub(super) fn head_expected() {
    tell(|watch| {
        watch.stage.set(match watch.stage.get() {
            Stage::Silent(until) | Stage::Preface(until) => Stage::Head(until),
            Stage::Head(_) | Stage::Idle { .. } | Stage::Serving => {
                Stage::Idle { received: watch.received(), until: None }
            }
        });
        watch.body.set(Body::Done);
        watch.why.set(None);
    });
}

/// The head of a request has been read. For so long the connection is kept after it.
pub(super) fn head_read(keep_alive: Duration) {
    tell(|watch| {
        watch.stage.set(Stage::Serving);
        watch.keep_alive.set(keep_alive);
    });
}

/// HTTP/1: has this request ended before its head was read, and not only because the client left?
pub(super) fn head_failed() -> bool {
    let failed = |watch: &Watch| match watch.stage.get() {
        Stage::Head(_) => watch.received() > 0,
        Stage::Idle { received, .. } => watch.received() > received,
        Stage::Silent(_) | Stage::Preface(_) | Stage::Serving => false,
    };
    tell(failed).unwrap_or(false)
}

/// HTTP/1: the time in which the client is waited for is taken from now on.
pub(super) fn body_expected() {
    tell(|watch| {
        if let Some(link) = &watch.link {
            link.take_waiting();
        }
        watch.body.set(Body::Timed { waited: Duration::ZERO, since: None });
    });
}

/// HTTP/2: more of the body has to come until then.
pub(super) fn body_expected_until(until: Instant) {
    tell(|watch| watch.body.set(Body::Until(until)));
}

/// HTTP/1: how long the client has been waited for since this was last asked.
pub(super) fn body_waited(now: Instant) -> Duration {
    let take = |watch: &Watch| match watch.body.replace(Body::Timed { waited: Duration::ZERO, since: None }) {
        Body::Timed { waited, since } => waited + since.map_or(Duration::ZERO, |since| now - since),
        Body::Done | Body::Until(_) => Duration::ZERO,
    };
    tell(take).unwrap_or_default()
}

/// The body is complete, or no body any more.
pub(super) fn body_ended() {
    tell(|watch| watch.body.set(Body::Done));
}

/// Why what this task serves was cut off, if it was.
pub(super) fn why_cut() -> Option<Reason> {
    tell(|watch| watch.why.get()).flatten()
}

/// Where the requests of this task are listed. It is made when it is first asked for.
pub(super) fn place<T>(make: impl FnOnce() -> Place, give: impl FnOnce(&Place) -> T) -> Option<T> {
    tell(|watch| give(watch.place.get_or_init(make)))
}
