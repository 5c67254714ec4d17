//! Pieces of lines, written without the formatting machinery: this runs once a request.
//!
//! What must never happen in here: bytes that a client chose end a string, a line, or the state of a terminal.

use std::cell::Cell;
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use super::super::log::escape::is_harmful;
use crate::time::Timestamp;

/// Bytes that stand for themselves in a JSON string: printable ASCII but the quote and the backslash.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        plain[byte] = byte != b'"' as usize && byte != b'\\' as usize;
        byte += 1;
    }
    plain
};

/// Appends text as it stands in a JSON string. Bytes that are no UTF-8 become U+FFFD.
pub(super) fn escaped(line: &mut Vec<u8>, text: &[u8]) {
    match text.iter().position(|&byte| !PLAIN[usize::from(byte)]) {
        None => line.extend_from_slice(text),
        Some(at) => {
            line.extend_from_slice(&text[..at]);
            escaped_slowly(line, &text[at..]);
        }
    }
}

#[cold]
fn escaped_slowly(line: &mut Vec<u8>, text: &[u8]) {
    for char in String::from_utf8_lossy(text).chars() {
        match char {
            '"' | '\\' => line.extend([b'\\', char as u8]),
            // All of these are in the basic plane. Writing to memory cannot fail.
            _ if is_harmful(char) => drop(write!(line, "\\u{:04x}", u32::from(char))),
            _ => line.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Appends a whole number.
pub(super) fn number(line: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return line.extend_from_slice(&digits[first..]);
        }
    }
}

/// Appends seconds with six digits behind the point.
pub(super) fn seconds(line: &mut Vec<u8>, duration: Duration) {
    number(line, duration.as_secs());
    line.push(b'.');
    line.extend_from_slice(&digits::<6>(duration.subsec_micros()));
}

/// The last digits of a number, with zeros before it.
fn digits<const N: usize>(mut number: u32) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    digits
}

/// Appends an address: of IPv4 also if it came in the form of IPv6.
pub(super) fn address(line: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [first, others @ ..] = address.octets();
            number(line, first.into());
            for octet in others {
                line.push(b'.');
                number(line, octet.into());
            }
        }
        // Writing to memory cannot fail.
        IpAddr::V6(address) => drop(write!(line, "{address}")),
    }
}

/// `2026-11-23T15:04:05`, without the part of a second.
type Second = [u8; 19];

/// Appends a time (RFC 3339) to the millisecond. What a thread has made of a second is kept for the next line.
pub(super) fn time(line: &mut Vec<u8>, at: Timestamp) {
    thread_local! {
        static LAST: Cell<(u64, Second)> = Cell::new((0, second(0)));
    }
    let (secs, mut text) = LAST.get();
    if secs != at.as_secs() {
        text = second(at.as_secs());
        LAST.set((at.as_secs(), text));
    }
    line.extend_from_slice(&text);
    line.push(b'.');
    line.extend_from_slice(&digits::<3>((at.as_millis() % 1000) as u32));
    line.push(b'Z');
}

fn second(secs: u64) -> Second {
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
    use super::*;

    fn made(make: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut line = Vec::new();
        make(&mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (secs, expected) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_700_000_000, "2023-11-14T22:13:20.007Z"),
            (1_709_251_199, "2024-02-29T23:59:59.007Z"),
            (4_107_542_399, "2100-02-28T23:59:59.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
            (4_102_444_799, "2099-12-31T23:59:59.007Z"),
        ] {
            assert_eq!(made(|line| time(line, Timestamp::from_millis(secs * 1000 + 7))), expected);
        }
    }

    #[test]
    fn numbers_and_addresses_are_written_out() {
        for value in [0, 9, 10, 1234, u64::MAX] {
            assert_eq!(made(|line| number(line, value)), value.to_string());
        }
        for (micros, expected) in
            [(0, "0.000000"), (1, "0.000001"), (1_234_567, "1.234567"), (86_400_000_000, "86400.000000")]
        {
            assert_eq!(made(|line| seconds(line, Duration::from_micros(micros))), expected);
        }
        for (text, expected) in
            [("192.0.2.10", "192.0.2.10"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::1")]
        {
            assert_eq!(made(|line| address(line, text.parse().unwrap())), expected);
        }
    }
}
