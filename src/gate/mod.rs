//! The decision on a request.
//!
//! PURE.

mod endpoint;
mod identity;
mod reason;
mod reply;

pub use endpoint::Endpoint;
pub use identity::{Identity, IdentityHeaders};
pub use reason::Reason;
pub use reply::Reply;
