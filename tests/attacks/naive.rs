//! A gate that makes every usual mistake, on purpose: the test of the test. A class of attacks none of whose cases gets past
//! it to a backend is a class that tests nothing.
//!
//! It matches the path as it stands, as a prefix; believes what a token says without looking at the signature; takes the
//! first credential; knows the identity headers by one spelling, adds its own and then removes what `Connection` names;
//! writes claims as they are; asks nobody where a request comes from; turns HTTP/2 into HTTP/1 by pasting; and once it has
//! judged the first request of a connection, it passes on whatever follows.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::backends::Backend;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const OWN: [&str; 4] = ["x-auth-subject", "x-auth-roles", "x-auth-scopes", "x-auth-session"];

/// Starts it before these backends.
pub async fn start(backends: Vec<Backend>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let backends = backends.clone();
            tokio::spawn(async move { serve(stream, &backends).await });
        }
    });
    address
}

async fn serve(mut client: TcpStream, backends: &[Backend]) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        if buffer.starts_with(PREFACE) {
            return serve_http2(client, buffer.split_off(PREFACE.len()), backends).await;
        }
        if !PREFACE.starts_with(&buffer) && head_end(&buffer).is_some() {
            break;
        }
        more(&mut client, &mut buffer).await?;
    }
    let rest = buffer.split_off(head_end(&buffer)?);
    let Some((backend, head)) = forwarded(&buffer, backends) else {
        return client.write_all(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n").await.ok();
    };
    let mut upstream = TcpStream::connect(backend).await.ok()?;
    upstream.write_all(&[head, rest].concat()).await.ok()?;
    tokio::io::copy_bidirectional(&mut client, &mut upstream).await.ok()?;
    Some(())
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    let ends = [(&b"\r\n\r\n"[..], 4), (b"\n\n", 2)];
    ends.iter()
        .filter_map(|(end, length)| bytes.windows(*length).position(|window| window == *end).map(|at| at + length))
        .min()
}

async fn more(from: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 16 * 1024];
    let length = from.read(&mut piece).await.ok().filter(|length| *length > 0)?;
    buffer.extend_from_slice(&piece[..length]);
    Some(())
}

