//! Fuzz targets of the gate, and readers of paths that are as lenient as backends can be.

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::host::Host;
use super::{Bearer, Path, RawHead, RequestHead, Scheme, bearer, client, cookie, is_navigation, ticket};
use crate::fuzz::Target;

pub(crate) const TARGETS: &[Target] = &[("path", path), ("head", head), ("fields", fields), ("host", host)];

/// What a backend may do to a path before it looks at it. Real ones are mixtures of these.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lenience {
    /// Percent-decodes so often.
    pub decodes: u8,
    /// Strips `;x` from segments.
    pub strips_parameters: bool,
    /// Takes `\` for `/`.
    pub folds_backslashes: bool,
    /// Merges slashes.
    pub merges_slashes: bool,
    /// Folds case.
    pub folds_case: bool,
    /// Resolves dot segments, blanks around them or not.
    pub resolves_dots: bool,
}

impl Lenience {
    /// Every mixture.
    pub(crate) fn all() -> impl Iterator<Item = Lenience> {
        (0..3 * 32_u8).map(|number| Lenience {
            decodes: number / 32 + 1,
            strips_parameters: number & 1 != 0,
            folds_backslashes: number & 2 != 0,
            merges_slashes: number & 4 != 0,
            folds_case: number & 8 != 0,
            resolves_dots: number & 16 != 0,
        })
    }

    /// The path of a target, as such a backend reads it.
    pub(crate) fn read(self, target: &[u8]) -> Vec<u8> {
        let mut path: Vec<u8> = target.split(|&byte| byte == b'?' || byte == b'#').next().unwrap_or_default().to_vec();
        for _ in 0..self.decodes {
            path = decode(&path);
        }
        if self.folds_backslashes {
            path.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
        }
        if self.folds_case {
            path.make_ascii_lowercase();
        }
        let mut segments: Vec<&[u8]> = Vec::new();
        for segment in path.split(|&byte| byte == b'/').skip(1) {
            let segment = match self.strips_parameters {
                true => segment.split(|&byte| byte == b';').next().unwrap_or_default(),
                false => segment,
            };
            match (segment, segment.trim_ascii()) {
                (b"", _) if self.merges_slashes => {}
                (_, b".") if self.resolves_dots => {}
                (_, b"..") if self.resolves_dots => drop(segments.pop()),
                _ => segments.push(segment),
            }
        }
        [b"/".to_vec(), segments.join(&b'/')].concat()
    }
}

/// Decodes whatever can be decoded, and leaves the rest.
fn decode(path: &[u8]) -> Vec<u8> {
    let digit = |digit: Option<&u8>| char::from(*digit?).to_digit(16).map(|value| value as u8);
    let mut decoded = Vec::new();
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, digit(rest.first()), digit(rest.get(1))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(high << 4 | low);
                rest = &rest[2..];
            }
            _ => decoded.push(byte),
        }
    }
    decoded
}

/// A reading without what no rule can see: slashes at the end, and doubled ones.
pub(crate) fn plain(reading: &[u8]) -> Vec<u8> {
    let mut path = reading.to_ascii_lowercase();
    path.dedup_by(|right, left| *right == b'/' && *left == b'/');
    if path.len() > 1 && path.ends_with(b"/") {
        path.pop();
    }
    path
}

/// Whatever a lenient reader sees in a path that is not refused is among the readings that it is judged by; and a reader
/// that is not ours, the WHATWG URL parser of browsers and of many servers, sees the same path.
fn path(target: &[u8]) {
    let Ok(path) = Path::read(target) else { return };
    let readings: Vec<Vec<u8>> =
        path.other_readings(false).map(|reading| reading.path).chain([path.decoded().to_vec()]).collect();
    // Zero stands for an encoded slash in readings that do not split there; backends do.
    let plain_readings: Vec<Vec<u8>> = readings.iter().map(|reading| plain(reading)).collect();
    for lenience in Lenience::all() {
        let seen = plain(&lenience.read(target));
        assert!(plain_readings.contains(&seen), "{lenience:?} sees {:?}", String::from_utf8_lossy(&seen));
    }
    let text = std::str::from_utf8(target).expect("what is accepted is ASCII");
    let url = url::Url::parse(&format!("http://a{text}")).expect("what is accepted is part of a URL");
    assert_eq!((url.host_str(), url.username(), url.port()), (Some("a"), "", None));
    assert_eq!(decode(url.path().as_bytes()), path.decoded(), "{text}");
}

