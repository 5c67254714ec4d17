//! The decision on a request.
//!
//! PURE.

mod identity;
mod reason;
mod reply;

pub use identity::{Identity, IdentityHeaders};
pub use reason::Reason;
pub use reply::Reply;
