//! The `keys` room.