/// A head that is accepted names one host, one path and one length.
fn head(bytes: &[u8]) {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let mut words = lines.next().unwrap_or_default().splitn(2, |&byte| byte == b' ');
    let Ok(method) = Method::from_bytes(words.next().unwrap_or_default()) else { return };
    let target = words.next().unwrap_or_default();
    let headers = headers(lines);
    for authority in [None, Some("example.com")] {
        let raw = RawHead { method: &method, target, authority, headers: &headers, scheme: Scheme::Http };
        let Ok(head) = RequestHead::read(raw) else { continue };
        assert!(target.ends_with(head.target) && head.target.starts_with(b"/"));
        assert!(headers.get_all("host").iter().count() <= 1);
        let lengths = headers.get_all("content-length").iter().chain(headers.get_all("transfer-encoding").iter());
        assert!(lengths.count() <= 1);
        assert!(![Method::TRACE, Method::CONNECT].contains(&method));
        assert_eq!(head.host.name(), head.host.name().to_ascii_lowercase());
    }
}

fn headers<'l>(lines: impl Iterator<Item = &'l [u8]>) -> HeaderMap {
    let fields = lines.filter_map(|line| {
        let at = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = (&line[..at], line[at + 1..].trim_ascii());
        Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
    });
    // More than the map can hold never gets past the edge.
    fields.take(200).fold(HeaderMap::new(), |mut headers, (name, value)| {
        headers.append(name, value);
        headers
    })
}

/// What is read from fields is one value that stands there, whole.
fn fields(bytes: &[u8]) {
    let headers = headers(bytes.split(|&byte| byte == b'\n'));
    if let Ok(Some(Ok(token))) = bearer(&headers, &AUTHORIZATION).map(|token| token.map(Bearer::text)) {
        let field = headers.get(AUTHORIZATION).expect("there is one").as_bytes();
        assert!(!token.is_empty() && field.ends_with(token.as_bytes()));
        assert!(!token.contains([',', ' ', ';', '"']));
        assert_eq!(headers.get_all(AUTHORIZATION).iter().count(), 1);
    }
    if let Ok(Some(value)) = cookie(&headers, "__Host-refresh") {
        assert!(!value.contains([';', '\r', '\n']));
        let lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        let wanted = format!("__Host-refresh={value}");
        assert!(lines.iter().any(|line| line.windows(wanted.len()).any(|part| part == wanted.as_bytes())));
    }
    let _ = is_navigation(&headers);
    let peer = [10, 0, 0, 1].into();
    let trusted = ["10.0.0.0/8".parse().expect("a network")];
    let stranger = client([203, 0, 113, 9].into(), false, &headers, &trusted);
    assert_eq!((stranger.address, stranger.by_trusted_proxy), ([203, 0, 113, 9].into(), false));
    assert!(client(peer, false, &headers, &trusted).by_trusted_proxy);
    if let Ok(Some(ticket)) = ticket(bytes) {
        assert!(!ticket.is_empty() && ticket.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    }
}

/// A host that is accepted is a name or an address and nothing else; who reads URLs reads the same.
fn host(authority: &[u8]) {
    let Some(host) = Host::read(authority) else { return };
    let name = std::str::from_utf8(host.name()).expect("what is accepted is ASCII");
    assert!(!name.is_empty() && !name.contains(['/', '@', '\\', '?', '#', '%', ' ', ',']));
    let text = std::str::from_utf8(authority).expect("what is accepted is ASCII");
    // A browser takes numbers for addresses in ways that a name server does not: there is nothing to compare.
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.starts_with(|first: char| first.is_ascii_digit()) || name.starts_with('[') || name.contains("xn--") {
        return;
    }
    let url = url::Url::parse(&format!("http://{text}/")).expect("what is accepted is part of a URL");
    assert_eq!(url.host_str(), Some(name));
}
