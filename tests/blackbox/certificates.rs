//! Certificates: the client's name chooses, and a renewal needs no restart.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use reqwest::Client;

use crate::harness::{EchoBackend, Portcullis, eventually};

/// A certificate in two files, and whom clients have to trust for it.
struct Pair {
    folder: PathBuf,
    name: &'static str,
    authority: reqwest::Certificate,
}

impl Pair {
    fn make(folder: &Path, name: &'static str, hosts: &[&str]) -> Pair {
        Pair::make_until(folder, name, hosts, 4000)
    }

    fn make_until(folder: &Path, name: &'static str, hosts: &[&str], year: i32) -> Pair {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut params = rcgen::CertificateParams::new(hosts).expect("names");
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("a certificate");
        write(&folder.join(format!("{name}.pem")), &made.pem(), 0o644);
        write(&folder.join(format!("{name}.key")), &key.serialize_pem(), 0o600);
        let authority = reqwest::Certificate::from_pem(made.pem().as_bytes()).expect("a certificate");
        Pair { folder: folder.to_owned(), name, authority }
    }

    fn yaml(&self) -> String {
        let path = |ending: &str| self.folder.join(format!("{}.{ending}", self.name)).display().to_string();
        format!("{{ certificate: {}, key: {} }}", path("pem"), path("key"))
    }

    /// A client that trusts this one alone, with connections of its own.
    fn client(&self, hosts: &[&str], at: SocketAddr) -> Client {
        let builder = Client::builder().no_proxy().tls_certs_only([self.authority.clone()]);
        let builder = hosts.iter().fold(builder, |builder, host| builder.resolve(host, at));
        builder.build().expect("a client")
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    let beside = path.with_extension("next");
    std::fs::write(&beside, text).expect("it is written");
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(mode)).expect("its mode is set");
    std::fs::rename(beside, path).expect("it is put in its place");
}

/// Whether a client that trusts this certificate alone is answered at this host.
async fn is_shown(pair: &Pair, host: &str, at: SocketAddr) -> bool {
    let answer = pair.client(&[host], at).get(format!("https://{host}:{}/", at.port())).send().await;
    answer.is_ok_and(|answer| answer.status() == 200)
}

async fn start(app: &EchoBackend, tls: &str) -> Portcullis {
    let listen = format!("listen:\n  - {{ address: \"{{listen}}\", tls: {tls} }}\n");
    let routes = "routes: [{ name: app, upstream: app, auth: public }]\n";
    Portcullis::start(&format!("{listen}upstreams: {{ app: {{ servers: [\"{}\"] }} }}\n{routes}", app.url())).await
}

async fn not_after(gate: &Portcullis, pair: &Pair) -> Option<f64> {
    let label = format!("{}.pem\"", pair.name);
    gate.metrics().await.sum("portcullis_tls_certificate_not_after_timestamp_seconds", &[&label])
}

#[tokio::test]
async fn the_name_that_a_client_asks_for_chooses() {
    let (app, folder) = (EchoBackend::start().await, tempfile::TempDir::new().expect("a temporary folder"));
    let main = Pair::make(folder.path(), "main", &["main.test", "other.test"]);
    let shops = Pair::make(folder.path(), "shops", &["*.shops.test", "other.test"]);
    let gate = start(&app, &format!("[{}, {}]", main.yaml(), shops.yaml())).await;
    for (host, ours, not) in [
        ("main.test", &main, &shops),
        ("a.shops.test", &shops, &main),
        // Both are for it: the first comes first.
        ("other.test", &main, &shops),
    ] {
        assert!(is_shown(ours, host, gate.listen).await, "{host}");
        assert!(!is_shown(not, host, gate.listen).await, "{host}");
    }
    for pair in [&main, &shops] {
        assert!(not_after(&gate, pair).await.is_some_and(|at| at > 6e10), "{}", pair.name);
    }
}

#[tokio::test]
async fn a_renewal_is_shown_to_new_connections_and_old_ones_go_on() {
    let (app, folder) = (EchoBackend::start().await, tempfile::TempDir::new().expect("a temporary folder"));
    let old = Pair::make(folder.path(), "main", &["main.test"]);
    let gate = start(&app, &old.yaml()).await;
    let url = format!("https://main.test:{}/", gate.listen.port());
    let kept = old.client(&["main.test"], gate.listen);
    let asks = async || kept.get(&url).send().await.expect("the connection stays").status().as_u16();
    assert_eq!(asks().await, 200);

    // Only the certificate, as when a tool has written the first of two files: they do not fit, and the old ones stay.
    let elsewhere = tempfile::TempDir::new().expect("a temporary folder");
    let new = Pair::make(elsewhere.path(), "main", &["main.test"]);
    let read = |ending: &str| std::fs::read_to_string(elsewhere.path().join(format!("main.{ending}"))).expect("text");
    write(&folder.path().join("main.pem"), &read("pem"), 0o644);
    eventually("it is told", async || gate.log().contains("cannot be used with the certificate").then_some(())).await;
    assert_eq!(gate.metrics().await.sum("portcullis_config_last_reload_successful", &[]), Some(0.0));
    assert!(is_shown(&old, "main.test", gate.listen).await);
    write(&folder.path().join("main.key"), &read("key"), 0o600);
    eventually("it is shown", async || is_shown(&new, "main.test", gate.listen).await.then_some(())).await;
    assert!(!is_shown(&old, "main.test", gate.listen).await);
    assert_eq!(asks().await, 200);

    // By the configuration: one more for the listener, which has expired, and one gone from the metric.
    let expired = Pair::make_until(elsewhere.path(), "gone", &["gone.test"], 2020);
    let path = gate.folder().join("proxy.yaml");
    let text = std::fs::read_to_string(&path).expect("the configuration is there");
    let elsewhere_yaml = new.yaml();
    write(&path, &text.replace(&old.yaml(), &format!("[{elsewhere_yaml}, {}]", expired.yaml())), 0o644);
    eventually("it is warned of", async || gate.log().contains("the certificate has expired").then_some(())).await;
    assert!(is_shown(&new, "main.test", gate.listen).await);
    assert!(not_after(&gate, &expired).await.is_some_and(|at| at < 1.6e9));
    let text = gate.metrics().await.text;
    assert!(!text.contains(&format!("{}/main.pem", folder.path().display())), "{text}");
    assert_eq!(asks().await, 200);
}
