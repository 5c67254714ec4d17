//! Connections for requests that want to upgrade (RFC 9110 section 7.8), kept from a race in Pingora 0.9.1.
//!
//! Pingora tells its upstream half that an upgrade request has no body by a message, and takes a message like that, once
//! the upstream has said 101, for the end of the upgraded connection. An app that answers very fast gets its 101 read before
//! the message. So the first read after a write is put off by one turn of the scheduler, in which the message is taken.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::ext::set_tcp_keepalive;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OrErr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Makes sure that a request gets a new connection, and that nobody gets it after.
pub(in crate::proxy) fn own_connection(peer: &mut HttpPeer) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // Nobody else's connection is of this kind.
    peer.group_key ^= NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(1).rotate_left(32);
    peer.options.idle_timeout = Some(Duration::from_secs(1));
}

/// Prepares a peer for a request that wants to upgrade: it gets a connection of its own.
pub(in crate::proxy) fn prepare(peer: &mut HttpPeer) {
    own_connection(peer);
    let timeout = peer.options.connection_timeout.unwrap_or(Duration::from_secs(5));
    peer.options.custom_l4 = Some(Arc::new(Connect { timeout }));
}

#[derive(Debug)]
struct Connect {
    timeout: Duration,
}

#[async_trait]
impl L4Connect for Connect {
    async fn connect(&self, address: &SocketAddr) -> pingora::Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(ErrorType::ConnectError, "an upstream has an IP address");
        };
        let connected = tokio::time::timeout(self.timeout, TcpStream::connect(address)).await;
        let stream = connected
            .or_err_with(ErrorType::ConnectTimedout, || format!("connecting to {address}"))?
            .or_err_with(ErrorType::ConnectError, || format!("connecting to {address}"))?;
        Ok(VirtualSocketStream::new(Box::new(Unhurried { stream, has_written: false })).into())
    }
}

/// A connection whose first read after a write waits one turn.
#[derive(Debug)]
struct Unhurried {
    stream: TcpStream,
    has_written: bool,
}

impl AsyncRead for Unhurried {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if std::mem::take(&mut self.has_written) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Unhurried {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.has_written = true;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl VirtualSocket for Unhurried {
    fn set_socket_option(&self, option: VirtualSockOpt) -> std::io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.stream.set_nodelay(true),
            VirtualSockOpt::KeepAlive(keepalive) => {
                set_tcp_keepalive(&self.stream, &keepalive).map_err(std::io::Error::other)
            }
            // A kind that a later Pingora knows.
            _ => Ok(()),
        }
    }
}
