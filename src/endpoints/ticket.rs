//! `/ticket`: trades an access token for a ticket, which opens one request that cannot carry a header: a WebSocket, or a
//! stream of events. The ticket is random; what it was got for waits in the store, sealed.
//!
//! What must never happen in here: a ticket is good twice, or for more than its access token was.

use bytes::Bytes;
use http::StatusCode;
use http::header::AUTHORIZATION;
use serde::Serialize;

use super::refused::Refused;
use super::tokens::random;
use super::{Endpoints, Request};
use crate::gate::{Reason, Reply, bearer};
use crate::session::SessionId;

/// Enough to open a socket on a slow network.
const LIFETIME: std::time::Duration = std::time::Duration::from_secs(30);

#[derive(Serialize)]
struct TicketResponse {
    ticket: String,
    /// Seconds until it is no good any more.
    expires_in: u64,
}

impl Endpoints {
    pub(super) async fn ticket(&self, request: &Request<'_>) -> Result<Reply, Refused> {
        let refused = || Refused::request(request.bearer_refused.unwrap_or(Reason::TokenMissing));
        let identity = request.identity.ok_or_else(refused)?;
        let token = bearer(request.headers, &AUTHORIZATION).map_err(Refused::request)?.ok_or_else(refused)?;
        let token = token.text().map_err(Refused::request)?;
        let ticket = SessionId::new(identity.subject(), random()?);
        let sealed = self.keys.seal(&ticket, token, random()?).ok_or_else(|| Refused::request(Reason::Internal))?;
        self.sessions.put_ticket(&ticket, Bytes::from(sealed), LIFETIME).await?;
        let ticket = TicketResponse { ticket: ticket.to_string(), expires_in: LIFETIME.as_secs() };
        Ok(Reply::json(StatusCode::OK, &ticket))
    }

    /// The access token that the ticket was got for. It can be had once.
    pub async fn redeem(&self, ticket: &str) -> Result<String, Reason> {
        let ticket = SessionId::parse(ticket).map_err(|_| Reason::TokenMalformed)?;
        let sealed = self.sessions.take_ticket(&ticket).await.map_err(|error| Refused::from(error).reason)?;
        let sealed = sealed.and_then(|sealed| String::from_utf8(sealed.to_vec()).ok()).ok_or(Reason::TokenInvalid)?;
        self.keys.open(&ticket, &sealed).ok_or(Reason::TokenInvalid)
    }
}
