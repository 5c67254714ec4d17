//! The rules of the house, held against the sources: which room may import which, where each outside crate lives, what
//! pure rooms must not name, and how long a file may be.

mod architecture;
mod decisions;
mod routes;
mod source;
