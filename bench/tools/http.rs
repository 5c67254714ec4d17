//! As much of HTTP/1.1 as the bench speaks to servers that it has started itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Outcome;

/// How long one message is waited for.
const DEADLINE: Duration = Duration::from_secs(10);

/// Where the head of a message ends.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// The value of a header field.
pub fn field<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = head.split(|&byte| byte == b'\n');
    let mut values = lines.filter_map(|line| {
        let (before, value) = line.split_at_checked(name.len())?;
        (before.eq_ignore_ascii_case(name.as_bytes())).then(|| value.strip_prefix(b":")).flatten()
    });
    std::str::from_utf8(values.next()?.trim_ascii()).ok()
}

/// An answer that has arrived in part.
#[derive(Default)]
pub struct Arriving {
    pub bytes: Vec<u8>,
    head_bytes: usize,
    body_bytes: Option<usize>,
}

impl Arriving {
    /// More of it. True when it is complete.
    pub fn take(&mut self, bytes: &[u8]) -> bool {
        self.bytes.extend_from_slice(bytes);
        if self.head_bytes == 0 {
            let Some(end) = head_end(&self.bytes) else { return false };
            self.head_bytes = end;
            let head = &self.bytes[..end];
            let length = field(head, "content-length").and_then(|length| length.parse().ok());
            let chunked = field(head, "transfer-encoding").is_some();
            self.body_bytes = if chunked { None } else { Some(length.unwrap_or(0)) };
        }
        match self.body_bytes {
            Some(length) => self.bytes.len() >= self.head_bytes + length,
            None => self.bytes.ends_with(b"\r\n0\r\n\r\n"),
        }
    }

    pub fn status(&self) -> u16 {
        let status = self.bytes.get(9..12).and_then(|status| std::str::from_utf8(status).ok());
        status.and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    pub fn head(&self) -> &[u8] {
        &self.bytes[..self.head_bytes]
    }

    pub fn body(&self) -> &[u8] {
        &self.bytes[self.head_bytes..]
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.head_bytes = 0;
        self.body_bytes = None;
    }
}

/// A connection on which one thread asks one thing after the other.
pub struct Connection {
    stream: TcpStream,
    pub answer: Arriving,
}

impl Connection {
    pub fn open(to: SocketAddr) -> Outcome<Connection> {
        let stream = TcpStream::connect_timeout(&to, DEADLINE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        Ok(Connection { stream, answer: Arriving::default() })
    }

    /// Sends a request and waits for the answer. Gives its status.
    pub fn ask(&mut self, request: &[u8]) -> Outcome<u16> {
        self.stream.write_all(request)?;
        self.answer.clear();
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut buffer)? {
                0 => return Err("the server has closed the connection".into()),
                length if self.answer.take(&buffer[..length]) => return Ok(self.answer.status()),
                _ => {}
            }
        }
    }
}
