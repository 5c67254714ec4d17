//! Pages: a browser that navigates, with its tokens in cookies. The same sessions, the same endings, the same decision.

use futures::StreamExt;
use futures::future::join_all;
use reqwest::header::{CACHE_CONTROL, COOKIE, ORIGIN, SET_COOKIE};
use reqwest::{Method, RequestBuilder};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::harness::{
    ALICE, Account, Answer, BOSS, Browser, Cluster, EchoBackend, Portcullis, Script, Setup, client, in_time, raw,
};
use crate::streams::websocket_echo;

const SHORT: &str = "access_token: { lifetime: 1s, skew: 0s }\n";

/// A browser without scripts: it keeps cookies and sends them.
struct Navigator {
    gate: String,
    /// Name and value.
    cookies: Vec<(String, String)>,
}

impl Navigator {
    async fn logged_in(gate: &Portcullis, account: &Account) -> Navigator {
        let mut navigator = Navigator { gate: gate.url(""), cookies: Vec::new() };
        let form = [("username", account.name), ("password", account.password)];
        let login = navigator.send(client().post(gate.url("/login")).form(&form)).await;
        login.expect(200);
        navigator
    }

    /// Sends what was built, with the cookies, and takes in those of the answer.
    async fn send(&mut self, request: RequestBuilder) -> Answer {
        let answer = Answer::to(request.header(COOKIE, self.cookie_line())).await;
        self.hear(&answer);
        answer
    }

    fn hear(&mut self, answer: &Answer) {
        for field in answer.headers.get_all(SET_COOKIE) {
            let cookie = cookie::Cookie::parse(field.to_str().expect("ASCII").to_owned()).expect("a cookie");
            self.cookies.retain(|(name, _)| name != cookie.name());
            if cookie.max_age() != Some(cookie::time::Duration::ZERO) {
                self.cookies.push((cookie.name().to_owned(), cookie.value().to_owned()));
            }
        }
    }

    fn cookie_line(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        client().request(method, format!("{}{path}", self.gate))
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// A form of our own page.
    async fn post(&mut self, path: &str, body: &str) -> Answer {
        self.send(self.request(Method::POST, path).header(ORIGIN, &self.gate).body(body.to_owned())).await
    }
}

fn config(app: &EchoBackend) -> String {
    format!("upstream: {}\npublic: [/public]\ncredentials: [header, cookie]\n", app.url())
}

#[tokio::test]
async fn a_browser_is_let_in_by_its_cookies_and_the_app_sees_none_of_them() {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&config(&app)).await;
    let form = [("username", ALICE.name), ("password", ALICE.password)];
    let login = Answer::to(client().post(gate.url("/login")).form(&form)).await.expect(200);
    let mut set: Vec<String> =
        login.headers.get_all(SET_COOKIE).iter().map(|field| field.to_str().expect("ASCII").to_owned()).collect();
    set.sort();
    assert_eq!(set.len(), 2, "{set:?}");
    for (field, (name, max_age)) in set.iter().zip([("__Host-access=", 900), ("__Host-refresh=", 2_592_000)]) {
        assert!(field.starts_with(name), "{field}");
        let attributes: Vec<&str> = field.split("; ").skip(1).collect();
        let max_age = format!("Max-Age={max_age}");
        assert_eq!(attributes, ["HttpOnly", "SameSite=Lax", "Secure", "Path=/", max_age.as_str()], "{field}");
    }

    let mut alice = Navigator { gate: gate.url(""), cookies: vec![("theirs".into(), "1".into())] };
    alice.hear(&login);
    let page = alice.get("/page").await.expect(200);
    assert!(page.headers.get(SET_COOKIE).is_none(), "nothing was renewed");
    assert_eq!(page.header("cache-control"), Some("private"), "no shared cache gives it to others");
    let seen = app.take_one();
    assert_eq!((seen.header("x-auth-subject"), seen.header("cookie")), (Some("alice"), Some("theirs=1")));
    alice.get("/public").await.expect(200);
    assert_eq!(app.take_one().header("cookie"), Some("theirs=1"), "nor on public routes");

    // The same session by a script with the same token.
    let token = login.access_token();
    Answer::to(alice.request(Method::GET, "/api").bearer_auth(&token)).await.expect(200);
    let boss = Browser::logged_in(&gate, &BOSS).await;
    let both = alice.send(alice.request(Method::GET, "/api").bearer_auth(boss.token())).await;
    both.expect(400).because("credentials_ambiguous");
}

#[tokio::test]
async fn a_cookie_of_another_proxy_s_configuration_is_not_shown_to_apps() {
    let app = EchoBackend::start().await;
    let [pages, none] = [config(&app), format!("upstream: {}\npublic: [/public]\n", app.url())]
        .map(|config| async move { Portcullis::start(&config).await });
    let (pages, none) = (pages.await, none.await);
    let mut alice = Navigator::logged_in(&pages, &ALICE).await;
    alice.gate = none.url("");
    alice.get("/public").await.expect(200);
    assert_eq!(app.take_one().header("cookie"), None);
}

