//! The gate: whether a request may pass, and where to.
//!
//! PURE. The head of a request, the compiled policy and a few facts go in, a decision comes out. Nothing here knows
//! Pingora, a socket or a clock, so the whole decision is tested as data (`tests/cases/decisions`), and whoever else needs
//! it asks the same function.
//!
//! What must never happen in here: a second way to a [`Grant`]; a reading of a request that a backend does not share.

mod cookies;
mod credentials;
mod decide;
mod endpoint;
mod forwarded;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod head;
mod host;
mod identity;
mod identity_headers;
mod known;
mod origin;
mod path;
mod policy;
mod reason;
mod reply;
mod rights;
mod route;
mod ticket;
mod who;

pub use cookies::{CookieCredentials, LoginPage, RETURN_TO_BYTES_MAX, cookie, is_navigation};
pub use credentials::{Bearer, bearer};
pub use decide::{Decision, Denial, Facts, Grant, Instead, Knowledge, Question, Service, decide};
pub use endpoint::Endpoint;
pub use forwarded::{Client, client};
pub use head::{RawHead, RequestHead, Scheme};
pub use identity::{Identity, IdentityHeaders, Remembered};
pub use identity_headers::{IdentityHeaderNames, IdentityHeaderSpellings};
pub use known::{Known, KnownFields, KnownNames};
pub use origin::{CORS_HEADERS, Cors, CorsAnswer, Origins, Sender};
pub use path::{Ambiguous, Path, Reading};
pub use policy::{EndpointTable, Policy, WhenStale};
pub use reason::Reason;
pub use reply::Reply;
pub use rights::Rights;
pub use route::{Auth, Credentials, DuplicateRoute, HostPattern, Match, PathPattern, Route, RouteTable};
pub use ticket::ticket;
pub use who::may_go_on;
