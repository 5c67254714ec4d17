//! The decision, case by case: `tests/cases/decisions/*.yaml` read as documentation of what passes and what does not.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis::config;
use portcullis::gate::{
    Decision, Facts, Identity, Instead, Knowledge, Policy, Question, RawHead, Reason, RequestHead, Scheme, Sender,
    decide,
};
use portcullis::server;
use portcullis::session::SessionId;
use portcullis::time::Timestamp;
use portcullis::token::AccessClaims;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chapter {
    config: String,
    cases: Vec<Case>,
}

/// A request, and what becomes of it: `forward ROUTE`, `forward ROUTE as SUBJECT`, `serve ENDPOINT`, `serve ENDPOINT to a page`,
/// `preflight`, or `STATUS REASON`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default)]
    why: String,
    request: String,
    #[serde(default = "default_host")]
    host: String,
    #[serde(default)]
    https: bool,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    headers: Vec<BTreeMap<String, String>>,
    /// Our cookies by their short names (`access`, `refresh`), others by their own.
    #[serde(default)]
    cookies: BTreeMap<String, String>,
    /// What the refresh cookie or the ticket yielded: a token by its name, or a reason.
    #[serde(default)]
    answer: Option<String>,
    #[serde(default)]
    revocations: Option<String>,
    expect: String,
}

fn default_host() -> String {
    "app.example.com".to_owned()
}

/// Tokens go by the names of what they are: `demo`, `root` (role admin, scopes read and write), `expired`, `logged-out`;
/// everything else is a forgery.
struct Known<'a> {
    now: Timestamp,
    knowledge: Knowledge,
    answer: Option<&'a str>,
}

const NOW_S: u64 = 1_700_000_000;

fn session_of(token: &str) -> SessionId {
    SessionId::new(token, [token.len() as u8; 15])
}

impl Facts for Known<'_> {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn verify(&self, token: &str) -> Result<Arc<Identity>, Reason> {
        let (roles, scope): (&[&str], _) = match token {
            "demo" | "expired" | "logged-out" => (&["user"], "read"),
            "root" => (&["user", "admin"], "read write"),
            _ => return Err(Reason::TokenInvalid),
        };
        let claims = AccessClaims {
            iss: "portcullis".into(),
            aud: "portcullis".into(),
            sub: token.into(),
            sid: session_of(token),
            generation: 0,
            jti: "1".into(),
            iat: NOW_S - 60,
            exp: if token == "expired" { NOW_S - 30 } else { NOW_S + 840 },
            roles: roles.iter().map(ToString::to_string).collect(),
            scope: Some(scope.into()),
            session_exp: NOW_S + 86_400,
            app_session: None,
        };
        Identity::from_claims(&claims).map(Arc::new)
    }

    fn is_ours(&self, token: &str) -> bool {
        self.verify(token).is_ok()
    }

    fn has_ended(&self, session: &SessionId) -> bool {
        *session == session_of("logged-out")
    }

    fn knowledge(&self, _session: &SessionId) -> Knowledge {
        self.knowledge
    }

    fn answer(&self) -> Option<Result<&str, Reason>> {
        let told = self.answer?;
        Some(Reason::ALL.iter().find(|reason| reason.as_str() == told).map_or(Ok(told), |reason| Err(*reason)))
    }
}

