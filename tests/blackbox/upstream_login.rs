//! `login.upstream`: the app keeps its users, and may keep its own session hidden behind ours.
//!
//! [`django`] is an app that people run, as it comes. Here are small apps for all that can go wrong with one.

mod django;
mod form_app;

use std::time::Duration;

use self::form_app::{FormApp, TOKEN, Trouble, cookie, held};
use crate::harness::{
    ALICE, Account, Answer, Browser, Cluster, EchoBackend, Portcullis, Recorded, Script, Setup, anon, client,
    eventually,
};

async fn try_login(gate: &Portcullis, name: &str, password: &str) -> Answer {
    Answer::to(client().post(gate.url("/login")).form(&[("username", name), ("password", password)])).await
}

#[tokio::test]
async fn a_login_is_the_apps_own_and_its_session_stays_behind() {
    let app = FormApp::start().await;
    let mut gate = Portcullis::start(&app.config("")).await;
    let wrong = try_login(&gate, ALICE.name, "a-wr0ng-one")
        .await
        .expect(400)
        .because("credentials_wrong")
        .error("invalid_grant");
    assert!(wrong.headers.get("set-cookie").is_none());

    let mut alice = Browser::at(&gate);
    let answer = alice.login(&ALICE).await.expect(200);
    assert!(!format!("{:?}{}", answer.headers, answer.text()).contains("alice-1"), "the app's session is not told");
    let userinfo = alice.get("/userinfo").await.expect(200).json();
    assert_eq!((&userinfo["sub"], &userinfo["roles"]), (&"alice".into(), &serde_json::json!(["staff"])));

    // What the app is sent: once, with what a browser would send.
    let post = app.posts_to("/signin").pop().expect("the app was asked");
    assert_eq!(post.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(post.header("referer"), Some(&*format!("{}/signin", app.backend.url())));

    // The app sees its session, in place of what a client makes up, and beside the client's other cookies.
    app.backend.take();
    let page = Answer::to(
        alice
            .with_token(reqwest::Method::GET, "/page")
            .header("Cookie", "a=1; sid=forged; SID=forged")
            .header("Cookie", "b=2"),
    );
    let cookies = page.await.expect(200).json()["cookies"].clone();
    let cookies = cookies[0].as_str().expect("one field").to_owned();
    assert!(cookies.contains("a=1; ") && cookies.contains("b=2; ") && !cookies.contains("forged"), "{cookies}");
    assert!(cookies.contains("sid=alice-"), "{cookies}");
    assert!(!cookies.contains("__Host-refresh"), "{cookies}");
    // It never sets it at a browser, not even where nobody need be logged in; and nobody gets it there.
    for answer in [alice.get("/rotate").await, anon(&gate, "/rotate").await] {
        let set: Vec<_> = answer.expect(200).headers.get_all("set-cookie").iter().cloned().collect();
        assert_eq!(set, ["theme=dark"]);
    }
    assert_eq!(app.backend.seen().last().expect("it is there").all("cookie"), [""; 0]);

    // It survives a restart: it is in the token, and the token is in nobody's memory now.
    gate.kill().await;
    gate.start_again().await;
    let cookies = alice.get("/page").await.expect(200).json()["cookies"][0].as_str().expect("it is there").to_owned();
    assert!(cookies.contains("sid=alice-"), "{cookies}");
    alice.refresh().await.expect(200);
    assert_eq!(alice.get("/page").await.expect(200).json()["cookies"][0], cookies);
    assert!(alice.token().len() < 3000, "it fits into a cookie");

    for secret in [ALICE.password, "alice-", "a-wr0ng-one", TOKEN] {
        assert!(!gate.log().contains(secret), "{secret}: {}", gate.log());
    }
}

#[tokio::test]
async fn a_logout_reaches_the_app_and_never_waits_for_it() {
    let app = FormApp::start().await;
    let gate = Portcullis::start(&app.config("")).await;
    let mut alice = Browser::logged_in(&gate, &ALICE).await;
    alice.logout().await.expect(204);
    eventually("the app has ended its session", async || held(&app.ended).first().cloned()).await;
    eventually("it was counted", async || {
        let told = gate.metrics().await.sum("portcullis_app_logouts_total", &["outcome=\"told\""]);
        (told == Some(1.0)).then_some(())
    })
    .await;

    let mut alice = Browser::logged_in(&gate, &ALICE).await;
    app.is_in_trouble(|| Script::Hang);
    let before = std::time::Instant::now();
    alice.logout().await.expect(204);
    assert!(before.elapsed() < Duration::from_secs(2), "the app's deadline is not ours");
    eventually("the failure was counted", async || {
        let failed = gate.metrics().await.sum("portcullis_app_logouts_total", &["outcome=\"failed\""]);
        (failed == Some(1.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_app_that_forgets_a_session_ends_ours() {
    let app = FormApp::start().await;
    let gate = Portcullis::start(&app.config("rotation: { grace: 0s }")).await;
    let mut alice = Browser::logged_in(&gate, &ALICE).await;
    app.backend.take();
    alice.refresh().await.expect(200);
    let asked = app.backend.take_one();
    assert_eq!((asked.target.as_str(), asked.header("user-agent")), ("/me", Some("TestBrowser/1.0")));
    // Nothing is lost while the app cannot be asked.
    app.is_in_trouble(|| Script::answer(500, &[], ""));
    alice.refresh().await.expect(503).because("login_unavailable");
    app.is_well();
    alice.refresh().await.expect(200);
    // Its administrator has thrown the user out.
    let sid = app.backend.seen().iter().rev().find_map(|seen| cookie(seen, "sid")).expect("it is there");
    held(&app.ended).push(sid);
    alice.refresh().await.expect(400).because("subject_removed");
    alice.get("/page").await.expect(401).because("session_ended");
}

#[tokio::test]
async fn a_session_that_the_app_replaces_is_presented_and_one_that_it_ends_ends_ours() {
    let app = FormApp::start().await;
    let gate = Portcullis::start(&app.config("rotation: { grace: 0s }")).await;
    let mut alice = Browser::logged_in(&gate, &ALICE).await;
    let presented = async |alice: &Browser| {
        let cookies = alice.get("/page").await.expect(200).json()["cookies"][0].clone();
        cookies.as_str().expect("a field").split("sid=").nth(1).expect("a session").to_owned()
    };
    let first = presented(&alice).await;
    let answer = alice.get("/password").await.expect(200);
    assert!(answer.headers.get("set-cookie").is_none());
    let second = presented(&alice).await;
    assert_eq!(second, first.replace('-', "-x"));
    // Also to the question at a refresh, and with the token that comes of it.
    alice.refresh().await.expect(200);
    assert_eq!(presented(&alice).await, second);

    // The user presses the app's own button.
    let answer = alice.get("/bye").await.expect(302);
    assert!(answer.headers.get("set-cookie").is_none());
    eventually("ours has ended, too", async || (alice.get("/page").await.status == 401).then_some(())).await;
    alice.refresh().await.expect(400).because("session_ended");
    eventually("it is told", async || gate.log().contains("logged_out").then_some(())).await;
    assert!(!gate.log().contains(&second), "{}", gate.log());
    assert_eq!(app.posts_to("/signout").len(), 0, "the app need not be told");
}

#[tokio::test]
async fn trouble_with_the_app_is_never_a_wrong_password() {
    let app = FormApp::start().await;
    // One wrong password would be too many: trouble costs nobody an attempt.
    let config = app.config("").replace("attempts_per_account: 1000", "attempts_per_account: 1");
    let gate = Portcullis::start(&config).await;
    let troubles: [Trouble; 10] = [
        || Script::Hang,
        || Script::Close,
        || Script::answer(500, &[("Set-Cookie", "sid=1")], ""),
        || Script::answer(503, &[], ""),
        || Script::answer(429, &[("Retry-After", "1")], ""),
        || Script::answer(404, &[], ""),
        || Script::answer(301, &[("Location", "https://elsewhere.example/")], ""),
        || Script::answer(200, &[], "<form>no field</form>"),
        || Script::answer(200, &[], &"<input>".repeat(100_000)),
        || Script::Raw(b"no HTTP at all\r\n\r\n".to_vec()),
    ];
    for (number, trouble) in troubles.into_iter().enumerate() {
        app.is_in_trouble(trouble);
        let answer = try_login(&gate, ALICE.name, ALICE.password).await;
        assert_eq!(answer.status, 503, "{number}: {}", answer.text());
        answer.because("login_unavailable");
    }
    app.is_well();
    try_login(&gate, ALICE.name, ALICE.password).await.expect(200);
    // A port that nobody listens on.
    let nobody = format!("upstream: {}\n", app.backend.url());
    let down = config.replace(&nobody, &format!("upstream: http://127.0.0.1:{}\n", crate::harness::free_port()));
    assert_ne!(down, config);
    let gate = Portcullis::start(&down).await;
    try_login(&gate, ALICE.name, ALICE.password).await.expect(503).because("login_unavailable");
}

#[tokio::test]
async fn guessing_is_slowed_down_however_the_name_is_spelled() {
    let app = FormApp::start().await;
    let config = app.config("").replace("attempts_per_account: 1000", "attempts_per_account: 3");
    let gate = Portcullis::start(&config).await;
    for name in ["alice", "ALICE", " Alice "] {
        try_login(&gate, name, "a guess").await.expect(400).because("credentials_wrong");
    }
    let asked = app.posts_to("/signin").len();
    try_login(&gate, "aLice", "a guess").await.expect(429).because("too_many_attempts");
    assert_eq!(app.posts_to("/signin").len(), asked, "the app is not asked");
    try_login(&gate, "bob", ALICE.password).await.expect(200);
}

#[tokio::test]
async fn names_that_cannot_stand_in_a_header_log_nobody_in() {
    let app = FormApp::start().await;
    // What the app names.
    let gate = Portcullis::start(&app.config("")).await;
    try_login(&gate, "a,b", ALICE.password).await.expect(503).because("login_unavailable");
    // What was typed.
    let typed = app.config("").replace("    subject: { json: /user/login }\n", "");
    let gate = Portcullis::start(&typed).await;
    let asked = app.posts_to("/signin").len();
    for name in ["a,b", "a\nX-Auth-Roles: admin", " alice", "alice\u{0}"] {
        try_login(&gate, name, ALICE.password).await.expect(400).because("credentials_wrong");
    }
    assert_eq!(app.posts_to("/signin").len(), asked, "the app is not asked");
    try_login(&gate, "j\u{f6}rg", ALICE.password).await.expect(200);
}

#[tokio::test]
async fn a_predicate_that_lets_everybody_in_lets_nobody_in() {
    let app = FormApp::start().await;
    let wide = app.config("").replace("{ status: 302, redirect: /home, cookie: sid }", "{ cookie: sid }");
    let gate = Portcullis::start(&wide).await;
    for password in [ALICE.password, "wrong"] {
        try_login(&gate, ALICE.name, password).await.expect(503).because("login_unavailable");
    }
    eventually("it is told", async || gate.log().contains("it would let everybody in").then_some(())).await;
}

#[tokio::test]
async fn two_proxies_present_the_same_session_and_each_can_end_it() {
    let app = FormApp::start().await;
    let cluster = Cluster::start(Setup::TwoOnRedis, &app.config("")).await;
    let mut alice = Browser::logged_in(cluster.first(), &ALICE).await;
    let first = alice.get("/page").await.expect(200).json();
    let mut there = alice.at_proxy(cluster.last());
    assert_eq!(there.get("/page").await.expect(200).json(), first);
    there.refresh().await.expect(200);
    assert_eq!(there.get("/page").await.expect(200).json(), first);
    assert_eq!(there.get("/userinfo").await.expect(200).json()["roles"], serde_json::json!(["staff"]));
    there.logout().await.expect(204);
    eventually("the app has ended its session", async || held(&app.ended).first().cloned()).await;
    alice.refresh().await.expect(400);
}

/// What an API answers to whom.
async fn api(script: impl Fn(&Recorded) -> Script + Send + Sync + 'static, login: &str) -> (EchoBackend, Portcullis) {
    let app = EchoBackend::answering(script).await;
    let gate = Portcullis::start(&format!("upstream: {}\nlogin:\n  upstream:\n{login}", app.url())).await;
    (app, gate)
}

#[tokio::test]
async fn an_api_that_takes_json_and_answers_with_a_token() {
    let script = |request: &Recorded| match request.target.as_str() {
        "/api/session?v=2" => {
            let body: serde_json::Value = serde_json::from_slice(&request.body).expect("it is there");
            let right = body["password"] == ALICE.password && body["client"] == 7;
            let answer = serde_json::json!({ "ok": right, "token": if right { "T0K" } else { "" } });
            Script::answer(200, &[], &answer.to_string())
        }
        "/api/me" if request.header("authorization") == Some("Bearer T0K") => {
            Script::answer(200, &[], r#"{"id":4711,"admin":true}"#)
        }
        _ => Script::answer(401, &[], ""),
    };
    let login = r#"
    path: /api/session?v=2
    json: { username: email, extra: { client: 7 } }
    success: { json: { pointer: /ok, equals: true } }
    userinfo: { path: /api/me, token: /token }
    subject: { json: /id }
    roles: { json: /admin, map: { "true": admin } }
"#;
    let (app, gate) = api(script, login).await;
    try_login(&gate, "alice@example.com", "wrong").await.expect(400);
    let mut alice = Browser::at(&gate);
    alice.login(&ALICE).await.expect(200);
    app.take();
    alice.refresh().await.expect(200);
    assert_eq!(app.take().len(), 0, "without a kept session nobody can be asked");
    let userinfo = alice.get("/userinfo").await.expect(200).json();
    assert_eq!((&userinfo["sub"], &userinfo["roles"]), (&"4711".into(), &serde_json::json!(["admin"])));
}

#[tokio::test]
async fn an_app_that_takes_basic() {
    let script = |request: &Recorded| match request.header("authorization") {
        Some("Basic YWxpY2U6YWxpY2UtUzNjcmV0LW9mLXRoZS1kYXk=") => {
            Script::answer(200, &[("X-User", "Alice"), ("X-Groups", "a, b")], "{}")
        }
        _ => Script::answer(401, &[("WWW-Authenticate", "Basic")], ""),
    };
    let login = "    path: /\n    basic: true\n    success: { status: 200 }\n    subject: { header: X-User }\n    roles: { header: X-Groups }\n";
    let (app, gate) = api(script, login).await;
    try_login(&gate, ALICE.name, "wrong").await.expect(400);
    let alice = Browser::logged_in(&gate, &ALICE).await;
    let userinfo = alice.get("/userinfo").await.expect(200).json();
    assert_eq!((&userinfo["sub"], &userinfo["roles"]), (&"Alice".into(), &serde_json::json!(["a", "b"])));
    // A colon would move the border between name and password.
    app.take();
    let (name, password) = ALICE.password.split_at(3);
    try_login(&gate, &format!("alice:{name}"), password).await.expect(400);
    assert_eq!(app.take().len(), 0);
}

/// Somebody whom a test's own app knows.
const SOMEBODY: Account = Account { name: "somebody", password: ALICE.password, roles: &[] };

#[tokio::test]
async fn a_session_of_another_way_to_log_in_is_nobodys() {
    let app = FormApp::start().await;
    let mut gate = Portcullis::start(&app.config("")).await;
    let mut somebody = Browser::logged_in(&gate, &SOMEBODY).await;
    let path = gate.folder().join("proxy.yaml");
    gate.kill().await;
    // The operator goes back to a users file, where the same name may be somebody else.
    let text = std::fs::read_to_string(&path).expect("it is there");
    let (before, _) = text.split_once("login:").expect("it is there");
    std::fs::write(&path, format!("{before}users: users.yaml\n")).expect("it is there");
    gate.start_again().await;
    somebody.refresh().await.expect(400).because("subject_removed");
}

#[tokio::test]
async fn a_password_goes_only_to_a_server_that_proves_its_name() {
    // A server that speaks TLS with a certificate for another name: the gate itself, with an echo behind.
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let made = rcgen::generate_simple_self_signed(["accounts.internal".to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("the certificate is written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("the key is written");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("only we can read it");
    let app = EchoBackend::answering(|request| {
        let right = String::from_utf8_lossy(&request.body).contains(ALICE.password);
        Script::answer(if right { 200 } else { 401 }, &[], "")
    });
    let app = app.await;
    let tls = Portcullis::start(&format!(
        "listen: [{{ address: \"{{listen}}\", tls: {{ certificate: {}, key: {} }} }}]\nupstream: {}\npublic: [/signin]\n",
        certificate.display(),
        key.display(),
        app.url()
    ))
    .await;

    let config = |name: &str| {
        format!(
            "upstreams:\n  app:\n    servers: [\"https://localhost:{}\"]\n    tls: {{ ca_file: {}{name} }}\n\
             routes: [{{ name: app, upstream: app }}]\n\
             login: {{ upstream: {{ path: /signin, form: {{}}, success: {{ status: 200 }} }} }}\n",
            tls.listen.port(),
            certificate.display()
        )
    };
    let gate = Portcullis::start(&config("")).await;
    try_login(&gate, ALICE.name, ALICE.password).await.expect(503).because("login_unavailable");
    assert_eq!(app.seen().len(), 0);
    let gate = Portcullis::start(&config(", server_name: accounts.internal")).await;
    try_login(&gate, ALICE.name, "another").await.expect(400);
    try_login(&gate, ALICE.name, ALICE.password).await.expect(200);
}
