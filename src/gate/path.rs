//! Reading a request target the way every backend could read it.
//!
//! Backends disagree on paths: some decode twice, strip `;x`, merge slashes, take `\` for `/`, fold case. A rule that
//! was matched against one reading protects nothing if the backend follows another. So a target that is outright
//! hostile (dot segments, encoded separators, stray bytes) is refused here, and one that is merely unusual comes with
//! all its [`Path::readings`], which must all lead to the same route.
//!
//! What must never happen in here: a path is changed. It is forwarded byte for byte or refused (RFC 9110 section 7.7).

use std::borrow::Cow;

/// The path of a request, judged and decoded once. The query is not part of it and never decides anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Path<'a> {
    decoded: Cow<'a, [u8]>,
    /// With encoded slashes taken for ordinary characters, if there are any.
    opaque_slashes: Option<Vec<u8>>,
    unusual: Unusual,
}

/// Why there is more than one reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Unusual {
    /// `;`: matrix parameters, which some backends strip from each segment.
    parameters: bool,
    /// `//`: which some backends merge.
    empty_segments: bool,
    /// Upper-case letters, which some backends fold.
    upper_case: bool,
}

/// Two readers could read this path differently, in a way that no rule could cover.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ambiguous;

impl<'a> Path<'a> {
    /// Reads the path of an origin-form target (RFC 9112 section 3.2.1): everything before the first `?`.
    pub fn read(target: &'a [u8]) -> Result<Path<'a>, Ambiguous> {
        let end = target.iter().position(|&byte| byte == b'?').unwrap_or(target.len());
        let (raw, query) = target.split_at(end);
        if raw.first() != Some(&b'/') || !query.iter().all(|&byte| is_query_byte(byte)) {
            return Err(Ambiguous);
        }
        let (decoded, encoded_slashes) = decode(raw)?;
        if has_dot_segment(&decoded) || has_escape(&decoded) {
            return Err(Ambiguous);
        }
        let unusual = Unusual {
            parameters: decoded.contains(&b';'),
            // A segment that is nothing but parameters is empty to those who strip them.
            empty_segments: decoded.windows(2).any(|pair| pair == b"//" || pair == b"/;"),
            upper_case: decoded.iter().any(u8::is_ascii_uppercase),
        };
        let opaque_slashes = (!encoded_slashes.is_empty()).then(|| {
            let mut opaque = decoded.to_vec();
            encoded_slashes.iter().for_each(|&place| opaque[place] = OPAQUE);
            opaque
        });
        Ok(Path { decoded, opaque_slashes, unusual })
    }

    /// The path, percent-decoded once: the first of its readings.
    pub fn decoded(&self) -> &[u8] {
        &self.decoded
    }

    /// Whether it holds an encoded slash, which only a route that asks for it may take.
    pub fn has_encoded_slash(&self) -> bool {
        self.opaque_slashes.is_some()
    }

    /// Whether it holds upper-case letters, which some backends fold.
    pub fn has_upper_case(&self) -> bool {
        self.unusual.upper_case
    }

    /// Every other way in which a backend that respects case could read it. None for a usual path.
    pub fn other_readings(&self) -> impl Iterator<Item = Vec<u8>> {
        let Unusual { parameters, empty_segments, .. } = self.unusual;
        let folds = u8::from(parameters) | u8::from(empty_segments) << 1;
        let of_decoded = (1..=folds).map(|fold| (&self.decoded[..], fold));
        let of_opaque = self.opaque_slashes.iter().flat_map(move |path| (0..=folds).map(move |fold| (&path[..], fold)));
        of_decoded.chain(of_opaque).filter(move |(_, fold)| fold & !folds == 0).map(|(path, fold)| folded(path, fold))
    }

    /// Every way in which a backend that folds case could read it, in lower case.
    pub fn readings_in_lower_case(&self) -> impl Iterator<Item = Vec<u8>> {
        let readings = std::iter::once(self.decoded.to_vec()).chain(self.other_readings());
        readings.map(|mut reading| {
            reading.make_ascii_lowercase();
            reading
        })
    }
}

/// A character that no decoded path holds: it stands for an encoded slash in a reading that does not split there.
const OPAQUE: u8 = 0;

fn folded(path: &[u8], fold: u8) -> Vec<u8> {
    let mut reading = path.to_vec();
    if fold & 1 != 0 {
        reading = without_parameters(&reading);
    }
    if fold & 2 != 0 {
        // After the parameters: `/a/;x/b` reads as `/a//b` first.
        reading.dedup_by(|right, left| *right == b'/' && *left == b'/');
    }
    reading
}

/// RFC 3986 section 3.3: what may stand in a path as it is.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte)
}

/// What may stand in a query: RFC 3986 section 3.4, and the few bytes that browsers leave as they are.
fn is_query_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

