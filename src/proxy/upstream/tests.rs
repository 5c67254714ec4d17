//! Upstreams against real sockets.

mod choice;
mod ejection;
mod health;
mod peers;
mod renewal;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::*;

/// An upstream named `app` with these servers over plain HTTP, and limits that no test runs into.
fn spec(servers: &[(&str, u16)]) -> UpstreamSpec {
    let server = |(host, port): &(&str, u16)| ServerSpec { host: (*host).to_owned(), port: *port, tls: false };
    UpstreamSpec {
        name: "app".to_owned(),
        servers: servers.iter().map(server).collect(),
        balance: Balance::RoundRobin,
        health_check: None,
        ejection: None,
        retries: 1,
        requests_max: None,
        connect_timeout: Duration::from_secs(5),
        read_timeout: None,
        write_timeout: Duration::from_secs(30),
        idle_timeout: Some(Duration::from_secs(60)),
        server_name: None,
        ca_file: None,
        client_certificate: None,
        http2: false,
    }
}

fn upstream(spec: UpstreamSpec) -> Arc<Upstream> {
    Arc::new(Upstream::new(spec).unwrap())
}

const THREE: &[(&str, u16)] = &[("10.0.0.1", 80), ("10.0.0.2", 80), ("::1", 80)];

fn address(picked: &Picked) -> SocketAddr {
    picked.endpoint.address
}

/// Health checks of this server fail until it is down.
fn take_down(upstream: &Arc<Upstream>, place: usize) {
    let endpoint = Arc::clone(&upstream.endpoints.load()[place]);
    while !endpoint.check_failed() {}
}

/// How often each address is picked in this many turns.
fn picks(upstream: &Arc<Upstream>, turns: usize) -> BTreeMap<String, usize> {
    let mut picks = BTreeMap::new();
    for _ in 0..turns {
        *picks.entry(address(&upstream.open().unwrap()).to_string()).or_default() += 1;
    }
    picks
}

#[tokio::test]
async fn a_name_is_resolved_beside_the_requests() {
    let upstream = upstream(spec(&[("localhost", 8080)]));
    assert!(upstream.open().is_err());
    upstream.resolve().await;
    let address = address(&upstream.open().unwrap());
    assert!(address.ip().is_loopback() && address.port() == 8080, "{address}");
}

#[tokio::test]
async fn a_name_that_resolves_no_more_keeps_its_addresses_and_what_is_known_of_them() {
    let upstream = upstream(spec(&[("portcullis.invalid", 80)]));
    upstream.resolve().await;
    assert!(upstream.open().is_err());
    let last_good: Vec<(usize, SocketAddr)> =
        vec![(0, "10.0.0.1:80".parse().unwrap()), (0, "10.0.0.2:80".parse().unwrap())];
    upstream.use_addresses(&last_good);
    upstream.open().unwrap().connect_failed();
    upstream.resolve().await;
    assert_eq!(picks(&upstream, 2), BTreeMap::from([("10.0.0.2:80".to_owned(), 2)]));
    assert_eq!(upstream.endpoints.load().len(), 2);
}

#[test]
fn what_is_wrong_is_said() {
    let said = |spec: UpstreamSpec| Upstream::new(spec).err().map(|error| error.to_string()).unwrap_or_default();
    let tls = |host: &str| ServerSpec { host: host.to_owned(), port: 443, tls: true };
    let plain = spec(&[("10.0.0.1", 80)]);
    assert!(said(spec(&[])).contains("`app` has no servers"));
    assert!(said(spec(&[("", 80)])).contains("has no host"));
    assert!(said(spec(&[("[]", 80)])).contains("has no host"));
    for name in ["", "a b", "*"] {
        let spec = UpstreamSpec { servers: vec![tls("10.0.0.1")], server_name: Some(name.to_owned()), ..plain.clone() };
        assert!(said(spec).contains("cannot be the name in a certificate"), "{name:?}");
    }
    let unused = UpstreamSpec { server_name: Some("app.internal".to_owned()), ..plain.clone() };
    assert!(said(unused).contains("none of its servers is `https`"));
    let missing = UpstreamSpec { servers: vec![tls("a")], ca_file: Some("/missing.pem".into()), ..plain.clone() };
    assert!(said(missing).contains("/missing.pem: it cannot be read"));
    let check = |path: &str, seconds| {
        let (path, time) = (Some(path.to_owned()), Duration::from_secs(seconds));
        UpstreamSpec { health_check: Some(HealthCheckSpec { path, interval: time, timeout: time }), ..plain.clone() }
    };
    assert!(said(check("ping", 1)).contains("such as `/healthz`"));
    assert!(said(check("/a b", 1)).contains("such as `/healthz`"));
    assert!(said(check("/ping", 0)).contains("longer than 0"));
    assert_eq!(said(check("/ping", 1)), "");
}
