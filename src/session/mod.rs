//! A session is one refresh-token family: everything that descends from one login.
//!
//! PURE. Time, entropy and keyed hashes are parameters; nothing here reads a clock, a file or a socket.
//! The rules live here once. Stores know only "read" and "compare and swap", so that no store can
//! have rules of its own.
//!
//! What must never happen in here: a session that has ended becomes live again; one presented token
//! yields two different successors.

mod id;
mod merge;
mod record;
mod revocations;
mod rotate;

pub use id::{PARTITIONS, ParseSessionIdError, SESSION_ID_TEXT_BYTES, SessionId};
pub use merge::merge;
pub use record::{ClientMark, EndReason, Ending, KeyId, Rotation, Session, ToldAtLogin};
pub use revocations::RevocationList;
pub use rotate::{Attempt, GRACE_MAX, LateRetry, Outcome, Refusal, RotationPolicy, rotate};

#[cfg(test)]
mod tests;
