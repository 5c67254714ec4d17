//! Which certificate a client is shown.

use std::fs;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};

use super::*;

const ALL: [SignatureScheme; 2] = [SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519];

/// A certificate for these names.
fn certificate(names: &[&str], algorithm: &'static SignatureAlgorithm) -> Certificate {
    let folder = tempfile::tempdir().unwrap();
    let (pem, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let pair = KeyPair::generate_for(algorithm).unwrap();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let made = CertificateParams::new(names).unwrap().self_signed(&pair).unwrap();
    fs::write(&pem, made.pem()).unwrap();
    fs::write(&key, pair.serialize_pem()).unwrap();
    load_certificate(&pem, &key).unwrap()
}

/// The number of the certificate that is shown to whoever asks for this name.
fn chosen(certificates: &[Certificate], name: Option<&str>, schemes: &[SignatureScheme]) -> Option<usize> {
    let key = Choice::of(certificates).choose(name, schemes)?;
    certificates.iter().position(|certificate| Arc::ptr_eq(&certificate.key, &key))
}

#[test]
fn the_name_decides_and_the_first_is_for_everybody_else() {
    let certificates = [
        certificate(&["Main.example.com", "192.0.2.1"], &PKCS_ED25519),
        certificate(&["*.example.com", "example.com"], &PKCS_ED25519),
        certificate(&["shop.example.com", "*.shop.example.com"], &PKCS_ED25519),
    ];
    for (name, number) in [
        ("main.example.com", 0),
        ("MAIN.example.com", 0),
        // An exact name comes before a wildcard, whatever the order.
        ("shop.example.com", 2),
        ("a.shop.example.com", 2),
        ("other.example.com", 1),
        ("example.com", 1),
        // A wildcard is for one label.
        ("a.b.example.com", 0),
        ("a.b.shop.example.com", 0),
        ("example.org", 0),
        ("com", 0),
        ("", 0),
    ] {
        assert_eq!(chosen(&certificates, Some(name), &ALL), Some(number), "{name}");
    }
    assert_eq!(chosen(&certificates, None, &ALL), Some(0));
    assert_eq!(chosen(&[], Some("a"), &ALL), None);
}

#[test]
fn among_certificates_for_one_name_the_client_gets_one_that_it_can_verify() {
    let both = [certificate(&["a.example"], &PKCS_ED25519), certificate(&["a.example"], &PKCS_ECDSA_P256_SHA256)];
    for name in [Some("a.example"), None] {
        assert_eq!(chosen(&both, name, &ALL), Some(0));
        assert_eq!(chosen(&both, name, &ALL[..1]), Some(1));
        // Nobody can help this one: the handshake says so.
        assert_eq!(chosen(&both, name, &[SignatureScheme::RSA_PSS_SHA256]), Some(0));
    }
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (pem, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    fs::write(&pem, made.cert.pem()).unwrap();
    fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let error = load_certificate(&pem, &key).unwrap_err().to_string();
    assert!(error.contains("key.pem: the private key cannot be used with the certificate"), "{error}");
    fs::write(&pem, "").unwrap();
    let error = load_certificate(&pem, &key).unwrap_err().to_string();
    assert!(error.contains("cert.pem: no certificate can be read"), "{error}");
}
