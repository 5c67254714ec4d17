//! No token, password or cookie value appears in a log, a metric, an error page or an upstream request (invariant 9).

use reqwest::Method;

use crate::harness::{ALICE, Account, Answer, Browser, Cluster, EchoBackend, Setup, client, eventually, free_port};

#[tokio::test]
async fn a_whole_life_leaves_no_secret_behind_on_the_embedded_store() {
    a_whole_life_leaves_no_secret_behind(Setup::Embedded).await;
}

#[tokio::test]
async fn a_whole_life_leaves_no_secret_behind_on_redis() {
    a_whole_life_leaves_no_secret_behind(Setup::TwoOnRedis).await;
}

/// Everything that must not be seen again, and everything that was said.
#[derive(Default)]
struct Life {
    secrets: Vec<String>,
    error_pages: Vec<String>,
}

impl Life {
    /// Keeps what the browser holds now.
    fn holds(&mut self, browser: &Browser) {
        self.secrets.push(browser.refresh_token());
        self.secrets.push(browser.token().to_owned());
        self.secrets.extend(browser.token().rsplit('.').next().map(str::to_owned));
    }

    fn error(&mut self, answer: Answer) {
        assert!(answer.status >= 400, "{answer:#?}");
        self.error_pages.push(format!("{:?}\n{}", answer.headers, answer.text()));
    }
}

async fn a_whole_life_leaves_no_secret_behind(setup: Setup) {
    let app = EchoBackend::start().await;
    let config = format!(
        "upstreams:\n  app: {{ servers: [\"{}\"] }}\n  gone: {{ servers: [\"http://127.0.0.1:{}\"] }}\n\
         routes:\n  \
           - {{ name: app, upstream: app }}\n  \
           - {{ name: gone, path_prefix: /gone, upstream: gone }}\n  \
           - {{ name: admin, path_prefix: /admin, upstream: app, roles: [admin] }}\n\
         rotation: {{ grace: 0s }}\nlog: {{ access: stdout }}\n",
        app.url(),
        free_port()
    );
    // As talkative as it gets.
    let cluster = Cluster::start_with(setup, &config, &[("RUST_LOG", "trace")]).await;
    let (first, last) = (cluster.first(), cluster.last());
    let mut life = Life::default();

    // Passwords: a wrong one, one in the wrong field, one in a body that cannot be read.
    const MISTYPED: Account = Account { name: "alice", password: "mistyped-s3cret-1", roles: &[] };
    const SWAPPED: Account = Account { name: "typed-too-early-s3cret-2", password: "x", roles: &[] };
    life.secrets.extend([ALICE.password, MISTYPED.password, SWAPPED.name, "broken-s3cret-3"].map(str::to_owned));
    life.error(Browser::at(first).login(&MISTYPED).await);
    life.error(Browser::at(first).login(&SWAPPED).await);
    let broken = "{\"username\":\"alice\",\"password\":\"broken-s3cret-3";
    life.error(
        Answer::to(client().post(first.url("/login")).header("Content-Type", "application/json").body(broken)).await,
    );

    // A life with everything that can go wrong in it.
    let alice = Browser::logged_in(first, &ALICE).await;
    life.holds(&alice);
    let at_first = alice.second_tab();
    alice.get("/").await.expect(200);
    life.error(alice.get("/admin").await);
    life.error(alice.get("/gone").await);
    life.error(alice.get("/a%2fb").await);
    let mut alice = alice.at_proxy(last);
    alice.refresh().await.expect(200);
    life.holds(&alice);
    alice.refresh().await.expect(200);
    life.holds(&alice);

    // Tokens where they do not belong.
    let (token, cookie) = (alice.token().to_owned(), alice.refresh_token());
    life.error(Answer::to(client().get(first.url(&format!("/x?access_token={token}")))).await);
    life.error(Answer::to(client().get(first.url("/")).bearer_auth(&cookie)).await);
    life.error(Answer::to(client().get(first.url("/")).header("Authorization", format!("Bearer {token}, x"))).await);
    life.error(Answer::to(client().get(first.url("/")).header("Authorization", format!("Basic {token}"))).await);
    life.error(
        Answer::to(client().post(first.url("/refresh")).header("Cookie", format!("__Host-refresh={token}"))).await,
    );
    life.error(
        Answer::to(
            client().post(first.url("/refresh")).header("Cookie", format!("__Host-refresh={cookie}; __Host-refresh=x")),
        )
        .await,
    );
    Answer::to(alice.with_token(Method::POST, "/with-both").header("Referer", "http://a/")).await.expect(200);

    // Theft, and a logout.
    life.error(at_first.thief().refresh().await);
    life.error(
        eventually("the theft is known everywhere", async || {
            Some(alice.get("/").await).filter(|answer| answer.status != 200)
        })
        .await,
    );
    life.error(alice.refresh().await);
    alice.login(&ALICE).await.expect(200);
    life.holds(&alice);
    alice.second_tab().logout().await.expect(204);

    let mut places = vec![(
        "an upstream request",
        app.seen().iter().map(|request| String::from_utf8_lossy(&request.raw).into_owned()).collect::<String>(),
    )];
    places.push(("an error page", life.error_pages.concat()));
    for gate in &cluster.gates {
        places.push(("a metric", gate.metrics().await.text));
        places.push(("a log", gate.log()));
    }
    for keys in [cluster.keys(), first.folder().join("data/keys.jwks")] {
        if let Ok(text) = std::fs::read_to_string(keys) {
            life.secrets.extend(private_members(&text));
        }
    }
    assert!(life.secrets.len() > 16, "the key file was found, too");
    assert!(places.iter().any(|(place, text)| *place == "a log" && text.len() > 500), "there is a log to look into");
    for (place, text) in &places {
        for secret in &life.secrets {
            assert!(
                secret.len() > 8 && !text.contains(secret.as_str()),
                "{place} holds the secret {secret:?}:\n{text}"
            );
        }
    }
}

fn private_members(key_set: &str) -> Vec<String> {
    let set: serde_json::Value = serde_json::from_str(key_set).expect("a key file is a JWK set");
    let keys = set["keys"].as_array().expect("it has keys");
    keys.iter().flat_map(|key| [key["d"].as_str(), key["k"].as_str()]).flatten().map(str::to_owned).collect()
}
