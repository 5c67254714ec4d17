//! The operator's doors: metrics, health, readiness for whoever reaches the listener; sessions for whoever proves a right to them.
//!
//! Two doors lead here. A Unix socket, whose permissions are the proof; and the admin listener, where sessions are only
//! there if a token is configured. What is answered is decided without I/O by [`respond`] and [`api`]; [`Operator`] does
//! what is asked of sessions; [`Admin`] carries it over HTTP.
//!
//! What must never happen in here: an answer that holds a token or a secret; a session that is shown or ended for somebody
//! without the proof; a store that hiccups takes the proxy out of the load balancer, for then its public routes would go
//! with it.

pub mod api;
mod operator;
mod readiness;
mod respond;
pub mod socket;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::header::AUTHORIZATION;
use http::{Response, StatusCode};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use pingora::services::listening::Service;
use secrecy::{ExposeSecret, SecretString};

use self::api::{BODY_BYTES_MAX, Call, Problem};
pub use self::operator::Operator;
pub use self::readiness::{Readiness, Unready};
pub use self::respond::{State, respond};

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers requests at one door.
pub struct Admin {
    state: Arc<State>,
    door: Door,
}

/// Who may ask for sessions at a door.
pub enum Door {
    /// Nobody: they are not there.
    Closed,
    /// Whoever sends this token (RFC 6750 section 2.1).
    Token(SecretString, Arc<Operator>),
    /// Whoever can open it.
    Open(Arc<Operator>),
}

impl Admin {
    /// The service behind a door, to which the caller adds what to listen on.
    pub fn service(name: &str, state: Arc<State>, door: Door) -> Service<Admin> {
        Service::new(name.to_owned(), Admin { state, door })
    }

    /// Who the socket is for: its owner.
    pub fn socket_permissions() -> Permissions {
        Permissions::from_mode(0o600)
    }

    async fn about_sessions(
        &self,
        session: &mut ServerSession,
        operator: &Operator,
    ) -> Result<Response<Vec<u8>>, Problem> {
        let request = session.req_header();
        let call = api::read(&request.method, request.uri.path(), request.uri.query())?;
        let body = match call {
            Call::Revoke => read_body(session).await?,
            Call::List { .. } | Call::Show(_) => Vec::new(),
        };
        Ok(operator.answer(call, &body).await)
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        let path = request.uri.path();
        let operator = match &self.door {
            _ if !api::is_about_sessions(path) => return respond(&request.method, path, &self.state),
            Door::Closed => return respond(&request.method, path, &self.state),
            Door::Token(token, operator) if sends(request.headers.get_all(AUTHORIZATION).iter(), token) => operator,
            Door::Token(..) => {
                let detail = "send the token of admin.token_file: `Authorization: Bearer ...`";
                return Problem::new(StatusCode::UNAUTHORIZED, detail).response();
            }
            Door::Open(operator) => operator,
        };
        self.about_sessions(session, operator).await.unwrap_or_else(|problem| problem.response())
    }
}

/// Is exactly this token sent, once? In a time that says nothing about it but its length.
fn sends<'a>(mut fields: impl Iterator<Item = &'a http::HeaderValue>, token: &SecretString) -> bool {
    let (Some(field), None) = (fields.next(), fields.next()) else { return false };
    let Some((scheme, sent)) = field.as_bytes().split_at_checked("Bearer ".len()) else { return false };
    scheme.eq_ignore_ascii_case(b"Bearer ") && verify_slices_are_equal(sent, token.expose_secret().as_bytes()).is_ok()
}

async fn read_body(session: &mut ServerSession) -> Result<Vec<u8>, Problem> {
    let whole = async {
        let mut body = Vec::new();
        loop {
            match session.read_request_body().await {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) => return Ok(body),
                Err(_) => return Err(Problem::new(StatusCode::BAD_REQUEST, "the body did not arrive whole")),
            }
            if body.len() > BODY_BYTES_MAX {
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long"));
            }
        }
    };
    let late = Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time");
    tokio::time::timeout(BODY_TIMEOUT, whole).await.unwrap_or(Err(late))
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
        let admin = Arc::new(Admin { state: Arc::new(state), door: Door::Closed });
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

    #[test]
    fn the_token_is_all_or_nothing() {
        let token = SecretString::from("0123456789abcdef0123456789abcdef");
        let sent = |lines: &[&str]| {
            let fields: Vec<http::HeaderValue> = lines.iter().map(|line| line.parse().unwrap()).collect();
            sends(fields.iter(), &token)
        };
        let good = "Bearer 0123456789abcdef0123456789abcdef";
        assert!(sent(&[good]) && sent(&[&good.replace("Bearer", "bearer")]));
        let all_but_one = &good[..good.len() - 1];
        for wrong in [&[][..], &[""], &["Bearer "], &["Bearer"], &[&good[7..]], &[all_but_one], &[good, good]] {
            assert!(!sent(wrong), "{wrong:?}");
        }
        assert!(!sent(&[&format!("{good}0")]) && !sent(&[&good.replace("Bearer", "Basic ")]));
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
