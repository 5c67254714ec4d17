//! A partition's stream of revocations and heartbeats, and how far it has been read.
//!
//! It is read *inclusively*: the first entry of a read must be the very one that was read last. After a failover or a
//! rollback ids are used again, and only the nonce tells.

use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::{Cmd, ParsingError, Value, from_redis_value};

use crate::session::SessionId;
use crate::store::record;
use crate::time::Timestamp;

/// How many entries one read brings, at most.
const PAGE: usize = 4096;

/// How far a partition's stream has been read.
#[derive(Default)]
pub(super) struct Feed {
    /// The last entry, exactly as it was. None: nothing has been read since the beginning of the stream.
    last: Option<RawEntry>,
    /// When the read that is under way began: a read can take several pages.
    began: Option<Instant>,
    /// When the last complete read on this connection began.
    previous_began: Option<Instant>,
    /// The read under way has brought a heartbeat.
    heartbeat: bool,
}

type RawEntry = (String, Vec<Vec<u8>>);

/// A session that has ended.
pub(super) struct Revocation {
    pub session: SessionId,
    pub ended_at: Timestamp,
    /// When it was written to the stream, on Redis's clock.
    pub published_at: Timestamp,
    /// The ended record, if it was published as well.
    pub record: Option<Bytes>,
}

impl Revocation {
    /// Until when access tokens of the session have to be refused. Whichever clock is later decides: the proxy's that ended
    /// the session, Redis's, or that of the last refresh.
    pub(super) fn until(&self, access_tail: Duration) -> Timestamp {
        let heard = self.ended_at.max(self.published_at).plus(access_tail);
        let record = self.record.clone().and_then(|record| record::decode(&self.session, record).ok());
        record.and_then(|stored| stored.session.revoked_until(access_tail)).map_or(heard, |until| until.max(heard))
    }
}

/// One page of a read.
pub(super) enum Page {
    /// The entry read last is not there: read again from the beginning.
    Gap,
    /// What is new.
    News {
        revocations: Vec<Revocation>,
        /// There are more pages.
        more: bool,
        /// The read is complete and brought a heartbeat that had never been seen: everything published before this time
        /// is known. That is when the read before began, for the heartbeat was not there then.
        known_until: Option<Instant>,
    },
}

impl Feed {
    /// On another connection nothing follows from what the connection before had not shown.
    pub(super) fn reconnected(&mut self) {
        (self.began, self.previous_began, self.heartbeat) = (None, None, false);
    }

    /// Everything published before `began` has been read.
    pub(super) fn caught_up(&mut self, began: Instant) {
        (self.began, self.previous_began, self.heartbeat) = (None, Some(began), false);
    }

    /// The id of the last entry read.
    pub(super) fn last_id(&self) -> &str {
        self.last.as_ref().map_or("0", |(id, _)| id)
    }

    /// The command that reads the next page.
    pub(super) fn read(&self, stream: &str) -> Cmd {
        let mut command = redis::cmd("XRANGE");
        command.arg(stream).arg(self.last.as_ref().map_or("-", |(id, _)| id)).arg("+").arg("COUNT").arg(PAGE);
        command
    }

    /// Takes in a page that was asked for at `asked_at`.
    pub(super) fn take(&mut self, page: Value, asked_at: Instant) -> Result<Page, ParsingError> {
        let entries: Vec<RawEntry> = from_redis_value(page)?;
        let more = entries.len() == PAGE;
        let mut entries = entries.into_iter();
        if let Some(last) = &self.last
            && entries.next().as_ref() != Some(last)
        {
            return Ok(Page::Gap);
        }
        self.began.get_or_insert(asked_at);

        let mut revocations = Vec::new();
        for entry in entries {
            match Entry::read(&entry) {
                Entry::Revocation(revocation) => revocations.push(revocation),
                Entry::Heartbeat => self.heartbeat = true,
                Entry::Foreign => tracing::warn!(id = entry.0, "an entry in the revocation stream is not ours"),
            }
            self.last = Some(entry);
        }
        let mut known_until = None;
        if !more {
            if self.heartbeat {
                known_until = self.previous_began;
            }
            self.previous_began = self.began.take();
            self.heartbeat = false;
        }
        Ok(Page::News { revocations, more, known_until })
    }
}

enum Entry {
    Revocation(Revocation),
    Heartbeat,
    Foreign,
}

