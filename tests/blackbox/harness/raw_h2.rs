//! HTTP/2 requests whose pseudo-header fields hold any bytes: well-behaved clients refuse to send those.
//!
//! One connection, one stream, prior knowledge (RFC 9113 section 3.3). Of the answer only the status is read.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::in_time;

/// What came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum H2Answer {
    Status(u16),
    /// The stream was reset, or the connection closed, without an answer.
    Refused,
}

const FRAME_BYTES_MAX: usize = 16_384;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// Sends one request that ends with its header fields, given in order, and returns the status.
pub async fn raw_h2(address: SocketAddr, fields: &[(&str, &[u8])]) -> H2Answer {
    let fields: Vec<(&[u8], &[u8])> = fields.iter().map(|(name, value)| (name.as_bytes(), *value)).collect();
    raw_h2_with(address, &fields, None).await
}

/// The same with a body, and with any bytes for names.
pub async fn raw_h2_with(address: SocketAddr, fields: &[(&[u8], &[u8])], body: Option<&[u8]>) -> H2Answer {
    let mut stream = TcpStream::connect(address).await.expect("somebody listens");
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0); // A literal that is not indexed, with a new name (RFC 7541 section 6.2.2).
        string(&mut block, name);
        string(&mut block, value);
    }
    let ends = if body.is_none() { END_STREAM } else { 0 };
    // What is longer than a frame may be goes on in CONTINUATION frames.
    let mut pieces = block.chunks(FRAME_BYTES_MAX).peekable();
    let mut kind = HEADERS;
    while let Some(piece) = pieces.next() {
        let last = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        bytes.extend(frame(kind, last | if kind == HEADERS { ends } else { 0 }, 1, piece));
        kind = CONTINUATION;
    }
    if let Some(body) = body {
        bytes.extend(frame(DATA, END_STREAM, 1, body));
    }
    let _ = stream.write_all(&bytes).await;
    in_time("an HTTP/2 answer", answer(&mut stream)).await.unwrap_or(H2Answer::Refused)
}

async fn answer(stream: &mut TcpStream) -> Option<H2Answer> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.ok()?;
        match head[3] {
            SETTINGS if head[4] & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await.ok()?,
            HEADERS => return status(&payload).map(H2Answer::Status),
            RST_STREAM | GOAWAY => return Some(H2Answer::Refused),
            _ => {}
        }
    }
}

/// Reads `:status`, which comes first in an answer's header block, after perhaps a change of the table's size.
fn status(block: &[u8]) -> Option<u16> {
    const STATIC: [u16; 7] = [200, 204, 206, 304, 400, 404, 500]; // RFC 7541 appendix A, from index 8.
    let block = &block[block.iter().position(|byte| byte & 0xe0 != 0x20)?..];
    match block[0] {
        indexed @ 0x88..=0x8e => Some(STATIC[usize::from(indexed - 0x88)]),
        0x08 | 0x18 | 0x48 => {
            let length = usize::from(block[1] & 0x7f);
            let text = &block[2..2 + length];
            let huffman = block[1] & 0x80 != 0;
            (100..600).find(|status: &u16| {
                let digits = status.to_string();
                if huffman { huffman_digits(&digits) == text } else { digits.as_bytes() == text }
            })
        }
        other => panic!("an answer's header block begins with {other:#x}"),
    }
}

/// The Huffman code of digits (RFC 7541 appendix B), padded with ones.
fn huffman_digits(digits: &str) -> Vec<u8> {
    let (mut bits, mut count) = (0u32, 0);
    for digit in digits.bytes().map(|digit| u32::from(digit - b'0')) {
        let (code, length) = if digit < 3 { (digit, 5) } else { (0b011001 + digit - 3, 6) };
        bits = bits << length | code;
        count += length;
    }
    let padding = (8 - count % 8) % 8;
    bits = bits << padding | ((1 << padding) - 1);
    bits.to_be_bytes()[4 - (count + padding) / 8..].to_vec()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn string(block: &mut Vec<u8>, text: &[u8]) {
    // An integer with a prefix of seven bits (RFC 7541 section 5.1).
    match text.len() {
        length @ ..127 => block.push(length as u8),
        length => {
            block.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                block.push((rest % 128 + 128) as u8);
                rest /= 128;
            }
            block.push(rest as u8);
        }
    }
    block.extend(text);
}

#[test]
fn statuses_are_read_as_the_h2_crate_writes_them() {
    assert_eq!(status(&[0x8c]), Some(400));
    assert_eq!(status(&[0x20, 0x48, 0x82, 0x68, 0x01]), Some(401));
    assert_eq!(huffman_digits("302"), [0x64, 0x02]); // RFC 7541 section C.6.1.
}

#[tokio::test]
async fn a_real_server_gets_the_bytes_and_its_status_is_read() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await?;
                while let Some(accepted) = connection.accept().await {
                    let (request, mut respond) = accepted?;
                    let status: u16 = request.uri().path()[1..].parse().expect("the path is a status");
                    let answer = http::Response::builder().status(status).body(()).expect("an answer's head");
                    respond.send_response(answer, true)?;
                }
                Ok::<(), h2::Error>(())
            });
        }
    });
    let fields =
        |path: &'static [u8]| [(":method", &b"GET"[..]), (":scheme", b"http"), (":authority", b"a"), (":path", path)];
    for (path, status) in [
        (&b"/200"[..], 200),
        (b"/400", 400),
        (b"/401", 401),
        (b"/403", 403),
        (b"/404", 404),
        (b"/405", 405),
        (b"/503", 503),
    ] {
        assert_eq!(raw_h2(address, &fields(path)).await, H2Answer::Status(status));
    }
    assert_eq!(raw_h2(address, &fields(b"/a b")).await, H2Answer::Refused);
}
