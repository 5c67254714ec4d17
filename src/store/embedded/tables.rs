//! What the file keeps, and the steps on it inside one transaction.
//!
//! The embedded store and the copies that a proxy on Redis keeps are files of one format.

use std::ops::Bound;

use bytes::Bytes;
use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition, WriteTransaction,
};

use crate::session::{self, EndReason, PARTITIONS, RevocationList, Session, SessionId};
use crate::store::{Committed, StoreError, record};
use crate::time::Timestamp;

/// Raised when the tables change in a way that an older or newer Portcullis would misread.
pub(in crate::store) const FORMAT: u64 = 1;

type Id = [u8; 16];
type Sessions<'transaction> = Table<'transaction, Id, &'static [u8]>;

/// Session id to JSON record.
const SESSIONS: TableDefinition<'_, Id, &[u8]> = TableDefinition::new("sessions");
/// Living sessions by subject, and when they pass their absolute end (ms).
const SUBJECTS: TableDefinition<'_, (&str, Id), u64> = TableDefinition::new("subjects");
/// Sessions by absolute end (ms): what to forget next.
const EXPIRIES: TableDefinition<'_, (u64, Id), ()> = TableDefinition::new("expiries");
/// Ended sessions by the time (ms) at which no access token of them can be alive. Kept as it was reckoned at the
/// ending: a shorter lifetime configured later does not shorten the tokens that are out.
const REVOCATIONS: TableDefinition<'_, (u64, Id), ()> = TableDefinition::new("revocations");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// One commit, as the writer judges it.
pub(in crate::store) struct Change {
    pub expected: Option<Expected>,
    pub next: Session,
    pub record: Bytes,
    /// Set if the commit ends the session: until when its access tokens have to be refused.
    pub revoked_until: Option<Timestamp>,
}

/// What the record must still be.
pub(in crate::store) struct Expected {
    pub record: Bytes,
    pub ends_at: Timestamp,
}

/// Makes the tables of a new file and returns the format of the file.
pub(in crate::store) fn prepare(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_write()?;
    let format = {
        let mut meta = transaction.open_table(META)?;
        let found = meta.get("format")?.map(|format| format.value());
        match found {
            Some(format) => format,
            None => {
                meta.insert("format", FORMAT)?;
                FORMAT
            }
        }
    };
    if format == FORMAT {
        transaction.open_table(SESSIONS)?;
        transaction.open_table(SUBJECTS)?;
        transaction.open_table(EXPIRIES)?;
        transaction.open_table(REVOCATIONS)?;
    }
    transaction.commit()?;
    Ok(format)
}

/// The record of a session.
pub(in crate::store) fn read(database: &Database, id: &SessionId) -> Result<Option<Bytes>, redb::Error> {
    let sessions = database.begin_read()?.open_table(SESSIONS)?;
    Ok(sessions.get(id.as_bytes())?.map(|record| Bytes::copy_from_slice(record.value())))
}

/// The subject's sessions that have neither ended nor passed their absolute end.
pub(in crate::store) fn sessions_of(
    database: &Database,
    subject: &str,
    now: Timestamp,
) -> Result<Vec<SessionId>, redb::Error> {
    let subjects = database.begin_read()?.open_table(SUBJECTS)?;
    let mut living = Vec::new();
    for entry in subjects.range((subject, [0; 16])..=(subject, [255; 16]))? {
        let (key, ends_at) = entry?;
        if now.as_millis() < ends_at.value() {
            living.push(SessionId::from_bytes(key.value().1));
        }
    }
    Ok(living)
}

/// The records of the sessions after `after`, in the order of their ids.
pub(super) fn records(
    database: &Database,
    after: Option<SessionId>,
    at_most: usize,
) -> Result<Vec<(SessionId, Bytes)>, redb::Error> {
    let sessions = database.begin_read()?.open_table(SESSIONS)?;
    let begin = after.map_or(Bound::Unbounded, |after| Bound::Excluded(*after.as_bytes()));
    let mut records = Vec::new();
    for entry in sessions.range::<Id>((begin, Bound::Unbounded))?.take(at_most) {
        let (id, record) = entry?;
        records.push((SessionId::from_bytes(id.value()), Bytes::copy_from_slice(record.value())));
    }
    Ok(records)
}

/// How many revocations there are.
pub(in crate::store) fn revocations_len(database: &Database) -> Result<u64, redb::Error> {
    Ok(database.begin_read()?.open_table(REVOCATIONS)?.len()?)
}

