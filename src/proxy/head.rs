//! Where a connection is in reading its next head: said by the hooks, heard by the edge.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

tokio::task_local! {
    /// Whether the head of the request that this task serves has been read.
    static HEAD_READ: Cell<bool>;
    /// How many bytes the connection of this task has received.
    static RECEIVED: Arc<AtomicU64>;
    /// How far the connection of this task has come.
    static STAGE: Cell<Stage>;
}

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nobody knows yet which protocol the client speaks.
    Silent,
    /// HTTP/2: its preface is awaited.
    Preface,
    /// Requests can come. They have deadlines of their own.
    Open,
}

/// The connection has come this far.
pub(super) fn reached(stage: Stage) {
    // The streams of HTTP/2 are tasks of their own.
    let _ = STAGE.try_with(|now| now.set(stage));
}

/// How far has the connection come?
pub(super) fn stage() -> Stage {
    STAGE.try_with(Cell::get).unwrap_or(Stage::Open)
}

/// Marks a connection that has served a request before.
pub(super) struct Reused;

/// The head of the current request has been read.
pub(super) fn has_been_read() {
    // Outside of the scope nobody wants to know.
    let _ = HEAD_READ.try_with(|read| read.set(true));
}

/// Runs `serve`, which serves one request, and asks [`is_read`].
pub(super) async fn expected<T>(serve: impl Future<Output = T>) -> T {
    HEAD_READ.scope(Cell::new(false), serve).await
}

/// Has the head been read?
pub(super) fn is_read() -> bool {
    HEAD_READ.try_with(Cell::get).unwrap_or(true)
}

/// Runs `serve`, which serves one connection, whose bytes are counted in `received`.
pub(super) async fn connection<T>(received: Arc<AtomicU64>, serve: impl Future<Output = T>) -> T {
    STAGE.scope(Cell::new(Stage::Silent), RECEIVED.scope(received, serve)).await
}

/// How many bytes the connection has received so far.
pub(super) fn received() -> u64 {
    RECEIVED.try_with(|received| received.load(Ordering::Relaxed)).unwrap_or(0)
}
