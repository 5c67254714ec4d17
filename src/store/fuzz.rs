//! Fuzz targets of stores: what comes back from a place that others can write to.

use std::time::Duration;

use bytes::Bytes;

use super::record;
use crate::fuzz::Target;
use crate::session::SessionId;

pub(crate) const TARGETS: &[Target] = &[("record", session_record), ("feed", super::redis::fuzz::feed)];

/// A record that is read is written again as something that reads the same.
fn session_record(bytes: &[u8]) {
    let id = SessionId::new("demo", [9; 15]);
    let Ok(stored) = record::decode(&id, Bytes::copy_from_slice(bytes)) else { return };
    assert_eq!(stored.session.id, id);
    let again = record::encode(&stored.session).expect("what was read can be written");
    assert_eq!(record::decode(&id, again).expect("what was written can be read").session, stored.session);
    let _ = stored.session.revoked_until(Duration::from_secs(900));
}
