//! Another site cannot make a browser log in, refresh or log out; and no safe method changes anything.

use reqwest::Method;
use serde::Deserialize;

use crate::harness::{ALICE, Answer, Browser, EchoBackend, Portcullis, raw};

#[derive(Deserialize)]
struct Case {
    name: String,
    headers: Vec<(String, String)>,
    allowed: bool,
}

async fn gate() -> Portcullis {
    let app = EchoBackend::start().await;
    Portcullis::start(&format!("upstream: {}\norigins: [\"https://gate.example\"]\n", app.url())).await
}

#[tokio::test]
async fn posts_from_other_sites_are_refused_and_change_nothing() {
    let cases: Vec<Case> = serde_yaml::from_str(include_str!("../cases/cross_site.yaml")).expect("the cases are YAML");
    let gate = gate().await;
    for Case { name, headers, allowed } in cases {
        let alice = Browser::logged_in(&gate, &ALICE).await;
        let fields: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}\r\n", value.replace("{self}", &gate.url(""))))
            .collect();
        let credentials = format!("username={}&password={}", ALICE.name, ALICE.password);
        for (path, body, status) in [
            ("/login", credentials.as_str(), 200),
            ("/refresh", "", 200),
            ("/logout/all", "", 204),
            ("/logout", "", 204),
        ] {
            let answer = raw(
                gate.listen,
                format!(
                    "POST {path} HTTP/1.1\r\nHost: {}\r\nCookie: __Host-refresh={}\r\n{fields}\
                     Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
                    gate.listen,
                    alice.refresh_token(),
                    body.len()
                ),
            )
            .await
            .expect("an answer");
            if allowed {
                assert_eq!(answer.status, status, "{name}, {path}: {}", answer.text());
            } else {
                assert!(
                    answer.status == 403 || answer.status == 400,
                    "{name}, {path}: {} {}",
                    answer.status,
                    answer.text()
                );
                assert!(answer.header("set-cookie").is_none(), "{name}, {path}: {}", answer.head);
            }
        }
        if !allowed {
            alice.get("/").await.expect(200);
            alice.second_tab().refresh().await.expect(200);
        }
    }
}

#[tokio::test]
async fn no_other_method_than_post_changes_anything() {
    let gate = gate().await;
    let alice = Browser::logged_in(&gate, &ALICE).await;
    for path in ["/login", "/refresh", "/logout", "/logout/all"] {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
            let answer = Answer::to(alice.with_token(method.clone(), path)).await.expect(405);
            assert!(answer.header("allow").is_some_and(|allow| allow.contains("POST")), "{method} {path}: {answer:#?}");
            assert!(answer.refresh_cookie().is_none(), "{method} {path}: {answer:#?}");
        }
    }
    alice.get("/").await.expect(200);
    assert!(alice.second_tab().refresh().await.expect(200).refresh_cookie().is_some());
}
