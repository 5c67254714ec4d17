//! An app that costs as little as possible: it reads requests without looking, and answers each with the same.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::RawConnection;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";

/// Starts it.
pub async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut seen, mut piece) = (Vec::new(), vec![0; 16 * 1024]);
                loop {
                    match stream.read(&mut piece).await {
                        Ok(length @ 1..) => seen.extend_from_slice(&piece[..length]),
                        _ => return,
                    }
                    // A head ends; bodies that never do are never answered.
                    while let Some(at) = seen.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                        let is_upload = seen.starts_with(b"POST");
                        seen.drain(..at + 4);
                        if !is_upload && stream.write_all(ANSWER).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    // Once through, so that it is certain to run.
    let mut probe = RawConnection::open(address).await;
    probe.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(probe.answer().await.expect("an answer").status, 200);
    address
}
