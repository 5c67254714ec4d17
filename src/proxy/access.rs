//! What a line of the access log needs to know of a request, kept from its head to its end: one that is cut off has no session
//! any more when its end is told.
//!
//! What must never happen in here: a query, or a field, of the request is kept.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::HOST;
use http::{Method, Version};
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource};

use super::context::Context;
use super::failure::reason_of;
use super::watch::why_cut;
use crate::gate::{Identity, Reason, Service};
use crate::telemetry::{Access, AccessLog, End, Outcome};
use crate::time::Timestamp;

/// What was asked.
pub(super) struct Asked {
    method: Method,
    /// The host, and then the path.
    text: Text,
    host_bytes: usize,
    version: Version,
    endpoint: Option<&'static str>,
    /// Who asked an endpoint of ours.
    identity: Option<Arc<Identity>>,
}

/// Most are short, and need no further memory.
enum Text {
    Short([u8; SHORT], usize),
    Long(Box<[u8]>),
}

const SHORT: usize = 64;

/// How a request ended.
pub(super) struct Ending {
    end: End,
    reason: Option<Reason>,
    received_bytes: u64,
    sent_bytes: u64,
}

/// Longer texts are shortened in the line anyway.
const HOST_BYTES_MAX: usize = 512;
const PATH_BYTES_MAX: usize = 4096;

impl Asked {
    /// What the head says.
    pub(super) fn of(header: &RequestHeader) -> Asked {
        let host = match header.uri.authority() {
            Some(authority) => authority.as_str().as_bytes(),
            None => header.headers.get(HOST).map_or(&[][..], |host| host.as_bytes()),
        };
        let (host, path) = (plain_host(host), plain_path(header.raw_path()));
        let host = &host[..host.len().min(HOST_BYTES_MAX)];
        let path = &path[..path.len().min(PATH_BYTES_MAX)];
        Asked {
            method: header.method.clone(),
            text: Text::of(host, path),
            host_bytes: host.len(),
            version: header.version,
            endpoint: None,
            identity: None,
        }
    }

    /// An endpoint of ours answers it.
    pub(super) fn served_by(&mut self, service: &Service) {
        self.endpoint = Some(service.endpoint.as_str());
        self.identity = service.bearer.as_ref().and_then(|bearer| bearer.as_ref().ok()).cloned();
    }
}

impl Text {
    fn of(host: &[u8], path: &[u8]) -> Text {
        let mut short = [0; SHORT];
        let length = host.len() + path.len();
        match short.get_mut(..length) {
            Some(place) => {
                let (first, second) = place.split_at_mut(host.len());
                first.copy_from_slice(host);
                second.copy_from_slice(path);
                Text::Short(short, length)
            }
            None => Text::Long([host, path].concat().into_boxed_slice()),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Text::Short(bytes, length) => bytes.get(..*length).unwrap_or_default(),
            Text::Long(bytes) => bytes,
        }
    }
}

/// Without a user and a password before the host (RFC 3986 section 3.2.1).
fn plain_host(authority: &[u8]) -> &[u8] {
    authority.rsplit(|&byte| byte == b'@').next().unwrap_or_default()
}

/// Without the query, parameters and fragment, and in absolute-form without scheme and authority. Nothing of what is no path.
fn plain_path(target: &[u8]) -> &[u8] {
    let start = match target {
        [b'/', ..] | b"*" => 0,
        _ => match target.windows(3).position(|part| part == b"://") {
            Some(scheme) => {
                let authority = scheme + 3;
                let end = target[authority..].iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
                end.map_or(target.len(), |at| authority + at)
            }
            None => target.len(),
        },
    };
    let path = &target[start..];
    let end = path.iter().position(|byte| matches!(byte, b'?' | b'#' | b';'));
    &path[..end.unwrap_or(path.len())]
}

impl Ending {
    /// It has come to the last hook.
    pub(super) fn told(session: &Session, error: Option<&Error>, context: &Context) -> Ending {
        let (end, reason) = match error {
            None => (End::Complete, context.reason),
            Some(error) => {
                let reason = context.failure.or_else(|| reason_of(error));
                let by_client = *error.esource() == ErrorSource::Downstream;
                match reason {
                    Some(reason) if !by_client || context.failure.is_some() => (End::Failed, Some(reason)),
                    Some(Reason::RequestTimeout) => (End::Failed, reason),
                    // A stream that its client has reset, for one.
                    _ => (End::ClientGone, context.reason),
                }
            }
        };
        let bytes = |bytes: usize| bytes as u64;
        let (received_bytes, sent_bytes) = (bytes(session.body_bytes_read()), bytes(session.body_bytes_sent()));
        Ending { end, reason, received_bytes, sent_bytes }
    }

