//! Whole logins, against a server that answers when it is told to.

use std::net::IpAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::login::limits::{Budget, ThrottleLimits};

const REFUSED: &[u8] = b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n";

/// An app whose answers are given by the test, and its login: two wrong passwords are borne, and one login at a time.
async fn app() -> (TcpListener, UpstreamLogin) {
    app_keeping(&[]).await
}

/// The same, keeping these cookies.
async fn app_keeping(cookies: &[&str]) -> (TcpListener, UpstreamLogin) {
    let app = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = app.local_addr().unwrap().port();
    let field = |name: &str| name.to_owned();
    let spec = UpstreamSpec {
        servers: vec![ServerSpec { host: "127.0.0.1".to_owned(), port, tls_name: None }],
        ca_file: None,
        path: "/login".to_owned(),
        headers: Vec::new(),
        sends: Sends::Form { username: field("username"), password: field("password"), extra: Vec::new() },
        csrf: None,
        success: Success { status: vec![200], ..Success::default() },
        subject: Subject::Typed,
        roles: Roles::default(),
        userinfo: None,
        kept_cookies: cookies.iter().map(ToString::to_string).collect(),
        logout: None,
        connect_timeout: Duration::from_secs(60),
        timeout: Duration::from_secs(60),
        at_a_time: 1,
    };
    let budget = Budget::new(2, 3600);
    let throttle = ThrottleLimits { per_account_and_address: budget, ..ThrottleLimits::default() };
    (app, UpstreamLogin::new(spec, &Lasting::new(throttle).unwrap()).unwrap())
}

fn credentials() -> Credentials {
    let (username, password) = ("ann".to_owned(), SecretString::from("a guess"));
    Credentials { username, password, address: IpAddr::from([192, 0, 2, 1]), user_agent: None }
}

/// Takes a request, all of it.
async fn request(app: &TcpListener) -> TcpStream {
    let (mut stream, _) = app.accept().await.unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"username=ann&password=a+guess") {
        stream.read_buf(&mut text).await.unwrap();
    }
    stream
}

#[tokio::test]
async fn an_attempt_counts_though_the_client_leaves_before_its_outcome() {
    let (app, logins) = app().await;
    for _ in 0..2 {
        let mut leaving = Box::pin(logins.login(credentials()));
        let mut asked = Box::pin(request(&app));
        let mut stream = tokio::select! {
            _ = &mut leaving => panic!("nobody has answered"),
            stream = &mut asked => stream,
        };
        drop(leaving);
        stream.write_all(REFUSED).await.unwrap();
        // The attempt is over when its turn is.
        let turn = logins.inner.turns.turn().await;
        drop(turn);
    }
    assert!(matches!(logins.login(credentials()).await, Err(LoginError::TooManyAttempts { .. })));
}

#[tokio::test]
async fn beyond_the_queue_nobody_waits() {
    let (app, logins) = app().await;
    let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(logins.login(credentials()))).collect();
    for login in &mut waiting {
        assert!(futures::poll!(login).is_pending());
    }
    let places: Vec<_> =
        (0..QUEUE).map(|_| Arc::clone(&logins.inner.turns.places).try_acquire_owned().unwrap()).collect();
    let other = Credentials { address: IpAddr::from([198, 51, 100, 7]), ..credentials() };
    assert_eq!(logins.login(other).await.map(|_| ()), Err(LoginError::Overloaded));
    drop(places);
    for mut login in waiting {
        let mut answering = Box::pin(async {
            request(&app).await.write_all(REFUSED).await.unwrap();
            std::future::pending::<()>().await
        });
        let result = tokio::select! {
            result = &mut login => result,
            () = &mut answering => continue,
        };
        assert_eq!(result.map(|_| ()), Err(LoginError::Rejected));
    }
}

#[tokio::test]
async fn a_session_without_the_apps_own_is_of_use_only_where_none_is_kept() {
    let principal = Principal { subject: "ann".to_owned(), roles: vec!["staff".to_owned()], scopes: Vec::new() };
    for (cookies, app_session, today) in [
        (&[][..], None, Some(principal.clone())),
        (&["sid"], Some(AppSession::from("sid=1")), Some(principal.clone())),
        (&["sid"], None, None),
    ] {
        let (_app, logins) = app_keeping(cookies).await;
        let client = || Client { address: IpAddr::from([192, 0, 2, 1]), user_agent: None };
        let then = LoggedIn { principal: principal.clone(), app_session };
        assert_eq!(logins.today("ann", Some(then), client()).await, Ok(today), "{cookies:?}");
        // Of another way to log in.
        assert_eq!(logins.today("ann", None, client()).await, Ok(None));
    }
}
