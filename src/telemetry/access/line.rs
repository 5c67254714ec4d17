//! A line under way, written without the formatting machinery into memory that is there: this runs once a request.
//!
//! What must never happen in here: bytes that a client chose end a string, a line, or the state of a terminal.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use super::super::log::escape::is_harmful;
use super::text::{OCTETS, PAIRS, digits, is_plain};
use super::{HOST_BYTES_MAX, PATH_BYTES_MAX, WORD_BYTES_MAX};

/// No line is longer: each byte of a text can become six. There are two hosts and a dozen words.
const BYTES_MAX: usize = 6 * (PATH_BYTES_MAX + 2 * HOST_BYTES_MAX + 12 * WORD_BYTES_MAX) + 1024;

/// A line under way. What does not fit is left out, and all fits.
pub(super) struct Line {
    bytes: Box<[u8; BYTES_MAX]>,
    end: usize,
}

impl Line {
    pub(super) fn new() -> Line {
        Line { bytes: Box::new([0; BYTES_MAX]), end: 0 }
    }

    /// Goes back to where it was so long.
    pub(super) fn truncate(&mut self, end: usize) {
        self.end = self.end.min(end);
    }

    /// What is written.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.end.min(BYTES_MAX)]
    }

    /// Writes over what is there.
    #[inline(always)]
    pub(super) fn replace<const N: usize>(&mut self, at: usize, text: &[u8; N]) {
        if at <= BYTES_MAX - N {
            self.bytes[at..at + N].copy_from_slice(text);
        }
    }

    /// Appends a text of a known length: a few moves.
    #[inline(always)]
    pub(super) fn put<const N: usize>(&mut self, text: &[u8; N]) {
        if self.end <= BYTES_MAX - N {
            self.bytes[self.end..self.end + N].copy_from_slice(text);
            self.end += N;
        }
    }

    /// Appends plain text.
    #[inline(always)]
    pub(super) fn append(&mut self, text: &[u8]) {
        if self.end <= BYTES_MAX && text.len() <= BYTES_MAX - self.end {
            self.bytes[self.end..self.end + text.len()].copy_from_slice(text);
            self.end += text.len();
        }
    }

    /// Appends no more than `bytes_max` of a text as it stands in a JSON string. Bytes that are no UTF-8 become U+FFFD.
    pub(super) fn shortened(&mut self, text: &[u8], bytes_max: usize) {
        match text.get(..bytes_max) {
            Some(start) if text.len() > bytes_max => {
                // A character that was cut in two becomes U+FFFD, and this says that there was more.
                self.escaped(start);
                self.append("…".as_bytes());
            }
            _ => self.escaped(text),
        }
    }

    fn escaped(&mut self, text: &[u8]) {
        match is_plain(text) {
            true => self.append(text),
            false => self.escaped_slowly(text),
        }
    }

    #[cold]
    fn escaped_slowly(&mut self, text: &[u8]) {
        let mut escaped = Vec::with_capacity(2 * text.len());
        for char in String::from_utf8_lossy(text).chars() {
            match char {
                '"' | '\\' => escaped.extend([b'\\', char as u8]),
                // All of these are in the basic plane. Writing to memory cannot fail.
                _ if is_harmful(char) => drop(write!(escaped, "\\u{:04x}", u32::from(char))),
                _ => escaped.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        self.append(&escaped);
    }

    /// Appends a whole number.
    pub(super) fn number(&mut self, number: u64) {
        match number {
            0..10 => self.put(&[b'0' + number as u8]),
            10..100 => self.put(&PAIRS[number as usize]),
            100..1000 => self.put(&digits::<3>(number as u32)),
            _ => self.large_number(number),
        }
    }

    fn large_number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut first = digits.len();
        while number >= 10 {
            first -= 2;
            digits[first..first + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
            number /= 100;
        }
        if number > 0 {
            first -= 1;
            digits[first] = b'0' + number as u8;
        }
        self.append(&digits[first..]);
    }

    /// Appends seconds with six digits behind the point.
    pub(super) fn seconds(&mut self, duration: Duration) {
        match duration.as_secs() {
            0 => self.put(b"0."),
            secs => {
                self.number(secs);
                self.put(b".");
            }
        }
        self.put(&digits::<6>(duration.subsec_micros()));
    }

    /// Appends an address: of IPv4 also if it came in the form of IPv6.
    pub(super) fn address(&mut self, address: IpAddr) {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                for octet in address.octets() {
                    // Each has a point behind it. What is behind that is written over.
                    let (text, length) = OCTETS[usize::from(octet)];
                    self.put(&text);
                    self.end -= text.len() - length;
                }
                self.end -= 1;
            }
            IpAddr::V6(address) => self.append(address.to_string().as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(make: impl FnOnce(&mut Line)) -> String {
        let mut line = Line::new();
        make(&mut line);
        String::from_utf8(line.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn numbers_and_addresses_are_written_out() {
        for value in [0, 7, 9, 10, 42, 99, 100, 101, 999, 1000, 1234, 99_999, 100_000, u64::MAX] {
            assert_eq!(made(|line| line.number(value)), value.to_string());
        }
        for (micros, expected) in
            [(0, "0.000000"), (1, "0.000001"), (1_234_567, "1.234567"), (86_400_000_000, "86400.000000")]
        {
            assert_eq!(made(|line| line.seconds(Duration::from_micros(micros))), expected);
        }
        for (text, expected) in [
            ("192.0.2.10", "192.0.2.10"),
            ("255.9.99.100", "255.9.99.100"),
            ("0.0.0.0", "0.0.0.0"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(made(|line| line.address(text.parse().unwrap())), expected);
        }
    }

    #[test]
    fn texts_of_all_lengths_are_copied_whole() {
        let text = "abcdefghijklmnopqrstuvwxyz0123456789-_.~ABCDEFGH";
        for length in 0..text.len() {
            let text = &text[..length];
            assert_eq!(made(|line| (0..3).for_each(|_| line.append(text.as_bytes()))), text.repeat(3));
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut line = Line::new();
        (0..BYTES_MAX).for_each(|_| line.append(b"abc"));
        line.put(b"abc");
        line.append(b"abc");
        assert_eq!(line.as_bytes().len(), BYTES_MAX / 3 * 3);
    }
}
