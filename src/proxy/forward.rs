//! What the upstream sees: the request as it was judged, without what is ours, with who asks.
//!
//! It runs in the last hook before the wire, after Pingora has removed what `Connection` names; applied twice, it changes
//! nothing the second time.
//!
//! What must never happen in here: an identity header that is not exactly ours; our cookie or our token goes through.

use std::net::IpAddr;

use http::header::{COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use pingora::http::RequestHeader;

use super::fields::{Edit, Fields, edit, internal};
use super::trace::{TRACEPARENT, TRACESTATE, Trace};
use crate::gate::{Client, Grant, IdentityHeaderSpellings, Policy};

/// So many are put in at most, beside one for the cookies and one for the host, which are there already.
const OURS_MAX: usize = 9;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What one request is forwarded by.
pub(super) struct Forwarding<'a> {
    pub(super) policy: &'a Policy,
    pub(super) grant: &'a Grant,
    pub(super) client: &'a Client,
    /// The peer of the connection: the last proxy, or the client.
    pub(super) peer: IpAddr,
    /// The names of our cookies.
    pub(super) own_cookies: &'a [Box<str>],
    pub(super) request_id: &'a HeaderValue,
    pub(super) trace: &'a Trace,
    /// The server's own authority, if the upstream is not to see the client's `Host`.
    pub(super) host: Option<&'a str>,
}

impl Forwarding<'_> {
    /// Makes `request` fit for the upstream. `received` is the head as the client sent it.
    pub(super) fn apply(&self, request: &mut RequestHeader, received: &RequestHeader) -> pingora::Result<()> {
        edit(request, &Application { forwarding: self, received })
    }

    fn removes(&self, name: &[u8], spellings: &IdentityHeaderSpellings) -> bool {
        let is_about_the_way = match is_forwarding(name) {
            Forwards::Nothing => false,
            Forwards::Way => !self.client.by_trusted_proxy,
            Forwards::Judgement => true,
        };
        is_about_the_way || spellings.matches(name)
    }

    /// Removes what is not for the app, and says what is among the rest.
    fn remove(&self, fields: &mut impl Fields) -> Found {
        let spellings = &self.policy.identity_spellings;
        let mut found = Found::default();
        let mut removed = Vec::new();
        for name in fields.all().keys() {
            if self.removes(name.as_str().as_bytes(), spellings) {
                removed.push(name.clone());
            } else if *name == COOKIE {
                found.cookies = true;
            } else if *name == TRACESTATE {
                found.tracestate = true;
            }
        }
        for name in self.grant.dropped().chain(&removed) {
            fields.clear(name);
        }
        found
    }

    /// The app's cookies, in one field (RFC 9113 section 8.2.3), without ours.
    fn pass_cookies(&self, fields: &mut impl Fields, received_version: Version) -> pingora::Result<()> {
        let mut received = fields.all().get_all(COOKIE).iter();
        let (Some(first), second) = (received.next(), received.next()) else { return Ok(()) };
        let is_ours = |field: &HeaderValue| {
            self.own_cookies.iter().any(|name| holds_ignoring_case(field.as_bytes(), name.as_bytes()))
        };
        let crumbs = second.is_some() && received_version == Version::HTTP_2;
        if !crumbs && !is_ours(first) && !second.is_some_and(is_ours) && received.next().is_none() {
            return Ok(());
        }
        let kept = without_cookies(fields.all(), self.own_cookies);
        fields.clear(&COOKIE);
        if !kept.is_empty() {
            fields.put(COOKIE, HeaderValue::from_bytes(&kept).map_err(internal)?)?;
        }
        Ok(())
    }

    /// The way of the request up to here: what a trusted proxy tells of it, and the peer.
    fn way(&self, received: &RequestHeader) -> pingora::Result<HeaderValue> {
        let peer = || {
            let mut text = Vec::with_capacity(16);
            write_address(&mut text, self.peer.to_canonical());
            // Cannot fail: it is ASCII.
            HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unknown"))
        };
        let peer = super::watch::peer_text(peer);
        if !self.client.by_trusted_proxy {
            return Ok(peer);
        }
        let mut way = join(received.headers.get_all(X_FORWARDED_FOR), ", ");
        if way.is_empty() {
            return Ok(peer);
        }
        way.extend_from_slice(b", ");
        way.extend_from_slice(peer.as_bytes());
        HeaderValue::try_from(way).map_err(internal)
    }
}

/// What is among the fields that are passed on.
#[derive(Default)]
struct Found {
    cookies: bool,
    tracestate: bool,
}

/// What is done for one request.
struct Application<'a> {
    forwarding: &'a Forwarding<'a>,
    received: &'a RequestHeader,
}

