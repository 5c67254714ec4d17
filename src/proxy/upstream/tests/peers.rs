//! What Pingora is told to connect to, and that certificates are verified.

use std::path::Path;

use pingora::connectors::http::Connector;
use pingora::protocols::tls::ALPN;
use pingora::tls::{ServerConfig, TlsAcceptor};
use pingora::upstreams::peer::{HttpPeer, Peer};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn tls(host: &str, port: u16) -> UpstreamSpec {
    UpstreamSpec { servers: vec![ServerSpec { host: host.to_owned(), port, tls: true }], ..spec(&[]) }
}

fn peer(spec: UpstreamSpec) -> HttpPeer {
    upstream(spec).open().unwrap().clone()
}

#[test]
fn every_timeout_is_set() {
    let read_timeout = Some(Duration::from_secs(7));
    let peer = peer(UpstreamSpec { read_timeout, ..spec(&[("10.0.0.1", 80)]) });
    let options = &peer.options;
    assert_eq!(options.connection_timeout, Some(Duration::from_secs(5)));
    assert_eq!(options.total_connection_timeout, Some(Duration::from_secs(5)));
    assert_eq!(options.read_timeout, read_timeout);
    assert_eq!(options.write_timeout, Some(Duration::from_secs(30)));
    assert_eq!(options.idle_timeout, Some(Duration::from_secs(60)));
    assert!(options.tcp_keepalive.is_some());
}

#[test]
fn a_certificate_is_always_verified_against_a_name() {
    for (host, server_name, expected) in
        [("10.0.0.1", None, "10.0.0.1"), ("[::1]", None, "::1"), ("10.0.0.1", Some("app.internal"), "app.internal")]
    {
        let peer = peer(UpstreamSpec { server_name: server_name.map(str::to_owned), ..tls(host, 443) });
        assert_eq!((peer.sni(), peer.tls()), (expected, true));
        assert!(peer.verify_cert() && peer.verify_hostname());
    }
}

#[test]
fn protocols_follow_the_specification() {
    let alpn = |spec: UpstreamSpec, http2| peer(UpstreamSpec { http2, ..spec }).options.alpn;
    assert_eq!(alpn(tls("10.0.0.1", 443), false), ALPN::H1);
    assert_eq!(alpn(tls("10.0.0.1", 443), true), ALPN::H2H1);
    assert_eq!(alpn(spec(&[("10.0.0.1", 80)]), false), ALPN::H1);
    assert_eq!(alpn(spec(&[("10.0.0.1", 80)]), true), ALPN::H2);
}

#[test]
fn connections_are_shared_only_where_trust_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("1.pem"), folder.path().join("2.pem"));
    std::fs::write(&one, Authority::new().pem).unwrap();
    std::fs::write(&two, Authority::new().pem).unwrap();
    let plain = tls("10.0.0.1", 443);
    let variants = [
        plain.clone(),
        UpstreamSpec { name: "other".to_owned(), ..plain.clone() },
        UpstreamSpec { ca_file: Some(one), ..plain.clone() },
        UpstreamSpec { ca_file: Some(two), ..plain.clone() },
        UpstreamSpec { http2: true, ..plain.clone() },
    ];
    let mut hashes: Vec<_> = variants.into_iter().map(|spec| peer(spec).reuse_hash()).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 5);
    assert_eq!(peer(plain.clone()).group_key, peer(plain).group_key, "a reload keeps its connections");
}

#[test]
fn a_ca_file_that_holds_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let said = |content: &str| {
        std::fs::write(&path, content).unwrap();
        let spec = UpstreamSpec { ca_file: Some(path.clone()), ..tls("10.0.0.1", 443) };
        Upstream::new(spec).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(said("").contains("holds no certificate"));
    assert!(said(&KeyPair::generate().unwrap().serialize_pem()).contains("holds no certificate"));
    assert!(said("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").contains("malformed"));
    assert_eq!(said(&Authority::new().pem), "");
}

