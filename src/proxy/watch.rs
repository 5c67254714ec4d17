//! Watches over what one task serves, a connection or a stream of HTTP/2: deadlines, and the order to cut it off.
//!
//! Hooks say how far a request has come; the time is looked at only when there is nothing else to do. So a request that comes
//! and goes in one piece costs no timer, no channel and no reading of the clock: a timer is made when something is first
//! waited for, one for all requests of a connection, and it is set anew only to ring sooner, or after it has rung. A timer of
//! Pingora's costs as much as reading a path, a host and a token; so where this watch can do it, it does.
//!
//! What must never happen in here: a request that was read waits for a deadline of its head; an upgraded connection or a
//! stream of events for that of a body.

use std::cell::{Cell, OnceCell};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::alarm::Alarm;
use super::live::Place;
use super::watched::Link;
use crate::gate::Reason;
use crate::telemetry::Limit;

tokio::task_local! {
    // In a box: it is put in place and taken away again each time when the task is polled.
    static WATCH: Box<Watch>;
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

/// What is awaited of the app.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// Nothing, or not by us.
    NotAwaited,
    /// HTTP/1: more of it within that time, so until then. Nobody has looked at the clock yet if that is not known.
    Awaited { patience: Duration, until: Option<Instant> },
    /// It has not come, and the request has been told. If nothing has come of that until then, it is cut off.
    Late { until: Instant },
}

/// How long a request is given to say that its app is late.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What has to happen until then.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// Something from the client, or a limit is passed.
    Limit(Limit),
    /// Another request.
    Request,
    /// More of the app's answer.
    Answer,
    /// The end of a request whose app is late.
    LastWords,
}

