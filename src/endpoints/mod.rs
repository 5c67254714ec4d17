//! The `endpoints` room.