/// Percent-decodes once. Refuses what two decoders could take for different things: stray bytes, broken escapes,
/// control characters, backslashes, and the bytes that only an overlong encoding of `/`, `.` or `\` could need.
/// Also tells where the encoded slashes are.
fn decode(raw: &[u8]) -> Result<(Cow<'_, [u8]>, Vec<usize>), Ambiguous> {
    if raw.iter().all(|&byte| is_path_byte(byte)) {
        return Ok((Cow::Borrowed(raw), Vec::new()));
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut encoded_slashes = Vec::new();
    let mut rest = raw;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            if !is_path_byte(byte) && !b"[]\"<>^`{|}".contains(&byte) {
                return Err(Ambiguous);
            }
            decoded.push(byte);
            continue;
        }
        let (Some(high), Some(low)) = (rest.first().and_then(hex), rest.get(1).and_then(hex)) else {
            return Err(Ambiguous);
        };
        rest = &rest[2..];
        let byte = high << 4 | low;
        match byte {
            0..=0x1f | 0x7f | b'\\' | 0xc0 | 0xc1 => return Err(Ambiguous),
            b'/' => encoded_slashes.push(decoded.len()),
            _ => {}
        }
        decoded.push(byte);
    }
    if has_overlong(&decoded) {
        return Err(Ambiguous);
    }
    Ok((Cow::Owned(decoded), encoded_slashes))
}

fn hex(digit: &u8) -> Option<u8> {
    char::from(*digit).to_digit(16).map(|value| value as u8)
}

/// Overlong forms of three and four bytes: a lax decoder takes `E0 80 AF` for a slash.
fn has_overlong(decoded: &[u8]) -> bool {
    decoded.windows(2).any(|pair| matches!(pair, [0xe0, 0x80..=0x9f] | [0xf0, 0x80..=0x8f]))
}

/// `.` or `..` as a segment, in the eyes of anybody: also with parameters behind it, also with blanks around it.
fn has_dot_segment(decoded: &[u8]) -> bool {
    decoded.split(|&byte| byte == b'/').any(|segment| {
        let name = segment.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        matches!(name, b"." | b"..")
    })
}

/// A second decoding would find something: `%2561` after the first one.
fn has_escape(decoded: &[u8]) -> bool {
    decoded.windows(3).any(|three| matches!(three, [b'%', high, low] if hex(high).is_some() && hex(low).is_some()))
        || decoded.windows(2).any(|two| matches!(two, [b'%', b'u' | b'U']))
}

/// Each segment up to its first `;`.
fn without_parameters(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|&byte| byte == b'/');
    let names: Vec<&[u8]> =
        segments.map(|segment| segment.split(|&byte| byte == b';').next().unwrap_or_default()).collect();
    names.join(&b'/')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A reader as lenient as can be: decodes again and again, takes `\` for `/`, resolves dot segments.
    fn lenient(target: &[u8]) -> Vec<u8> {
        let mut path: Vec<u8> = target.split(|&byte| byte == b'?' || byte == b'#').next().unwrap_or_default().to_vec();
        loop {
            let next = decode_laxly(&path);
            if next == path {
                break;
            }
            path = next;
        }
        path.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
        let mut segments: Vec<Vec<u8>> = Vec::new();
        for segment in without_parameters(&path).split(|&byte| byte == b'/') {
            match segment.trim_ascii() {
                b"" | b"." => {}
                b".." => {
                    segments.pop();
                }
                name => segments.push(name.to_ascii_lowercase()),
            }
        }
        [b"/".to_vec(), segments.join(&b'/')].concat()
    }

    fn decode_laxly(path: &[u8]) -> Vec<u8> {
        let mut decoded = Vec::new();
        let mut rest = path;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match (byte, rest.first().and_then(hex), rest.get(1).and_then(hex)) {
                (b'%', Some(high), Some(low)) => {
                    decoded.push(high << 4 | low);
                    rest = &rest[2..];
                }
                _ => decoded.push(byte),
            }
        }
        decoded
    }

    fn normal(reading: &[u8]) -> Vec<u8> {
        let mut path: Vec<u8> = reading.to_ascii_lowercase();
        path.dedup_by(|right, left| *right == b'/' && *left == b'/');
        if path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        path
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn what_a_lenient_reader_sees_is_among_the_readings(
            target in "/([aA.;/]|%2e|%2F|%5c|%61|%25|%252e|\\\\|%00|%c0%af|%e0%80%af| |#|\\?|\u{fc}|%3b|%41){0,10}"
        ) {
            if let Ok(path) = Path::read(target.as_bytes()) {
                let seen = lenient(target.as_bytes());
                let mut readings = path.other_readings().collect::<Vec<_>>();
                readings.push(path.decoded().to_vec());
                prop_assert!(
                    readings.iter().any(|reading| normal(reading) == normal(&seen)),
                    "{target:?} is read as {:?} by a lenient backend, not among {readings:?}",
                    String::from_utf8_lossy(&seen)
                );
            }
        }

        #[test]
        fn no_target_makes_it_panic(target in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(path) = Path::read(&target) {
                prop_assert!(path.decoded().starts_with(b"/"));
                prop_assert!(path.readings_in_lower_case().count() <= 8);
            }
        }
    }

    #[test]
    fn a_usual_path_is_borrowed_and_has_one_reading() {
        let path = Path::read(b"/assets/app-1.2.css?v=/../admin").unwrap();
        assert!(matches!(path.decoded, Cow::Borrowed(b"/assets/app-1.2.css")));
        assert_eq!(path.other_readings().count(), 0);
    }
}
