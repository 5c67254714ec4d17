//! The admin listener: metrics, health, readiness. It is an operator's door, on loopback by default.
//!
//! What is answered is decided by one pure function, [`respond`]; [`Admin`] carries it over HTTP.
//!
//! What must never happen in here: an answer that names a user, a session or a token; a request that changes anything;
//! a store that hiccups takes the proxy out of the load balancer, for then its public routes would go with it.

mod readiness;
mod respond;

use std::sync::Arc;

use async_trait::async_trait;
use http::Response;
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use pingora::services::listening::Service;

pub use self::readiness::{Readiness, Unready};
pub use self::respond::{State, respond};

/// Answers requests on the admin listener.
pub struct Admin(Arc<State>);

impl Admin {
    /// The service, to which the caller adds the addresses to listen on.
    pub fn service(state: Arc<State>) -> Service<Admin> {
        Service::new("admin".to_owned(), Admin(state))
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        respond(&request.method, request.uri.path(), &self.0)
    }
}
