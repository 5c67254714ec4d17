//! Pingora's hooks: a request is read, decided on, and carried out.
//!
//! What must never happen in here: a hook that decides something itself.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use tracing::warn;

use super::access::Ending;
use super::compiled::Compiled;
use super::context::{Context, is_answer};
use super::failure::{is_client_too_slow, reason_of, told};
use super::fields::forget_case_of_answer;
use super::forward::Forwarding;
use super::live::Live;
use super::request_ids::RequestIds;
use super::respond;
use super::service::{Edge, Shared};
use super::shutdown::InFlight;
use super::streams::STREAM_IDLE;
use super::{app_session, attempt, watch};
use crate::gate::{Decision, Reason, Reply};
use crate::telemetry::Limit;

/// The hooks.
pub(super) struct Phases {
    current: Arc<ArcSwap<Compiled>>,
    in_flight: InFlight,
    pub(super) live: Arc<Live>,
    pub(super) edge: Edge,
    pub(super) request_ids: RequestIds,
}

impl Phases {
    pub(super) fn new(shared: &Shared) -> Phases {
        Phases {
            current: Arc::clone(&shared.current),
            in_flight: shared.in_flight.clone(),
            live: Arc::clone(&shared.live),
            edge: shared.edge.clone(),
            request_ids: RequestIds::new(shared.process),
        }
    }
}

#[async_trait]
impl ProxyHttp for Phases {
    // In a box: it would be moved with each future that it goes through.
    type CTX = Box<Context>;

    fn new_ctx(&self) -> Box<Context> {
        Box::new(Context::new(self.current.load_full(), self.in_flight.begin()))
    }

