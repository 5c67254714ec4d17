//! The `cli` room.

pub mod check;
