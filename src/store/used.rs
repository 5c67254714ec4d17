//! "Used" marks: that the holder of a generation has its tokens.
//!
//! The rotation rule asks whether the successor was ever used. An access token seen for the first time says so; it costs the
//! request nothing but a push into a bounded queue, and the store hears of it in the background. A mark that gets lost
//! (queue full, store down) only makes a late retry possible where it would have been refused.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Committed, Sessions};
use crate::session::{Session, SessionId};

/// As many first sights may wait to be written.
const QUEUE: usize = 4096;
/// As many are taken from the queue at once, and written together: each by itself would wait for the store for longer than they
/// take to come.
const BATCH: usize = 64;

/// Where first sights are told.
#[derive(Clone)]
pub struct UsedMarks {
    queue: mpsc::Sender<(SessionId, u32)>,
    /// Several proxies use the store, and each gives it back what it has read of it.
    shared: bool,
}

/// Writes them to the store.
pub struct UsedMarksWriter {
    queue: mpsc::Receiver<(SessionId, u32)>,
}

impl UsedMarks {
    /// The two ends of the queue, for a store that is `shared` with other proxies or not.
    pub fn new(shared: bool) -> (UsedMarks, UsedMarksWriter) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (UsedMarks { queue: sender, shared }, UsedMarksWriter { queue: receiver })
    }

    /// An access token of this generation of the session has been seen. Never waits. The token of a login has none before it
    /// that could come back too late, so its use means nothing to a store of our own.
    pub fn seen(&self, session: SessionId, generation: u32) {
        if generation == 0 && !self.shared {
            return;
        }
        // Full: the mark is lost, which is safe.
        let _ = self.queue.try_send((session, generation));
    }
}

impl UsedMarksWriter {
    /// Writes until the last [`UsedMarks`] is gone.
    pub async fn run(mut self, sessions: Arc<Sessions>) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.queue.recv_many(&mut batch, BATCH).await > 0 {
            let mut newest: HashMap<SessionId, u32> = HashMap::new();
            for (session, generation) in batch.drain(..) {
                let known = newest.entry(session).or_insert(generation);
                *known = generation.max(*known);
            }
            let mut marks = JoinSet::new();
            for (session, generation) in newest {
                marks.spawn(mark(Arc::clone(&sessions), session, generation));
            }
            while marks.join_next().await.is_some() {}
        }
    }
}

/// One try, and one more after a lost race: whoever won it may have been a rotation, and then there is nothing to mark.
async fn mark(sessions: Arc<Sessions>, id: SessionId, generation: u32) {
    for _ in 0..2 {
        let Ok(Some(stored)) = sessions.get(&id).await else { return };
        let session = &stored.session;
        // The use of a login's token is not marked. But this proxy has read the record, and with that it can give it back to a
        // store that loses it.
        if generation == 0 || session.used || session.ended.is_some() || session.generation != generation {
            return;
        }
        let next = Session { used: true, ..session.clone() };
        match sessions.commit(Some(&stored), &next).await {
            Ok(Committed::Conflict) => continue,
            Ok(Committed::Yes) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_generation_is_asked_about_only_where_others_may_lose_it() {
        let session = SessionId::from_bytes([7; 16]);
        for (shared, told) in [(false, &[1][..]), (true, &[0, 1])] {
            let (marks, mut writer) = UsedMarks::new(shared);
            marks.seen(session, 0);
            marks.seen(session, 1);
            for &generation in told {
                assert_eq!(writer.queue.try_recv(), Ok((session, generation)));
            }
            assert!(writer.queue.try_recv().is_err());
        }
    }
}