#[test]
fn a_client_certificate_that_cannot_be_shown_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    pingora::tls::install_default_crypto_provider();
    let (certificate, key) = (folder.path().join("client.pem"), folder.path().join("client.key"));
    let own = KeyPair::generate().unwrap();
    let issued = CertificateParams::new(vec!["portcullis".to_owned()]).unwrap().self_signed(&own).unwrap().pem();
    let make = |chain: &str, private: &str| {
        std::fs::write(&certificate, chain).unwrap();
        std::fs::write(&key, private).unwrap();
        let files = ClientCertificate { certificate: certificate.clone(), key: key.clone() };
        Upstream::new(UpstreamSpec { client_certificate: Some(files), ..tls("10.0.0.1", 443) })
    };
    let said =
        |chain: &str, private: &str| make(chain, private).err().map(|error| error.to_string()).unwrap_or_default();
    let private = own.serialize_pem();
    assert!(said("", &private).contains("client.pem: it holds no certificate"));
    assert!(said("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &private).contains("malformed"));
    assert!(said(&issued, "").contains("client.key: it holds no private key"));
    assert!(said(&issued, &issued).contains("client.key: it holds no private key"));
    let other = said(&issued, &KeyPair::generate().unwrap().serialize_pem());
    assert!(other.contains("client.key: it does not fit the certificate"), "{other}");

    let shown = Arc::new(make(&issued, &private).unwrap());
    let (peer, plain) = (shown.open().unwrap().clone(), peer(tls("10.0.0.1", 443)));
    assert!(peer.client_cert_key.is_some());
    assert!(!format!("{peer:?}{peer}").contains(&private[30..60]));
    assert_ne!(peer.reuse_hash(), plain.reuse_hash(), "a connection says who we are");
}

/// An authority of a test's own.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

impl Authority {
    pub(super) fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// Serves `ok` over TLS with a certificate for `names`.
    async fn serve(&self, names: &[&str]) -> u16 {
        pingora::tls::install_default_crypto_provider();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names.iter().copied().map(str::to_owned).collect::<Vec<_>>()).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(socket).await else { continue };
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                let _ = stream.shutdown().await;
            }
        });
        port
    }
}

/// Asks the server that the specification names.
async fn ask(port: u16, server_name: Option<&str>, ca_file: Option<&Path>) -> Result<(), String> {
    let server_name = server_name.map(str::to_owned);
    let spec = UpstreamSpec { server_name, ca_file: ca_file.map(Path::to_owned), ..tls("127.0.0.1", port) };
    let connector = Connector::new(None);
    probe::get(&connector, &peer(spec), "app.internal", "/", Duration::from_secs(10)).await
}

#[tokio::test]
async fn only_the_right_name_from_the_right_authority_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours.pem"), folder.path().join("theirs.pem"));
    let authority = Authority::new();
    std::fs::write(&ours, &authority.pem).unwrap();
    std::fs::write(&theirs, Authority::new().pem).unwrap();

    let named = authority.serve(&["app.internal"]).await;
    assert_eq!(ask(named, Some("app.internal"), Some(&ours)).await, Ok(()));
    let wrong_name = ask(named, Some("other.internal"), Some(&ours)).await.unwrap_err();
    assert!(wrong_name.contains("NotValidForName") || wrong_name.contains("not valid for name"), "{wrong_name}");
    let wrong_address = ask(named, None, Some(&ours)).await.unwrap_err();
    assert!(
        wrong_address.contains("NotValidForName") || wrong_address.contains("not valid for name"),
        "{wrong_address}"
    );
    assert!(ask(named, Some("app.internal"), Some(&theirs)).await.is_err());
    assert!(ask(named, Some("app.internal"), None).await.is_err());

    let addressed = authority.serve(&["127.0.0.1"]).await;
    assert_eq!(ask(addressed, None, Some(&ours)).await, Ok(()));
}
