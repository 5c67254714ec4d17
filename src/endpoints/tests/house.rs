//! What the tests live in: endpoints that are wired for real, and clients that keep a cookie.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{COOKIE, SET_COOKIE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::rig::{Recorder, Rigged, Unobserved, Users};
use crate::endpoints::{CookieShape, Endpoints, Request, SameSite};
use crate::gate::{Endpoint, Identity, Reason, Reply, Sender};
use crate::session::{LateRetry, RotationPolicy, Session, SessionId};
use crate::store::memory::Memory;
use crate::store::{Backend, Committed, Mirror, Sessions, Stored};
use crate::time::Timestamp;
use crate::token::{AccessClaims, AccessPolicy, AccessTokenError, KeySet, RefreshToken, verify_access_token};

pub const GRACE_S: u64 = 30;
pub const ACCESS_S: u64 = 900;
pub const SESSION_S: u64 = 30 * 24 * 3600;

/// The example key of RFC 8037 appendix A.1, and two MAC keys, of which the first is active.
pub fn keys(mac: &[&str]) -> Arc<KeySet> {
    let mac = mac.iter().enumerate().map(|(place, letter)| {
        let status = if place == 0 { "active" } else { "retired" };
        format!(r#"{{"kty":"oct","use":"refresh","alg":"HS256","status":"{status}","k":"{}A"}}"#, letter.repeat(42))
    });
    let signing = r#"{"kty":"OKP","use":"sig","alg":"EdDSA","status":"active","crv":"Ed25519",
        "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let keys: Vec<String> = [signing.to_owned()].into_iter().chain(mac).collect();
    Arc::new(KeySet::from_jwk_set(&format!(r#"{{"keys":[{}]}}"#, keys.join(","))).unwrap())
}

/// One proxy.
pub struct House {
    pub endpoints: Endpoints,
    pub store: Arc<Rigged>,
    pub mirror: Arc<Mirror>,
    pub users: Arc<Users>,
    pub heard: Arc<Recorder>,
    clock: Arc<AtomicU64>,
}

impl House {
    pub fn new() -> House {
        let store = Arc::new(Rigged::new(Memory::new(Arc::new(Mirror::new()))));
        House::over(store, Arc::new(AtomicU64::new(Timestamp::now().as_millis())), Arc::default())
    }

    /// Another proxy on the same store, with a mirror that hears nothing of this one.
    pub fn second_proxy(&self) -> House {
        House::over(Arc::clone(&self.store), Arc::clone(&self.clock), Arc::clone(&self.users))
    }

    fn over(store: Arc<Rigged>, clock: Arc<AtomicU64>, users: Arc<Users>) -> House {
        let mirror = Arc::new(Mirror::new());
        let heard = Arc::new(Recorder::default());
        let tail = Duration::from_secs(ACCESS_S + 5);
        // No test waits for it: only a machine that stands still could.
        let deadline = Duration::from_secs(60);
        let backend: Arc<dyn Backend> = Arc::clone(&store) as _;
        let ticks = Arc::clone(&clock);
        let endpoints = Endpoints {
            keys: keys(&["M"]),
            access: AccessPolicy {
                issuer: "https://auth.example.com".to_owned(),
                audience: "apps".to_owned(),
                lifetime: Duration::from_secs(ACCESS_S),
                skew: Duration::from_secs(5),
            },
            rotation: RotationPolicy { grace: Duration::from_secs(GRACE_S), late_retry: LateRetry::SameClient },
            session_lifetime: Duration::from_secs(SESSION_S),
            sessions: Arc::new(Sessions::new(backend, Arc::clone(&mirror), deadline, tail, Arc::new(Unobserved))),
            login: Arc::clone(&users) as _,
            cookie: CookieShape { name: "__Host-refresh".into(), secure: true, same_site: SameSite::Strict },
            access_cookie: None,
            body_transport: false,
            login_page: None,
            app_sessions: Arc::default(),
            events: Arc::clone(&heard) as _,
            clock: Arc::new(move || Timestamp::from_millis(ticks.load(Ordering::SeqCst))),
        };
        House { endpoints, store, mirror, users, heard, clock }
    }

    pub fn now(&self) -> Timestamp {
        (self.endpoints.clock)()
    }

    pub fn pass(&self, seconds: u64) {
        self.clock.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    pub fn clock(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.clock)
    }

    /// A client that has just logged in.
    pub async fn logged_in(&self, username: &str) -> (Client, Answer) {
        let mut client = Client::at("192.0.2.7");
        let answer = self.log_in(&client, username, "right").await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        client.keep(&answer);
        (client, answer)
    }

    pub async fn log_in(&self, client: &Client, username: &str, password: &str) -> Answer {
        let body = format!("username={username}&password={password}");
        self.log_in_with(client, "application/x-www-form-urlencoded", body).await
    }

    pub async fn log_in_with(&self, client: &Client, media_type: &str, body: String) -> Answer {
        let mut headers = client.headers();
        headers.append(http::header::CONTENT_TYPE, media_type.parse().unwrap());
        self.ask(Endpoint::Login, client, &headers, body, None).await
    }

    pub async fn post(&self, endpoint: Endpoint, client: &Client) -> Answer {
        self.send(endpoint, client, &client.headers(), None).await
    }

    pub async fn refresh(&self, client: &Client) -> Answer {
        self.post(Endpoint::Refresh, client).await
    }

    /// With a bearer token, judged as the gate judges it.
    pub async fn with_bearer(&self, endpoint: Endpoint, client: &Client, bearer: &str) -> Answer {
        let bearer = self.verify(bearer);
        self.send(endpoint, client, &client.headers(), Some(&bearer)).await
    }

    pub async fn send(
        &self,
        endpoint: Endpoint,
        client: &Client,
        headers: &HeaderMap,
        bearer: Option<&Result<Identity, Reason>>,
    ) -> Answer {
        self.ask(endpoint, client, headers, String::new(), bearer).await
    }

    pub async fn ask(
        &self,
        endpoint: Endpoint,
        client: &Client,
        headers: &HeaderMap,
        body: String,
        bearer: Option<&Result<Identity, Reason>>,
    ) -> Answer {
        let identity = bearer.and_then(|bearer| bearer.as_ref().ok());
        let bearer_refused = bearer.and_then(|bearer| bearer.as_ref().err().copied());
        let (body, address, sender) = (body.into(), client.address, client.sender);
        let request = Request { query: b"", headers, body, address, sender, identity, bearer_refused };
        Answer::of(self.endpoints.serve(endpoint, request).await)
    }

    pub fn claims(&self, access_token: &str) -> Result<AccessClaims, AccessTokenError> {
        verify_access_token(&self.endpoints.keys, &self.endpoints.access, access_token, self.now())
    }

    /// What the gate says of an access token.
    pub fn verify(&self, access_token: &str) -> Result<Identity, Reason> {
        let claims = self.claims(access_token).map_err(|error| match error {
            AccessTokenError::Malformed => Reason::TokenMalformed,
            AccessTokenError::Invalid => Reason::TokenInvalid,
            AccessTokenError::Expired => Reason::TokenExpired,
        })?;
        if self.mirror.revocations.contains(&claims.sid) {
            return Err(Reason::SessionEnded);
        }
        Identity::from_claims(&claims)
    }

    /// What the cookie's token says.
    pub fn token_of(&self, client: &Client) -> RefreshToken {
        RefreshToken::verify(&self.endpoints.keys, client.cookie.as_deref().unwrap(), Timestamp::EPOCH).unwrap()
    }

    pub async fn record(&self, id: &SessionId) -> Option<Stored> {
        self.store.memory.get(id).await.unwrap()
    }

    pub async fn record_of(&self, client: &Client) -> Session {
        self.record(&self.token_of(client).session).await.unwrap().session
    }

    /// Puts a record into the store, as if it had always been there.
    pub async fn overwrite(&self, session: &Session) {
        let stored = self.record(&session.id).await;
        assert_eq!(self.store.memory.commit(stored.as_ref(), session).await.unwrap(), Committed::Yes);
    }
}

/// A client: a place, a look and a cookie.
#[derive(Clone)]
pub struct Client {
    pub address: IpAddr,
    pub user_agent: &'static str,
    pub cookie: Option<String>,
    pub sender: Sender,
}

impl Client {
    pub fn at(address: &str) -> Client {
        let address = address.parse().unwrap();
        Client { address, user_agent: "Mozilla/5.0", cookie: None, sender: Sender::Program }
    }

    /// Somebody else, with what this client holds.
    pub fn thief(&self) -> Client {
        Client { address: "198.51.100.66".parse().unwrap(), user_agent: "curl/8", ..self.clone() }
    }

    /// The same client, with another cookie.
    pub fn holding(&self, cookie: &str) -> Client {
        Client { cookie: Some(cookie.to_owned()), ..self.clone() }
    }

    /// Takes the cookie of an answer.
    pub fn keep(&mut self, answer: &Answer) {
        self.cookie = Some(answer.cookie().to_owned());
    }

    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(self.user_agent));
        if let Some(cookie) = &self.cookie {
            headers.insert(COOKIE, format!("theme=dark; __Host-refresh={cookie}").parse().unwrap());
        }
        headers
    }
}

/// An answer, opened.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Value,
}

impl Answer {
    pub fn of(reply: Reply) -> Answer {
        let text = |(name, value): (HeaderName, HeaderValue)| (name.to_string(), value.to_str().unwrap().to_owned());
        Answer {
            status: reply.status.as_u16(),
            headers: reply.headers.into_iter().map(text).collect(),
            body: if reply.body.is_empty() { Value::Null } else { serde_json::from_slice(&reply.body).unwrap() },
        }
    }

    pub fn access_token(&self) -> &str {
        self.body["access_token"].as_str().unwrap()
    }

    /// The refresh token that the answer sets.
    pub fn cookie(&self) -> &str {
        let cookie = self.headers[SET_COOKIE.as_str()].strip_prefix("__Host-refresh=").unwrap();
        cookie.split_once("; ").unwrap().0
    }

    /// It is a refusal of this status for this reason, and leaves the client's cookie alone.
    #[track_caller]
    pub fn refused(&self, status: u16, reason: &str) {
        assert_eq!((self.status, self.body["reason"].as_str()), (status, Some(reason)), "{self:?}");
        assert_eq!(self.headers.get(SET_COOKIE.as_str()), None);
        assert_eq!(self.headers.contains_key("retry-after"), status == 503 || status == 429, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
    }

    /// The refresh or login is refused: 400 `invalid_grant`.
    #[track_caller]
    pub fn invalid_grant(&self, reason: &str) {
        self.refused(400, reason);
        assert_eq!(self.body["error"], "invalid_grant");
    }

    /// 204, and the cookie is cleared.
    #[track_caller]
    pub fn logged_out(&self) {
        assert_eq!(self.status, 204, "{self:?}");
        let cleared = "__Host-refresh=; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=0";
        assert_eq!(self.headers[SET_COOKIE.as_str()], cleared);
    }
}