#[tokio::test]
async fn only_a_page_of_ours_writes_by_cookie() {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&config(&app)).await;
    let mut alice = Navigator::logged_in(&gate, &ALICE).await;
    alice.post("/form", "a=1").await.expect(200);
    assert_eq!(app.take_one().body, b"a=1");
    let elsewhere = [
        vec![],
        vec![("origin", "https://evil.example")],
        vec![("origin", "null")],
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site"), ("origin", "http://sibling.localhost")],
    ];
    for fields in elsewhere {
        let request = alice.request(Method::POST, "/form").body("a=1");
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        alice.send(request).await.expect(403).because("cross_site");
    }
    assert!(app.take().is_empty());
}

#[tokio::test]
async fn what_has_worn_out_is_renewed_within_the_request() {
    let app = EchoBackend::start().await;
    for setup in [Setup::Embedded, Setup::TwoOnRedis] {
        let cluster = Cluster::start(setup, &(config(&app) + SHORT)).await;
        let mut alice = Navigator::logged_in(cluster.first(), &ALICE).await;
        let first = alice.cookie("__Host-refresh").expect("a cookie").to_owned();
        wear_out(&alice).await;
        app.take();

        // Any method, with its body, without a detour.
        let answer = alice.post("/form", "a long form").await.expect(200);
        let seen = app.take_one();
        assert_eq!((seen.header("x-auth-subject"), &*seen.body), (Some("alice"), &b"a long form"[..]));
        assert_eq!(answer.headers.get(CACHE_CONTROL).map(|value| value.as_bytes()), Some(&b"no-store"[..]));
        assert_ne!(alice.cookie("__Host-refresh"), Some(first.as_str()), "the session has rotated");
        alice.get("/page").await.expect(200);
        assert!(app.take_one().header("cookie").is_none());

        // A page with many parts, all of them late, at both proxies: one successor.
        wear_out(&alice).await;
        app.take();
        let parts = (0..20).map(|part| {
            let gate = if part % 2 == 0 { cluster.first() } else { cluster.last() };
            Answer::to(client().get(gate.url(&format!("/part/{part}"))).header(COOKIE, alice.cookie_line()))
        });
        let answers = join_all(parts).await;
        let mut successors: Vec<String> =
            answers.iter().map(|answer| answer.refresh_cookie().expect("a cookie").value().to_owned()).collect();
        answers.into_iter().for_each(|answer| drop(answer.expect(200)));
        successors.sort();
        successors.dedup();
        assert_eq!(successors.len(), 1, "{setup:?}");
        assert_eq!(app.take().len(), 20);
    }
}

