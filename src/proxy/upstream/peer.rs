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
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::spec::{ClientCertificate, ServerSpec, UpstreamError, UpstreamSpec};

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
    own: Option<Arc<CertKey>>,
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
        let own = match &spec.client_certificate {
            None => None,
            Some(files) => Some(read_own(files).map_err(|(path, why)| UpstreamError::ClientCertificate {
                upstream: spec.name.clone(),
                path: path.to_owned(),
                why,
            })?),
        };
        // Pingora keeps connections by address and name alone. The key adds what it leaves out, so that a connection is
        // never used by an upstream, or after a reload, that would not have trusted it.
        let mut hasher = DefaultHasher::new();
        (&spec.name, &spec.server_name, spec.http2, &certificates, &own).hash(&mut hasher);
        let group_key = hasher.finish();
        let ca = match certificates.is_empty() {
            true => None,
            false => Some(wrap(certificates).ok_or_else(|| UpstreamError::CaFile {
                upstream: spec.name.clone(),
                path: spec.ca_file.clone().unwrap_or_default(),
                why: "a certificate in it is malformed".to_owned(),
            })?),
        };
        let own = match (own, &spec.client_certificate) {
            (Some((chain, key)), Some(files)) => {
                Some(wrap_own(chain, key).ok_or_else(|| malformed(&spec.name, files))?)
            }
            _ => None,
        };
        Ok(Peers { spec, ca, own, group_key })
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
        peer.client_cert_key.clone_from(&self.own);
        let options = &mut peer.options;
        options.connection_timeout = Some(spec.connect_timeout);
        options.total_connection_timeout = Some(spec.connect_timeout);
        options.read_timeout = spec.read_timeout;
        options.write_timeout = Some(spec.write_timeout);
        options.idle_timeout = spec.idle_timeout;
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

/// A chain with the leaf first, and its key, in DER.
type Own = (Vec<Vec<u8>>, Vec<u8>);

/// Reads our certificate and its key, and makes sure that they belong together.
fn read_own(files: &ClientCertificate) -> Result<Own, (&Path, String)> {
    let (certificate, key) = (files.certificate.as_path(), files.key.as_path());
    let chain = read_certificates(certificate).map_err(|why| (certificate, why))?;
    let read = PrivateKeyDer::from_pem_file(key);
    let private = read.map_err(|error| (key, format!("it holds no private key in PEM that can be read: {error}")))?;
    let der = private.secret_der().to_vec();
    // Pingora tells the kind of a key by its bytes, and panics if it cannot.
    if PrivateKeyDer::try_from(der.as_slice()).is_err() {
        return Err((key, "it holds a private key of a kind that is not known; write one in PKCS#8".to_owned()));
    }
    let certificates = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    // TLS 1.2 at least, as for the connections themselves.
    ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(certificates, private)
        .map_err(|error| (key, format!("it does not fit the certificate: {error}")))?;
    Ok((chain, der))
}

fn malformed(upstream: &str, files: &ClientCertificate) -> UpstreamError {
    UpstreamError::ClientCertificate {
        upstream: upstream.to_owned(),
        path: files.certificate.clone(),
        why: "a certificate in it is malformed".to_owned(),
    }
}

/// As Pingora wants them. It panics on what it cannot read, as above.
fn wrap_own(chain: Vec<Vec<u8>>, key: Vec<u8>) -> Option<Arc<CertKey>> {
    catch_unwind(|| CertKey::new(chain, key)).ok().map(Arc::new)
}
