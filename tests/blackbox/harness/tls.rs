//! A certificate of a test's own, in files as an operator has them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rcgen::{CertifiedKey, KeyPair};
use tempfile::TempDir;

/// A self-signed certificate and its key.
#[allow(dead_code, reason = "not every target speaks TLS")]
pub struct SelfSigned {
    /// As it was made.
    pub made: CertifiedKey<KeyPair>,
    /// PEM.
    pub certificate: PathBuf,
    /// PEM, readable by us alone.
    pub key: PathBuf,
    _folder: TempDir,
}

#[allow(dead_code, reason = "not every target speaks TLS")]
impl SelfSigned {
    /// For this name.
    pub fn of(name: &str) -> SelfSigned {
        let folder = TempDir::new().expect("a temporary folder");
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).expect("the certificate is written");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("the key is written");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("only we can read it");
        SelfSigned { made, certificate, key, _folder: folder }
    }
}