/// Waits until the access cookie is no good by itself any more.
async fn wear_out(navigator: &Navigator) {
    let access = navigator.cookie("__Host-access").expect("a cookie").to_owned();
    crate::harness::eventually("the access token expires", async || {
        let alone = format!("__Host-access={access}");
        let answer = Answer::to(navigator.request(Method::GET, "/no-such-page").header(COOKIE, alone)).await;
        (answer.status == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_got_lost_logs_nobody_out() {
    let app = EchoBackend::start().await;
    for setup in [Setup::Embedded, Setup::Redis] {
        let cluster = Cluster::start(setup, &(config(&app) + SHORT + "rotation: { grace: 0s }\n")).await;
        let mut alice = Navigator::logged_in(cluster.first(), &ALICE).await;
        wear_out(&alice).await;
        let before = (alice.gate.clone(), alice.cookies.clone());
        let old_cookies = async || {
            let (gate, cookies) = before.clone();
            Navigator { gate, cookies }.get("/page").await
        };
        // That the proxy itself has looked at the new token does not make it used: the browser never got it.
        for _ in 0..30 {
            old_cookies().await.expect(200);
        }
        alice.hear(&old_cookies().await.expect(200));
        alice.get("/page").await.expect(200);
        crate::harness::eventually("the successor is used", async || (old_cookies().await.status == 401).then_some(()))
            .await;
    }
}

#[tokio::test]
async fn who_was_renewed_has_the_cookies_however_the_request_ends() {
    let app = EchoBackend::answering(|request| match request.target.as_str() {
        "/hints" => {
            let (pieces, stream) = mpsc::channel(1);
            let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
            pieces.try_send(hints.into()).expect("there is room");
            Script::Stream(stream)
        }
        _ => Script::Close,
    })
    .await;
    let gate = Portcullis::start(&(config(&app) + SHORT + "limits: { body_size: 1kB }\n")).await;
    let mut alice = Navigator::logged_in(&gate, &ALICE).await;
    for (body, status) in [("short".to_owned(), 502), ("x".repeat(2000), 413)] {
        for in_pieces in [false, true] {
            wear_out(&alice).await;
            let request = alice.request(Method::POST, "/form").header(ORIGIN, &alice.gate);
            let pieces = futures::stream::iter([Ok::<_, std::io::Error>(body.clone())]);
            let request = match in_pieces {
                true => request.body(reqwest::Body::wrap_stream(pieces)),
                false => request.body(body.clone()),
            };
            let answer = alice.send(request).await.expect(status);
            assert_eq!(answer.headers.get_all(SET_COOKIE).iter().count(), 2, "{status} {in_pieces}");
            assert_eq!(answer.headers.get(CACHE_CONTROL).map(|value| value.as_bytes()), Some(&b"no-store"[..]));
        }
    }
    wear_out(&alice).await;
    let hinted = alice.get("/hints").await.expect(502);
    assert_eq!(hinted.headers.get_all(SET_COOKIE).iter().count(), 2, "what was only announced is no answer");
}

#[tokio::test]
async fn a_target_in_absolute_form_is_renewed_too() {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&(config(&app) + SHORT)).await;
    let alice = Navigator::logged_in(&gate, &ALICE).await;
    wear_out(&alice).await;
    app.take();
    let cookies = alice.cookie_line();
    let request = format!("GET {0}/page HTTP/1.1\r\nHost: {1}\r\nCookie: {cookies}\r\n\r\n", gate.url(""), gate.listen);
    let answer = raw(gate.listen, request).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(app.take_one().target, "/page");
}

#[tokio::test]
async fn a_logged_out_cookie_put_back_by_hand_opens_nothing() {
    let app = EchoBackend::start().await;
    let cluster = Cluster::start(Setup::TwoOnRedis, &config(&app)).await;
    let mut alice = Navigator::logged_in(cluster.first(), &ALICE).await;
    let kept = alice.cookies.clone();
    alice.post("/logout", "").await.expect(204);
    assert!(alice.cookies.is_empty(), "both are cleared: {:?}", alice.cookies);
    for gate in &cluster.gates {
        crate::harness::eventually("the logout is heard", async || {
            let mut thief = Navigator { gate: gate.url(""), cookies: kept.clone() };
            (thief.get("/page").await.status == 401).then_some(())
        })
        .await;
        app.take();
        for cookies in [kept.clone(), kept[..1].to_vec(), kept[1..].to_vec()] {
            let mut thief = Navigator { gate: gate.url(""), cookies };
            thief.get("/page").await.expect(401);
        }
        assert!(app.take().is_empty());
    }
}

#[tokio::test]
async fn a_page_that_has_its_access_cookie_alone_logs_out() {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&config(&app)).await;
    for refresh in [None, Some("no-token-of-ours")] {
        let mut alice = Navigator::logged_in(&gate, &ALICE).await;
        alice.cookies.retain(|(name, _)| name == "__Host-access");
        alice.cookies.extend(refresh.map(|token| ("__Host-refresh".to_owned(), token.to_owned())));
        let kept = alice.cookies.clone();
        alice.post("/logout", "").await.expect(204);
        alice.cookies = kept;
        alice.get("/page").await.expect(401).because("session_ended");
    }
}

#[tokio::test]
async fn when_it_cannot_be_told_nobody_is_logged_out() {
    let app = EchoBackend::start().await;
    let mut cluster = Cluster::start(Setup::Redis, &(config(&app) + SHORT)).await;
    let mut alice = Navigator::logged_in(cluster.first(), &ALICE).await;
    wear_out(&alice).await;
    cluster.redis.as_mut().expect("this setup has a Redis").pause();
    let answer = alice.get("/page").await.expect(503).because("store_unavailable");
    assert!(answer.headers.get(SET_COOKIE).is_none());
    cluster.redis.as_mut().expect("this setup has a Redis").resume();
    crate::harness::eventually("the store is back", async || (alice.get("/page").await.status == 200).then_some(()))
        .await;
}

#[tokio::test]
async fn a_socket_opens_for_a_page_of_ours_and_lives_as_long_as_the_session_is_refreshed() {
    let app = websocket_echo().await;
    let gate =
        Portcullis::start(&format!("upstream: {app}\ncredentials: [cookie]\nrotation: {{ grace: 0s }}\n{SHORT}")).await;
    let alice = Navigator::logged_in(&gate, &ALICE).await;
    let open = async |origin: Option<&str>, cookies: &str| {
        let mut request = format!("ws://{}/socket", gate.listen).into_client_request().expect("a request");
        request.headers_mut().insert("cookie", cookies.parse().expect("a header value"));
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().expect("a header value"));
        }
        let stream = TcpStream::connect(gate.listen).await.expect("the gate listens");
        in_time("a handshake", client_async(request, stream)).await
    };
    for origin in [None, Some("https://evil.example"), Some("null")] {
        match open(origin, &alice.cookie_line()).await {
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 403, "{origin:?}"),
            other => panic!("{origin:?}: {other:?}"),
        }
    }
    // Worn out cookies: the handshake renews them.
    wear_out(&alice).await;
    let (mut socket, answer) = open(Some(&gate.url("")), &alice.cookie_line()).await.expect("it opens");
    assert_eq!(answer.headers().get_all("set-cookie").iter().count(), 2);
    // Nobody refreshes again: it ends.
    while let Some(Ok(_)) = in_time("the end of the socket", socket.next()).await {}
}
