//! A small app with a form login, a CSRF token, a session of its own, and whatever trouble a test wants.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::harness::{ALICE, EchoBackend, Recorded, Script};

/// An app with a form, a cookie named `sid`, and a page that says who has the session.
pub struct FormApp {
    /// What it is asked.
    pub backend: EchoBackend,
    /// Sessions that it has ended.
    pub ended: Arc<Mutex<Vec<String>>>,
    /// What it answers in place of all else.
    trouble: Arc<Mutex<Option<Trouble>>>,
}

/// What it answers when it is in trouble.
pub type Trouble = fn() -> Script;

/// The token in its form.
pub const TOKEN: &str = "T/+&1";

impl FormApp {
    /// Starts it.
    pub async fn start() -> FormApp {
        let (ended, trouble) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<Option<Trouble>>>::default());
        let (over, in_trouble) = (Arc::clone(&ended), Arc::clone(&trouble));
        let number = AtomicUsize::new(0);
        let backend = EchoBackend::answering(move |request| {
            if let Some(trouble) = *held(&in_trouble) {
                return trouble();
            }
            let session = cookie(request, "sid").filter(|sid| !held(&over).contains(sid));
            match (request.method.as_str(), request.target.as_str()) {
                ("GET", "/signin") => {
                    let page = "<form><input type=hidden name='tok&amp;en' value=\"T/+&amp;1\"></form>";
                    Script::answer(200, &[("Set-Cookie", "pre=1; Path=/signin")], page)
                }
                ("POST", "/signin") => signed_in(request, number.fetch_add(1, Ordering::SeqCst)),
                ("GET", "/me") => match session.and_then(|sid| Some(sid.split_once('-')?.0.to_owned())) {
                    Some(user) => {
                        let me = serde_json::json!({ "user": { "login": user, "groups": ["Staff", "x"] } });
                        Script::answer(200, &[("Content-Type", "application/json")], &me.to_string())
                    }
                    None => Script::answer(302, &[("Location", "/signin")], ""),
                },
                ("POST", "/signout") => {
                    held(&over).extend(session);
                    Script::answer(302, &[("Location", "/"), ("Set-Cookie", "sid=; Max-Age=0")], "")
                }
                ("GET", "/password") => {
                    // A new session, as after a change of the password.
                    held(&over).extend(session.clone());
                    let next = format!("sid={}", session.unwrap_or_default().replace('-', "-x"));
                    Script::answer(200, &[("Set-Cookie", "sid=; Max-Age=0"), ("Set-Cookie", &next)], "")
                }
                ("GET", "/bye") => Script::answer(302, &[("Location", "/"), ("Set-Cookie", "sid=\"\"; Max-Age=0")], ""),
                ("GET", "/rotate") => {
                    Script::answer(200, &[("Set-Cookie", "sid=new"), ("Set-Cookie", "theme=dark")], "")
                }
                _ => Script::answer(200, &[], &serde_json::json!({ "cookies": request.all("cookie") }).to_string()),
            }
        });
        FormApp { backend: backend.await, ended, trouble }
    }

    /// A configuration for it: all that `login.upstream` can do with a form.
    pub fn config(&self, more: &str) -> String {
        format!(
            r#"
upstream: {}
public: [/rotate]
login:
  attempts_per_account: 1000
  upstream:
    path: /signin
    form: {{ username: user, password: pass, extra: {{ remember: "1" }} }}
    csrf: {{ field: tok&en }}
    success: {{ status: 302, redirect: /home, cookie: sid }}
    subject: {{ json: /user/login }}
    roles: {{ json: /user/groups, map: {{ Staff: staff }} }}
    userinfo: /me
    keep_session: true
    logout: /signout
    timeout: 2s
{more}"#,
            self.backend.url()
        )
    }

    /// From now on it answers this to everything.
    pub fn is_in_trouble(&self, trouble: Trouble) {
        *held(&self.trouble) = Some(trouble);
    }

    /// Until now.
    pub fn is_well(&self) {
        *held(&self.trouble) = None;
    }

    /// What was posted there.
    pub fn posts_to(&self, target: &str) -> Vec<Recorded> {
        self.backend.seen().into_iter().filter(|seen| seen.method == "POST" && seen.target == target).collect()
    }
}

/// The value of a cookie that it was sent.
pub fn cookie(request: &Recorded, name: &str) -> Option<String> {
    let fields = request.all("cookie").join("; ");
    let mut pairs = fields.split("; ").filter_map(|pair| pair.split_once('='));
    pairs.find(|(own, _)| *own == name).map(|(_, value)| value.to_owned())
}

fn signed_in(request: &Recorded, number: usize) -> Script {
    let form: Vec<(String, String)> = reqwest::Url::parse(&format!("x:?{}", String::from_utf8_lossy(&request.body)))
        .expect("a query")
        .query_pairs()
        .into_owned()
        .collect();
    let get =
        |name: &str| form.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str()).unwrap_or_default();
    if get("tok&en") != TOKEN || cookie(request, "pre").as_deref() != Some("1") || get("remember") != "1" {
        return Script::answer(403, &[], "forged");
    }
    match (get("user"), get("pass")) {
        (user, password) if password == ALICE.password => {
            let user: String = user.chars().filter(char::is_ascii).collect();
            let sid = format!("sid={user}-{number}; HttpOnly; Path=/");
            Script::answer(302, &[("Location", "/home"), ("Set-Cookie", &sid), ("Set-Cookie", "pre=; Max-Age=0")], "")
        }
        // As many apps do: a session, even so, with the message in it.
        _ => Script::answer(302, &[("Location", "/signin?error"), ("Set-Cookie", "sid=nobody-0")], ""),
    }
}

/// Locks.
pub fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
