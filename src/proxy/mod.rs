//! The Pingora side: the only room that names it, together with the composition root and the admin listener.
//!
//! It carries requests to the decision and carries the decision out; it decides nothing itself.
//!
//! What must never happen in here: an upstream is reached without a [`crate::gate::Grant`]; something is forwarded that was
//! not judged; a head that a client sends slowly or without end holds more than its connection.

mod access;
mod addresses;
mod admit;
mod alarm;
mod app_session;
mod attempt;
mod body;
mod certificates;
mod compiled;
mod context;
mod edge;
mod facts;
mod failure;
mod fields;
mod forward;
mod frames;
mod judge;
mod live;
mod pace;
mod phases;
mod request_ids;
mod respond;
mod service;
mod shutdown;
mod streams;
mod table;
mod token_key;
mod trace;
mod undeclared;
pub mod upstream;
mod watch;
mod watched;
mod wire;

pub use addresses::{Addresses, Rate};
pub use app_session::KeptCookies;
pub use certificates::{Certificate, CertificateError, Certificates, load_certificate};
pub use compiled::{Compiled, Limits, RouteExtras};
pub use edge::Connections;
pub use facts::Verifier;
pub use live::Live;
pub use service::{Binding, Edge, Shared, proxy_service};
pub use shutdown::{Flying, InFlight, Signals};
