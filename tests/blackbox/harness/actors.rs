//! Who calls: nobody in particular, somebody with a token, somebody with a browser.

use std::sync::OnceLock;

use bytes::Bytes;
use reqwest::header::{HeaderMap, SET_COOKIE};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use super::{Account, Portcullis, in_time};

/// A client without proxies, redirects or a cookie jar.
pub fn client() -> Client {
    // Built once, because it reads the machine's certificates; without idle connections, because each test has
    // a runtime of its own and connections die with it.
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT
        .get_or_init(|| {
            Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .pool_max_idle_per_host(0)
                .build()
                .expect("a client without special wishes can be built")
        })
        .clone()
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// Sends a request and reads the answer.
    pub async fn to(request: RequestBuilder) -> Answer {
        let answer = in_time("a request", request.send()).await.expect("there is an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = in_time("a body", answer.bytes()).await.expect("the body is complete");
        Answer { status, headers, body }
    }

    /// Fails unless the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{:#?}\n{}", self.headers, self.text());
        self
    }

    /// Fails unless this is the `reason` in the problem document.
    #[track_caller]
    pub fn because(self, reason: &str) -> Answer {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:#?}");
        assert_eq!(self.json()["reason"], reason, "{}", self.text());
        self
    }

    /// Fails unless this is the OAuth error code in the problem document.
    #[track_caller]
    pub fn error(self, code: &str) -> Answer {
        assert_eq!(self.json()["error"], code, "{}", self.text());
        self
    }

    /// A header field's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("our header values are ASCII"))
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self:#?}"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The access token that came.
    #[track_caller]
    pub fn access_token(&self) -> String {
        self.json()["access_token"].as_str().unwrap_or_else(|| panic!("no access token: {}", self.text())).to_owned()
    }

    /// What `Set-Cookie` says of the refresh cookie.
    pub fn refresh_cookie(&self) -> Option<cookie::Cookie<'static>> {
        self.headers
            .get_all(SET_COOKIE)
            .iter()
            .filter_map(|line| cookie::Cookie::parse(line.to_str().ok()?.to_owned()).ok())
            .find(|cookie| COOKIE_NAMES.contains(&cookie.name()))
    }
}

const COOKIE_NAMES: [&str; 2] = ["__Host-refresh", "refresh"];

/// Nobody in particular asks.
pub async fn anon(gate: &Portcullis, path: &str) -> Answer {
    Answer::to(client().get(gate.url(path))).await
}

/// Somebody with a token asks.
pub async fn bearer(gate: &Portcullis, token: &str, path: &str) -> Answer {
    Answer::to(client().get(gate.url(path)).bearer_auth(token)).await
}

/// A browser that runs an app's script: it keeps the cookie, and the access token in memory.
#[derive(Clone)]
pub struct Browser {
    base: String,
    cookie: Option<cookie::Cookie<'static>>,
    user_agent: &'static str,
    /// The access token that it has now.
    pub access: Option<String>,
}

impl Browser {
    /// One that has not been here before.
    pub fn at(gate: &Portcullis) -> Browser {
        Browser { base: gate.url(""), cookie: None, user_agent: "TestBrowser/1.0", access: None }
    }

    /// One that has just logged in.
    pub async fn logged_in(gate: &Portcullis, account: &Account) -> Browser {
        let mut browser = Browser::at(gate);
        browser.login(account).await.expect(200);
        browser
    }

    /// A second tab: it has the same cookie now, and later whatever it is given.
    pub fn second_tab(&self) -> Browser {
        self.clone()
    }

    /// The same browser, whose requests a load balancer sends to another proxy.
    pub fn at_proxy(&self, gate: &Portcullis) -> Browser {
        Browser { base: gate.url(""), ..self.clone() }
    }

    /// Somebody else who has got hold of the cookie.
    pub fn thief(&self) -> Browser {
        Browser { user_agent: "Thief/6.66", access: None, ..self.clone() }
    }

    /// The value of its refresh cookie.
    #[track_caller]
    pub fn refresh_token(&self) -> String {
        self.cookie.as_ref().expect("it has a refresh cookie").value().to_owned()
    }

    /// Its access token.
    #[track_caller]
    pub fn token(&self) -> &str {
        self.access.as_deref().expect("it has an access token")
    }

    /// Puts another value into its refresh cookie.
    pub fn with_refresh_token(mut self, value: &str) -> Browser {
        let name = self.cookie.as_ref().map_or(COOKIE_NAMES[0], |cookie| cookie.name()).to_owned();
        self.cookie = Some(cookie::Cookie::new(name, value.to_owned()));
        self
    }

    /// Logs in with a form.
    pub async fn login(&mut self, account: &Account) -> Answer {
        let form = [("username", account.name), ("password", account.password)];
        let answer = Answer::to(self.request(Method::POST, "/login").form(&form)).await;
        self.take_over(&answer);
        answer
    }

    /// Asks for a new access token with its cookie.
    pub async fn refresh(&mut self) -> Answer {
        let answer = Answer::to(self.request(Method::POST, "/refresh")).await;
        self.take_over(&answer);
        answer
    }

    /// Asks for a new access token, and never gets the reply.
    pub async fn refresh_without_hearing(&self) {
        Answer::to(self.request(Method::POST, "/refresh")).await.expect(200);
    }

    /// Logs out with its cookie.
    pub async fn logout(&mut self) -> Answer {
        let answer = Answer::to(self.request(Method::POST, "/logout")).await;
        self.take_over(&answer);
        answer
    }

    /// Gets a page with its access token.
    pub async fn get(&self, path: &str) -> Answer {
        Answer::to(self.with_token(Method::GET, path)).await
    }

    /// Begins a request with its access token.
    pub fn with_token(&self, method: Method, path: &str) -> RequestBuilder {
        match &self.access {
            Some(token) => self.request(method, path).bearer_auth(token),
            None => self.request(method, path),
        }
    }

    /// Begins a request with its cookie only.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = client().request(method, format!("{}{path}", self.base)).header("User-Agent", self.user_agent);
        match &self.cookie {
            Some(cookie) => request.header("Cookie", format!("{}={}", cookie.name(), cookie.value())),
            None => request,
        }
    }

    fn take_over(&mut self, answer: &Answer) {
        if let Some(cookie) = answer.refresh_cookie() {
            let cleared = cookie.max_age().is_some_and(|age| age.is_zero()) || cookie.value().is_empty();
            self.cookie = (!cleared).then_some(cookie);
        }
        if answer.status == 200 {
            self.access = Some(answer.access_token());
        }
    }
}
