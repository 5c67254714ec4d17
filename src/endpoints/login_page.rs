//! The page where people log in, for apps that browsers navigate to. It needs no script.
//!
//! What must never happen in here: a password in a page; a value that comes from a request and is not escaped; a page that
//! another site can put into a frame, or that loads anything from anywhere.

pub(super) mod destination;
mod problem;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};

pub use self::problem::Problem;
use crate::gate::{Reason, Reply};

/// What the page is made of. All of it is the operator's.
#[derive(Clone, Debug, Default)]
pub struct LoginPageOptions {
    /// The heading. None: "Log in".
    pub title: Option<String>,
    /// A paragraph below the heading.
    pub text: Option<String>,
    /// Media type and bytes of an image above the heading.
    pub logo: Option<(&'static str, Vec<u8>)>,
    /// File name and content of CSS that follows ours.
    pub stylesheet: Option<(String, String)>,
    /// File name and content of a template in place of ours.
    pub template: Option<(String, String)>,
    /// The path of the login.
    pub login_path: String,
    /// The app's own login page, in place of all of this but for what is not its business.
    pub url: Option<String>,
}

/// The page cannot be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{file}{}: {message}", line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct LoginPageError {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1, if it is known.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

/// What is shown of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown<'a> {
    /// Where to go after the login. It is checked here.
    pub return_to: &'a str,
    /// The user name that was typed.
    pub username: &'a str,
    /// What to say above the form.
    pub problem: Option<Problem>,
}

/// The page, ready to be filled in.
pub struct LoginPage {
    templates: Environment<'static>,
    title: String,
    text: Option<String>,
    logo: Option<String>,
    style: Value,
    stylesheet: String,
    login_path: String,
    url: Option<String>,
}

/// Ours, and the one that shows the form: the operator's or ours again.
const BUILT_IN: &str = "page.html";
const FORM: &str = "form";
const PAGE: &str = include_str!("login_page/page.html");
const STYLE: &str = include_str!("login_page/page.css");

const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

impl LoginPage {
    /// Reads the template and tries it with everything that it can be asked to show.
    pub fn new(options: LoginPageOptions) -> Result<LoginPage, LoginPageError> {
        let (file, template) = options.template.unwrap_or((BUILT_IN.to_owned(), PAGE.to_owned()));
        let wrong = |message: &str| LoginPageError { file: file.clone(), line: None, message: message.to_owned() };
        // Empty: no filters, so none that turns escaping off; and nothing that reads files.
        let mut templates = Environment::empty();
        templates.set_auto_escape_callback(|_| AutoEscape::Html);
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        let mut add = |name, text| templates.add_template_owned(name, text).map_err(|error| told(&file, &error));
        add(BUILT_IN, PAGE.to_owned())?;
        add(FORM, template)?;

        let (css_file, stylesheet) = options.stylesheet.unwrap_or_default();
        if let Some(at) = stylesheet.to_ascii_lowercase().find("</style") {
            let (line, message) =
                (Some(stylesheet[..at].matches('\n').count() + 1), "`</style` would end it; remove that");
            return Err(LoginPageError { file: css_file, line, message: message.to_owned() });
        }
        let logo =
            options.logo.map(|(media_type, bytes)| format!("data:{media_type};base64,{}", STANDARD.encode(bytes)));
        let page = LoginPage {
            templates,
            title: options.title.unwrap_or("Log in".to_owned()),
            text: options.text,
            logo,
            style: Value::from_safe_string(format!("{STYLE}{stylesheet}")),
            stylesheet,
            login_path: options.login_path,
            url: options.url,
        };
        for problem in [None].into_iter().chain(Problem::ALL.map(Some)) {
            let shown = Shown { return_to: "/return-to-this", username: "", problem };
            let html = page.html(FORM, "login", &shown, "").map_err(|error| told(&file, &error))?;
            for (part, what) in [
                ("username", "has no field `username`"),
                ("password", "has no field `password`"),
                (
                    "return_to",
                    "has no field `return_to`; write `<input type=\"hidden\" name=\"return_to\" value=\"{{ return_to }}\">`",
                ),
                ("return-to-this", "does not use `{{ return_to }}`: it must be the value of the field `return_to`"),
            ] {
                if !html.contains(part) {
                    let when = problem.map(|problem| format!(" (when `problem.name` is `{}`)", problem.name()));
                    return Err(wrong(&format!("the form {what}{}", when.unwrap_or_default())));
                }
            }
        }
        Ok(page)
    }

    /// Is there a form of ours? Not if the app has a login page of its own.
    pub fn has_form(&self) -> bool {
        self.url.is_none()
    }