/// Where a request goes, and its head as it goes there; none if it is refused.
fn forwarded(head: &[u8], backends: &[Backend]) -> Option<(SocketAddr, Vec<u8>)> {
    let lines: Vec<&[u8]> =
        head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    let named = |line: &[u8]| -> Option<(String, String)> {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let text = |part: &[u8]| String::from_utf8_lossy(part).trim().to_owned();
        Some((text(&line[..colon]).to_ascii_lowercase(), text(&line[colon + 1..])))
    };
    let fields: Vec<(String, String)> = lines[1..].iter().filter_map(|line| named(line)).collect();
    let first = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let host = first("host").unwrap_or_default();
    let backend = backends.iter().find(|backend| host.contains(&backend.host)).or(backends.first())?;

    let target = String::from_utf8_lossy(lines[0]).split(' ').nth(1).unwrap_or_default().to_owned();
    let claims = claims(first("authorization"), first("cookie"));
    let roles = claims["roles"].as_array().cloned().unwrap_or_default();
    let allowed = if target.starts_with("/admin") || target.starts_with("/Upper") {
        roles.contains(&Value::from("admin"))
    } else {
        !["/member", "/cookie"].iter().any(|prefix| target.starts_with(prefix)) || claims.is_object()
    };
    if !allowed {
        return None;
    }

    let nominated: Vec<String> = fields
        .iter()
        .filter(|(name, _)| name == "connection")
        .flat_map(|(_, value)| value.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .filter(|name| name != "upgrade" && name != "close")
        .collect();
    let mut out = [lines[0], b"\r\n"].concat();
    let mut add = |name: &str, line: &[u8]| {
        if !nominated.iter().any(|other| other == name) {
            out.extend([line, b"\r\n"].concat());
        }
    };
    for line in lines[1..].iter().filter(|line| !line.is_empty()) {
        match named(line) {
            Some((name, _)) if OWN.contains(&name.as_str()) => {}
            Some((name, _)) => add(&name, line),
            None => add("", line),
        }
    }
    if claims.is_object() {
        let text = |name: &str| match &claims[name] {
            Value::String(text) => text.clone(),
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
            _ => String::new(),
        };
        for (name, claim) in OWN.iter().zip(["sub", "roles", "scope", "sid"]) {
            add(name, format!("{name}: {}", text(claim)).as_bytes());
        }
    }
    out.extend(b"\r\n");
    Some((backend.address, out))
}

fn claims(authorization: Option<&str>, cookie: Option<&str>) -> Value {
    let in_field = authorization.and_then(|value| value.split_once(' ')).map(|(_, token)| token);
    let in_cookie =
        cookie.and_then(|value| value.split(';').find_map(|pair| pair.trim().split_once('=')).map(|(_, token)| token));
    let token = in_field.or(in_cookie).unwrap_or_default();
    let payload = token.split('.').nth(1).unwrap_or_default().trim_end_matches('=');
    let json = URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
    serde_json::from_slice(&json).unwrap_or(Value::Null)
}

async fn serve_http2(mut client: TcpStream, mut buffer: Vec<u8>, backends: &[Backend]) -> Option<()> {
    client.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.ok()?;
    let (mut block, mut body) = (Vec::new(), Vec::new());
    let (mut complete, mut ended) = (false, false);
    while !complete || !ended {
        while buffer.len() < 9 || buffer.len() < 9 + length(&buffer) {
            more(&mut client, &mut buffer).await?;
        }
        let rest = buffer.split_off(9 + length(&buffer));
        match buffer[3] {
            0 => body.extend_from_slice(&buffer[9..]),
            1 | 9 => block.extend_from_slice(&buffer[9..]),
            _ => {}
        }
        complete |= matches!(buffer[3], 1 | 9) && buffer[4] & 4 != 0;
        ended |= buffer[3] < 2 && buffer[4] & 1 != 0;
        buffer = rest;
    }
    let head = pasted(&block)?;
    let answer = match forwarded(&head, backends) {
        None => 401,
        Some((backend, head)) => {
            let mut upstream = TcpStream::connect(backend).await.ok()?;
            upstream.write_all(&[head, body].concat()).await.ok()?;
            let mut seen = Vec::new();
            while head_end(&seen).is_none() {
                more(&mut upstream, &mut seen).await?;
            }
            String::from_utf8_lossy(&seen).split(' ').nth(1)?.parse().ok()?
        }
    };
    // A literal `:status` (RFC 7541 section 6.2.2, index 8 of the static table).
    let block = [&[0x08, 3][..], format!("{answer:03}").as_bytes()].concat();
    client.write_all(&[&[0, 0, block.len() as u8, 1, 5, 0, 0, 0, 1][..], &block].concat()).await.ok()
}

fn length(frame: &[u8]) -> usize {
    u32::from_be_bytes([0, frame[0], frame[1], frame[2]]) as usize
}

/// A header block of nothing but literals without indexing, as our client writes it, for HTTP/1.
fn pasted(mut block: &[u8]) -> Option<Vec<u8>> {
    let (mut pseudo, mut fields) = (std::collections::BTreeMap::new(), Vec::new());
    while let Some((0, rest)) = block.split_first() {
        block = rest;
        let name = string(&mut block)?;
        let value = string(&mut block)?;
        if name.starts_with(b":") {
            pseudo.entry(name).or_insert(value);
        } else {
            fields.extend([name, b": ", value, b"\r\n"].concat());
        }
    }
    let of = |name: &[u8]| pseudo.get(name).copied().unwrap_or_default();
    let first = [of(b":method"), b" ", of(b":path"), b" HTTP/1.1\r\nHost: ", of(b":authority"), b"\r\n"].concat();
    Some([first, fields, b"\r\n".to_vec()].concat())
}

fn string<'a>(block: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (first, mut rest) = block.split_first()?;
    let mut length = usize::from(first & 0x7f);
    if length == 127 {
        let mut shift = 0;
        loop {
            let (byte, after) = rest.split_first()?;
            rest = after;
            length += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    let (text, after) = rest.split_at_checked(length)?;
    *block = after;
    Some(text)
}