/// What is watched over.
pub(super) struct Watch {
    stage: Cell<Stage>,
    body: Cell<Body>,
    answer: Cell<Answer>,
    /// Where its requests are listed that end with their session.
    place: OnceCell<Place>,
    /// Why it was cut off.
    why: Cell<Option<Reason>>,
    /// The address of its peer, as text.
    peer: OnceCell<HeaderValue>,
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
            answer: Cell::new(Answer::NotAwaited),
            place: OnceCell::new(),
            why: Cell::default(),
            peer: OnceCell::new(),
            header_timeout: Duration::ZERO,
            keep_alive: Cell::default(),
            link: None,
        }
    }

    fn received(&self) -> u64 {
        self.link.as_ref().map_or(0, |link| link.received())
    }

    /// Until when something has to happen, and what. Asked when there is nothing left to do.
    fn due(&self) -> Option<(Instant, Due)> {
        match self.stage.get() {
            Stage::Silent(until) | Stage::Preface(until) | Stage::Head(until) => {
                Some((until, Due::Limit(Limit::HeaderTimeout)))
            }
            Stage::Idle { received, .. } if self.received() > received => {
                let until = Instant::now() + self.header_timeout;
                self.stage.set(Stage::Head(until));
                Some((until, Due::Limit(Limit::HeaderTimeout)))
            }
            Stage::Idle { until: Some(until), .. } => Some((until, Due::Request)),
            Stage::Idle { received, until: None } => {
                let until = Instant::now() + self.keep_alive.get();
                self.stage.set(Stage::Idle { received, until: Some(until) });
                Some((until, Due::Request))
            }
            Stage::Serving => match self.body.get() {
                Body::Done => self.answer_due(),
                Body::Until(until) => Some((until, Due::Limit(Limit::BodyTimeout))),
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

    fn answer_due(&self) -> Option<(Instant, Due)> {
        match self.answer.get() {
            Answer::NotAwaited => None,
            Answer::Awaited { patience, until } => {
                // Whoever does not read what is there already keeps us from reading on.
                let is_client_late = self.link.as_ref().is_some_and(|link| link.take_full());
                let until = until.filter(|_| !is_client_late).unwrap_or_else(|| Instant::now() + patience);
                self.answer.set(Answer::Awaited { patience, until: Some(until) });
                Some((until, Due::Answer))
            }
            Answer::Late { until } => Some((until, Due::LastWords)),
        }
    }

    /// Looks whether it may go on. `alarm` wakes the task when that has to be asked again.
    fn look(&self, alarm: &mut Option<Alarm>, context: &mut Context<'_>) -> Look {
        if self.is_cut(context) {
            return Look::End(None);
        }
        let Some((until, due)) = self.due() else { return Look::Wait };
        let alarm = alarm.get_or_insert_with(|| Alarm::at(until));
        if until < alarm.rings {
            alarm.set(until);
        }
        while alarm.has_rung(context) {
            let now = Instant::now();
            if until <= now {
                return match due {
                    Due::Limit(limit) => Look::End(Some(limit)),
                    Due::Request | Due::LastWords => Look::End(None),
                    Due::Answer => {
                        self.answer.set(Answer::Late { until: now + LAST_WORDS });
                        self.link.iter().for_each(|link| link.fail_reads());
                        Look::TellTheRequest
                    }
                };
            }
            alarm.set(until);
        }
        Look::Wait
    }

    fn is_cut(&self, context: &mut Context<'_>) -> bool {
        if !matches!(self.stage.get(), Stage::Serving) {
            return false;
        }
        let why = self.place.get().and_then(|place| place.cut(context.waker()));
        if why.is_some() {
            self.why.set(why);
        }
        why.is_some()
    }
}

/// What follows from a look at the time.
enum Look {
    Wait,
    /// The request finds out that its app is late.
    TellTheRequest,
    /// All of it is dropped, because of this limit, if it is one.
    End(Option<Limit>),
}

/// Serves with `work`, unless a deadline passes, of which `expired` is told, or it is cut off. Then all of it is dropped.
pub(super) async fn over<T>(watch: Watch, expired: impl Fn(Limit), work: impl Future<Output = Option<T>>) -> Option<T> {
    WATCH.scope(Box::new(watch), watched(expired, work)).await
}

/// All of it is dropped within the scope: whoever looks back then can ask why.
async fn watched<T>(expired: impl Fn(Limit), work: impl Future<Output = Option<T>>) -> Option<T> {
    let mut work = pin!(work);
    let mut alarm = None;
    std::future::poll_fn(|context| {
        loop {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            match WATCH.with(|watch| watch.look(&mut alarm, context)) {
                Look::Wait => return Poll::Pending,
                Look::TellTheRequest => {}
                Look::End(limit) => {
                    limit.into_iter().for_each(&expired);
                    return Poll::Ready(None);
                }
            }
        }
    })
    .await
}

/// Tells the watch over this task. Streams of HTTP/2 are tasks of their own.
fn tell<T>(tell: impl FnOnce(&Watch) -> T) -> Option<T> {
    WATCH.try_with(|watch| tell(watch)).ok()
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
        watch.answer.set(Answer::NotAwaited);
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

/// HTTP/1: the app has to answer, and go on answering, within `patience`. Else reading from the client fails, which is how the
/// request finds out, and [`answer_is_late`].
pub(super) fn answer_expected(patience: Option<Duration>) {
    let awaited = patience.map_or(Answer::NotAwaited, |patience| Answer::Awaited { patience, until: None });
    tell(|watch| watch.answer.set(awaited));
}

/// Some of the answer is there.
pub(super) fn answer_goes_on() {
    tell(|watch| {
        if let Answer::Awaited { patience, until: Some(_) } = watch.answer.get() {
            watch.answer.set(Answer::Awaited { patience, until: None });
        }
    });
}

/// Does the request fail because its app is late?
pub(super) fn answer_is_late() -> bool {
    tell(|watch| matches!(watch.answer.get(), Answer::Late { .. })).unwrap_or(false)
}

/// Why what this task serves was cut off, if it was.
pub(super) fn why_cut() -> Option<Reason> {
    tell(|watch| watch.why.get()).flatten()
}

/// The text of the peer's address. It is made once for all requests of a connection.
pub(super) fn peer_text(make: impl Fn() -> HeaderValue) -> HeaderValue {
    tell(|watch| watch.peer.get_or_init(&make).clone()).unwrap_or_else(&make)
}

/// Where the requests of this task are listed. It is made when it is first asked for.
pub(super) fn place<T>(make: impl FnOnce() -> Place, give: impl FnOnce(&Place) -> T) -> Option<T> {
    tell(|watch| give(watch.place.get_or_init(make)))
}
