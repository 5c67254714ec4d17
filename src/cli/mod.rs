//! The `cli` room.

pub mod user;
