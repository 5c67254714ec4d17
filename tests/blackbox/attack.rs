//! Attacks that once worked, or nearly: each stays here as a test.

use crate::harness::{EchoBackend, Portcullis, anon, readings};

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
