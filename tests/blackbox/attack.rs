//! Attacks that once worked, or nearly: each stays here as a test.

use crate::harness::{EchoBackend, Portcullis, Script, anon, eventually, raw, readings};

#[tokio::test]
async fn a_rule_with_upper_case_holds_against_backends_that_fold_it() {
    let app = EchoBackend::start().await;
    let gate = Portcullis::start(&format!(
        "upstreams: {{ app: {{ servers: [\"{}\"] }} }}\nroutes:\n  - {{ name: app, upstream: app, auth: public }}\n  \
         - {{ name: admin, path_prefix: /Admin, upstream: app }}\n",
        app.url()
    ))
    .await;
    for path in ["/Admin/x", "/admin/x", "/ADMIN/x", "/aDmin", "/%61dmin", "//admin", "/admin;a/x"] {
        let status = anon(&gate, path).await.status;
        assert!(status == 400 || status == 401, "{path}: {status}");
    }
    anon(&gate, "/Administration").await.expect(200);
    for seen in app.take() {
        let admin = readings(&seen.target).into_iter().any(|path| path == "/admin" || path.starts_with("/admin/"));
        assert!(!admin, "a folding backend reads {} as the admin's", seen.target);
    }
}

#[tokio::test]
async fn an_app_cannot_plant_our_cookie_without_naming_it() {
    let app = EchoBackend::answering(|_| {
        Script::answer(200, &[("Set-Cookie", "=__Host-refresh=planted; Path=/; Secure"), ("Set-Cookie", "own=1")], "")
    })
    .await;
    let gate = Portcullis::start(&format!("upstream: {}\npublic: [/public]\n", app.url())).await;
    let answer = anon(&gate, "/public").await.expect(200);
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["own=1"]);
}

#[tokio::test]
async fn what_an_app_babbles_is_not_quoted_in_the_log() {
    let babble = "HTTP/1.1 200 OK\r\nSet-Cookie: app=SECRET-OF-THE-APP\r\nbad header\r\n\r\n";
    let app = EchoBackend::answering(move |_| Script::Raw(babble.into())).await;
    let gate = Portcullis::start(&format!("upstream: {}\npublic: [/public]\n", app.url())).await;
    anon(&gate, "/public").await.expect(502);
    eventually("the failure is logged", async || gate.log().contains("a request failed").then_some(())).await;
    assert!(!gate.log().contains("SECRET-OF-THE-APP"), "{}", gate.log());
}

#[tokio::test]
async fn an_answer_that_can_have_no_body_announces_none() {
    let app =
        EchoBackend::answering(|_| Script::Raw(b"HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\nhello".to_vec())).await;
    let gate = Portcullis::start(&format!("upstream: {}\npublic: [/public]\n", app.url())).await;
    let answer = raw(gate.listen, "GET /public HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("an answer");
    assert_eq!((answer.status, answer.header("content-length")), (204, None), "{}", answer.head);
}
