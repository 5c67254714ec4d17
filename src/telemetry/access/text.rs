//! Pieces of text as tables and arithmetic: digits, addresses, times, and which bytes stand for themselves.
//!
//! What must never happen in here: a byte is taken for plain that ends a string, a line, or the state of a terminal.

use crate::time::Timestamp;

/// Are these bytes that all stand for themselves in a JSON string: printable ASCII but the quote and the backslash?
pub(super) fn is_plain(text: &[u8]) -> bool {
    match text.last_chunk::<8>() {
        // Eight at a time. Of the last ones some may be looked at twice, so that no rest remains.
        Some(last) => {
            let (words, rest) = text.as_chunks::<8>();
            let found = if rest.is_empty() { 0 } else { others(last) };
            words.iter().fold(found, |found, word| found | others(word)) & EACH_HIGH == 0
        }
        None => text.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')),
    }
}

const EACH: u64 = 0x0101_0101_0101_0101;
const EACH_HIGH: u64 = 0x80 * EACH;

/// Has a high bit if, and only if, one of the eight bytes is another one. No byte of ASCII has one, so a subtraction sets it where
/// it goes below zero, and an addition where it goes beyond `~`; what that may do to the bytes above is no matter then.
fn others(bytes: &[u8; 8]) -> u64 {
    let word = u64::from_le_bytes(*bytes);
    let below = |value: u64, least: u8| value.wrapping_sub(u64::from(least) * EACH);
    let is = |byte: u8| below(word ^ (u64::from(byte) * EACH), 1);
    ((below(word, b' ') | is(b'"') | is(b'\\')) & !word) | word.wrapping_add(EACH) | word
}

/// The two digits of each number below a hundred.
pub(super) const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < pairs.len() {
        pairs[number] = [b'0' + number as u8 / 10, b'0' + number as u8 % 10];
        number += 1;
    }
    pairs
};

/// The last digits of a number, with zeros before it.
pub(super) fn digits<const N: usize>(mut number: u32) -> [u8; N] {
    let mut digits = [0; N];
    let (first, pairs) = digits.as_rchunks_mut::<2>();
    for pair in pairs.iter_mut().rev() {
        *pair = PAIRS[(number % 100) as usize];
        number /= 100;
    }
    for digit in first {
        *digit = b'0' + (number % 10) as u8;
    }
    digits
}

/// Each octet with a point behind it, and how long that is.
pub(super) const OCTETS: [([u8; 4], usize); 256] = {
    let mut octets = [([0; 4], 0); 256];
    let mut octet = 0;
    while octet < octets.len() {
        let [hundreds, tens, ones] = [octet / 100, octet / 10 % 10, octet % 10];
        let [hundreds, tens, ones] = [b'0' + hundreds as u8, b'0' + tens as u8, b'0' + ones as u8];
        octets[octet] = match octet {
            0..10 => ([ones, b'.', 0, 0], 2),
            10..100 => ([tens, ones, b'.', 0], 3),
            _ => ([hundreds, tens, ones, b'.'], 4),
        };
        octet += 1;
    }
    octets
};

/// `2026-11-23T15:04:05`, without the part of a second.
pub(super) type Second = [u8; 19];

/// A time (RFC 3339) to the millisecond.
pub(super) fn time(at: Timestamp) -> [u8; 24] {
    let mut text = *b"0000-00-00T00:00:00.000Z";
    text[..19].copy_from_slice(&second(at.as_secs()));
    text[20..23].copy_from_slice(&millis(at));
    text
}

/// The thousandths of its second.
pub(super) fn millis(at: Timestamp) -> [u8; 3] {
    digits((at.as_millis() % 1000) as u32)
}

pub(super) fn second(secs: u64) -> Second {
    let (days, of_day) = (secs / 86_400, (secs % 86_400) as u32);
    let (year, month, day) = date(days);
    let mut text = *b"0000-00-00T00:00:00";
    text[..4].copy_from_slice(&digits::<4>(year));
    for (at, value) in [(5, month), (8, day), (11, of_day / 3600), (14, of_day / 60 % 60), (17, of_day % 60)] {
        text[at..at + 2].copy_from_slice(&digits::<2>(value));
    }
    text
}

/// Year, month and day of a number of days since 1970-01-01 (proleptic Gregorian). Years are counted from March, so that the
/// leap day is the last one.
fn date(days: u64) -> (u32, u32, u32) {
    // From 0000-03-01.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year as u32, month as u32, day as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (secs, expected) in [
            (0, b"1970-01-01T00:00:00.007Z"),
            (951_782_400, b"2000-02-29T00:00:00.007Z"),
            (1_700_000_000, b"2023-11-14T22:13:20.007Z"),
            (1_709_251_199, b"2024-02-29T23:59:59.007Z"),
            (4_107_542_399, b"2100-02-28T23:59:59.007Z"),
            (4_107_542_400, b"2100-03-01T00:00:00.007Z"),
            (4_102_444_799, b"2099-12-31T23:59:59.007Z"),
        ] {
            assert_eq!(time(Timestamp::from_millis(secs * 1000 + 7)), *expected);
        }
    }

    #[test]
    fn each_byte_is_plain_or_not_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            let expected = matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
            for length in 1..20 {
                for at in 0..length {
                    let mut text = vec![b'a'; length];
                    text[at] = byte;
                    assert_eq!(is_plain(&text), expected, "{byte} at {at} of {length}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn texts_are_plain_if_all_their_bytes_are(
            text in prop::collection::vec(prop_oneof![9 => 0x1f..0x80_u8, 1 => any::<u8>()], 0..40),
        ) {
            prop_assert_eq!(is_plain(&text), text.iter().all(|byte| is_plain(&[*byte])));
        }
    }
}
