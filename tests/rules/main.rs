//! The rules of the house, held against the sources: which room may import which, where each outside crate lives, what
//! pure rooms must not name, how long a file may be, and what the image is built from.

mod architecture;
mod decisions;
mod image;
mod routes;
mod source;
