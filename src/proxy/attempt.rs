//! The attempts of a request to reach its upstream: with which server, and whether there may be another one.
//!
//! What must never happen in here: a request that is not idempotent is sent a second time once a server may have seen it
//! (RFC 9110 section 9.2.2); a client makes a server look broken by its own doing.

use std::time::Instant;

use pingora::protocols::ALPN;
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use super::context::Context;
use super::streams::{STREAM_IDLE, is_stream};
use super::upstream::{own_connection, prepare_for_upgrade};
use super::watch;
use crate::gate::Known;

/// Begins an attempt, and says what to connect to.
pub(super) fn begin(context: &mut Context) -> Result<Box<HttpPeer>> {
    let Some(picked) = &mut context.picked else {
        return Error::e_explain(ErrorType::InternalError, "a request without a grant asked for an upstream");
    };
    picked.begin_attempt();
    let mut peer = Box::new(HttpPeer::clone(picked));
    if picked.wants_own_connection() {
        own_connection(&mut peer);
    }
    // The first time it is the moment of the decision, whose clock will do.
    context.asked_upstream = Some(match context.asked_upstream {
        None => context.began + context.decision_took,
        Some(_) => Instant::now(),
    });
    // What was read of a body is read once more.
    context.body_bytes = 0;
    Ok(peer)
}

/// The app has to answer in time. Who watches over the connection watches over that, too, where it can see it: HTTP/1, and no
/// body on its way.
pub(super) fn expect_answer(session: &Session, peer: &mut HttpPeer, has_body: bool, context: &mut Context) {
    let is_upgrade = context.names.may_have(Known::Upgrade) && session.is_upgrade_req();
    if is_upgrade {
        prepare_for_upgrade(peer);
    }
    if is_stream(session.req_header(), context.names, is_upgrade, peer) {
        peer.options.read_timeout = Some(STREAM_IDLE);
    }
    let is_http1 = session.as_downstream().as_http1().is_some() && peer.options.alpn == ALPN::H1;
    let is_plain = is_http1 && !is_upgrade && !has_body;
    context.answer_patience = if is_plain { peer.options.read_timeout.take() } else { None };
}

/// There is no connection. Nothing has been sent, so even a POST may try another server.
pub(super) fn not_connected(context: &mut Context, mut error: Box<Error>) -> Box<Error> {
    let may_retry = context.picked.as_ref().is_some_and(|picked| {
        picked.connect_failed();
        picked.has_attempts_left()
    });
    decide(context, &mut error, may_retry);
    error
}

/// Something went wrong on a connection, which had been kept from an earlier request if it is `reused`.
pub(super) fn failed(session: &mut Session, context: &mut Context, mut error: Box<Error>, reused: bool) -> Box<Error> {
    if watch::answer_is_late() {
        error = Error::explain(ErrorType::ReadTimedout, "the app said nothing for read_timeout").into_up();
    }
    watch::answer_expected(None);
    let is_broken = matches!(error.etype(), ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed);
    let is_early = *error.esource() == ErrorSource::Upstream && !context.is_answered();
    // The server ended a connection that it need not keep: that says nothing of how it works. So do, in HTTP/2, the farewells that
    // Pingora marks for a retry.
    let is_stale = reused && is_broken;
    error.retry.decide_reuse(reused);
    let Some(picked) = context.picked.as_mut().filter(|_| is_early) else {
        decide(context, &mut error, false);
        return error;
    };
    let is_timeout = matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
    // While the client still sends, it is not the server who is late; and one that breaks off may have refused the body.
    let is_clients = (is_timeout || is_broken) && !session.is_body_done();
    let is_harmless = is_stale || error.retry();
    if !is_harmless && !is_clients {
        picked.failed();
    }
    let can_repeat = session.req_header().method.is_idempotent() && !session.as_ref().retry_buffer_truncated();
    let may_retry = can_repeat && is_harmless && picked.has_attempts_left();
    if may_retry {
        picked.want_own_connection();
    }
    decide(context, &mut error, may_retry);
    error
}

fn decide(context: &Context, error: &mut Error, may_retry: bool) {
    error.set_retry(may_retry);
    let metrics = context.grant.as_ref().and_then(|grant| context.compiled.upstream_metrics(grant));
    if let Some(metrics) = metrics.filter(|_| may_retry) {
        metrics.retried();
    }
}