    /// It has not: it was dropped on its way.
    pub(super) fn cut(context: &Context) -> Ending {
        Ending {
            end: End::Cut,
            reason: why_cut().or(context.failure).or(context.reason),
            received_bytes: context.body_bytes,
            sent_bytes: context.response_bytes,
        }
    }
}

/// Writes the line of a request that has ended, if anybody wants it.
pub(super) fn write(context: &Context, ending: &Ending) {
    let compiled = &context.compiled;
    let (Some(log), Some(asked)) = (&compiled.access, &context.asked) else { return };
    let of_grant = context.grant.as_ref().and_then(|grant| grant.identity()).map(|identity| &**identity);
    let identity = asked.identity.as_deref().or(of_grant);
    let route = context.route.and_then(|route| compiled.policy.routes.routes().get(route));
    let upstream = context.grant.as_ref().and_then(|grant| compiled.upstreams.get(grant.upstream()));
    let (host, path) = asked.text.as_bytes().split_at_checked(asked.host_bytes).unwrap_or_default();
    log.write(&Access {
        at: context.at,
        request_id: context.request_id.as_ref().map_or(&[], |id| id.as_bytes()),
        trace_id: context.trace.as_ref().map_or(&[], |trace| trace.id()),
        client: Some(context.client.address),
        method: asked.method.as_str().as_bytes(),
        host,
        path,
        http_version: version(asked.version),
        tls: Some(context.tls),
        route: route.map(|route| route.name.as_str()),
        endpoint: asked.endpoint,
        decision: context.decision,
        decision_took: context.decision.and(Some(context.decision_took)),
        reason: ending.reason,
        status: context.status.map(|status| status.as_u16()),
        end: ending.end,
        subject: identity.map_or("", Identity::subject),
        session: identity.map_or(&[], |identity| identity.headers().session.as_bytes()),
        upstream: upstream.map(|upstream| upstream.name()),
        server: context.picked.as_ref().map_or("", |picked| picked.authority()),
        upstream_took: context.upstream_took,
        received_bytes: ending.received_bytes,
        sent_bytes: ending.sent_bytes,
        took: Some(context.began.elapsed()),
    });
}

/// Writes the line of a head that never became a request. Of what stands in it nothing is certain.
pub(super) fn write_unparsed(log: &AccessLog, client: Option<IpAddr>) {
    log.write(&Access {
        at: Timestamp::now(),
        request_id: &[],
        trace_id: &[],
        client,
        method: &[],
        host: &[],
        path: &[],
        http_version: "",
        tls: None,
        route: None,
        endpoint: None,
        decision: Some(Outcome::Refused),
        decision_took: None,
        reason: Some(Reason::HeadMalformed),
        status: None,
        end: End::Failed,
        subject: "",
        session: &[],
        upstream: None,
        server: "",
        upstream_took: None,
        received_bytes: 0,
        sent_bytes: 0,
        took: None,
    });
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_path_are_kept_whatever_their_length() {
        for (host, path) in [(0, 0), (9, 3), (0, SHORT), (SHORT, 0), (1, SHORT), (HOST_BYTES_MAX, PATH_BYTES_MAX)] {
            let (host, path) = (vec![b'h'; host], vec![b'p'; path]);
            assert_eq!(Text::of(&host, &path).as_bytes(), [&host[..], &path].concat());
        }
    }

    #[test]
    fn of_a_target_only_the_path_is_kept() {
        for (target, path) in [
            ("/a/b", "/a/b"),
            ("/a?access_token=x", "/a"),
            ("/a#x", "/a"),
            ("/a;jsessionid=x/b", "/a"),
            ("/?a=http://user:pass@b/c", "/"),
            ("http://user:pass@host/a?b", "/a"),
            ("http://user:pass@host", ""),
            ("http://host?/a=secret", ""),
            ("user:pass@host:443", ""),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(std::str::from_utf8(plain_path(target.as_bytes())), Ok(path), "{target}");
        }
        for (authority, host) in [("a:80", "a:80"), ("user:pass@a", "a"), ("u@p@a", "a"), ("", "")] {
            assert_eq!(std::str::from_utf8(plain_host(authority.as_bytes())), Ok(host), "{authority}");
        }
    }
}
