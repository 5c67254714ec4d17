//! Requests from other sites: which may change state here, how their refresh token may travel, and what browsers are told
//! (CORS).

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::head::RequestHead;
use super::known::Known;
use super::reply::Reply;

/// Which origins other than our own are trusted, and what their scripts may do.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// Origins that clients see us under, beside the one that each request names itself.
    pub own: Vec<String>,
    /// CORS, if it is configured.
    pub cors: Option<Cors>,
    /// The same for the web views of native clients, which come without cookies. None of these origins is in one of the
    /// other lists.
    pub web_views: Option<Cors>,
}

/// Who sends a request, as far as that decides how its refresh token may travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// It says nothing of a page, so it is no browser, and holds its tokens itself.
    Program,
    /// A page of ours, or one of an origin that CORS is configured for: its browser keeps the cookie.
    Page,
    /// A page in the web view of a native client that is listed: without cookies.
    WebView,
    /// A page of another site.
    OtherSite,
}

/// What is told to browsers about requests from other origins (Fetch standard, "HTTP extensions").
#[derive(Clone, Debug)]
pub struct Cors {
    /// The origins whose scripts may read our answers.
    pub allow_origins: Vec<String>,
    /// `Access-Control-Allow-Methods`.
    pub allow_methods: HeaderValue,
    /// `Access-Control-Allow-Headers`.
    pub allow_headers: HeaderValue,
    /// `Access-Control-Max-Age`, in seconds.
    pub max_age_s: u32,
}

/// The fields that the proxy decides on alone once CORS is configured.
pub const CORS_HEADERS: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

pub(super) const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl Origins {
    /// Who sends this request? Browsers say where a request comes from; whoever says nothing is not a browser.
    pub fn sender(&self, head: &RequestHead<'_>) -> Sender {
        let Ok(origin) = head.known.only(Known::Origin) else { return Sender::OtherSite };
        let mut sites = head.headers.get_all(SEC_FETCH_SITE).iter();
        let site = sites.next();
        if sites.next().is_some() {
            return Sender::OtherSite;
        }
        let among = |who, is_among| if is_among { who } else { Sender::OtherSite };
        match (origin, site) {
            (None, None) => Sender::Program,
            (None, Some(site)) => among(Sender::Page, site == "same-origin" || site == "none"),
            (Some(origin), site) if self.is_own(head, origin) => {
                among(Sender::Page, site.is_none_or(|site| site != "cross-site"))
            }
            (Some(origin), _) if lists(&self.web_views, origin).is_some() => Sender::WebView,
            (Some(origin), _) => among(Sender::Page, lists(&self.cors, origin).is_some()),
        }
    }

    /// What lets the sending script read the answer. None if CORS is not configured for its origin.
    pub fn answer(&self, head: &RequestHead<'_>) -> Option<CorsAnswer> {
        let origin = head.known.first(Known::Origin)?;
        let with_credentials = lists(&self.cors, origin).is_some();
        let is_listed = with_credentials || lists(&self.web_views, origin).is_some();
        is_listed.then(|| CorsAnswer { origin: origin.clone(), with_credentials })
    }

    /// Is CORS configured for pages, so that the upstream's own answers about it count for no origin at all? Where it is
    /// configured for web views alone, they count for all other origins.
    pub fn decides_cors(&self) -> bool {
        self.cors.is_some()
    }

    /// Can the same request have another answer for another origin?
    pub fn vary_answers(&self) -> bool {
        self.cors.is_some() || self.web_views.is_some()
    }

    /// Is this a preflight that we answer? It carries no credentials, so it is answered before any is looked for.
    pub fn is_preflight(&self, head: &RequestHead<'_>) -> bool {
        let Some(origin) = head.known.first(Known::Origin) else { return false };
        (self.decides_cors() || lists(&self.web_views, origin).is_some())
            && head.method == Method::OPTIONS
            && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The answer to a preflight. The fields of [`Origins::answer`] are added to it as to every answer.
    pub fn preflight(&self, headers: &HeaderMap) -> Reply {
        let reply = Reply::empty(StatusCode::NO_CONTENT);
        let rules = |origin| lists(&self.cors, origin).or(lists(&self.web_views, origin));
        match headers.get(ORIGIN).and_then(rules) {
            Some(cors) => reply
                .with(ACCESS_CONTROL_ALLOW_METHODS, cors.allow_methods.clone())
                .with(ACCESS_CONTROL_ALLOW_HEADERS, cors.allow_headers.clone())
                .with(ACCESS_CONTROL_MAX_AGE, cors.max_age_s.into()),
            None => reply,
        }
    }

    fn is_own(&self, head: &RequestHead<'_>, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        self.own.iter().any(|own| own == origin) || head.host.is_origin(head.scheme.as_str(), origin)
    }
}

/// The rules for that origin, if it is in the list. Compared byte for byte, as browsers send it.
fn lists<'a>(rules: &'a Option<Cors>, origin: &HeaderValue) -> Option<&'a Cors> {
    rules.as_ref().filter(|cors| cors.allow_origins.iter().any(|allowed| origin == allowed.as_str()))
}

/// What lets a script of another origin read an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CorsAnswer {
    origin: HeaderValue,
    with_credentials: bool,
}

impl CorsAnswer {
    /// The fields of the answer.
    pub fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let allowed = HeaderValue::from_static("true");
        let credentials = self.with_credentials.then_some((ACCESS_CONTROL_ALLOW_CREDENTIALS, allowed));
        let fields = [
            (ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone()),
            (ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("WWW-Authenticate, Retry-After")),
            (VARY, HeaderValue::from_static("Origin")),
        ];
        fields.into_iter().chain(credentials)
    }
}
