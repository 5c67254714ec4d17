//! An HTTP/2 client that can be as rude as it likes: whole streams by the library, single frames by hand.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::in_time;

/// A connection with prior knowledge.
pub struct H2Connection {
    pub client: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

impl H2Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> H2Connection {
        H2Connection::with_window(address, 65_535).await
    }

    /// Connects; the other side may send so many bytes on each stream before it is told more.
    pub async fn with_window(address: SocketAddr, bytes: u32) -> H2Connection {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(bytes);
        let (client, connection) = builder.handshake(stream).await.expect("HTTP/2 with prior knowledge");
        let driver = tokio::spawn(async move {
            // How it ended shows in the streams.
            let _ = connection.await;
        });
        H2Connection { client, driver }
    }

    /// Opens a stream.
    pub async fn request(&mut self, request: http::Request<()>, is_all: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let mut ready = in_time("room for a stream", self.client.clone().ready()).await.expect("it is open");
        ready.send_request(request, is_all).expect("a stream")
    }

    /// Sends a GET with these header fields, and returns the answer's head; none if the stream was reset.
    pub async fn get(&mut self, fields: &[(&str, &str)]) -> Option<http::Response<RecvStream>> {
        let mut request = http::Request::get("http://a.example/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (answer, _) = self.request(request.body(()).expect("a request"), true).await;
        in_time("an answer", answer).await.ok()
    }

    /// Waits until the other side has closed it.
    pub async fn closed(self) {
        in_time("the connection is closed", self.driver).await.expect("the task ends");
    }
}

/// A connection of frames.
pub struct H2Frames(pub TcpStream);

impl H2Frames {
    /// Connects, and sends the preface and empty settings.
    pub async fn open(address: SocketAddr) -> H2Frames {
        let mut stream = TcpStream::connect(address).await.expect("somebody listens");
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("it is sent");
        let mut connection = H2Frames(stream);
        assert!(connection.send(4, 0, 0, &[]).await);
        connection
    }

    /// Sends a frame, and says whether that was still possible.
    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        self.0.write_all(&bytes).await.is_ok()
    }
}

/// `GET http://a/` as a header block (RFC 7541): indexed fields, and an authority of one letter.
pub fn h2_get() -> &'static [u8] {
    &[0x82, 0x86, 0x84, 0x01, 0x01, b'a']
}
