//! Reading a request target the way every backend could read it.
//!
//! Backends disagree on paths: some decode twice, strip `;x`, merge slashes, take `\` for `/`, fold case. A rule that
//! was matched against one reading protects nothing if the backend follows another. So a target that is outright
//! hostile (dot segments, encoded separators, stray bytes) is refused here, and one that is merely unusual comes with
//! all its [`Path::readings`], which must all lead to the same route.
//!
//! What must never happen in here: a path is changed. It is forwarded byte for byte or refused (RFC 9110 section 7.7).

mod folds;

use std::borrow::Cow;

use self::folds::{CASE, FOLDS_MAX, Folds, folded, unusual};

/// The path of a request, judged and decoded once. The query is not part of it and never decides anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Path<'a> {
    decoded: Cow<'a, [u8]>,
    /// With encoded slashes taken for ordinary characters, if there are any.
    opaque_slashes: Option<Vec<u8>>,
    unusual: Folds,
}

/// Two readers could read this path differently, in a way that no rule could cover.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ambiguous;

impl<'a> Path<'a> {
    /// Reads the path of an origin-form target (RFC 9112 section 3.2.1): everything before the first `?`.
    pub fn read(target: &'a [u8]) -> Result<Path<'a>, Ambiguous> {
        let plain_bytes = plain_bytes(target);
        let (rest, is_plain) = match &target[plain_bytes..] {
            rest @ ([] | [b'?', ..]) => (rest, true),
            rest => (rest, false),
        };
        let end = plain_bytes + rest.iter().position(|&byte| byte == b'?').unwrap_or(rest.len());
        let (raw, query) = target.split_at(end);
        if raw.first() != Some(&b'/') || !query.iter().all(|&byte| is_query_byte(byte)) {
            return Err(Ambiguous);
        }
        if is_plain {
            return Ok(Path { decoded: Cow::Borrowed(raw), opaque_slashes: None, unusual: 0 });
        }
        Path::read_closely(raw)
    }

    /// Reads a path that has anything in it that takes more than one look.
    fn read_closely(raw: &'a [u8]) -> Result<Path<'a>, Ambiguous> {
        let (decoded, encoded_slashes) = decode(raw)?;
        if has_dot_segment(&decoded) || has_escape(&decoded) {
            return Err(Ambiguous);
        }
        let unusual = unusual(&decoded);
        // Each one doubles the readings. Nobody needs so many at once, and looking at them all has a price.
        if unusual.count_ones() > FOLDS_MAX {
            return Err(Ambiguous);
        }
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

    /// Whether there is no other reading of it, unless rules have upper case.
    pub fn is_plain(&self) -> bool {
        self.unusual == 0 && self.opaque_slashes.is_none()
    }

    /// Whether it holds an encoded slash, which only a route that asks for it may take.
    pub fn has_encoded_slash(&self) -> bool {
        self.opaque_slashes.is_some()
    }

    /// Every other way in which a backend could read it. None for a usual path, unless `rules_have_upper_case`: then a path
    /// in lower case can be read as one of theirs.
    pub fn other_readings(&self, rules_have_upper_case: bool) -> impl Iterator<Item = Reading> {
        let folds = self.unusual | if rules_have_upper_case { CASE } else { 0 };
        let of_decoded = (1..=folds).map(|fold| (&self.decoded[..], fold));
        let of_opaque = self.opaque_slashes.iter().flat_map(move |path| (0..=folds).map(move |fold| (&path[..], fold)));
        let chosen = of_decoded.chain(of_opaque).filter(move |(_, fold)| fold & !folds == 0);
        chosen.map(|(path, fold)| Reading { path: folded(path, fold), case_is_folded: fold & CASE != 0 })
    }
}

/// How a backend could read a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// The path, as it is read.
    pub path: Vec<u8>,
    /// Upper and lower case are one to this reader.
    pub case_is_folded: bool,
}

/// A character that no decoded path holds: it stands for an encoded slash in a reading that does not split there.
const OPAQUE: u8 = 0;

/// Characters that every reader takes for themselves.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < plain.len() {
        plain[byte] = matches!(byte as u8, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' | b'/');
        byte += 1;
    }
    plain
};

/// How many bytes at the start are segments of those characters alone, as in most requests all are: with no dot, no escape, no
/// parameter, no upper case and no empty segment, there is nothing to be decoded and only one reading.
fn plain_bytes(target: &[u8]) -> usize {
    let mut before = 0;
    let stop = target.iter().position(|&byte| {
        let doubled = byte == b'/' && before == b'/';
        before = byte;
        !PLAIN[usize::from(byte)] || doubled
    });
    stop.unwrap_or(target.len())
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
        for segment in path.split(|&byte| byte == b'/') {
            let segment = segment.split(|&byte| byte == b';').next().unwrap_or_default();
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
                let mut readings = path.other_readings(false).map(|reading| reading.path).collect::<Vec<_>>();
                readings.push(path.decoded().to_vec());
                prop_assert!(
                    readings.iter().any(|reading| normal(reading) == normal(&seen)),
                    "{target:?} is read as {:?} by a lenient backend, not among {readings:?}",
                    String::from_utf8_lossy(&seen)
                );
            }
        }

        #[test]
        fn a_plain_path_is_read_as_if_it_were_read_closely(raw in "/([ab0_~-]{0,3}[/.;A%]{0,2}){0,6}") {
            let raw = raw.as_bytes();
            prop_assert_eq!(Path::read(raw), Path::read_closely(raw));
            let with_query = [raw, b"?a//b=%41?"].concat();
            prop_assert_eq!(Path::read(raw), Path::read(&with_query));
            if plain_bytes(raw) == raw.len() {
                prop_assert_eq!(Path::read(raw).map(|path| path.other_readings(false).count()), Ok(0));
            }
        }

        #[test]
        fn no_target_makes_it_panic(target in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(path) = Path::read(&target) {
                prop_assert!(path.decoded().starts_with(b"/"));
                prop_assert!(path.other_readings(true).count() <= 63);
            }
        }
    }

    #[test]
    fn what_somebody_reads_as_the_admins_is_among_the_readings() {
        for target in [
            "//host/admin",
            "///host/admin",
            "/;/host/admin",
            "/admin%3fx",
            "/admin%23/y",
            "/admin;x%3f",
            "/admin.",
            "/admin%20/",
            "/%20/admin",
            "/./admin;",
            "/adm%C4%B1n",
            "/ADM%C4%B0N",
            "/admin.%3fx",
            "//host;x/admin",
        ] {
            let Ok(path) = Path::read(target.as_bytes()) else { continue };
            let readings: Vec<Reading> = path.other_readings(false).collect();
            let admin = |reading: &Reading| normal(&reading.path) == b"/admin" || reading.path.starts_with(b"/admin/");
            assert!(readings.iter().any(admin), "{target}: {readings:?}");
        }
    }

    #[test]
    fn a_path_that_is_unusual_in_every_way_is_refused() {
        assert!(Path::read(b"//A;x.%3f").is_err());
        assert!(Path::read(b"/a//B;x").is_ok());
    }

    #[test]
    fn a_usual_path_is_borrowed_and_has_one_reading() {
        let path = Path::read(b"/assets/app-1.2.css?v=/../admin").unwrap();
        assert!(matches!(path.decoded, Cow::Borrowed(b"/assets/app-1.2.css")));
        assert_eq!(path.other_readings(false).count(), 0);
    }
}
