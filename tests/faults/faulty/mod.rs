//! Faults, injected for real, under the eyes of steady clients. Shared by the short tests and the long bench.

pub mod book;
pub mod caller;
pub mod detour;
pub mod fault;
pub mod rig;
pub mod steady;
pub mod watch;
