//! The metrics of the contract: all there from the start, well-formed, and read by a real Prometheus.

use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::harness::{ALICE, Answer, BOSS, Browser, EchoBackend, Portcullis, anon, client, eventually, free_port};

async fn gate() -> (Portcullis, EchoBackend) {
    let app = EchoBackend::start().await;
    let config = format!(
        "upstreams: {{ shop: {{ servers: [\"{}\"] }} }}\n\
         routes:\n  \
           - {{ name: shop, upstream: shop }}\n  \
           - {{ name: cellar, path_prefix: /cellar, upstream: shop, roles: [admin] }}\n",
        app.url()
    );
    (Portcullis::start(&config).await, app)
}

#[tokio::test]
async fn every_series_is_there_from_the_start_at_zero() {
    let (gate, app) = gate().await;
    // Whoever tried whether the listener is open yet leaves first.
    let metrics = eventually("nobody is connected", async || {
        let metrics = gate.metrics().await;
        (metrics.sum("portcullis_connections", &[]) == Some(0.0)).then_some(metrics)
    })
    .await;
    for (name, labels) in [
        ("http_requests_total", &["route=\"shop\"", "code=\"200\""][..]),
        ("http_requests_total", &["route=\"cellar\"", "code=\"403\""]),
        ("auth_decisions_total", &["route=\"shop\"", "reason=\"token_expired\""]),
        ("auth_decisions_total", &["route=\"cellar\"", "reason=\"session_ended\""]),
        ("auth_decision_seconds_count", &[]),
        ("upstream_response_seconds_count", &["upstream=\"shop\""]),
        ("logins_total", &["outcome=\""]),
        ("refreshes_total", &["outcome=\"rotated\""]),
        ("refreshes_total", &["outcome=\"retried\""]),
        ("logouts_total", &["outcome=\""]),
        ("revocations_active", &[]),
        ("revocation_propagation_seconds_count", &[]),
        ("store_requests_total", &["operation=\"get\"", "outcome=\"ok\""]),
        ("store_requests_total", &["operation=\"commit\"", "outcome=\"conflict\""]),
        ("store_request_seconds_count", &["operation=\"get\""]),
        ("token_cache_entries", &[]),
        ("requests_refused_by_parser_total", &[]),
    ] {
        assert_eq!(
            metrics.sum(&format!("portcullis_{name}"), labels),
            Some(0.0),
            "{name} {labels:?}\n{}",
            metrics.text
        );
    }
    for (name, labels) in [
        ("upstream_up", &["upstream=\"shop\"".to_owned(), app.address.to_string()][..]),
        ("store_up", &[]),
        ("config_last_reload_successful", &[]),
        ("build_info", &[format!("version=\"{}\"", env!("CARGO_PKG_VERSION"))]),
    ] {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        assert_eq!(
            metrics.sum(&format!("portcullis_{name}"), &labels),
            Some(1.0),
            "{name} {labels:?}\n{}",
            metrics.text
        );
    }
    for name in ["revocation_last_sync_timestamp_seconds", "config_last_reload_success_timestamp_seconds"] {
        let at = metrics.sum(&format!("portcullis_{name}"), &[]).expect(name);
        assert!(at > 1_700_000_000.0, "{name} is a time: {at}");
    }
    assert!(
        metrics.text.contains("# TYPE portcullis_tls_certificate_not_after_timestamp_seconds gauge")
            || !metrics.text.contains("tls_certificate")
    );
}

#[tokio::test]
async fn what_happens_is_counted_and_labels_come_from_closed_lists() {
    let (gate, _app) = gate().await;
    let mut alice = Browser::logged_in(&gate, &ALICE).await;
    let series = |metrics: &crate::harness::Metrics| metrics.text.lines().filter(|line| !line.starts_with('#')).count();
    let before = series(&gate.metrics().await);

    for number in 0..20 {
        anon(&gate, &format!("/guess/{number}?q={number}")).await.expect(401);
        alice.get(&format!("/page/{number}")).await.expect(200);
    }
    alice.get("/cellar").await.expect(403);
    anon(&gate, "/a%2fb").await.expect(400);
    alice.refresh().await.expect(200);
    alice.logout().await.expect(204);
    Browser::at(&gate)
        .login(&crate::harness::Account { name: "a-name-of-the-clients-choice", ..BOSS })
        .await
        .expect(400);

    let metrics = gate.metrics().await;
    for (name, labels, count) in [
        ("http_requests_total", &["route=\"shop\"", "code=\"200\""][..], 20.0),
        ("http_requests_total", &["route=\"cellar\"", "code=\"403\""], 1.0),
        ("auth_decisions_total", &["route=\"shop\"", "reason=\"token_missing\""], 20.0),
        ("auth_decisions_total", &["route=\"cellar\"", "reason=\"role_missing\""], 1.0),
        ("auth_decisions_total", &["reason=\"path_ambiguous\""], 1.0),
        ("upstream_response_seconds_count", &["upstream=\"shop\""], 20.0),
        ("refreshes_total", &["outcome=\"rotated\""], 1.0),
        ("revocations_active", &[], 1.0),
        ("logins_total", &[], 2.0),
        ("logouts_total", &[], 1.0),
    ] {
        assert_eq!(
            metrics.sum(&format!("portcullis_{name}"), labels),
            Some(count),
            "{name} {labels:?}\n{}",
            metrics.text
        );
    }
    assert_eq!(series(&metrics), before, "no series was born of what clients sent");
}

#[tokio::test]
async fn promtool_finds_nothing_to_complain_about() {
    let (gate, _app) = gate().await;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed: `make deps`");
    let text = gate.metrics().await.text;
    promtool.stdin.take().expect("piped").write_all(text.as_bytes()).await.expect("promtool reads");
    let output = promtool.wait_with_output().await.expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[tokio::test]
async fn a_real_prometheus_reads_them() {
    let (gate, _app) = gate().await;
    Browser::logged_in(&gate, &ALICE).await.get("/").await.expect(200);
    let folder = TempDir::new().expect("a temporary folder");
    let config = folder.path().join("prometheus.yml");
    let text = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\n\
         scrape_configs: [{{ job_name: portcullis, static_configs: [{{ targets: [\"{}\"] }}] }}]\n",
        gate.admin
    );
    std::fs::write(&config, text).expect("its configuration is written");
    let port = free_port();
    let _prometheus = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--log.level=error")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("prometheus is installed: `make deps`");

    let query = "portcullis_http_requests_total{route=\"shop\",code=\"200\"}";
    let url = reqwest::Url::parse_with_params(&format!("http://127.0.0.1:{port}/api/v1/query"), [("query", query)])
        .expect("a URL");
    let value = eventually("Prometheus knows the series", async || {
        let answer = client().get(url.clone()).send().await.ok()?;
        let answer: serde_json::Value = answer.json().await.ok()?;
        answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(value, "1");
}

#[tokio::test]
async fn the_admin_listener_serves_nothing_else_and_the_public_one_none_of_it() {
    let (gate, app) = gate().await;
    for path in ["/", "/login", "/metrics/x", "/debug/pprof"] {
        Answer::to(client().get(gate.admin_url(path))).await.expect(404);
    }
    for path in ["/metrics", "/healthz", "/readyz"] {
        Answer::to(client().get(gate.admin_url(path))).await.expect(200);
        anon(&gate, path).await.expect(401);
    }
    assert!(app.take().is_empty());
}