/// Lists the revocations, with the time until which they matter. Also those that are over by the clock of now, which may be wrong.
pub(in crate::store) fn list_revocations(database: &Database, list: &RevocationList) -> Result<(), redb::Error> {
    let revocations = database.begin_read()?.open_table(REVOCATIONS)?;
    list.reserve(usize::try_from(revocations.len()?).unwrap_or(usize::MAX));
    // If there is no room for all, those come last that matter for the shortest time.
    for entry in revocations.iter()?.rev() {
        let (until_ms, id) = entry?.0.value();
        list.insert(SessionId::from_bytes(id), Timestamp::from_millis(until_ms));
    }
    Ok(())
}

/// Judges one change against the record as the transaction sees it, and writes it if nothing has come between.
pub(in crate::store) fn apply(transaction: &WriteTransaction, change: &Change) -> Result<Committed, redb::Error> {
    let Change { expected, next, record, revoked_until } = change;
    let id = *next.id.as_bytes();
    let mut sessions = transaction.open_table(SESSIONS)?;
    {
        let current = sessions.get(&id)?;
        if current.as_ref().map(|current| current.value()) != expected.as_ref().map(|expected| &*expected.record) {
            return Ok(Committed::Conflict);
        }
    }
    put(transaction, &mut sessions, next, record, expected.as_ref().map(|expected| expected.ends_at))?;
    if let Some(until) = revoked_until {
        revoke(transaction, id, *until)?;
    }
    Ok(Committed::Yes)
}

/// Writes a record, and its places in the lists. `known_end` is the absolute end of the record that it replaces.
fn put(
    transaction: &WriteTransaction,
    sessions: &mut Sessions<'_>,
    session: &Session,
    record: &[u8],
    known_end: Option<Timestamp>,
) -> Result<(), redb::Error> {
    let id = *session.id.as_bytes();
    sessions.insert(&id, record)?;

    let mut subjects = transaction.open_table(SUBJECTS)?;
    match session.ended {
        None => subjects.insert((session.subject.as_str(), id), session.ends_at.as_millis())?,
        Some(_) => subjects.remove((session.subject.as_str(), id))?,
    };

    if known_end != Some(session.ends_at) {
        let mut expiries = transaction.open_table(EXPIRIES)?;
        if let Some(known_end) = known_end {
            expiries.remove((known_end.as_millis(), id))?;
        }
        expiries.insert((session.ends_at.as_millis(), id), ())?;
    }
    Ok(())
}

fn revoke(transaction: &WriteTransaction, id: Id, until: Timestamp) -> Result<bool, redb::Error> {
    let known = transaction.open_table(REVOCATIONS)?.insert((until.as_millis(), id), ())?.is_some();
    Ok(!known)
}

/// Joins a copy of a session with what is kept of it. Has that changed anything?
pub(in crate::store) fn join(transaction: &WriteTransaction, copy: &Session) -> Result<bool, redb::Error> {
    let mut sessions = transaction.open_table(SESSIONS)?;
    let kept = kept(&sessions, &copy.id)?;
    let joined = kept.as_ref().map_or_else(|| copy.clone(), |kept| session::merge(kept, copy));
    if kept.as_ref() == Some(&joined) {
        return Ok(false);
    }
    // Nobody can be told of a record that cannot be written, and no session is one.
    let Ok(record) = record::encode(&joined) else { return Ok(false) };
    put(transaction, &mut sessions, &joined, &record, kept.map(|kept| kept.ends_at))?;
    Ok(true)
}

/// Keeps that a session has ended, whether or not there is a record of it. Has that changed anything?
pub(in crate::store) fn end(
    transaction: &WriteTransaction,
    id: &SessionId,
    ended_at: Timestamp,
    until: Timestamp,
) -> Result<bool, redb::Error> {
    let kept = kept(&transaction.open_table(SESSIONS)?, id)?;
    let ended = match kept.filter(|kept| kept.ended.is_none()) {
        // What is heard does not say why it ended; that it did is what counts.
        Some(living) => join(transaction, &living.end(ended_at, EndReason::Logout))?,
        None => false,
    };
    Ok(revoke(transaction, *id.as_bytes(), until)? || ended)
}

/// None also for a record that cannot be read: it is no use, and is replaced by one that is.
fn kept(sessions: &impl ReadableTable<Id, &'static [u8]>, id: &SessionId) -> Result<Option<Session>, redb::Error> {
    let Some(record) = sessions.get(id.as_bytes())? else { return Ok(None) };
    let stored: Result<_, StoreError> = record::decode(id, Bytes::copy_from_slice(record.value()));
    Ok(stored.ok().map(|stored| stored.session))
}

