//! A client that is never surprised: no answer is an answer, too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::SET_COOKIE;

use super::book::{Acknowledged, Book, Call, Kind};
use super::rig::{PASSWORD, Rig, USER};

/// Longer than anything that is promised.
const PATIENCE: Duration = Duration::from_secs(10);

/// Calls proxies and writes down what they say.
#[derive(Clone)]
pub struct Caller {
    http: reqwest::Client,
    urls: Arc<[String]>,
    pub book: Arc<Book>,
}

/// What came back, as far as a client of ours reads it.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// 0: none.
    pub status: u16,
    pub reason: String,
    access: Option<String>,
    cookie: Option<String>,
}

/// What a browser holds of one session.
#[derive(Clone, Debug, Default)]
pub struct Jar {
    pub token: String,
    pub cookie: String,
}

impl Caller {
    /// Calls the proxies of this rig.
    pub fn of(rig: &Rig) -> Caller {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).tls_certs_only([]).build();
        Caller {
            http: http.expect("a client without special wishes can be built"),
            urls: rig.gates.iter().map(|gate| gate.url("")).collect(),
            book: Arc::default(),
        }
    }

    /// How many proxies there are.
    pub fn gates(&self) -> usize {
        self.urls.len()
    }

    /// Gets a page that is for everybody.
    pub async fn public(&self, gate: usize) -> Reply {
        self.send(Kind::Public, gate, Method::GET, "/public", None).await
    }

    /// Gets a page with an access token.
    pub async fn protected(&self, gate: usize, jar: &Jar) -> Reply {
        self.send(Kind::Protected, gate, Method::GET, "/", Some(("Authorization", format!("Bearer {}", jar.token))))
            .await
    }

    /// Asks for new tokens, and puts them into the jar if they come.
    pub async fn refresh(&self, gate: usize, jar: &mut Jar) -> Reply {
        let reply = self.send(Kind::Refresh, gate, Method::POST, "/refresh", Some(cookie(jar))).await;
        jar.take(&reply);
        reply
    }

    /// Ends the session. That it was acknowledged is written down.
    pub async fn logout(&self, gate: usize, jar: &Jar) -> Reply {
        let reply = self.send(Kind::Logout, gate, Method::POST, "/logout", Some(cookie(jar))).await;
        if reply.status == 204 {
            let (token, cookie) = (jar.token.clone(), jar.cookie.clone());
            self.book.logout(Acknowledged { at: Instant::now(), token, cookie });
        }
        reply
    }

    /// Begins a session.
    pub async fn login(&self, gate: usize) -> Option<Jar> {
        let reply = self.send(Kind::Login, gate, Method::POST, "/login", None).await;
        let mut jar = Jar::default();
        jar.take(&reply);
        (reply.status == 200).then_some(jar)
    }

    /// The same, again until it works; fails after ten seconds.
    pub async fn login_at_last(&self, gate: usize) -> Jar {
        let began = Instant::now();
        loop {
            if let Some(jar) = self.login(gate).await {
                return jar;
            }
            assert!(began.elapsed() < PATIENCE, "nobody can log in");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Is the page behind the gate given for this access token? Not written down.
    pub async fn status_of(&self, gate: usize, token: &str) -> u16 {
        let request = self.http.get(format!("{}/", self.urls[gate])).bearer_auth(token);
        request.send().await.map_or(0, |answer| answer.status().as_u16())
    }

    /// What a refresh with this cookie is answered with. Not written down.
    pub async fn status_of_refresh(&self, gate: usize, value: &str) -> u16 {
        let request = self.http.post(format!("{}/refresh", self.urls[gate]));
        let request = request.header("Cookie", format!("__Host-refresh={value}"));
        request.send().await.map_or(0, |answer| answer.status().as_u16())
    }

    async fn send(
        &self,
        kind: Kind,
        gate: usize,
        method: Method,
        path: &str,
        header: Option<(&'static str, String)>,
    ) -> Reply {
        let mut request = self.http.request(method, format!("{}{path}", self.urls[gate]));
        request = request.header("User-Agent", "SteadyBrowser/1.0");
        if kind == Kind::Login {
            request = request.form(&[("username", USER), ("password", PASSWORD)]);
        }
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let began = Instant::now();
        let reply = read(request).await.unwrap_or_default();
        let (status, reason) = (reply.status, reply.reason.clone());
        self.book.call(Call { kind, gate, began, ended: Instant::now(), status, reason });
        reply
    }
}

impl Jar {
    /// When the access token says that it was made, in seconds since 1970.
    pub fn issued_at(&self) -> i64 {
        use base64::Engine;
        let payload = self.token.split('.').nth(1).unwrap_or_default();
        let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
        let claims: serde_json::Value = serde_json::from_slice(&payload).unwrap_or_default();
        claims["iat"].as_i64().unwrap_or_default()
    }

    fn take(&mut self, reply: &Reply) {
        if let (Some(access), Some(cookie)) = (&reply.access, &reply.cookie) {
            (self.token, self.cookie) = (access.clone(), cookie.clone());
        }
    }
}

fn cookie(jar: &Jar) -> (&'static str, String) {
    ("Cookie", format!("__Host-refresh={}", jar.cookie))
}

async fn read(request: reqwest::RequestBuilder) -> reqwest::Result<Reply> {
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    let cookies = answer.headers().get_all(SET_COOKIE);
    let cookies = cookies.iter().filter_map(|line| cookie::Cookie::parse(line.to_str().ok()?.to_owned()).ok());
    let cookie = cookies.map(|cookie| cookie.value().to_owned()).find(|value| !value.is_empty());
    let body: serde_json::Value = serde_json::from_slice(&answer.bytes().await?).unwrap_or_default();
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    Ok(Reply { status, reason: text("reason").unwrap_or_default(), access: text("access_token"), cookie })
}
