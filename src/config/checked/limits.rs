//! Bounds on what strangers may do.

use std::time::Duration;

/// Bounds on what clients may send and hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// `connections`: open client connections over all listeners. Default 10,000.
    pub connections: usize,
    /// `connections_per_address`: those of one address, but for trusted proxies. None: no bound. Default 1,000.
    pub connections_per_address: Option<u32>,
    /// `requests`: requests under way, of everybody. None: no bound. Default as many as `connections`.
    pub requests: Option<usize>,
    /// `requests_per_address`: how fast one address may ask. None: no bound. Default 1,000/s.
    pub requests_per_address: Option<Rate>,
    /// `streams`: requests at a time on an HTTP/2 connection. Default 100.
    pub streams: u32,
    /// `tls_timeout`: how long a client may take for a TLS handshake. Default 10 s.
    pub tls_timeout: Duration,
    /// `header_size`: bytes of request line and fields together. Default 32 KiB.
    pub header_size_bytes: usize,
    /// `header_count`: fields. Default 100.
    pub header_count: usize,
    /// `header_timeout`: how long a client may take to send them. Default 10 s.
    pub header_timeout: Duration,
    /// `body_size`: bytes of a request body. None: no bound, the default.
    pub body_size_bytes: Option<u64>,
    /// `body_timeout`: how long a client may pause within a body. Default 30 s.
    pub body_timeout: Duration,
    /// `body_rate`: bytes a second that it must send on average. None: no bound. Default 240.
    pub body_rate: Option<u64>,
    /// `keep_alive`: how long an idle client connection is kept. Default 60 s.
    pub keep_alive: Duration,
}

/// So many in a period, and as many at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In what time.
    pub period: Duration,
}