    /// The address of the login page, for a browser that is to come back to `return_to`, or that is told something.
    pub fn address(&self, return_to: Option<&str>, problem: Option<Problem>) -> String {
        let mut address = self.url.as_ref().unwrap_or(&self.login_path).clone();
        let mut mark = if address.contains('?') { '&' } else { '?' };
        if let Some(return_to) = return_to {
            let encoded = form_urlencoded::byte_serialize(self.destination(return_to).as_bytes());
            address.push(mark);
            address.push_str("return_to=");
            address.extend(encoded);
            mark = '&';
        }
        if let Some(problem) = problem {
            address.push(mark);
            address.push_str(problem.name());
        }
        address
    }

    /// Where a browser goes after a login that asked for `return_to`.
    pub fn destination<'t>(&self, return_to: &'t str) -> &'t str {
        destination::destination(return_to, &self.login_path)
    }

    /// The page with the form. `nonce` is never used twice.
    pub fn render(&self, shown: &Shown<'_>, nonce: &str) -> Reply {
        self.reply(Reply::empty(StatusCode::OK), self.html(FORM, "login", shown, nonce), nonce)
    }

    /// The page with the form and what is wrong, in place of the API's `refusal`, with its status.
    pub(super) fn refused(&self, refusal: Reply, return_to: &str, username: &str, nonce: &str) -> Reply {
        let problem = Some(Problem::of(&refusal));
        if !self.has_form() {
            return see_other(refusal, &self.address(Some(return_to), problem));
        }
        let shown = Shown { return_to, username, problem };
        let html = self.html(FORM, "login", &shown, nonce);
        self.reply(refusal, html, nonce)
    }

    /// What a form gets that met no session, or one that has ended: it was not passed on, and how it still can be.
    pub fn not_saved(&self, reason: Reason, nonce: &str) -> Reply {
        self.reply(Reply::refusal(reason), self.html(BUILT_IN, "not_saved", &Shown::default(), nonce), nonce)
    }

    /// What the button of a logout gets that could not be carried out, in place of the API's `refusal`.
    pub(super) fn not_logged_out(&self, refusal: Reply, nonce: &str) -> Reply {
        self.reply(refusal, self.html(BUILT_IN, "not_logged_out", &Shown::default(), nonce), nonce)
    }

    fn html(&self, template: &str, page: &str, shown: &Shown<'_>, nonce: &str) -> Result<String, minijinja::Error> {
        let problem = shown.problem.map(|problem| {
            let text: Cow<'_, str> = problem.text();
            context! { name => problem.name(), text => &*text, is_error => problem.is_error() }
        });
        self.templates.get_template(template)?.render(context! {
            page,
            title => &*self.title,
            text => self.text.as_deref(),
            logo => self.logo.as_deref(),
            style => self.style.clone(),
            stylesheet => Value::from_safe_string(self.stylesheet.clone()),
            nonce,
            login_path => &*self.login_path,
            login_url => self.address(None, None),
            return_to => self.destination(shown.return_to),
            username => shown.username,
            problem => problem,
        })
    }

    /// `reply` with the page as its body, and with everything that keeps the page to itself.
    fn reply(&self, mut reply: Reply, html: Result<String, minijinja::Error>, nonce: &str) -> Reply {
        let html = match html {
            Ok(html) => html,
            Err(error) => {
                tracing::error!(%error, "the login page cannot be filled in");
                return Reply::refusal(Reason::Internal);
            }
        };
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'"
        );
        let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        reply.headers.retain(|(name, _)| *name != CONTENT_TYPE);
        reply.body = html.into();
        reply
            .with(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))
            .with(CONTENT_SECURITY_POLICY, policy)
            .with(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
            // With `no-referrer` the form's `Origin` would be `null`, and refused as that of another site.
            .with(REFERRER_POLICY, HeaderValue::from_static("same-origin"))
            .with(CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin"))
            .with(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"))
    }
}

/// Sends the browser on, by GET and with the cookies of `reply`; a token in its body stays here.
pub(super) fn see_other(reply: Reply, location: &str) -> Reply {
    // Cannot fail: destinations are printable ASCII.
    let location = HeaderValue::try_from(location).unwrap_or(HeaderValue::from_static(destination::HOME));
    let mut headers = reply.headers;
    headers.retain(|(name, _)| *name == SET_COOKIE || *name == CACHE_CONTROL);
    let gone = Reply { status: StatusCode::SEE_OTHER, headers, body: bytes::Bytes::new(), reason: reply.reason };
    gone.with(LOCATION, location)
}

fn told(file: &str, error: &minijinja::Error) -> LoginPageError {
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    LoginPageError { file: file.to_owned(), line: error.line(), message: format!("{}{detail}", error.kind()) }
}
