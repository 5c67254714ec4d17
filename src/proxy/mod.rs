//! The Pingora side: the only room that names it, together with the composition root and the admin listener.
//!
//! It carries requests to the decision and carries the decision out; it decides nothing itself.
//!
//! What must never happen in here: an upstream is reached without a [`crate::gate::Grant`]; something is forwarded that was
//! not judged; a head that a client sends slowly or without end holds more than its connection.

mod access;
mod app_session;
mod attempt;
mod body;
mod certificates;
mod compiled;
mod context;
mod edge;
mod facts;
mod failure;
mod forward;
mod head;
mod live;
mod phases;
mod respond;
mod service;
mod shutdown;
mod streams;
mod trace;
pub mod upstream;
mod watched;
mod wire;

pub use app_session::KeptCookies;
pub use certificates::{Certificate, CertificateError, Certificates, load_certificate};
pub use compiled::{Compiled, Limits, RouteExtras};
pub use edge::Connections;
pub use facts::Verifier;
pub use live::Live;
pub use service::{Binding, ConnectionLimits, Shared, proxy_service};
pub use shutdown::{Flying, InFlight, Signals};