impl Edit for Application<'_> {
    fn edit(&self, fields: &mut impl Fields) -> pingora::Result<()> {
        let (ours, received) = (self.forwarding, self.received);
        let by_trusted = ours.client.by_trusted_proxy;
        let found = ours.remove(fields);
        fields.reserve(OURS_MAX)?;

        let names = &ours.policy.identity_headers;
        if let Some(identity) = ours.grant.identity() {
            let values = identity.headers();
            set(fields, names.subject.as_ref(), Some(values.subject))?;
            set(fields, names.roles.as_ref(), values.roles)?;
            set(fields, names.scopes.as_ref(), values.scopes)?;
            set(fields, names.session.as_ref(), Some(values.session))?;
        }

        // HTTP/2 has `:authority` in its place.
        let authority = || HeaderValue::try_from(received.uri.authority()?.as_str()).ok();
        let received_host = received.headers.get(HOST).cloned().or_else(authority);
        fields.put(X_FORWARDED_FOR, ours.way(received)?)?;
        fields.put(X_FORWARDED_PROTO, HeaderValue::from_static(ours.client.scheme.as_str()))?;
        let told_host = by_trusted.then(|| received.headers.get(X_FORWARDED_HOST).cloned()).flatten().or(received_host);
        if let Some(host) = told_host {
            fields.put(X_FORWARDED_HOST, host)?;
        }
        fields.put(X_REQUEST_ID, ours.request_id.clone())?;
        if let Trace::New(traceparent) = ours.trace {
            if found.tracestate {
                fields.clear(&TRACESTATE);
            }
            fields.put(TRACEPARENT, traceparent.clone())?;
        }

        if found.cookies {
            ours.pass_cookies(fields, received.version)?;
        }
        if let Some(host) = ours.host {
            fields.put(HOST, HeaderValue::from_str(host).map_err(internal)?)?;
        }
        Ok(())
    }
}

fn set(fields: &mut impl Fields, name: Option<&HeaderName>, value: Option<&HeaderValue>) -> pingora::Result<()> {
    match (name, value) {
        (Some(name), Some(value)) => fields.put(name.clone(), value.clone()),
        _ => Ok(()),
    }
}

/// What a field says about the way a request came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Forwards {
    Nothing,
    /// Its way here: what trusted proxies say of it is passed on.
    Way,
    /// Another target, method or body than the one that was judged: never passed on.
    Judgement,
}

/// What judges a request anew behind our back, for apps and gateways that look there.
const JUDGEMENT: &[&str] = &[
    "x-original-url",
    "x-original-uri",
    "x-original-path",
    "x-original-host",
    "x-original-method",
    "x-rewrite-url",
    "x-forwarded-uri",
    "x-forwarded-url",
    "x-forwarded-method",
    "x-forwarded-path",
    "x-envoy-original-path",
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-override-url",
    "x-script-name",
    // What gunicorn splits a path by: with `SCRIPT_NAME: /public`, /public/admin is /admin to the app.
    "script-name",
    "path-info",
    "request-uri",
    // Not a target, but to CGI programs it is the variable HTTP_PROXY, the proxy of their own requests.
    "proxy",
];

/// What tells the way of a request, beside everything that begins with [`FORWARDED_PREFIX`].
const WAY: &[&str] = &[
    "forwarded",
    "x-real-ip",
    "x-request-id",
    "x-cluster-client-ip",
    "x-client-ip",
    "client-ip",
    "true-client-ip",
    "cf-connecting-ip",
];

/// What tells where a body ends. A backend that takes `Content_Length` for it would end the request elsewhere than we do, and
/// read what follows as the next one.
const FRAMING: &[&str] = &["content-length", "transfer-encoding"];

/// Proxies write such fields, clients never do: whatever an app takes from one (`X-Forwarded-User`, say) is not theirs to say.
const FORWARDED_PREFIX: &str = "x-forwarded-";

/// Recognises those fields, spelled with anything for `-` as CGI-like gateways read them. One that is spelled otherwise than
/// with `-` is never passed on.
fn is_forwarding(bytes: &[u8]) -> Forwards {
    let may_be = match bytes.first() {
        Some(b'x' | b'f' | b'c' | b't') => true,
        Some(b's' | b'r') => bytes.len() == "script-name".len(),
        Some(b'p') => matches!(bytes.len(), 5 | 9),
        _ => false,
    };
    if !may_be {
        return Forwards::Nothing;
    }
    let begins_with = |known: &str| {
        let folded = bytes.iter().map(|&byte| if byte.is_ascii_alphanumeric() { byte } else { b'-' });
        known.len() <= bytes.len() && known.bytes().eq(folded.take(known.len()))
    };
    let is = |known: &&str| known.len() == bytes.len() && begins_with(known);
    if JUDGEMENT.iter().any(&is) {
        return Forwards::Judgement;
    }
    let is_plain = || bytes.iter().all(|&byte| byte == b'-' || byte.is_ascii_alphanumeric());
    match begins_with(FORWARDED_PREFIX) || WAY.iter().any(&is) {
        true if is_plain() => Forwards::Way,
        true => Forwards::Judgement,
        false if FRAMING.iter().any(&is) && !is_plain() => Forwards::Judgement,
        false => Forwards::Nothing,
    }
}

