//! The head of a request, read strictly: what is ambiguous is refused before anything is decided on it.
//!
//! What must never happen in here: two readers of one head see two paths, two hosts or two bodies.

use http::{HeaderMap, Method};

use super::Reason;
use super::host::Host;
use super::known::{Known, KnownFields};
use super::path::Path;

/// How the client reached us, as the client sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS, ours or that of a trusted proxy in front.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// A head as it came off the wire.
#[derive(Clone, Copy, Debug)]
pub struct RawHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The request target, byte for byte. HTTP/2: the `:path`.
    pub target: &'a [u8],
    /// HTTP/2: the `:authority`.
    pub authority: Option<&'a str>,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// How the client reached us.
    pub scheme: Scheme,
}

/// A head that can be read in one way only.
#[derive(Clone, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// What is forwarded: the target in origin-form, byte for byte.
    pub target: &'a [u8],
    /// The path, for matching.
    pub path: Path<'a>,
    /// The host, for matching.
    pub host: Host<'a>,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// Those of them that are often asked for.
    pub known: KnownFields<'a>,
    /// How the client reached us.
    pub scheme: Scheme,
}

impl<'a> RequestHead<'a> {
    /// Reads a head. Refuses: `TRACE` and `CONNECT`, no host or two, two lengths of the body, a target that is not
    /// a path (absolute-form is taken if it names the same host; RFC 9112 section 3.2.2).
    pub fn read(raw: RawHead<'a>) -> Result<RequestHead<'a>, Reason> {
        if raw.method == Method::TRACE || raw.method == Method::CONNECT {
            return Err(Reason::HeadMalformed);
        }
        let known = KnownFields::of(raw.headers);
        check_framing(&known)?;

        let (absolute_authority, target) = split_absolute(raw.target);
        let host_field = known.only(Known::Host).map_err(|_| Reason::HostAmbiguous)?.map(|host| host.as_bytes());
        let named = [raw.authority.map(str::as_bytes), absolute_authority, host_field];
        let mut named = named.into_iter().flatten();
        let authority = named.next().ok_or(Reason::HostAmbiguous)?;
        if !named.all(|other| other.eq_ignore_ascii_case(authority)) {
            return Err(Reason::HostAmbiguous);
        }
        // HTTP/1.1 needs the field itself (RFC 9112 section 3.2); HTTP/2 has `:authority` for it.
        if host_field.is_none() && raw.authority.is_none() {
            return Err(Reason::HostAmbiguous);
        }

        Ok(RequestHead {
            method: raw.method,
            target,
            path: Path::read(target).map_err(|_| Reason::PathAmbiguous)?,
            host: Host::read(authority).ok_or(Reason::HostAmbiguous)?,
            headers: raw.headers,
            known,
            scheme: raw.scheme,
        })
    }
}

/// RFC 9112 sections 6.1 and 6.3: one way to tell where the body ends.
fn check_framing(fields: &KnownFields<'_>) -> Result<(), Reason> {
    let (Ok(length), Ok(coding)) = (fields.only(Known::ContentLength), fields.only(Known::TransferEncoding)) else {
        return Err(Reason::HeadMalformed);
    };
    let is_number = |length: &http::HeaderValue| {
        let digits = length.as_bytes();
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
    };
    let one_framing = match (length, coding) {
        (None, None) => true,
        (Some(length), None) => is_number(length),
        (None, Some(coding)) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    if one_framing { Ok(()) } else { Err(Reason::HeadMalformed) }
}

/// Splits an absolute-form target into its authority and the origin-form that is forwarded.
fn split_absolute(target: &[u8]) -> (Option<&[u8]>, &[u8]) {
    if target.first() == Some(&b'/') {
        return (None, target);
    }
    let has_scheme = |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let scheme_length = match () {
        () if has_scheme(b"http://") => 7,
        () if has_scheme(b"https://") => 8,
        () => return (None, target),
    };
    let rest = &target[scheme_length..];
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    (Some(&rest[..end]), &rest[end..])
}
