//! What Pingora connects to: one place sets every timeout, every name and every certificate.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::TcpKeepalive;
use pingora::protocols::tls::{ALPN, CaType};
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::{WrappedX509, parse_x509};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::spec::{ServerSpec, UpstreamError, UpstreamSpec};

/// A vanished machine is noticed within about half a minute, also on a connection that only waits.
const KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(15),
    interval: Duration::from_secs(5),
    count: 3,
    // The system's own: a client that reads slowly may fill the buffers for long.
    #[cfg(target_os = "linux")]
    user_timeout: Duration::ZERO,
};
/// The same, for connections that carry HTTP/2.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(15);
/// Requests at once on an HTTP/2 connection: what most servers allow.
const HTTP2_STREAMS_MAX: usize = 100;

/// Makes the peers of one upstream.
pub(super) struct Peers {
    spec: Arc<UpstreamSpec>,
    ca: Option<Arc<CaType>>,
    group_key: u64,
}

impl Peers {
    pub(super) fn new(spec: Arc<UpstreamSpec>) -> Result<Peers, UpstreamError> {
        let certificates = match &spec.ca_file {
            None => Vec::new(),
            Some(path) => read_certificates(path).map_err(|why| UpstreamError::CaFile {
                upstream: spec.name.clone(),
                path: path.clone(),
                why,
            })?,
        };
        // Pingora keeps connections by address and name alone. The key adds what it leaves out, so that a connection is
        // never used by an upstream, or after a reload, that would not have trusted it.
        let mut hasher = DefaultHasher::new();
        (&spec.name, &spec.server_name, spec.http2, &certificates).hash(&mut hasher);
        let group_key = hasher.finish();
        let ca = match certificates.is_empty() {
            true => None,
            false => Some(wrap(certificates).ok_or_else(|| UpstreamError::CaFile {
                upstream: spec.name.clone(),
                path: spec.ca_file.clone().unwrap_or_default(),
                why: "a certificate in it is malformed".to_owned(),
            })?),
        };
        Ok(Peers { spec, ca, group_key })
    }

    /// Would they make the very same peers? Then nothing that is spoken over a connection differs either.
    pub(super) fn are_those_of(&self, other: &Peers) -> bool {
        // The key stands for what was read from files.
        self.spec == other.spec && self.group_key == other.group_key
    }

    /// The peer for one address of `server`.
    pub(super) fn peer(&self, server: &ServerSpec, address: SocketAddr) -> HttpPeer {
        let spec = &self.spec;
        let name = if server.tls { spec.certificate_name(server).to_owned() } else { String::new() };
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place: what it is given is an address, nothing is resolved"
        )]
        let mut peer = HttpPeer::new(address, server.tls, name);
        peer.group_key = self.group_key;
        let options = &mut peer.options;
        options.connection_timeout = Some(spec.connect_timeout);
        options.total_connection_timeout = Some(spec.connect_timeout);
        options.read_timeout = spec.read_timeout;
        options.write_timeout = Some(spec.write_timeout);
        options.idle_timeout = Some(spec.idle_timeout);
        options.tcp_keepalive = Some(KEEPALIVE);
        options.verify_cert = true;
        options.verify_hostname = true;
        options.ca = self.ca.clone();
        options.alpn = match (spec.http2, server.tls) {
            (false, _) => ALPN::H1,
            (true, true) => ALPN::H2H1,
            (true, false) => ALPN::H2,
        };
        if spec.http2 {
            options.max_h2_streams = HTTP2_STREAMS_MAX;
            options.h2_ping_interval = Some(HTTP2_PING_INTERVAL);
        }
        peer
    }
}

/// Reads certificates that can be trusted as roots, in DER.
fn read_certificates(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let read: Result<Vec<CertificateDer>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates = read.map_err(|error| format!("it cannot be read: {error}"))?;
    if certificates.is_empty() {
        return Err("it holds no certificate: it must be in PEM, with `-----BEGIN CERTIFICATE-----`".to_owned());
    }
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots.add(certificate.clone()).map_err(|error| format!("a certificate in it is malformed: {error}"))?;
    }
    Ok(certificates.iter().map(|certificate| certificate.to_vec()).collect())
}

/// As Pingora wants them. Its parser panics on what it cannot read, and it is not the parser that has read them before.
fn wrap(certificates: Vec<Vec<u8>>) -> Option<Arc<CaType>> {
    let wrapped = catch_unwind(|| -> Vec<WrappedX509> {
        certificates.into_iter().map(|der| WrappedX509::new(der, parse_x509)).collect()
    });
    wrapped.ok().map(Arc::from)
}
