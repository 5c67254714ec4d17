//! A connection whose incoming bytes are watched: so that a head that never became a request can be told from a client that
//! just left, a client that is waited for from one that waits for an app, and a flood of streams from use.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora::http::ResponseHeader;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType, raw_connect::ProxyDigest,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{Flood, Frames};
use super::watch;
use crate::telemetry::{Limit, Metrics};

/// What is known of a connection. It lives as long as anything of it, so longer than the last stream of HTTP/2.
pub(super) struct Link {
    received: AtomicU64,
    /// The last attempt to read found nothing.
    waiting: AtomicBool,
    /// The client does not take what is there for it: the last attempt to write had to wait.
    full: AtomicBool,
    /// Nothing is read any more.
    failing: AtomicBool,
    http2: AtomicBool,
    /// HTTP/2: the streams that were opened and have not become requests.
    unserved: AtomicU64,
    metrics: Arc<Metrics>,
}

impl Link {
    pub(super) fn new(metrics: &Arc<Metrics>) -> Arc<Link> {
        Arc::new(Link {
            received: AtomicU64::new(0),
            waiting: AtomicBool::new(false),
            full: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            http2: AtomicBool::new(false),
            unserved: AtomicU64::new(0),
            metrics: Arc::clone(metrics),
        })
    }

    /// How many bytes have come in.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Was the client waited for since this was last asked?
    pub(super) fn take_waiting(&self) -> bool {
        self.waiting.swap(false, Ordering::Relaxed)
    }

    /// Did the client not take what there was for it, since this was last asked?
    pub(super) fn take_full(&self) -> bool {
        self.full.load(Ordering::Relaxed) && self.full.swap(false, Ordering::Relaxed)
    }

    /// From now on reading fails.
    pub(super) fn fail_reads(&self) {
        self.failing.store(true, Ordering::Relaxed);
    }

    /// What comes in is a preface and frames.
    pub(super) fn speaks_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
    }

    /// HTTP/2: a stream that was opened has become a request.
    pub(super) fn served(&self) {
        self.unserved.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.metrics.refused_by_parser(*self.unserved.get_mut());
    }
}

/// A connection that is watched.
pub(super) struct Watched {
    stream: Stream,
    link: Option<Arc<Link>>,
    frames: Frames,
}

impl Watched {
    /// A connection, as it is watched.
    pub(super) fn new(stream: Stream, link: Arc<Link>) -> Watched {
        Watched { stream, link: Some(link), frames: Frames::new() }
    }

    /// A connection whose bytes are encrypted, and so tell nothing.
    pub(super) fn encrypted(stream: Stream) -> Watched {
        Watched { stream, link: None, frames: Frames::new() }
    }

    fn note_full<T>(&self, polled: &Poll<T>) {
        if let (Poll::Pending, Some(link)) = (polled, &self.link) {
            link.full.store(true, Ordering::Relaxed);
        }
    }
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let watched = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut *watched.stream).poll_read(context, buffer);
        let Some(link) = &watched.link else { return polled };
        if polled.is_pending() {
            if link.failing.load(Ordering::Relaxed) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            link.waiting.store(true, Ordering::Relaxed);
            return polled;
        }
        let bytes = &buffer.filled()[before..];
        link.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if link.http2.load(Ordering::Relaxed) {
            match watched.frames.read(bytes) {
                Ok(0) => {}
                Ok(opened) => {
                    link.unserved.fetch_add(opened, Ordering::Relaxed);
                }
                Err(Flood) => {
                    link.metrics.limit_refused(Limit::Resets);
                    return Poll::Ready(Err(io::Error::other("the client resets too many streams")));
                }
            }
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut *self.stream).poll_write(context, bytes);
        self.note_full(&polled);
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let polled = Pin::new(&mut *self.stream).poll_flush(context);
        self.note_full(&polled);
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut *self.stream).poll_write_vectored(context, pieces);
        self.note_full(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Watched {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

#[async_trait]
impl Peek for Watched {
    async fn try_peek(&mut self, buffer: &mut [u8]) -> std::io::Result<bool> {
        self.stream.try_peek(buffer).await
    }
}

impl UniqueID for Watched {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for Watched {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl GetTimingDigest for Watched {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }
}

impl GetProxyDigest for Watched {
    /// What the streams of HTTP/2 share, so they find their connection by it. Those of HTTP/1 run in its task.
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        let link = self.link.clone().filter(|_| watch::is_silent())?;
        let nothing = ResponseHeader::build(200, None).ok()?;
        Some(Arc::new(ProxyDigest::new(Box::new(nothing), Some(Box::new(link)))))
    }
}

impl GetSocketDigest for Watched {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}
