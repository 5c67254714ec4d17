//! The admin site of Django behind the gate, as it comes: its own users, form login with a CSRF token, sessions.

use reqwest::Method;
use reqwest::header::{COOKIE, ORIGIN, SET_COOKIE};

use super::try_login;
use crate::harness::{ALICE, Answer, BOSS, Browser, DjangoAdmin, Portcullis, anon, client, eventually};

fn config(app: &DjangoAdmin) -> String {
    format!("upstream: {}\n{LOGIN}", app.url)
}

const LOGIN: &str = r#"
login:
  upstream:
    path: /admin/login/?next=/admin/
    form: {}
    csrf: { field: csrfmiddlewaretoken }
    success: { status: 302, redirect: /admin/, cookie: sessionid }
    roles: [staff]
    keep_session: true
    logout: { path: /admin/logout/, csrf: { from: /admin/password_change/, field: csrfmiddlewaretoken } }
"#;

#[tokio::test]
async fn log_in_work_and_log_out() {
    let django = DjangoAdmin::start(&BOSS).await;
    let gate = Portcullis::start(&config(&django)).await;
    anon(&gate, "/admin/").await.expect(401).because("token_missing");
    try_login(&gate, BOSS.name, "wrong").await.expect(400).because("credentials_wrong");
    try_login(&gate, ALICE.name, ALICE.password).await.expect(400).because("credentials_wrong");
    assert_eq!(django.sessions(), 0);

    let mut boss = Browser::logged_in(&gate, &BOSS).await;
    assert_eq!(django.sessions(), 1);
    let home = boss.get("/admin/").await.expect(200);
    assert!(home.text().contains("Log out"), "{}", home.text());

    // A form of the app's own, with its own CSRF cookie at the browser: what the app does for itself goes on.
    let form = boss.get("/admin/auth/group/add/").await.expect(200);
    let set: Vec<&str> = form.headers.get_all(SET_COOKIE).iter().filter_map(|field| field.to_str().ok()).collect();
    assert!(set.iter().any(|field| field.starts_with("csrftoken=")), "{set:?}");
    assert!(!set.iter().any(|field| field.starts_with("sessionid=")), "{set:?}");
    let csrf =
        set.iter().find_map(|field| field.strip_prefix("csrftoken=")?.split(';').next()).expect("it is set").to_owned();
    let send = async |csrf: &str| {
        let request =
            boss.with_token(Method::POST, "/admin/auth/group/add/").header(COOKIE, format!("csrftoken={csrf}"));
        Answer::to(request.form(&[("name", "auditors"), ("csrfmiddlewaretoken", csrf)])).await
    };
    let forged = Answer::to(boss.with_token(Method::POST, "/admin/auth/group/add/").form(&[("name", "x")])).await;
    assert_eq!(forged.status, 403, "the app's own protection stands");
    send(&csrf).await.expect(302);
    assert!(boss.get("/admin/auth/group/").await.expect(200).text().contains("auditors"));

    // A client that makes up a session of the app's gets what is kept, and so does nobody else.
    let made_up = boss.with_token(Method::GET, "/admin/").header(COOKIE, "sessionid=0123456789abcdef0123456789abcdef");
    Answer::to(made_up).await.expect(200);

    boss.logout().await.expect(204);
    eventually("the app has ended its session, too", async || (django.sessions() == 0).then_some(())).await;
    let put_back = client().get(gate.url("/admin/")).bearer_auth(boss.token());
    Answer::to(put_back).await.expect(401).because("session_ended");
    assert!(!gate.log().contains(BOSS.password), "{}", gate.log());
}

