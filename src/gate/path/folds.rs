//! What backends make of a path beyond decoding it: each fold is one reader's habit, and a reading is a choice of them.
//!
//! What must never happen in here: a usual path costs more than one look at each of its bytes.

/// Why there is more than one reading: a set of the bits below. Each is a fold that some backends make.
pub(super) type Folds = u8;

/// `;`: matrix parameters, which some backends strip from each segment.
const PARAMETERS: Folds = 1;
/// `//`: which some backends merge.
const EMPTY_SEGMENTS: Folds = 2;
/// Letters, of which some backends take the upper and the lower case for one.
pub(super) const CASE: Folds = 4;
/// `//x` at the beginning: which URL parsers take for a host (RFC 3986 section 4.2), and the path begins after it.
const AUTHORITY: Folds = 8;
/// `%3F` or `%23`: what rewrites a decoded path and parses it again ends it there.
const ENDS_EARLY: Folds = 16;
/// Dots and blanks at the end of a segment, which Windows leaves out.
const RAGGED: Folds = 32;
/// A path that is unusual in more ways is refused.
pub(super) const FOLDS_MAX: u32 = 4;

/// Of each byte: what it makes of a path, alone or beside another.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'/' => SLASH,
            b';' => PARAMETERS,
            b'A'..=b'Z' => CASE,
            b'?' | b'#' => ENDS_EARLY,
            b'.' | b' ' => RAGGED,
            0x80.. => NOT_ASCII,
            _ => 0,
        };
        byte += 1;
    }
    classes
};
const SLASH: u8 = 64;
const NOT_ASCII: u8 = 128;

/// Which folds change this path. In one pass, as every request's path comes here.
pub(super) fn unusual(decoded: &[u8]) -> Folds {
    let (mut seen, mut pairs, mut before, mut begins_ragged) = (0, 0, 0, false);
    for &byte in decoded {
        let class = CLASSES[usize::from(byte)];
        seen |= class;
        // A segment that is nothing but parameters is empty to those who strip them.
        if before == SLASH && class & (SLASH | PARAMETERS) != 0 {
            pairs |= EMPTY_SEGMENTS;
        }
        // And so is one of nothing but dots and blanks to those who leave these out.
        if before == SLASH && class == RAGGED {
            begins_ragged = true;
        }
        if before == RAGGED && class & (SLASH | PARAMETERS | ENDS_EARLY) != 0 {
            pairs |= RAGGED;
        }
        before = class;
    }
    let mut unusual = seen & (PARAMETERS | CASE | ENDS_EARLY) | pairs | before & RAGGED;
    if begins_ragged && unusual & RAGGED != 0 {
        unusual |= EMPTY_SEGMENTS;
    }
    if unusual & EMPTY_SEGMENTS != 0 && decoded.get(1).is_some_and(|byte| b"/;. ".contains(byte)) {
        unusual |= AUTHORITY;
    }
    if seen & NOT_ASCII != 0 && (0..decoded.len()).any(|at| letter_of_other_case(&decoded[at..]).is_some()) {
        unusual |= CASE;
    }
    unusual
}

/// The path, as who makes all these folds reads it.
pub(super) fn folded(path: &[u8], fold: Folds) -> Vec<u8> {
    let mut reading = path.to_vec();
    if fold & ENDS_EARLY != 0 {
        reading.truncate(reading.iter().position(is_end).unwrap_or(reading.len()));
    }
    if fold & PARAMETERS != 0 {
        reading = each_segment(&reading, |segment| segment.split(|&byte| byte == b';').next().unwrap_or_default());
    }
    if fold & RAGGED != 0 {
        reading = each_segment(&reading, |segment| {
            &segment[..segment.iter().rposition(|byte| !is_ragged(byte)).map_or(0, |at| at + 1)]
        });
    }
    if fold & AUTHORITY != 0 && reading.starts_with(b"//") {
        let begin = reading.iter().position(|&byte| byte != b'/').unwrap_or(reading.len());
        let end = reading[begin..].iter().position(|&byte| byte == b'/').map_or(reading.len(), |at| begin + at);
        reading.drain(..end);
        if reading.is_empty() {
            reading.push(b'/');
        }
    }
    if fold & EMPTY_SEGMENTS != 0 {
        // After the parameters: `/a/;x/b` reads as `/a//b` first.
        reading.dedup_by(|right, left| *right == b'/' && *left == b'/');
    }
    if fold & CASE != 0 {
        reading = lower_case(&reading);
    }
    reading
}

/// Letters beyond ASCII whose other case is an ASCII letter (Unicode, CaseFolding.txt and SpecialCasing.txt): dotless and
/// dotted I, the long s, the Kelvin sign.
const LETTERS_OF_OTHER_CASE: [(&[u8], u8); 4] = [
    ("\u{131}".as_bytes(), b'i'),
    ("\u{130}".as_bytes(), b'i'),
    ("\u{17f}".as_bytes(), b's'),
    ("\u{212a}".as_bytes(), b'k'),
];

fn letter_of_other_case(text: &[u8]) -> Option<&'static (&'static [u8], u8)> {
    LETTERS_OF_OTHER_CASE.iter().find(|(letter, _)| text.starts_with(letter))
}

fn lower_case(path: &[u8]) -> Vec<u8> {
    let mut lower = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        match letter_of_other_case(rest).filter(|_| !byte.is_ascii()) {
            Some((letter, ascii)) => {
                lower.push(*ascii);
                rest = &rest[letter.len()..];
            }
            None => {
                lower.push(byte.to_ascii_lowercase());
                rest = after;
            }
        }
    }
    lower
}

/// What ends a path where it is parsed again.
fn is_end(byte: &u8) -> bool {
    matches!(byte, b'?' | b'#')
}

fn is_ragged(byte: &u8) -> bool {
    matches!(byte, b'.' | b' ')
}

fn each_segment(path: &[u8], fold: impl Fn(&[u8]) -> &[u8]) -> Vec<u8> {
    path.split(|&byte| byte == b'/').map(fold).collect::<Vec<_>>().join(&b'/')
}
