//! The limits on what strangers may do, as a label: each is called what its key in the configuration is called.

/// A limit that somebody ran into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// Open connections, of everybody.
    Connections,
    /// Open connections of one address.
    ConnectionsPerAddress,
    /// The time for a TLS handshake.
    TlsTimeout,
    /// Bytes of a head.
    HeaderSize,
    /// Fields of a head.
    HeaderCount,
    /// The time for a head, or until it is known which protocol is spoken.
    HeaderTimeout,
    /// Requests under way, of everybody.
    Requests,
    /// The rate of requests of one address.
    RequestsPerAddress,
    /// Bytes of a body.
    BodySize,
    /// A pause within a body, or within taking the answer's.
    BodyTimeout,
    /// The rate of a body.
    BodyRate,
    /// Streams of HTTP/2 that are reset by the client. It has no key.
    Resets,
}

impl Limit {
    /// All of them.
    pub const ALL: &[Limit] = &[
        Limit::Connections,
        Limit::ConnectionsPerAddress,
        Limit::TlsTimeout,
        Limit::HeaderSize,
        Limit::HeaderCount,
        Limit::HeaderTimeout,
        Limit::Requests,
        Limit::RequestsPerAddress,
        Limit::BodySize,
        Limit::BodyTimeout,
        Limit::BodyRate,
        Limit::Resets,
    ];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Limit::Connections => "connections",
            Limit::ConnectionsPerAddress => "connections_per_address",
            Limit::TlsTimeout => "tls_timeout",
            Limit::HeaderSize => "header_size",
            Limit::HeaderCount => "header_count",
            Limit::HeaderTimeout => "header_timeout",
            Limit::Requests => "requests",
            Limit::RequestsPerAddress => "requests_per_address",
            Limit::BodySize => "body_size",
            Limit::BodyTimeout => "body_timeout",
            Limit::BodyRate => "body_rate",
            Limit::Resets => "resets",
        }
    }
}