impl Case {
    fn outcome(&self, policy: &Policy) -> String {
        let (method, target) = self.request.split_once(' ').expect("a request is METHOD TARGET");
        let method: Method = method.parse().expect("a method");
        let mut headers = HeaderMap::new();
        if !self.host.is_empty() {
            headers.append("host", HeaderValue::from_str(&self.host).expect("a host"));
        }
        if let Some(token) = &self.token {
            headers.append("authorization", HeaderValue::from_str(&format!("Bearer {token}")).expect("a token"));
        }
        for (name, value) in self.headers.iter().flatten() {
            let name: HeaderName = name.parse().expect("a header name");
            headers.append(name, HeaderValue::from_str(value).expect("a header value"));
        }
        if !self.cookies.is_empty() {
            let pairs = self.cookies.iter().map(|(name, value)| match name.as_str() {
                "access" | "refresh" => format!("__Host-{name}={value}"),
                _ => format!("{name}={value}"),
            });
            let field = pairs.collect::<Vec<_>>().join("; ");
            headers.append("cookie", HeaderValue::from_str(&field).expect("cookies"));
        }
        let raw = RawHead {
            method: &method,
            target: target.as_bytes(),
            authority: None,
            headers: &headers,
            scheme: if self.https { Scheme::Https } else { Scheme::Http },
        };
        let knowledge = match self.revocations.as_deref() {
            None => Knowledge::Fresh,
            Some("stale") => Knowledge::Stale,
            Some("unknown") => Knowledge::None,
            Some(other) => panic!("revocations are stale or unknown, not {other}"),
        };
        let facts = Known { now: Timestamp::from_secs(NOW_S), knowledge, answer: self.answer.as_deref() };
        let refused = |reason: Reason| format!("{} {}", reason.status().as_u16(), reason.as_str());
        let head = match RequestHead::read(raw) {
            Ok(head) => head,
            Err(reason) => return refused(reason),
        };
        match decide(policy, &head, &facts) {
            Decision::Forward(grant) => {
                let route = &policy.routes.routes()[grant.route()].name;
                let drops: Vec<_> = headers
                    .keys()
                    .filter(|name| grant.dropped().any(|dropped| dropped == *name))
                    .map(HeaderName::as_str)
                    .collect();
                let identity =
                    grant.identity().map(|identity| format!(" as {}", identity.subject())).unwrap_or_default();
                let drops = if drops.is_empty() { String::new() } else { format!(" without {}", drops.join(", ")) };
                format!("forward {route}{identity}{drops}")
            }
            Decision::Serve(service) => {
                let endpoint = service.endpoint.as_str();
                let sender = match service.sender {
                    Sender::Program => "",
                    Sender::Page => " to a page",
                    Sender::WebView => " to a web view",
                    Sender::OtherSite => " to another site",
                };
                match service.bearer {
                    Some(Ok(identity)) => format!("serve {endpoint}{sender} as {}", identity.subject()),
                    Some(Err(reason)) => format!("serve {endpoint}{sender} despite {}", reason.as_str()),
                    None => format!("serve {endpoint}{sender}"),
                }
            }
            Decision::Preflight => "preflight".to_owned(),
            Decision::Ask(Question::Renew) => "ask renew".to_owned(),
            Decision::Ask(Question::Redeem) => "ask redeem".to_owned(),
            Decision::Refuse(denial) => match (&denial.allow, &denial.instead) {
                (Some(allow), _) => format!("{} allow {}", refused(denial.reason), allow.to_str().expect("methods")),
                (None, Some(Instead::Login(location))) => {
                    format!("{} but {}", refused(denial.reason), location.to_str().expect("a location"))
                }
                (None, Some(Instead::NotSent)) => format!("{} not sent", refused(denial.reason)),
                (None, None) => refused(denial.reason),
            },
        }
    }
}

#[test]
fn every_request_is_decided_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/decisions");
    let mut chapters: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    chapters.sort();
    let mut wrong = Vec::new();
    let mut count = 0;
    for path in &chapters {
        let text = std::fs::read_to_string(path).unwrap();
        let chapter: Chapter =
            serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let config = config::parse(&chapter.config, path, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
        let policy = server::policy(&config).unwrap();
        for case in &chapter.cases {
            count += 1;
            let outcome = case.outcome(&policy);
            if outcome != case.expect {
                let name = path.file_name().unwrap().to_string_lossy();
                wrong.push(format!("{name}: {} [{}]: expected {}, got {outcome}", case.request, case.why, case.expect));
            }
        }
    }
    assert!(count > 100, "only {count} cases were found");
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
}
