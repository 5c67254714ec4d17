//! The public listeners.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::apps::HttpServerOptions;
use pingora::listeners::tls::TlsSettings;
use pingora::protocols::ALPN;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::compiled::Compiled;
use super::edge::{Connections, Requests};
use super::live::Live;
use super::phases::Phases;
use super::shutdown::InFlight;
use crate::telemetry::Metrics;
use crate::time::Timestamp;

/// One address to listen on.
#[derive(Clone)]
pub struct Binding {
    /// The address.
    pub address: SocketAddr,
    /// The certificate and its key; none for plain http.
    pub certificate: Option<Certificate>,
    /// Plain http: HTTP/2 with prior knowledge is taken too.
    pub h2c: bool,
}

/// A certificate that can be shown to clients.
#[derive(Clone, Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    /// When it runs out (RFC 5280 section 4.1.2.5).
    pub not_after: Timestamp,
}

/// What bounds connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Open connections.
    pub open_max: usize,
    /// How long a client may take for a head.
    pub header_timeout: Duration,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
}

/// A certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file with the certificates.
    #[error(
        "{file}: no certificate can be read: {source}; it must hold the chain in PEM, the server's own certificate first"
    )]
    Certificate {
        /// Its name.
        file: String,
        /// What the reader says.
        source: rustls::pki_types::pem::Error,
    },
    /// The file with the key.
    #[error("{file}: no private key can be read: {source}; it must hold the certificate's key in PEM")]
    Key {
        /// Its name.
        file: String,
        /// What the reader says.
        source: rustls::pki_types::pem::Error,
    },
    /// They do not fit together, or are of a kind that is not supported.
    #[error("{file}: the private key cannot be used with the certificate: {source}")]
    Pair {
        /// The name of the key's file.
        file: String,
        /// What the TLS library says.
        source: rustls::Error,
    },
}

/// Reads a certificate chain and its key, and checks that they belong together.
pub fn load_certificate(certificate: &Path, key: &Path) -> Result<Certificate, CertificateError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain
        .and_then(|chain| if chain.is_empty() { Err(rustls::pki_types::pem::Error::NoItemsFound) } else { Ok(chain) });
    let chain =
        chain.map_err(|source| CertificateError::Certificate { file: certificate.display().to_string(), source })?;
    let not_after = chain
        .first()
        .and_then(|first| X509Certificate::from_der(first).ok())
        .map_or(0, |(_, certificate)| u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or_default());
    let file = || key.display().to_string();
    let key = PrivateKeyDer::from_pem_file(key).map_err(|source| CertificateError::Key { file: file(), source })?;
    let certified = CertifiedKey::from_der(chain, key, &default_provider());
    let key = certified.map_err(|source| CertificateError::Pair { file: file(), source })?;
    Ok(Certificate { key: Arc::new(key), not_after: Timestamp::from_secs(not_after) })
}

/// What all public listeners share.
pub struct Shared {
    /// The configuration that requests begin with from now on.
    pub current: Arc<ArcSwap<Compiled>>,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// The requests under way.
    pub in_flight: InFlight,
    /// Those of them that end with their session.
    pub live: Arc<Live>,
    /// Names this process in request ids.
    pub process: u64,
}

/// The service that answers on all `bindings`, which must agree on `h2c`.
pub fn proxy_service(
    conf: &Arc<ServerConf>,
    shared: &Shared,
    bindings: &[Binding],
    limits: ConnectionLimits,
) -> pingora::Result<Service<Connections>> {
    let mut proxy = http_proxy(conf, Phases::new(shared));
    let mut options = HttpServerOptions::default();
    options.h2c = bindings.iter().any(|binding| binding.h2c);
    options.h2_idle_timeout = Some(limits.keep_alive);
    proxy.server_options = Some(options);

    let requests = Requests {
        proxy: Arc::new(proxy),
        header_timeout: limits.header_timeout,
        keep_alive: limits.keep_alive,
        metrics: Arc::clone(&shared.metrics),
    };
    let connections = Connections {
        requests: Arc::new(requests),
        metrics: Arc::clone(&shared.metrics),
        open: AtomicUsize::new(0),
        open_max: limits.open_max,
    };
    let mut service = Service::new("proxy".to_owned(), connections);
    for binding in bindings {
        let address = binding.address.to_string();
        match &binding.certificate {
            None => service.add_tcp(&address),
            Some(certificate) => {
                let resolver = SingleCertAndKey::from(Arc::clone(&certificate.key));
                let mut settings = TlsSettings::intermediate("", "")?;
                settings.set_cert_resolver(Arc::new(resolver));
                settings.set_alpn(ALPN::H2H1);
                service.add_tls_with_settings(&address, None, settings);
            }
        }
    }
    Ok(service)
}
