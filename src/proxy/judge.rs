//! A request is judged, and what was decided is carried out: it is forwarded, or answered by us.
//!
//! What must never happen in here: something is forwarded that was not decided to be.

use http::StatusCode;
use http::header::LOCATION;
use pingora::Result;
use pingora::proxy::Session;

use super::context::Context;
use super::facts::RequestFacts;
use super::fields::forget_case;
use super::phases::Phases;
use super::wire::{announced_bytes, check_size, check_wire, read_head};
use super::{body, respond};
use crate::endpoints::{BODY_BYTES_MAX, Renewed, Request};
use crate::gate::{Decision, Denial, Grant, Instead, KnownNames, Question, Reason, Reply, Service, decide, ticket};
use crate::telemetry::{Limit, Outcome};
use crate::time::Timestamp;

impl Phases {
    /// Reads the head and decides. A target in absolute-form is put into origin-form first: that is what is judged and
    /// what is forwarded.
    pub(super) fn decide(
        &self,
        session: &mut Session,
        context: &mut Context,
        answer: Option<Result<&str, Reason>>,
    ) -> Decision {
        let refuse = |reason| Decision::Refuse(Denial::new(reason));
        if let Err(limit) = check_size(session, &context.compiled.limits) {
            context.compiled.metrics.limit_refused(limit);
            return refuse(Reason::HeadTooLarge);
        }
        let header = session.req_header();
        let head = read_head(header, context.client.scheme);
        let names = head.as_ref().map_or(KnownNames::ANY, |head| head.known.names());
        let head = match check_wire(session, names).and(head) {
            Ok(head) => head,
            Err(reason) => return refuse(reason),
        };
        context.names = names;
        context.cors = context.compiled.policy.origins.answer(&head);
        // After a question the clock has gone on.
        let now = if answer.is_some() { Timestamp::now() } else { context.at };
        let facts = RequestFacts { answer, ..context.compiled.facts(now, context.began) };
        let decision = decide(&context.compiled.policy, &head, &facts);
        // Not before the question: what is judged once more is compared with the bytes of the wire once more.
        if !matches!(decision, Decision::Ask(_)) && head.target.len() != header.raw_path().len() {
            let target = head.target.to_vec();
            if session.req_header_mut().set_raw_path(&target).is_err() {
                return refuse(Reason::PathAmbiguous);
            }
        }
        decision
    }

    /// Opens the way to the upstream, or says what the answer is instead.
    pub(super) fn forward(&self, session: &mut Session, context: &mut Context, grant: Grant) -> Result<Option<Reply>> {
        context.decided(Some(grant.route()), Outcome::Allowed, None);
        let announced = announced_bytes(session.req_header(), context.names);
        let body_bytes_max = context.compiled.limits.body_bytes_max.unwrap_or(u64::MAX);
        if announced.is_some_and(|length| length > body_bytes_max) {
            context.compiled.metrics.limit_refused(Limit::BodySize);
            return Ok(Some(Reply::refusal(Reason::BodyTooLarge)));
        }
        if let Err(reason) = context.open(&grant) {
            return Ok(Some(Reply::refusal(reason)));
        }
        context.name(&self.request_ids, &session.req_header().headers);
        let route = context.compiled.routes.get(grant.route());
        if !route.is_some_and(|route| route.preserve_header_case) {
            forget_case(session.req_header_mut(), context.names)?;
        }
        context.listed = grant.identity().and_then(|identity| self.live.list(identity, context.began));
        context.grant = Some(grant);
        Ok(None)
    }

    /// Carries out a decision, whatever it is. True if the request has been answered, false if it goes on to its upstream.
    pub(super) async fn carry_out(
        &self,
        session: &mut Session,
        context: &mut Context,
        decision: Decision,
    ) -> Result<bool> {
        let decision = match decision {
            Decision::Ask(question) => self.ask(session, context, question).await,
            decision => decision,
        };
        let reply = match decision {
            Decision::Forward(grant) => match self.forward(session, context, grant)? {
                None => return Ok(false),
                Some(reply) => reply,
            },
            Decision::Serve(service) => {
                context.decided(None, Outcome::Served, None);
                context.asked.iter_mut().for_each(|asked| asked.served_by(&service));
                self.serve(session, context, service).await
            }
            Decision::Preflight => {
                context.decided(None, Outcome::Served, None);
                context.compiled.policy.origins.preflight(&session.req_header().headers)
            }
            Decision::Refuse(denial) => {
                context.decided(denial.route, Outcome::Refused, Some(denial.reason));
                match &denial.instead {
                    Some(Instead::Login(location)) => {
                        Reply::empty(StatusCode::SEE_OTHER).with(LOCATION, location.clone())
                    }
                    Some(Instead::NotSent) => context.compiled.endpoints.not_saved(denial.reason),
                    None => denial.reply(),
                }
            }
            // A question is asked once.
            Decision::Ask(_) => {
                context.decided(None, Outcome::Refused, Some(Reason::Internal));
                Reply::refusal(Reason::Internal)
            }
        };
        self.answer(session, context, reply).await
    }

    /// Answers the question that a decision depends on, and decides once more.
    async fn ask(&self, session: &mut Session, context: &mut Context, question: Question) -> Decision {
        match question {
            Question::Renew => {
                let headers = &session.req_header().headers;
                match context.compiled.endpoints.renew(headers, context.client.address).await {
                    Ok(Renewed { access_token, cookies }) => {
                        context.new_cookies = cookies;
                        self.decide(session, context, Some(Ok(&access_token)))
                    }
                    Err(reason) => self.decide(session, context, Some(Err(reason))),
                }
            }
            Question::Redeem => {
                let ticket =
                    ticket(session.req_header().raw_path()).map(|ticket| ticket.unwrap_or_default().to_owned());
                let redeemed = match ticket {
                    Ok(ticket) => context.compiled.endpoints.redeem(&ticket).await,
                    Err(reason) => Err(reason),
                };
                let answer = redeemed.as_deref().map_err(|reason| *reason);
                self.decide(session, context, Some(answer))
            }
        }
    }

    async fn serve(&self, session: &mut Session, context: &Context, service: Service) -> Reply {
        let bytes_max = if service.endpoint.changes_state() { BODY_BYTES_MAX } else { 0 };
        let body = match body::read(session, bytes_max).await {
            Ok(body) => body,
            Err(reason) => return Reply::refusal(reason),
        };
        let (identity, bearer_refused) = match &service.bearer {
            Some(Ok(identity)) => (Some(&**identity), None),
            Some(Err(reason)) => (None, Some(*reason)),
            None => (None, None),
        };
        let head = session.req_header();
        let target = head.raw_path();
        let query = target.iter().position(|&byte| byte == b'?').map_or(&[][..], |at| &target[at + 1..]);
        let (headers, address, sender) = (&head.headers, context.client.address, service.sender);
        let request = Request { query, headers, body, address, sender, identity, bearer_refused };
        context.compiled.endpoints.serve(service.endpoint, request).await
    }

    /// Answers a request that goes to no upstream.
    pub(super) async fn answer(&self, session: &mut Session, context: &mut Context, reply: Reply) -> Result<bool> {
        let reply = context.with_new_cookies(reply);
        context.reason = context.reason.or(reply.reason);
        if matches!(reply.reason, Some(Reason::HeadMalformed | Reason::HeadTooLarge | Reason::RequestTimeout)) {
            // Where the next request would begin is not certain.
            session.set_keepalive(None);
        }
        respond::write(session, &reply, context.cors.as_ref()).await?;
        Ok(true)
    }
}
