//! The `cli` room.
pub mod keys;
