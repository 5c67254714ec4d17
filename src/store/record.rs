//! A session as the bytes that stores keep and compare, and the two questions every store asks about a commit.
//!
//! JSON, because an operator may have to read it at night. Compared as bytes, so that a commit is against the
//! whole record and not against a part of it that happens to be the same.

use std::time::Duration;

use bytes::Bytes;

use super::{Cursor, Page, StoreError, Stored};
use crate::session::{Ending, Session, SessionId};

/// Records are kept this long past the session's absolute end, so that clocks that are apart do not matter.
pub(super) const KEPT_AFTER_END: Duration = Duration::from_secs(60);

/// The bytes to keep.
pub(super) fn encode(session: &Session) -> Result<Bytes, StoreError> {
    match serde_json::to_vec(session) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(StoreError::Unavailable(format!("session {} cannot be written: {error}", session.id))),
    }
}

/// What kept bytes say of session `id`.
pub(super) fn decode(id: &SessionId, record: Bytes) -> Result<Stored, StoreError> {
    let session: Session =
        serde_json::from_slice(&record).map_err(|error| StoreError::Corrupt(*id, error.to_string()))?;
    if session.id != *id {
        return Err(StoreError::Corrupt(*id, format!("it is the record of session {}", session.id)));
    }
    Ok(Stored { session, record })
}

/// The page that holds `records`, which are in the order of their ids.
pub(super) fn page(records: Vec<(SessionId, Bytes)>, at_most: usize) -> Page {
    let next = records.last().filter(|_| records.len() == at_most).map(|(id, _)| Cursor::after(id));
    Page { sessions: readable(records), next }
}

/// The sessions of a page. What cannot be read is told to the operator, and does not keep the others from being seen.
pub(super) fn readable(records: impl IntoIterator<Item = (SessionId, Bytes)>) -> Vec<Session> {
    let mut sessions = Vec::new();
    for (id, record) in records {
        match decode(&id, record) {
            Ok(stored) => sessions.push(stored.session),
            Err(error) => tracing::warn!(%error, "a session is left out of a list"),
        }
    }
    sessions
}

/// Would the commit overwrite *ended*? No rule does; a store refuses all the same.
pub(super) fn overwrites_ending(expected: Option<&Stored>, next: &Session) -> bool {
    expected.is_some_and(|expected| expected.session.ended.is_some() && expected.session.ended != next.ended)
}

/// The ending that the commit has to publish, if it ends the session.
pub(super) fn new_ending(expected: Option<&Stored>, next: &Session) -> Option<Ending> {
    next.ended.filter(|_| expected.is_none_or(|expected| expected.session.ended.is_none()))
}
