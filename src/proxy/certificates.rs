//! The certificates of a listener: read from files, chosen by the name that a client asks for, replaced while running.
//!
//! A handshake that is under way goes on with the certificate that it began with.
//!
//! What must never happen in here: a handshake waits for a file; a key is shown with a certificate that it does not belong to.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::time::Timestamp;

/// A certificate that can be shown to clients.
#[derive(Clone, Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    /// The DNS names that it is for (RFC 5280 section 4.2.1.6), in lower case.
    names: Vec<String>,
    /// When it runs out (RFC 5280 section 4.1.2.5).
    pub not_after: Timestamp,
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
    let (names, not_after) = chain.first().map(said_by).unwrap_or_default();
    let file = || key.display().to_string();
    let key = PrivateKeyDer::from_pem_file(key).map_err(|source| CertificateError::Key { file: file(), source })?;
    let certified = CertifiedKey::from_der(chain, key, &default_provider());
    let key = certified.map_err(|source| CertificateError::Pair { file: file(), source })?;
    Ok(Certificate { key: Arc::new(key), names, not_after: Timestamp::from_secs(not_after) })
}

/// The names that a certificate is for, and when it runs out, in seconds since the epoch.
fn said_by(certificate: &CertificateDer<'_>) -> (Vec<String>, u64) {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Default::default() };
    let names = certificate.subject_alternative_name().ok().flatten().map(|extension| {
        let names = extension.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        names.collect()
    });
    let not_after = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or_default();
    (names.unwrap_or_default(), not_after)
}

/// The certificates of one listener, of which each handshake gets one.
#[derive(Debug)]
pub struct Certificates(ArcSwap<Choice>);

impl Certificates {
    /// These, in the order in which they are configured: the first is for whoever asks for none of their names.
    pub fn new(certificates: &[Certificate]) -> Certificates {
        Certificates(ArcSwap::from_pointee(Choice::of(certificates)))
    }

    /// These from now on.
    pub fn replace(&self, certificates: &[Certificate]) {
        self.0.store(Arc::new(Choice::of(certificates)));
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().choose(client.server_name(), client.signature_schemes())
    }
}

/// What is chosen from.
#[derive(Debug)]
struct Choice {
    all: Vec<Arc<CertifiedKey>>,
    /// By name, or by what follows the `*` of a wildcard, with its dot. In the order of the configuration: one name can have
    /// certificates of several kinds.
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl Choice {
    fn of(certificates: &[Certificate]) -> Choice {
        let mut by_name: HashMap<String, Vec<_>> = HashMap::new();
        for certificate in certificates {
            for name in &certificate.names {
                let name = name.strip_prefix('*').unwrap_or(name);
                by_name.entry(name.to_owned()).or_default().push(Arc::clone(&certificate.key));
            }
        }
        Choice { all: certificates.iter().map(|certificate| Arc::clone(&certificate.key)).collect(), by_name }
    }

    /// For a name, an exact one before a wildcard (one label, RFC 9525 section 6.3); among several the first that the client can
    /// verify.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let name = name.map(str::to_ascii_lowercase);
        let exact = name.as_ref().and_then(|name| self.by_name.get(name));
        let wildcard = || {
            let name = name.as_ref()?;
            self.by_name.get(&name[name.find('.').filter(|at| *at > 0)?..])
        };
        let named = exact.or_else(wildcard).unwrap_or(&self.all);
        named.iter().find(|key| key.key.choose_scheme(schemes).is_some()).or(named.first()).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests;
