//! The frames of an HTTP/2 connection, as they come in: what is opened, and what is taken back.
//!
//! Streams that a client opens and resets at once (CVE-2023-44487) never reach the bound on concurrent streams, and each costs
//! a connection to an app. The library below bounds only those that it has not yet handed over.
//!
//! What must never happen in here: bytes are changed or held back.

use std::time::Instant;

/// How many streams a client may reset at once. Who leaves a page resets at most what is open, 100.
const RESETS: f64 = 500.0;
/// How many more it may reset each second.
const RESETS_PER_SECOND: f64 = 50.0;

/// What the client sends before its first frame (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;

/// Walks over frames (RFC 9113 section 4.1).
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes to come that belong to no frame's header.
    payload: usize,
    header: [u8; 9],
    filled: usize,
    newest_stream: u32,
    resets_left: f64,
    refilled: Option<Instant>,
}

/// The client resets streams faster than anybody needs to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flood;

impl Frames {
    /// Before the preface.
    pub(super) fn new() -> Frames {
        Frames {
            payload: PREFACE_BYTES,
            header: [0; 9],
            filled: 0,
            newest_stream: 0,
            resets_left: RESETS,
            refilled: None,
        }
    }

    /// Reads on, and says how many streams were opened.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<u64, Flood> {
        let mut opened = 0;
        while !bytes.is_empty() {
            let passed = bytes.len().min(self.payload);
            self.payload -= passed;
            bytes = &bytes[passed..];
            let more = bytes.len().min(self.header.len() - self.filled);
            self.header[self.filled..self.filled + more].copy_from_slice(&bytes[..more]);
            self.filled += more;
            bytes = &bytes[more..];
            if self.filled < self.header.len() {
                continue;
            }
            let [l1, l2, l3, kind, _flags, s1, s2, s3, s4] = self.header;
            self.filled = 0;
            self.payload = u32::from_be_bytes([0, l1, l2, l3]) as usize;
            let stream = u32::from_be_bytes([s1, s2, s3, s4]) & 0x7fff_ffff;
            match kind {
                // Those of a known stream are trailers.
                HEADERS if stream > self.newest_stream => {
                    self.newest_stream = stream;
                    opened += 1;
                }
                RST_STREAM => self.reset()?,
                _ => {}
            }
        }
        Ok(opened)
    }

    fn reset(&mut self) -> Result<(), Flood> {
        self.resets_left -= 1.0;
        if self.resets_left < RESETS / 2.0 {
            let now = Instant::now();
            let refilled = self.refilled.replace(now).unwrap_or(now);
            self.resets_left += now.duration_since(refilled).as_secs_f64() * RESETS_PER_SECOND;
        }
        if self.resets_left < 0.0 { Err(Flood) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: usize) -> Vec<u8> {
        let length = (payload as u32).to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, 0];
        frame.extend(stream.to_be_bytes());
        frame.extend(vec![HEADERS; payload]);
        frame
    }

    #[test]
    fn streams_are_counted_however_the_bytes_arrive() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        for (kind, stream, payload) in [
            (4, 0, 0),
            (HEADERS, 1, 70),
            (0, 1, 300),
            (HEADERS, 1, 9),
            (HEADERS, 3, 1),
            (9, 3, 70_000),
            (HEADERS, 9, 0),
        ] {
            bytes.extend(frame(kind, stream, payload));
        }
        for piece in [1, 2, 7, 9, 100, 1 << 20] {
            let mut frames = Frames::new();
            let opened = bytes.chunks(piece).map(|piece| frames.read(piece).expect("no flood"));
            assert_eq!(opened.sum::<u64>(), 3, "in pieces of {piece}");
        }
    }

    #[test]
    fn many_resets_at_once_are_a_flood() {
        let mut frames = Frames::new();
        frames.payload = 0;
        let reset = frame(RST_STREAM, 1, 4);
        assert!((0..RESETS as usize).all(|_| frames.read(&reset).is_ok()));
        assert!((0..RESETS as usize).any(|_| frames.read(&reset) == Err(Flood)));
    }
}
