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

#[cfg(test)]
mod tests {
    use pingora::apps::HttpServerApp;
    use pingora::protocols::l4::stream::Stream;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::store::Mirror;
    use crate::telemetry::Metrics;

    /// What comes over a socket for one request.
    async fn exchange(request: &str) -> String {
        let state = State {
            readiness: Arc::new(Readiness::new(Arc::new(Mirror::new()))),
            metrics: Arc::new(Metrics::new("1").unwrap()),
        };
        let admin = Arc::new(Admin(Arc::new(state)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let session = ServerSession::new_http1(Box::new(Stream::from(server)));
        let (_ending, shutdown) = tokio::sync::watch::channel(false);
        drop(admin.process_new_http(session, &shutdown).await);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn it_speaks_http() {
        let answer = exchange("GET /metrics?x=1 HTTP/1.1\r\nHost: admin\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.to_lowercase().contains(&format!("content-length: {}", body.len())), "{head}");
        assert!(body.starts_with("# HELP portcullis_"), "{body}");

        let answer = exchange("HEAD /readyz HTTP/1.1\r\nHost: admin\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\n"), "{answer}");

        let answer = exchange("POST /metrics HTTP/1.1\r\nHost: admin\r\nContent-Length: 2\r\n\r\nhi").await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    }
}
