//! Fuzz target of the revocation stream: answers that a server could give, or somebody in its place.

use std::time::{Duration, Instant};

use redis::parse_redis_value;

use super::feed::{Feed, Page};

/// An answer is a gap, an error or news; and who is asked again from there gets no gap for the same last entry.
pub(in crate::store) fn feed(bytes: &[u8]) {
    let Ok(value) = parse_redis_value(bytes) else { return };
    let mut feed = Feed::default();
    let now = Instant::now();
    let Ok(page) = feed.take(value.clone(), now) else { return };
    let Page::News { revocations, .. } = page else { panic!("nothing was read before that could be missing") };
    for revocation in revocations {
        assert!(revocation.until(Duration::from_secs(900)) >= revocation.ended_at);
    }
    assert!(!feed.last_id().is_empty());
}
