//! The contract's rotation table row by row, the laws of merging, and rotation under any interleaving.

mod interleaving;
mod lattice;
mod table;

use std::time::Duration;

use super::{ClientMark, KeyId, Rotation, Session, SessionId};
use crate::time::Timestamp;

const START: Timestamp = Timestamp::from_secs(1_700_000_000);
const GRACE: Duration = Duration::from_secs(30);
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// The session as it begins.
fn fresh() -> Session {
    let id = SessionId::new("demo", [7; 15]);
    Session::begin(id, "demo", START, START.plus(LIFETIME), KeyId::from("key 0"))
}

/// The session at a generation that `client` made at the start.
fn rotated(generation: u32, client: u8) -> Session {
    let rotation = Some(Rotation { at: START, client: ClientMark([client; 16]) });
    Session { generation, rotation, ..fresh() }
}