impl Entry {
    fn read((id, fields): &RawEntry) -> Entry {
        let bytes = |name: &str| {
            let mut pairs = fields.chunks_exact(2);
            pairs.find(|pair| pair[0] == name.as_bytes()).map(|pair| &pair[1])
        };
        let field = |name: &str| bytes(name).and_then(|value| std::str::from_utf8(value).ok());
        let millis = |text: &str| text.parse().ok().map(Timestamp::from_millis);
        match (field("sid"), field("nonce")) {
            (None, Some(_)) => Entry::Heartbeat,
            (Some(session), _) => {
                let session = SessionId::parse(session).ok();
                let ended_at = field("ended_at_ms").and_then(millis);
                let published_at = id.split('-').next().and_then(millis);
                match (session, ended_at, published_at) {
                    (Some(session), Some(ended_at), Some(published_at)) => {
                        let record = bytes("record").map(|record| Bytes::copy_from_slice(record));
                        Entry::Revocation(Revocation { session, ended_at, published_at, record })
                    }
                    _ => Entry::Foreign,
                }
            }
            (None, None) => Entry::Foreign,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, fields: &[&str]) -> Value {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        Value::Array(vec![text(id), Value::Array(fields.iter().map(|field| text(field)).collect())])
    }

    fn heartbeat(id: &str, nonce: &str) -> Value {
        entry(id, &["nonce", nonce])
    }

    fn known_until(page: Page) -> Option<Instant> {
        match page {
            Page::Gap => panic!("a gap"),
            Page::News { known_until, .. } => known_until,
        }
    }

    #[test]
    fn a_heartbeat_vouches_for_what_was_before_the_read_that_did_not_show_it() {
        let mut feed = Feed::default();
        let [first, second, third] = [Instant::now(); 3];
        feed.caught_up(first);
        assert_eq!(known_until(feed.take(Value::Array(vec![heartbeat("1-0", "a")]), second).unwrap()), Some(first));
        // The same again: nothing new, so nothing is fresher. A demoted primary goes on like this.
        let same = || Value::Array(vec![heartbeat("1-0", "a")]);
        assert_eq!(known_until(feed.take(same(), third).unwrap()), None);
        let next = Value::Array(vec![heartbeat("1-0", "a"), heartbeat("2-0", "b")]);
        assert_eq!(known_until(feed.take(next, Instant::now()).unwrap()), Some(third));
    }

    #[test]
    fn a_heartbeat_on_a_new_connection_vouches_for_nothing() {
        let mut feed = Feed::default();
        feed.caught_up(Instant::now());
        feed.reconnected();
        assert_eq!(known_until(feed.take(Value::Array(vec![heartbeat("1-0", "a")]), Instant::now()).unwrap()), None);
    }

    #[test]
    fn an_id_that_is_used_again_is_a_gap() {
        for other in [
            Value::Array(vec![]),
            Value::Array(vec![heartbeat("1-0", "b")]),
            Value::Array(vec![heartbeat("2-0", "a")]),
            Value::Array(vec![entry("1-0", &["nonce", "a", "sid", "x"])]),
        ] {
            let mut feed = Feed::default();
            drop(feed.take(Value::Array(vec![heartbeat("1-0", "a")]), Instant::now()));
            assert!(matches!(feed.take(other, Instant::now()), Ok(Page::Gap)));
        }
    }

    #[test]
    fn a_read_of_several_pages_counts_from_its_first() {
        let mut feed = Feed::default();
        let [before, first, second] = [Instant::now(); 3];
        feed.caught_up(before);
        let page = (0..PAGE).map(|number| heartbeat(&format!("1-{number}"), "n")).collect();
        let Ok(Page::News { more: true, known_until: None, .. }) = feed.take(Value::Array(page), first) else {
            panic!("there is more");
        };
        let rest = Value::Array(vec![heartbeat(&format!("1-{}", PAGE - 1), "n")]);
        assert_eq!(known_until(feed.take(rest, second).unwrap()), Some(before));
        assert_eq!(feed.previous_began, Some(first));
    }

    #[test]
    fn what_is_not_ours_is_passed_over() {
        let mut feed = Feed::default();
        let session = SessionId::new("demo", [1; 15]);
        let page = Value::Array(vec![
            entry("1-0", &["x", "y"]),
            entry("2-0", &["sid", "not one", "ended_at_ms", "1", "nonce", "n"]),
            entry("3-0", &["sid", &session.to_string(), "ended_at_ms", "minus", "nonce", "n"]),
            entry("4-0", &["sid", &session.to_string(), "ended_at_ms", "7", "nonce", "n"]),
        ]);
        let Ok(Page::News { revocations, .. }) = feed.take(page, Instant::now()) else { panic!("a gap") };
        assert_eq!(revocations.len(), 1);
        assert_eq!((revocations[0].session, revocations[0].ended_at.as_millis()), (session, 7));
        assert_eq!(revocations[0].published_at.as_millis(), 4);
    }
}
