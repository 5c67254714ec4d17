//! The decision itself: whoever has no right reaches nothing that is protected, by any reading of the path.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use http::{HeaderMap, Method};

use super::Target;
use crate::config;
use crate::gate::fuzz::Lenience;
use crate::gate::{Decision, Facts, Identity, Knowledge, Policy, RawHead, Reason, RequestHead, Scheme, decide};
use crate::server;
use crate::session::SessionId;
use crate::time::Timestamp;

pub(super) const TARGETS: &[Target] = &[("decision", decision)];

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let text = "listen: 127.0.0.1:1\nusers: users.yaml\nupstreams: { app: { servers: [http://a] } }\nroutes:\n\
                - { name: all, upstream: app }\n\
                - { name: open, upstream: app, path_prefix: /open, auth: public }\n\
                - { name: closed, upstream: app, path_prefix: /open/closed }\n\
                - { name: slashes, upstream: app, path_prefix: /files, auth: public, encoded_slashes: true }\n\
                - { name: status, upstream: app, path: /status, auth: public }\n";
    let config = config::parse(text, Path::new("proxy.yaml"), &|_| None).expect("a configuration");
    server::policy(&config).expect("a policy")
});

/// No token is good.
struct Nobody;

impl Facts for Nobody {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1_800_000_000)
    }

    fn verify(&self, _: &str) -> Result<Arc<Identity>, Reason> {
        Err(Reason::TokenInvalid)
    }

    fn is_ours(&self, _: &str) -> bool {
        false
    }

    fn has_ended(&self, _: &SessionId) -> bool {
        false
    }

    fn knowledge(&self, _: &SessionId) -> Knowledge {
        Knowledge::Fresh
    }
}

fn is_open(path: &[u8]) -> bool {
    let below = |prefix: &[u8]| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
    (below(b"/open") && !below(b"/open/closed")) || below(b"/files") // Backends take both for the same.
        || [&b"/status"[..], b"/status/"].contains(&path)
}

fn decision(target: &[u8]) {
    let mut headers = HeaderMap::new();
    headers.insert("host", http::HeaderValue::from_static("a"));
    let raw = RawHead { method: &Method::GET, target, authority: None, headers: &headers, scheme: Scheme::Http };
    let Ok(head) = RequestHead::read(raw) else { return };
    let Decision::Forward(grant) = decide(&POLICY, &head, &Nobody) else { return };
    assert!(grant.identity().is_none());
    for lenience in Lenience::all() {
        let seen = lenience.read(head.target);
        assert!(is_open(&seen), "{lenience:?} sees {:?}", String::from_utf8_lossy(&seen));
    }
}
