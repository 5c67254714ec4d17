//! The `proxy` room.
