//! The metrics, held against the contract's list and against promtool.

use std::io::Write;
use std::process::{Command, Stdio};

use http::StatusCode;

use super::*;
use crate::gate::Reason;

fn metrics() -> Metrics {
    Metrics::new("1.2.3").unwrap()
}

/// The value of the sample that is written exactly so.
fn sample(metrics: &Metrics, series: &str) -> Option<f64> {
    let text = metrics.render();
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn every_name_of_the_contract_is_there_from_the_start() {
    let metrics = metrics();
    let _routes = metrics.routes(&["app", "none"]).unwrap();
    let _upstreams = metrics.upstreams([("app", vec!["http://10.0.0.1:80"])]).unwrap();
    metrics.certificate_loaded("tls/fullchain.pem", Timestamp::from_secs(0)).unwrap();
    for series in [
        r#"http_requests_total{code="200",route="app"}"#,
        r#"http_requests_total{code="503",route=""}"#,
        r#"auth_decisions_total{outcome="allowed",reason="",route="app"}"#,
        r#"auth_decisions_total{outcome="served",reason="",route="app"}"#,
        r#"auth_decisions_total{outcome="refused",reason="token_expired",route="app"}"#,
        r#"auth_decisions_total{outcome="refused",reason="route_unknown",route=""}"#,
        r#"auth_decision_seconds_bucket{le="0.000001"}"#,
        r#"auth_decision_seconds_count"#,
        r#"upstream_response_seconds_count{upstream="app"}"#,
        r#"upstream_up{server="http://10.0.0.1:80",upstream="app"}"#,
        r#"logins_total{outcome="credentials_wrong"}"#,
        r#"refreshes_total{outcome="token_reused"}"#,
        r#"logouts_total{outcome="store_unavailable"}"#,
        r#"revocations_active"#,
        r#"revocation_last_sync_timestamp_seconds"#,
        r#"revocation_propagation_seconds_count"#,
        r#"store_up"#,
        r#"store_requests_total{operation="commit",outcome="conflict"}"#,
        r#"store_request_seconds_count{operation="sessions_of"}"#,
        r#"token_cache_entries"#,
        r#"connections"#,
        r#"requests_refused_by_parser_total"#,
        r#"config_last_reload_successful"#,
        r#"config_last_reload_success_timestamp_seconds"#,
        r#"tls_certificate_not_after_timestamp_seconds{certificate="tls/fullchain.pem"}"#,
    ] {
        assert_eq!(sample(&metrics, &format!("portcullis_{series}")), Some(0.0), "{series}\n{}", metrics.render());
    }
    assert_eq!(sample(&metrics, r#"portcullis_build_info{version="1.2.3"}"#), Some(1.0));
}

#[test]
fn every_family_has_help_and_our_prefix() {
    let metrics = metrics();
    let _routes = metrics.routes(&["app"]).unwrap();
    let text = metrics.render();
    let names = |kind: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(kind));
        lines.map(|rest| rest.split(' ').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names("# HELP "), names("# TYPE "));
    assert!(names("# TYPE ").iter().all(|name| name.starts_with("portcullis_")), "{text}");
}

#[test]
fn a_request_is_counted_at_its_route_and_nowhere_else() {
    let metrics = metrics();
    let routes = metrics.routes(&["a", "b"]).unwrap();
    routes.route(Some(1)).refused(Reason::TokenExpired);
    routes.route(Some(1)).ended(Some(StatusCode::UNAUTHORIZED));
    routes.route(Some(0)).allowed();
    routes.route(None).refused(Reason::RouteUnknown);
    let decisions = |labels: &str| sample(&metrics, &format!("portcullis_auth_decisions_total{{{labels}}}"));
    assert_eq!(decisions(r#"outcome="refused",reason="token_expired",route="b""#), Some(1.0));
    assert_eq!(decisions(r#"outcome="refused",reason="token_expired",route="a""#), Some(0.0));
    assert_eq!(decisions(r#"outcome="allowed",reason="",route="a""#), Some(1.0));
    assert_eq!(decisions(r#"outcome="refused",reason="route_unknown",route="""#), Some(1.0));
    assert_eq!(sample(&metrics, r#"portcullis_http_requests_total{code="401",route="b"}"#), Some(1.0));
    assert_eq!(sample(&metrics, r#"portcullis_http_requests_total{code="401",route="a"}"#), Some(0.0));
}

#[test]
fn any_code_of_an_upstream_fits_into_a_closed_set() {
    let metrics = metrics();
    let routes = metrics.routes(&["a"]).unwrap();
    for code in (100..=999).map(|code| StatusCode::from_u16(code).unwrap()) {
        routes.route(Some(0)).ended(Some(code));
    }
    routes.route(Some(0)).ended(None);
    let code = |code: &str| sample(&metrics, &format!(r#"portcullis_http_requests_total{{code="{code}",route="a"}}"#));
    assert_eq!(code("100"), Some(1.0));
    assert_eq!(code("599"), Some(1.0));
    assert_eq!(code("600"), None);
    assert_eq!(code("other"), Some(400.0));
    assert_eq!(code(""), Some(1.0));
}

#[test]
fn counters_live_on_when_the_configuration_is_compiled_again() {
    let metrics = metrics();
    metrics.routes(&["a", "b"]).unwrap().route(Some(0)).allowed();
    metrics.routes(&["b", "a"]).unwrap().route(Some(1)).allowed();
    let allowed = sample(&metrics, r#"portcullis_auth_decisions_total{outcome="allowed",reason="",route="a"}"#);
    assert_eq!(allowed, Some(2.0));
}

#[test]
fn the_store_is_up_while_it_answers() {
    let metrics = metrics();
    let up_after = |outcome| {
        metrics.store_request(Operation::Commit, outcome, Duration::from_millis(3));
        sample(&metrics, "portcullis_store_up")
    };
    assert_eq!(up_after(OperationOutcome::Conflict), Some(1.0));
    assert_eq!(up_after(OperationOutcome::Timeout), Some(0.0));
    assert_eq!(up_after(OperationOutcome::Ok), Some(1.0));
    assert_eq!(up_after(OperationOutcome::Error), Some(0.0));
    let requests = |outcome| {
        sample(&metrics, &format!(r#"portcullis_store_requests_total{{operation="commit",outcome="{outcome}"}}"#))
    };
    assert!(OperationOutcome::ALL.iter().all(|outcome| requests(outcome.as_str()) == Some(1.0)));
    assert_eq!(sample(&metrics, r#"portcullis_store_request_seconds_count{operation="commit"}"#), Some(4.0));
}

#[test]
fn every_outcome_of_an_endpoint_is_counted_in_a_series_of_its_own() {
    let metrics = metrics();
    let series = |text: &str| text.lines().filter(|line| line.contains("outcome=")).count();
    let before = series(&metrics.render());
    LoginOutcome::ALL.iter().for_each(|outcome| metrics.login(*outcome));
    RefreshOutcome::ALL.iter().for_each(|outcome| metrics.refresh(*outcome));
    LogoutOutcome::ALL.iter().for_each(|outcome| metrics.logout(*outcome));
    let text = metrics.render();
    assert_eq!(series(&text), before);
    for family in ["logins", "refreshes", "logouts"] {
        let name = format!("portcullis_{family}_total{{");
        assert!(text.lines().filter(|line| line.starts_with(&name)).all(|line| line.ends_with(" 1")), "{text}");
    }
}

#[test]
fn the_mirror_is_read_when_somebody_looks() {
    let metrics = metrics();
    let mirror = Arc::new(Mirror::new());
    metrics.read_mirror(Arc::clone(&mirror));
    assert_eq!(sample(&metrics, "portcullis_revocation_last_sync_timestamp_seconds"), Some(0.0));
    mirror.always_fresh();
    mirror.revocations.insert(crate::session::SessionId::from_bytes([7; 16]), Timestamp::from_secs(1 << 40));
    assert_eq!(sample(&metrics, "portcullis_revocations_active"), Some(1.0));
    let synced = sample(&metrics, "portcullis_revocation_last_sync_timestamp_seconds").unwrap();
    assert!((synced - seconds(Timestamp::now())).abs() < 60.0);
}

#[test]
fn a_connection_counts_until_it_is_dropped() {
    let metrics = metrics();
    let connection = metrics.connected();
    assert_eq!(sample(&metrics, "portcullis_connections"), Some(1.0));
    drop(connection);
    assert_eq!(sample(&metrics, "portcullis_connections"), Some(0.0));
}

#[test]
fn promtool_finds_nothing_to_say() {
    let metrics = metrics();
    metrics.routes(&["app \"quoted\" \\ and\nbroken"]).unwrap().route(None).ended(None);
    metrics.upstreams([("app", vec!["http://10.0.0.1:80"])]).unwrap();
    metrics.certificate_loaded("tls/fullchain.pem", Timestamp::now()).unwrap();
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    // `make test` installs it and the integration test insists on it; this test is for a change in the making.
    let Ok(mut promtool) = promtool else { return };
    promtool.stdin.take().unwrap().write_all(metrics.render().as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