/// The records of a partition that come after `after`, `at_most` of them, in the order of their ids.
pub(in crate::store) fn page(
    database: &Database,
    partition: usize,
    after: Option<SessionId>,
    at_most: usize,
) -> Result<Vec<(SessionId, Bytes)>, redb::Error> {
    let sessions = database.begin_read()?.open_table(SESSIONS)?;
    let after = after.map(|id| *id.as_bytes());
    let mut found = Vec::new();
    // An id's first byte says which partition it is in.
    for first in (0..=u8::MAX).filter(|first| usize::from(*first) % PARTITIONS == partition) {
        let (mut low, mut high) = ([0; 16], [255; 16]);
        (low[0], high[0]) = (first, first);
        if after.is_some_and(|after| after >= high) {
            continue;
        }
        let from = match after.filter(|after| *after >= low) {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(low),
        };
        for entry in sessions.range((from, Bound::Included(high)))?.take(at_most - found.len()) {
            let (id, record) = entry?;
            found.push((SessionId::from_bytes(id.value()), Bytes::copy_from_slice(record.value())));
        }
        if found.len() == at_most {
            break;
        }
    }
    Ok(found)
}

/// By which time something is over.
#[derive(Clone, Copy)]
pub(in crate::store) struct Now {
    pub for_sessions: Timestamp,
    pub for_revocations: Timestamp,
}

/// Is there anything to forget: expired, or more sessions than `sessions_max`?
pub(in crate::store) fn has_surplus(database: &Database, now: Now, sessions_max: u64) -> Result<bool, redb::Error> {
    let transaction = database.begin_read()?;
    let sessions_end = now.for_sessions.minus(record::KEPT_AFTER_END).as_millis();
    let surplus = transaction.open_table(EXPIRIES)?.range(..(sessions_end, [0; 16]))?.next().is_some()
        || transaction.open_table(REVOCATIONS)?.range(..(now.for_revocations.as_millis(), [0; 16]))?.next().is_some()
        || transaction.open_table(SESSIONS)?.len()? > sessions_max;
    Ok(surplus)
}

/// Forgets expired sessions and revocations, and sessions that are too many, `at_most` of each. Of too many those go first
/// that end first anyhow.
pub(in crate::store) fn forget_surplus(
    transaction: &WriteTransaction,
    now: Now,
    sessions_max: u64,
    at_most: usize,
) -> Result<(), redb::Error> {
    let mut sessions = transaction.open_table(SESSIONS)?;
    let mut subjects = transaction.open_table(SUBJECTS)?;
    let mut expiries = transaction.open_table(EXPIRIES)?;
    let mut revocations = transaction.open_table(REVOCATIONS)?;

    let mut leaving = first_keys(&expiries, now.for_sessions.minus(record::KEPT_AFTER_END), at_most)?;
    let too_many = usize::try_from(sessions.len()?.saturating_sub(sessions_max)).unwrap_or(at_most).min(at_most);
    if too_many > leaving.len() {
        leaving = first_keys(&expiries, Timestamp::from_millis(u64::MAX), too_many)?;
    }
    for (ends_at_ms, id) in leaving {
        expiries.remove((ends_at_ms, id))?;
        let Some(record) = sessions.remove(&id)? else { continue };
        // A record that cannot be read leaves its entry by subject behind; what is not there is in no answer.
        if let Ok(session) = serde_json::from_slice::<Session>(record.value()) {
            subjects.remove((session.subject.as_str(), id))?;
        }
    }
    for key in first_keys(&revocations, now.for_revocations, at_most)? {
        revocations.remove(key)?;
    }
    Ok(())
}

fn first_keys(
    table: &impl ReadableTable<(u64, Id), ()>,
    before: Timestamp,
    at_most: usize,
) -> Result<Vec<(u64, Id)>, redb::Error> {
    let mut keys = Vec::new();
    for entry in table.range(..(before.as_millis(), [0; 16]))?.take(at_most) {
        keys.push(entry?.0.value());
    }
    Ok(keys)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// For tests that need many.
    pub(in crate::store) fn revoke_all(
        transaction: &WriteTransaction,
        ids: impl Iterator<Item = SessionId>,
        until: Timestamp,
    ) -> Result<(), redb::Error> {
        let mut revocations = transaction.open_table(REVOCATIONS)?;
        for id in ids {
            revocations.insert((until.as_millis(), *id.as_bytes()), ())?;
        }
        Ok(())
    }
}
