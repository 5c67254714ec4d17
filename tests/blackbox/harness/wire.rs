//! A client that writes exactly the bytes it is given and reads what comes back.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::in_time;

/// A connection without any opinion on HTTP.
pub struct RawConnection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// One answer, as it stood on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawAnswer {
    pub status: u16,
    /// Status line and header fields.
    pub head: String,
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

/// Writes `bytes` on a new connection and reads one answer; none if the connection is closed without one.
pub async fn raw(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Option<RawAnswer> {
    let mut connection = RawConnection::open(address).await;
    connection.send(bytes).await;
    connection.answer().await
}

impl RawConnection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> RawConnection {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        stream.set_nodelay(true).expect("a TCP option is set");
        RawConnection { stream, buffer: Vec::new() }
    }

    /// Takes over a connection.
    pub fn of(stream: TcpStream) -> RawConnection {
        RawConnection { stream, buffer: Vec::new() }
    }

    /// Writes. That the other side has already closed is no failure here: it shows in the answer.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Writes, and says whether that was still possible.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Says that nothing more will be written.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads one answer; none if the connection is closed before one is complete.
    pub async fn answer(&mut self) -> Option<RawAnswer> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end);
        let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
        let body = if status < 200 || status == 204 || status == 304 {
            Vec::new()
        } else if header(&head, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            self.chunks().await?
        } else if let Some(length) = header(&head, "content-length") {
            let length = length.parse().ok()?;
            self.exactly(length).await?
        } else {
            while self.more().await.is_some() {}
            std::mem::take(&mut self.buffer)
        };
        Some(RawAnswer { status, head, body })
    }

    /// Reads that many bytes.
    pub async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        Some(self.buffer.drain(..length).collect())
    }

    /// Reads up to and with the end of a line.
    pub async fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = find(&self.buffer, b"\n") {
                return Some(self.buffer.drain(..=at).collect());
            }
            self.more().await?;
        }
    }

    async fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.line().await?).ok()?;
            let length = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
            body.extend(self.exactly(length).await?);
            if length > 0 {
                self.line().await?;
                continue;
            }
            while !self.line().await?.trim_ascii().is_empty() {}
            return Some(body);
        }
    }

    async fn more(&mut self) -> Option<()> {
        let mut piece = [0; 16 * 1024];
        match in_time("reading an answer", self.stream.read(&mut piece)).await {
            Ok(length @ 1..) => {
                self.buffer.extend_from_slice(&piece[..length]);
                Some(())
            }
            _ => None,
        }
    }
}

/// The value of the first header field of that name in a head.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// Where `needle` begins.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
