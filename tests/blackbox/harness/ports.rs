//! Ports for processes that cannot take port 0.
//!
//! They lie below the range from which the kernel picks ports of outgoing connections, and none is given out
//! twice, so that tests side by side do not meet.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

static NEXT: AtomicU16 = AtomicU16::new(0);
const FIRST: u16 = 12_000;
const COUNT: u16 = 19_000;

/// A port on 127.0.0.1 where nobody listens.
pub fn free_port() -> u16 {
    // Far apart for processes that were started one after the other.
    let start = (std::process::id().wrapping_mul(4_001) % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + ((u32::from(start) + u32::from(offset)) % u32::from(COUNT)) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}
