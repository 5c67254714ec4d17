//! No request reaches a protected upstream without a decision that allowed it, and what was matched is byte for byte
//! what is forwarded (invariants 1 and 7).

use serde::Deserialize;

use crate::harness::{
    ALICE, BOSS, Browser, EchoBackend, H2Answer, Portcullis, RawConnection, Recorded, raw_h2, readings,
};

#[derive(Deserialize)]
struct Group {
    route: Expected,
    targets: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Public,
    App,
    Admin,
    None,
    Refused,
    Safe,
}

/// Who asks, and which statuses each expectation means for them.
struct Asker {
    name: &'static str,
    token: Option<String>,
    /// What lies beyond what they may see.
    may_see: fn(&str) -> bool,
    status_on_app: u16,
    status_on_admin: u16,
}

fn below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

struct Stage {
    app: EchoBackend,
    gate: Portcullis,
    askers: [Asker; 3],
}

async fn stage() -> Stage {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&format!(
        "upstreams: {{ app: {{ servers: [\"{}\"] }} }}\n\
         routes:\n  \
           - {{ name: public, path_prefix: /public, upstream: app, auth: public }}\n  \
           - {{ name: app, path_prefix: /app, upstream: app, auth: required }}\n  \
           - {{ name: admin, path_prefix: /app/admin, upstream: app, auth: required, roles: [admin] }}\n",
        app.url()
    ))
    .await;
    let token = async |account| Some(Browser::logged_in(&gate, account).await.token().to_owned());
    let askers = [
        Asker {
            name: "nobody",
            token: None,
            may_see: |path| !below(path, "/app"),
            status_on_app: 401,
            status_on_admin: 401,
        },
        Asker {
            name: "alice",
            token: token(&ALICE).await,
            may_see: |path| !below(path, "/app/admin"),
            status_on_app: 200,
            status_on_admin: 403,
        },
        Asker { name: "boss", token: token(&BOSS).await, may_see: |_| true, status_on_app: 200, status_on_admin: 200 },
    ];
    Stage { app, gate, askers }
}

fn cases() -> Vec<(Expected, String)> {
    let groups: Vec<Group> = serde_yaml::from_str(include_str!("../cases/paths.yaml")).expect("the cases are YAML");
    groups.into_iter().flat_map(|group| group.targets.into_iter().map(move |target| (group.route, target))).collect()
}

/// Holds what came back, and what the backend saw, against what is expected. Returns what is wrong.
fn judge(expected: Expected, target: &str, asker: &Asker, status: Option<u16>, seen: &[Recorded]) -> Option<String> {
    for request in seen {
        if let Some(beyond) = readings(&request.target).into_iter().find(|reading| !(asker.may_see)(reading)) {
            return Some(format!("the backend could read {:?} as {beyond:?}", request.target));
        }
        if request.target != target {
            return Some(format!("{:?} was forwarded", request.target));
        }
    }
    let forwarded = seen.len() == 1 && status == Some(200);
    let wanted = match expected {
        Expected::Public => Some(200),
        Expected::App => Some(asker.status_on_app),
        Expected::Admin => Some(asker.status_on_admin),
        Expected::None => Some(404),
        Expected::Refused => Some(400),
        Expected::Safe => None,
    };
    let fits = match wanted {
        Some(200) => forwarded,
        // A parser may close instead of answering what is not HTTP.
        Some(400) => matches!(status, Some(400) | None) && seen.is_empty(),
        Some(_) => status == wanted && seen.is_empty(),
        None => forwarded || (!matches!(status, Some(200 | 500..)) && seen.is_empty()),
    };
    (!fits).then(|| format!("status {status:?}, {} forwarded, expected {expected:?}", seen.len()))
}

#[tokio::test]
async fn over_http_1_every_target_is_matched_as_it_is_or_refused() {
    let Stage { app, gate, askers } = stage().await;
    let mut wrong = Vec::new();
    for (expected, target) in cases() {
        for asker in &askers {
            let authorization =
                asker.token.as_ref().map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
            let request = format!("GET {target} HTTP/1.1\r\nHost: gate.example\r\n{authorization}\r\n");
            let mut connection = RawConnection::open(gate.listen).await;
            connection.send(request).await;
            let status = connection.answer().await.map(|answer| answer.status);
            // The parser escapes a blank within a target, before anybody can see it.
            let seen_as = target.replace(' ', "%20");
            if let Some(problem) = judge(expected, &seen_as, asker, status, &app.take()) {
                wrong.push(format!("{target:?} by {}: {problem}", asker.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn over_http_2_every_target_is_matched_as_it_is_or_refused() {
    let Stage { app, gate, askers } = stage().await;
    let mut wrong = Vec::new();
    for (expected, target) in cases() {
        // A fragment is cut off by the HTTP/2 library, before anybody can see it.
        let (expected, seen_as) = match target.split_once('#') {
            Some((path, _)) => (Expected::Safe, path),
            None => (expected, target.as_str()),
        };
        for asker in &askers {
            let authorization = asker.token.as_ref().map(|token| format!("Bearer {token}"));
            let mut fields: Vec<(&str, &[u8])> = vec![
                (":method", b"GET"),
                (":scheme", b"http"),
                (":authority", b"gate.example"),
                (":path", target.as_bytes()),
            ];
            if let Some(authorization) = &authorization {
                fields.push(("authorization", authorization.as_bytes()));
            }
            let status = match raw_h2(gate.listen, &fields).await {
                H2Answer::Status(status) => Some(status),
                H2Answer::Refused => None,
            };
            if let Some(problem) = judge(expected, seen_as, asker, status, &app.take()) {
                wrong.push(format!("{target:?} by {}: {problem}", asker.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn hosts_are_matched_without_case_and_port_and_never_guessed() {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&format!(
        "upstreams: {{ app: {{ servers: [\"{}\"] }} }}\n\
         routes:\n  - {{ name: one, host: one.example, upstream: app, auth: public }}\n",
        app.url()
    ))
    .await;
    for (host, expected) in [
        ("one.example", 200),
        ("ONE.example", 200),
        ("one.example:8080", 200),
        ("two.example", 404),
        ("one.example.evil.example", 404),
        ("xone.example", 404),
        ("one.example@two.example", 400),
        ("one.example/x", 400),
        ("one.example, two.example", 400),
        ("one.example:port", 400),
        ("one example", 400),
        ("", 400),
    ] {
        let answer = crate::harness::raw(gate.listen, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(answer.map(|answer| answer.status), Some(expected), "Host: {host}");
        assert_eq!(app.take().len(), usize::from(expected == 200), "Host: {host}");
    }
}