    /// No modules: we neither compress nor decompress.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, context: &mut Box<Context>) -> Result<()> {
        let limits = &context.compiled.limits;
        watch::head_read(limits.keep_alive);
        // How long it may be idle is watched over, so Pingora needs no timer for it. A connection that is to end is left at that:
        // HTTP/1.0, `Connection: close`, or we are leaving.
        if session.get_keepalive().is_some_and(|seconds| seconds > 0) {
            session.set_keepalive(Some(0));
        }
        session.set_read_timeout(Some(limits.body_timeout));
        // A client that reads nothing would hold the app's connection for ever.
        session.set_write_timeout(Some(limits.body_timeout));
        context.peer = session.client_addr().and_then(|address| Some(address.as_inet()?.ip())).unwrap_or(context.peer);
        context.tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
        context.client = context.compiled.client(context.peer, context.tls, &session.req_header().headers);
        context.keep_for_log(session.req_header());
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Box<Context>) -> Result<bool> {
        if let Err(reply) = self.admit(session, context) {
            context.name_for_log(&self.request_ids, &session.req_header().headers);
            return Box::pin(self.answer(session, context, reply)).await;
        }
        let decision = self.decide(session, context, None);
        context.name_for_log(&self.request_ids, &session.req_header().headers);
        // Most requests are forwarded, and wait for nothing. What the others wait for is in a box of its own: else each request
        // would have room for all of it.
        let Decision::Forward(grant) = decision else {
            return Box::pin(self.carry_out(session, context, decision)).await;
        };
        match self.forward(session, context, grant)? {
            None => Ok(false),
            Some(reply) => Box::pin(self.answer(session, context, reply)).await,
        }
    }

    async fn upstream_peer(&self, session: &mut Session, context: &mut Box<Context>) -> Result<Box<HttpPeer>> {
        let mut peer = attempt::begin(context)?;
        let has_body = !session.is_body_empty();
        attempt::expect_answer(session, &mut peer, has_body, context);
        if has_body {
            Phases::expect_body(session, &peer, context);
        }
        Ok(peer)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        context: &mut Box<Context>,
    ) -> Result<()> {
        watch::answer_expected(context.answer_patience);
        let (Some(grant), Some(picked), Some(request_id), Some(trace)) =
            (&context.grant, &context.picked, &context.request_id, &context.trace)
        else {
            return Error::e_explain(ErrorType::InternalError, "a request without a grant reached the last hook");
        };
        let preserves_host = context.compiled.routes.get(grant.route()).is_none_or(|route| route.preserve_host);
        let forwarding = Forwarding {
            policy: &context.compiled.policy,
            grant,
            client: &context.client,
            peer: context.peer,
            own_cookies: &context.compiled.own_cookies,
            request_id,
            trace,
            host: (!preserves_host).then(|| picked.authority()),
        };
        forwarding.apply(request, session.req_header())?;
        match &context.compiled.kept_cookies {
            Some(kept) => kept.present(request, grant, &context.compiled.endpoints.app_sessions),
            None => Ok(()),
        }
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        context: &mut Box<Context>,
    ) -> Result<()> {
        // No await in here: it could delay an upgraded connection's data (Pingora issue 946).
        context.body_bytes += body.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if session.was_upgraded() {
            // These are messages, and no body any more.
            return Ok(());
        }
        Phases::pace_body(session, body.as_ref(), end_of_stream, context)?;
        if context.compiled.limits.body_bytes_max.is_some_and(|bytes_max| context.body_bytes > bytes_max) {
            context.failure = Some(Reason::BodyTooLarge);
            context.compiled.metrics.limit_refused(Limit::BodySize);
            return Error::e_explain(ErrorType::HTTPStatus(413), "the request body is larger than limits.body_size");
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Box<Context>,
    ) -> Result<()> {
        watch::answer_goes_on();
        let metrics = context.grant.as_ref().and_then(|grant| context.compiled.upstream_metrics(grant));
        context.status = Some(response.status);
        if let Some(picked) = context.picked.as_ref().filter(|_| is_answer(response.status)) {
            picked.answered(response.status);
        }
        if let (Some(metrics), Some(asked)) = (metrics, context.asked_upstream.take()) {
            let took = asked.elapsed();
            metrics.responded(took);
            context.upstream_took = Some(took);
        }
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            // Not before: whoever only asks for an upgrade gets no more time than others.
            session.set_read_timeout(Some(STREAM_IDLE));
            Phases::end_pace(context);
        }
        if let (Some(kept), Some(grant)) = (&context.compiled.kept_cookies, &context.grant) {
            let set = kept.withhold(response, grant)?;
            app_session::has_set(&context.compiled, grant, &set, context.client.address);
        }
        respond::end_connection_if_leaving(session);
        let (own_cookies, origins) = (&context.compiled.own_cookies, &context.compiled.policy.origins);
        respond::clean(response, own_cookies, origins, context.cors.as_ref())?;
        if is_answer(response.status) {
            if context.grant.as_ref().is_some_and(|grant| context.compiled.may_speak_by_cookie(grant)) {
                respond::keep_private(response)?;
            }
            respond::add_cookies(response, std::mem::take(&mut context.new_cookies))?;
        }
        // What was asked for in lower case is answered so.
        if !session.req_header().has_case() {
            forget_case_of_answer(response)?;
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        context: &mut Box<Context>,
    ) -> Result<Option<Duration>> {
        watch::answer_goes_on();
        context.response_bytes += body.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        context: &mut Box<Context>,
        error: Box<Error>,
    ) -> Box<Error> {
        attempt::not_connected(context, error)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        context: &mut Box<Context>,
        reused: bool,
    ) -> Box<Error> {
        attempt::failed(session, context, error, reused)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, context: &mut Box<Context>) -> FailToProxy {
        if is_client_too_slow(error) && context.failure.is_none() {
            context.compiled.metrics.limit_refused(Limit::BodyTimeout);
        }
        let Some(reason) = context.failure.or_else(|| reason_of(error)) else {
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        };
        // What only announced an answer (100, 103) was none.
        if !session.response_written().is_some_and(|head| is_answer(head.status)) {
            session.set_keepalive(None);
            let reply = context.with_new_cookies(Reply::refusal(reason));
            if let Err(error) = respond::write(session, &reply, context.cors.as_ref()).await {
                tracing::debug!(%error, "the client left before its answer");
            }
        }
        FailToProxy { error_code: reason.status().as_u16(), can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, context: &mut Box<Context>) {
        context.status = session.response_written().map(|response| response.status);
        context.end_once(|context| Ending::told(session, error, context));
        if let Some(error) = error.filter(|error| *error.esource() != ErrorSource::Downstream) {
            let route = context.route.and_then(|route| context.compiled.policy.routes.routes().get(route));
            let route = route.map_or("", |route| route.name.as_str());
            warn!(route, error = told(error), "a request failed");
        }
    }

    fn suppress_error_log(&self, _session: &Session, _context: &Self::CTX, _error: &Error) -> bool {
        // Pingora's own line; ours is in `logging`.
        true
    }

    fn request_summary(&self, session: &Session, _context: &Self::CTX) -> String {
        // Not the query: it may carry secrets.
        session.req_header().method.to_string()
    }
}
