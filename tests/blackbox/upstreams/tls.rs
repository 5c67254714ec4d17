//! Servers that speak TLS: who they are is always checked, and who we are can be shown.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pingora::tls::{ServerConfig, TlsAcceptor};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::told;
use crate::harness::{Portcullis, eventually};

/// An authority and what it has signed, in files.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    name: &'static str,
    folder: PathBuf,
}

/// A certificate and its key.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

impl Authority {
    fn new(name: &'static str, folder: &Path) -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        write(&folder.join(format!("{name}-ca.pem")), &certificate.pem());
        Authority { issuer: Issuer::new(params, key), name, folder: folder.to_owned() }
    }

    fn ca(&self) -> PathBuf {
        self.folder.join(format!("{}-ca.pem", self.name))
    }

    fn signs(&self, subject: &str, not_after_year: i32) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![subject.to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(not_after_year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let file = |kind| self.folder.join(format!("{}-{subject}-{not_after_year}.{kind}", self.name));
        let pair = Pair { certificate: file("pem"), key: file("key") };
        write(&pair.certificate, &certificate.pem());
        write(&pair.key, &key.serialize_pem());
        pair
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file is written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a file is made private");
}

/// A server that shows `pair` and, if `clients` is given, talks only to whom that authority vouches for.
async fn serve(pair: &Pair, clients: Option<&Authority>) -> u16 {
    pingora::tls::install_default_crypto_provider();
    let builder = match clients {
        None => ServerConfig::builder().with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(authority.ca()).expect("a certificate")).expect("a root");
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().expect("a verifier");
            ServerConfig::builder().with_client_cert_verifier(verifier)
        }
    };
    let chain = vec![CertificateDer::from_pem_file(&pair.certificate).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(&pair.key).expect("a key");
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).expect("they belong together")));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(socket).await else { return };
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                let _ = stream.shutdown().await;
            });
        }
    });
    port
}

#[tokio::test]
async fn who_is_not_who_it_should_be_is_not_spoken_to_and_who_asks_is_shown_who_we_are() {
    let folder = TempDir::new().expect("a temporary folder");
    let (ours, theirs) = (Authority::new("ours", folder.path()), Authority::new("theirs", folder.path()));
    let (good, expired) = (ours.signs("app.internal", 2100), ours.signs("app.internal", 2001));
    let (client, stranger) = (ours.signs("portcullis", 2100), theirs.signs("portcullis", 2100));
    let (open, past, asking) = (serve(&good, None).await, serve(&expired, None).await, serve(&good, Some(&ours)).await);
    let shown = |pair: &Pair| format!(", certificate: {}, key: {}", pair.certificate.display(), pair.key.display());
    let trusts =
        |authority: &Authority, name: &str| format!("ca_file: {}, server_name: {name}", authority.ca().display());
    let right = trusts(&ours, "app.internal");
    let cases = [
        ("right", open, right.clone(), 200),
        ("an authority that we do not trust", open, trusts(&theirs, "app.internal"), 502),
        ("the system's authorities", open, "server_name: app.internal".to_owned(), 502),
        ("another name", open, trusts(&ours, "other.internal"), 502),
        ("expired", past, right.clone(), 502),
        ("we show ours", asking, right.clone() + &shown(&client), 200),
        ("we show nothing", asking, right.clone(), 502),
        ("we show one that they do not trust", asking, right.clone() + &shown(&stranger), 502),
        ("nobody asks for ours", open, right + &shown(&client), 200),
    ];
    // One process: connections of one upstream are of no use to another.
    let (mut upstreams, mut routes) = (String::new(), String::new());
    for (number, (_, port, tls, _)) in cases.iter().enumerate() {
        upstreams += &format!("  u{number}: {{ servers: [\"https://127.0.0.1:{port}\"], tls: {{ {tls} }} }}\n");
        routes += &format!("  - {{ name: r{number}, host: u{number}.example, upstream: u{number}, auth: public }}\n");
    }
    let gate = Portcullis::start(&format!("upstreams:\n{upstreams}routes:\n{routes}")).await;
    for round in 0..2 {
        for (number, (what, _, _, status)) in cases.iter().enumerate() {
            let request = crate::harness::client().get(gate.url("/")).header("Host", format!("u{number}.example"));
            let answer = crate::harness::Answer::to(request).await;
            assert_eq!(answer.status, *status, "{what}, round {round}: {answer:?}\n{}", gate.log());
            if *status == 502 {
                assert_eq!(told(&answer), (502, "upstream_failed".to_owned()), "{what}");
            }
        }
    }
    // A server that is not who it should be stays out, though it takes connections.
    let up =
        async |number: usize| gate.metrics().await.sum("portcullis_upstream_up", &[&format!("upstream=\"u{number}\"")]);
    eventually("it is known who is who", async || {
        (up(0).await == Some(1.0) && up(1).await == Some(0.0) && up(4).await == Some(0.0)).then_some(())
    })
    .await;
    let noticed = || gate.log().lines().filter(|line| line.contains("no connections") && line.contains("u1")).count();
    eventually("it is told", async || (noticed() > 0).then_some(())).await;
    assert_eq!(noticed(), 1, "{}", gate.log());
    assert!(!gate.log().contains("PRIVATE"), "{}", gate.log());
}
