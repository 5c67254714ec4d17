//! What a newcomer types on the first day, with the real curl, and what comes back.

use std::path::Path;

use tokio::process::Command;

use crate::harness::{LegacyApp, Portcullis, eventually};

/// Runs curl as a person would and returns status line, header fields and body as it prints them.
async fn curl(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("curl").current_dir(folder).args(["-s", "-i"]).args(arguments).output().await;
    let output = output.expect("curl is installed: `make deps`");
    assert!(output.status.success(), "curl {arguments:?}: {}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Fails unless the answer has this status and contains all of these.
#[track_caller]
fn shows(answer: &str, status: u16, parts: &[&str]) {
    assert_eq!(answer.split(' ').nth(1), Some(status.to_string().as_str()), "{answer}");
    let lower = answer.to_lowercase();
    for part in parts {
        assert!(lower.contains(&part.to_lowercase()), "{part:?} is missing in\n{answer}");
    }
}

#[tokio::test]
async fn five_lines_are_enough_to_start() {
    let app = LegacyApp::start().await;
    let five_lines =
        format!("listen: {{listen}}\nupstream: {}\nusers: users.yaml\npublic: [/assets/]\nstore: embedded\n", app.url);
    let gate = Portcullis::start(&five_lines).await;
    shows(&curl(gate.folder(), &[&gate.url("/assets/app.css")]).await, 200, &["content-type: text/css"]);
    shows(&curl(gate.folder(), &[&gate.url("/assets")]).await, 401, &[]);
    shows(&curl(gate.folder(), &[&gate.url("/")]).await, 401, &[]);
}

#[tokio::test]
async fn a_newcomer_types_the_commands_of_the_table_and_sees_what_it_says() {
    let app = LegacyApp::start().await;
    // As a day goes, in seconds: short tokens, and cookies that curl sends over http.
    let gate = Portcullis::start(&format!(
        "access_token: {{ lifetime: 4s, skew: 0s }}\n\
         development: {{ insecure_cookies: true }}\n\
         upstreams: {{ app: {{ servers: [\"{}\"] }} }}\n\
         routes:\n  \
           - {{ name: app, upstream: app, auth: required }}\n  \
           - {{ name: assets, path_prefix: /assets, upstream: app, auth: public }}\n  \
           - {{ name: admin, path_prefix: /admin, upstream: app, auth: required, roles: [admin] }}\n",
        app.url
    ))
    .await;
    let (home, jar) = (gate.folder().to_owned(), ["-b", "jar", "-c", "jar"]);
    let url = |path: &str| gate.url(path);

    let answer = curl(&home, &[&url("/")]).await;
    shows(&answer, 401, &["www-authenticate: Bearer realm=\"portcullis\"\r\n", "\"reason\":\"token_missing\""]);

    let answer = curl(&home, &[&url("/assets/app.css")]).await;
    shows(&answer, 200, &["content-type: text/css"]);

    let answer = curl(&home, &["-d", "username=demo&password=no", &url("/login")]).await;
    shows(&answer, 400, &["\"error\":\"invalid_grant\"", "application/problem+json"]);

    let answer = curl(&home, &["-c", "jar", "-d", "username=demo&password=demo", &url("/login")]).await;
    shows(&answer, 200, &["\"token_type\":\"Bearer\"", "cache-control: no-store", "httponly", "samesite=strict"]);
    std::fs::copy(home.join("jar"), home.join("oldjar")).expect("curl wrote the cookie into the jar");
    let token = access_token(&answer);
    let authorization = format!("Authorization: Bearer {token}");

    let answer = curl(&home, &["-H", &authorization, "-H", "X-Auth-Subject: root", &url("/")]).await;
    shows(&answer, 200, &["hello demo"]);
    assert!(!answer.contains("root"), "{answer}");

    let answer = curl(&home, &["-H", &authorization, "-H", "X-Auth-Subject: root", &url("/admin")]).await;
    shows(&answer, 403, &["error=\"insufficient_scope\""]);

    eventually("the access token has expired", async || {
        let answer = curl(&home, &["-H", &authorization, &url("/")]).await;
        answer
            .contains("401 ")
            .then(|| shows(&answer, 401, &["error=\"invalid_token\"", "\"reason\":\"token_expired\""]))
    })
    .await;

    let answer = curl(&home, &[&url("/refresh")]).await;
    shows(&answer, 405, &["allow: POST"]);

    let answer = curl(&home, &[&jar[..], &["-X", "POST", &url("/refresh")]].concat()).await;
    shows(&answer, 200, &["\"access_token\""]);
    let authorization = format!("Authorization: Bearer {}", access_token(&answer));

    let answer = curl(&home, &["--path-as-is", &url("/assets/../admin")]).await;
    shows(&answer, 400, &["\"reason\":\"path_ambiguous\""]);

    let answer = curl(&home, &[&jar[..], &["-X", "POST", &url("/logout")]].concat()).await;
    shows(&answer, 204, &["set-cookie: refresh=;"]);

    let answer = curl(&home, &["-H", &authorization, &url("/")]).await;
    shows(&answer, 401, &["error=\"invalid_token\"", "\"reason\":\"session_ended\""]);

    let answer = curl(&home, &["-b", "oldjar", "-X", "POST", &url("/refresh")]).await;
    shows(&answer, 400, &["\"error\":\"invalid_grant\"", "\"reason\":\"session_ended\""]);

    shows(&curl(&home, &[&gate.admin_url("/readyz")]).await, 200, &[]);
    shows(&curl(&home, &[&gate.admin_url("/healthz")]).await, 200, &[]);
    shows(
        &curl(&home, &[&gate.admin_url("/metrics")]).await,
        200,
        &["portcullis_logins_total", "# TYPE portcullis_http_requests_total counter"],
    );
}

fn access_token(answer: &str) -> String {
    let (_, body) = answer.split_once("\r\n\r\n").expect("an answer has a body");
    let body: serde_json::Value = serde_json::from_str(body).expect("the body is JSON");
    body["access_token"].as_str().expect("it has an access token").to_owned()
}
