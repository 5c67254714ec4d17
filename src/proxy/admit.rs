//! What a request is held against before it is read: how many there are, how fast they come, how fast their bodies come.
//!
//! What must never happen in here: a request is judged, or who is refused costs more than who is not.

use std::time::Instant;

use bytes::Bytes;
use http::Version;
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use super::context::Context;
use super::pace::Pace;
use super::phases::Phases;
use super::streams::is_grpc;
use super::watch;
use crate::gate::{Reason, Reply};
use crate::telemetry::Limit;

/// So much of a body is taken off our hands by buffers though the app reads nothing.
const BUFFERED_BYTES: u64 = 64 * 1024;

impl Phases {
    /// Is there room for this request?
    pub(super) fn admit(&self, session: &Session, context: &Context) -> Result<(), Reply> {
        let (compiled, client) = (&context.compiled, &context.client);
        if !client.by_trusted_proxy {
            self.edge.undeclared.look(client.address, &session.req_header().headers);
        }
        let refused = |limit, reason| {
            compiled.metrics.limit_refused(limit);
            compiled.route_metrics.route(None).refused(reason);
            Reply::refusal(reason)
        };
        // A trusted proxy that names nobody asks for itself: whether we live. Who has it name somebody that cannot be read is counted,
        // as the proxy.
        let is_proxy = client.by_trusted_proxy && !session.req_header().headers.contains_key("x-forwarded-for");
        if let (Some(rate), false) = (compiled.limits.requests_per_address, is_proxy)
            && let Err(wait) = self.edge.addresses.request(client.address, context.began, rate)
        {
            let wait_s = u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
            return Err(refused(Limit::RequestsPerAddress, Reason::TooManyRequests).with_retry_after(wait_s));
        }
        // One of the others is what goes on behind the requests.
        if context.flying.others() > compiled.limits.requests_max {
            return Err(refused(Limit::Requests, Reason::Overloaded));
        }
        Ok(())
    }

    /// From now on the body of the request has to come.
    pub(super) fn expect_body(session: &Session, peer: &HttpPeer, context: &mut Context) {
        let limits = &context.compiled.limits;
        if context.pace.is_some() || is_grpc(session.req_header(), peer) {
            return;
        }
        let now = Instant::now();
        if session.req_header().version == Version::HTTP_2 {
            context.app_patience = peer.options.write_timeout.unwrap_or_default();
            let pace = Pace::begin(limits.body_timeout, limits.body_rate, now);
            watch::body_expected_until(pace.until());
            context.pace = Some(pace);
        } else if limits.body_rate.is_some() {
            // A mere pause ends the read.
            watch::body_expected();
            context.pace = Some(Pace::begin(limits.body_timeout, limits.body_rate, now));
        }
    }

    /// Part of the body has come, or its end.
    pub(super) fn pace_body(
        session: &Session,
        chunk: Option<&Bytes>,
        is_last: bool,
        context: &mut Context,
    ) -> Result<()> {
        let Some(pace) = &mut context.pace else { return Ok(()) };
        let now = Instant::now();
        let is_http2 = session.req_header().version == Version::HTTP_2;
        let waited = (!is_http2).then(|| watch::body_waited(now));
        if is_last {
            Phases::end_pace(context);
            return Ok(());
        }
        if !pace.received(chunk.map_or(0, Bytes::len), waited, now) {
            context.failure = Some(Reason::RequestTimeout);
            context.compiled.metrics.limit_refused(Limit::BodyRate);
            return Error::e_explain(
                ErrorType::HTTPStatus(408),
                "the request body came more slowly than limits.body_rate",
            );
        }
        if is_http2 {
            // That it is the app who pauses cannot be seen there. It can only be once all buffers on the way are full, and it
            // has a deadline of its own.
            pace.wait_longer(context.app_patience, BUFFERED_BYTES);
            watch::body_expected_until(pace.until());
        }
        Ok(())
    }

    /// What comes now is no body, or no more of it.
    pub(super) fn end_pace(context: &mut Context) {
        if context.pace.take().is_some() {
            watch::body_ended();
        }
    }
}