/// The address as text. Most are IPv4, and those need no formatter.
fn write_address(text: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (place, number) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    text.push(b'.');
                }
                let digits = [number / 100, number / 10 % 10, number % 10].map(|digit| b'0' + digit);
                let zeros = usize::from(number < 100) + usize::from(number < 10);
                text.extend_from_slice(&digits[zeros..]);
            }
        }
        IpAddr::V6(address) => text.extend_from_slice(address.to_string().as_bytes()),
    }
}

fn join<'a>(fields: impl IntoIterator<Item = &'a HeaderValue>, separator: &str) -> Vec<u8> {
    let fields: Vec<&[u8]> = fields.into_iter().map(HeaderValue::as_bytes).collect();
    fields.join(separator.as_bytes())
}

/// All cookies but ours.
fn without_cookies(headers: &HeaderMap, own_cookies: &[Box<str>]) -> Vec<u8> {
    let kept: Vec<&[u8]> = cookie_pairs(headers).filter(|pair| !names_one(pair, own_cookies)).collect();
    kept.join(&b"; "[..])
}

/// The cookies of a request, each as it stands there: name and value.
pub(super) fn cookie_pairs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|field| field.as_bytes().split(|&byte| byte == b';'));
    pairs.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

/// Is this cookie one of those, whatever the case of its name?
pub(super) fn names_one(pair: &[u8], names: &[impl AsRef<str>]) -> bool {
    let name = pair.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii();
    names.iter().any(|one| name.eq_ignore_ascii_case(one.as_ref().as_bytes()))
}

fn holds_ignoring_case(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proxies_say_is_recognised_however_it_is_spelled() {
        for (name, forwards) in [
            ("forwarded", Forwards::Way),
            ("x-forwarded-for", Forwards::Way),
            ("x-forwarded-user", Forwards::Way),
            ("true-client-ip", Forwards::Way),
            ("x_forwarded_for", Forwards::Judgement),
            ("x-forwarded_for", Forwards::Judgement),
            ("x.forwarded.groups", Forwards::Judgement),
            ("client~ip", Forwards::Judgement),
            ("x-original-url", Forwards::Judgement),
            ("x.original_url", Forwards::Judgement),
            ("x-http-method", Forwards::Judgement),
            ("script_name", Forwards::Judgement),
            ("path-info", Forwards::Judgement),
            ("request_uri", Forwards::Judgement),
            ("proxy", Forwards::Judgement),
            ("content_length", Forwards::Judgement),
            ("transfer.encoding", Forwards::Judgement),
            ("content-length", Forwards::Nothing),
            ("transfer-encoding", Forwards::Nothing),
            ("content_type", Forwards::Nothing),
            ("sec-fetch-site", Forwards::Nothing),
            ("sec-purpose", Forwards::Nothing),
            ("x-forward", Forwards::Nothing),
            ("x-original-urls", Forwards::Nothing),
            ("forwarded-for", Forwards::Nothing),
            ("cookie", Forwards::Nothing),
        ] {
            assert_eq!(is_forwarding(name.as_bytes()), forwards, "{name}");
        }
    }

    #[test]
    fn addresses_are_written_as_everybody_writes_them() {
        for address in ["0.0.0.0", "10.1.20.100", "127.0.0.1", "255.99.9.10", "::1", "2001:db8::a"] {
            let mut text = Vec::new();
            write_address(&mut text, address.parse().unwrap());
            assert_eq!(String::from_utf8(text).unwrap(), address);
        }
    }

    #[test]
    fn our_cookie_never_passes_and_the_others_do() {
        for (fields, kept) in [
            (&["a=1; __Host-refresh=secret; b=2"][..], "a=1; b=2"),
            (&["__Host-refresh=secret"], ""),
            (&["__HOST-REFRESH=secret; a=1"], "a=1"),
            (&["a=1", "__Host-refresh =secret", "b=2"], "a=1; b=2"),
            (&["x__Host-refresh=kept"], "x__Host-refresh=kept"),
            (&["a=__Host-refresh"], "a=__Host-refresh"),
        ] {
            let mut headers = HeaderMap::new();
            fields.iter().for_each(|field| {
                headers.append(COOKIE, HeaderValue::from_static(field));
            });
            assert_eq!(
                String::from_utf8(without_cookies(&headers, &["__Host-refresh".into()])).unwrap(),
                kept,
                "{fields:?}"
            );
        }
    }
}
