//! What the embedded store keeps, and the steps on it inside one transaction.

use std::ops::Bound;

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::session::{Session, SessionId};
use crate::store::{Committed, record};
use crate::time::Timestamp;

/// Raised when the tables change in a way that an older or newer Portcullis would misread.
pub(super) const FORMAT: u64 = 1;

type Id = [u8; 16];

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
pub(super) struct Change {
    pub expected: Option<Expected>,
    pub next: Session,
    pub record: Bytes,
    /// Set if the commit ends the session: until when its access tokens have to be refused.
    pub revoked_until: Option<Timestamp>,
}

/// What the record must still be.
pub(super) struct Expected {
    pub record: Bytes,
    pub ends_at: Timestamp,
}

/// Makes the tables of a new file and returns the format of the file.
pub(super) fn prepare(database: &Database) -> Result<u64, redb::Error> {
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
pub(super) fn read(database: &Database, id: &SessionId) -> Result<Option<Bytes>, redb::Error> {
    let sessions = database.begin_read()?.open_table(SESSIONS)?;
    Ok(sessions.get(id.as_bytes())?.map(|record| Bytes::copy_from_slice(record.value())))
}

/// The subject's sessions that have neither ended nor passed their absolute end.
pub(super) fn sessions_of(database: &Database, subject: &str, now: Timestamp) -> Result<Vec<SessionId>, redb::Error> {
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

/// The revocations that still matter, with the time until which they do.
pub(super) fn revocations(database: &Database, now: Timestamp) -> Result<Vec<(SessionId, Timestamp)>, redb::Error> {
    let revocations = database.begin_read()?.open_table(REVOCATIONS)?;
    let mut listed = Vec::new();
    for entry in revocations.range((now.as_millis(), [0; 16])..)? {
        let (until_ms, id) = entry?.0.value();
        listed.push((SessionId::from_bytes(id), Timestamp::from_millis(until_ms)));
    }
    Ok(listed)
}

/// Judges one change against the record as the transaction sees it, and writes it if nothing has come between.
pub(super) fn apply(transaction: &WriteTransaction, change: &Change) -> Result<Committed, redb::Error> {
    let Change { expected, next, record, revoked_until } = change;
    let id = *next.id.as_bytes();
    let mut sessions = transaction.open_table(SESSIONS)?;
    {
        let current = sessions.get(&id)?;
        if current.as_ref().map(|current| current.value()) != expected.as_ref().map(|expected| &*expected.record) {
            return Ok(Committed::Conflict);
        }
    }
    sessions.insert(&id, &**record)?;

    let mut subjects = transaction.open_table(SUBJECTS)?;
    match next.ended {
        None => subjects.insert((next.subject.as_str(), id), next.ends_at.as_millis())?,
        Some(_) => subjects.remove((next.subject.as_str(), id))?,
    };

    let mut expiries = transaction.open_table(EXPIRIES)?;
    let known_end = expected.as_ref().map(|expected| expected.ends_at);
    if known_end != Some(next.ends_at) {
        if let Some(known_end) = known_end {
            expiries.remove((known_end.as_millis(), id))?;
        }
        expiries.insert((next.ends_at.as_millis(), id), ())?;
    }

    if let Some(until) = revoked_until {
        transaction.open_table(REVOCATIONS)?.insert((until.as_millis(), id), ())?;
    }
    Ok(Committed::Yes)
}

/// Is there anything to forget?
pub(super) fn has_expired(database: &Database, now: Timestamp) -> Result<bool, redb::Error> {
    let transaction = database.begin_read()?;
    let sessions_end = now.minus(record::KEPT_AFTER_END).as_millis();
    let expired = transaction.open_table(EXPIRIES)?.range(..(sessions_end, [0; 16]))?.next().is_some()
        || transaction.open_table(REVOCATIONS)?.range(..(now.as_millis(), [0; 16]))?.next().is_some();
    Ok(expired)
}

/// Forgets expired sessions and revocations, `at_most` of each.
pub(super) fn forget_expired(
    transaction: &WriteTransaction,
    now: Timestamp,
    at_most: usize,
) -> Result<(), redb::Error> {
    let mut sessions = transaction.open_table(SESSIONS)?;
    let mut subjects = transaction.open_table(SUBJECTS)?;
    let mut expiries = transaction.open_table(EXPIRIES)?;
    let mut revocations = transaction.open_table(REVOCATIONS)?;

    for (ends_at_ms, id) in first_keys(&expiries, now.minus(record::KEPT_AFTER_END), at_most)? {
        expiries.remove((ends_at_ms, id))?;
        let Some(record) = sessions.remove(&id)? else { continue };
        // A record that cannot be read leaves its entry by subject behind; it is past its end, so nobody sees it.
        if let Ok(session) = serde_json::from_slice::<Session>(record.value()) {
            subjects.remove((session.subject.as_str(), id))?;
        }
    }
    for key in first_keys(&revocations, now, at_most)? {
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
