//! What is packaged: alert rules and dashboards name metrics that are there, promtool and systemd understand their files.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::{EchoBackend, Portcullis, SelfSigned};

/// Label, operator, value.
type Matcher = (String, String, String);

/// The selectors of ours in an expression: each a metric, and its matchers.
fn selectors(text: &str) -> BTreeSet<(String, Vec<Matcher>)> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("portcullis_") {
        let rest = &text[at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let matchers =
            rest[end..].strip_prefix('{').and_then(|rest| Some(&rest[..rest.find('}')?])).unwrap_or_default();
        let matchers = matchers.split("\",").filter_map(|matcher| {
            let at = matcher.find(['=', '!'])?;
            let (label, rest) = matcher.split_at(at);
            let (operator, value) = rest.split_once('"')?;
            Some((label.trim().to_owned(), operator.to_owned(), value.trim_end_matches('"').to_owned()))
        });
        found.insert((rest[..end].to_owned(), matchers.collect()));
    }
    found
}

#[tokio::test]
async fn alerts_and_dashboards_name_metrics_that_are_there() {
    let tls = SelfSigned::of("a");
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&format!(
        "listen: [{{ address: \"{{listen}}\", tls: {{ certificate: {}, key: {} }} }}]\nupstream: {}\n",
        tls.certificate.display(),
        tls.key.display(),
        app.url()
    ))
    .await;
    let metrics = gate.metrics().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).expect("the file is there");
    // In JSON a quotation mark is escaped.
    let text = read("prometheus/alerts.yaml") + &read("grafana/portcullis.json").replace("\\\"", "\"");
    let selectors = selectors(&text);
    assert!(selectors.len() > 20, "they are found: {selectors:#?}");
    for (name, matchers) in selectors {
        let series: Vec<&str> = metrics.samples(&name).map(|(labels, _)| labels).collect();
        assert!(!series.is_empty(), "{name} is no metric");
        for (label, operator, value) in matchers.iter().filter(|(label, ..)| label != "instance") {
            for value in value.split('|') {
                let wanted = format!("{label}=\"{value}\"");
                assert!(series.iter().any(|labels| labels.contains(&wanted)), "{name}: {operator} {wanted}");
            }
        }
    }
    for labels in [("upstream_up", "server"), ("tls_certificate_not_after_timestamp_seconds", "certificate")] {
        let series = format!("portcullis_{}", labels.0);
        assert!(metrics.samples(&series).all(|(set, _)| set.contains(&format!("{}=\"", labels.1))));
    }
}

#[test]
fn promtool_tries_the_alerts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/prometheus");
    for arguments in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]] {
        let output = Command::new("promtool").args(arguments).current_dir(&folder).output();
        let output = output.expect("promtool is installed: `make deps`");
        assert!(output.status.success(), "{arguments:?}\n{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn systemd_understands_the_unit() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd/portcullis.service");
    let text = std::fs::read_to_string(path).expect("there is a unit");
    // The binary that is not installed here is no mistake in the unit.
    let here = text.replace("/usr/local/bin/portcullis", env!("CARGO_BIN_EXE_portcullis"));
    let folder = TempDir::new().expect("a temporary folder");
    let unit = folder.path().join("portcullis.service");
    std::fs::write(&unit, here).expect("it is written");
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).arg(&unit).output();
        let output = output.expect("systemd-analyze is installed: `make deps`");
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        (output.status.success(), said)
    };
    let (good, said) = analyze(&["verify", "--man=no"]);
    assert!(good && said.trim().is_empty(), "{said}");
    // 0 is nothing to attack, 10 all; an unhardened service has 9.6.
    let (good, said) = analyze(&["security", "--offline=true", "--threshold=25", "--no-pager"]);
    assert!(good, "{said}");
}