#[tokio::test]
async fn a_new_password_and_the_apps_own_logout_button() {
    let django = DjangoAdmin::start(&BOSS).await;
    let gate = Portcullis::start(&config(&django)).await;
    let boss = Browser::logged_in(&gate, &BOSS).await;
    let send = async |path: &'static str, fields: &[(&str, &str)]| {
        let form = boss.get("/admin/password_change/").await.expect(200);
        let set = form.headers.get_all(SET_COOKIE).iter().filter_map(|field| field.to_str().ok());
        let mut tokens = set.filter_map(|field| field.strip_prefix("csrftoken=")?.split(';').next());
        let token = tokens.next().expect("a token").to_owned();
        let mut fields = fields.to_vec();
        fields.push(("csrfmiddlewaretoken", &token));
        let request = boss.with_token(Method::POST, path).header(COOKIE, format!("csrftoken={token}"));
        Answer::to(request.form(&fields)).await
    };
    let new = "an-other-S3cret";
    let change = [("old_password", BOSS.password), ("new_password1", new), ("new_password2", new)];
    let changed = send("/admin/password_change/", &change).await.expect(302);
    assert_eq!(changed.header("location"), Some("/admin/password_change/done/"));
    // The app has replaced its session: the user goes on in the new one.
    boss.get("/admin/").await.expect(200);
    try_login(&gate, BOSS.name, BOSS.password).await.expect(400).because("credentials_wrong");

    send("/admin/logout/", &[]).await.expect(200);
    eventually("ours has ended, too", async || (boss.get("/admin/").await.status == 401).then_some(())).await;
    try_login(&gate, BOSS.name, new).await.expect(200);
}

#[tokio::test]
async fn a_browser_that_navigates_needs_nothing_but_our_cookies() {
    let django = DjangoAdmin::start(&BOSS).await;
    let gate = Portcullis::start(&format!(
        "upstreams: {{ admin: {{ servers: [\"{}\"] }} }}\n\
         routes: [{{ name: admin, upstream: admin, credentials: [cookie] }}]\n{LOGIN}",
        django.url
    ))
    .await;
    let sets = |answer: &Answer| -> Vec<(String, String)> {
        let fields = answer.headers.get_all(SET_COOKIE).iter().filter_map(|field| field.to_str().ok());
        let pairs = fields.filter_map(|field| field.split(';').next()?.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let login = try_login(&gate, BOSS.name, BOSS.password).await.expect(200);
    let ours = sets(&login);
    let line = |names: &[&str]| {
        let wanted = ours.iter().filter(|(name, _)| names.contains(&name.as_str()));
        wanted.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    };
    let both = line(&["__Host-access", "__Host-refresh"]);
    assert!(ours.len() == 2 && ours.iter().all(|(name, value)| name.len() + value.len() < 4096), "{ours:?}");
    let get = async |cookies: &str| {
        Answer::to(client().get(gate.url("/admin/auth/group/add/")).header(COOKIE, cookies)).await
    };
    let form = get(&both).await.expect(200);
    let names: Vec<String> = sets(&form).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["csrftoken"]);
    let csrf = sets(&form)[0].1.clone();

    // The access cookie is gone: a form that was long in the writing is sent all the same, once, and the app knows whose it is.
    let late = format!("{}; csrftoken={csrf}", line(&["__Host-refresh"]));
    let post = client().post(gate.url("/admin/auth/group/add/")).header(COOKIE, late).header(ORIGIN, gate.url(""));
    let sent = Answer::to(post.form(&[("name", "auditors"), ("csrfmiddlewaretoken", &csrf)])).await.expect(302);
    let renewed = sets(&sent);
    assert!(renewed.iter().any(|(name, _)| name == "__Host-access"), "{renewed:?}");
    assert!(!renewed.iter().any(|(name, _)| name == "sessionid"), "{renewed:?}");
    let access = renewed.iter().find(|(name, _)| name == "__Host-access").expect("it is there");
    let list = client().get(gate.url("/admin/auth/group/")).header(COOKIE, format!("{}={}", access.0, access.1));
    assert!(Answer::to(list).await.expect(200).text().contains("auditors"));
    assert_eq!(django.sessions(), 1);
}
