//! Requests from other sites: which may change state here, and what browsers are told (CORS).

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::head::RequestHead;
use super::reply::Reply;

/// Which origins other than our own are trusted, and what their scripts may do.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// Origins that clients see us under, beside the one that each request names itself.
    pub own: Vec<String>,
    /// CORS, if it is configured.
    pub cors: Option<Cors>,
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

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl Origins {
    /// May this request change state here? Browsers say where a request comes from; whoever says nothing is not a browser
    /// and holds its cookies itself.
    pub fn may_change_state(&self, head: &RequestHead<'_>) -> bool {
        let mut origins = head.headers.get_all(ORIGIN).iter();
        let mut sites = head.headers.get_all(SEC_FETCH_SITE).iter();
        let (origin, site) = (origins.next(), sites.next());
        if origins.next().is_some() || sites.next().is_some() {
            return false;
        }
        let elsewhere = site.is_some_and(|site| site != "same-origin" && site != "none");
        match origin {
            None => !elsewhere,
            Some(origin) if self.is_own(head, origin) => !site.is_some_and(|site| site == "cross-site"),
            Some(origin) => self.cors_for(origin).is_some(),
        }
    }

    /// The fields that let the sending script read the answer. None if CORS is not configured for its origin.
    pub fn answer(&self, headers: &HeaderMap) -> Option<[(HeaderName, HeaderValue); 4]> {
        let origin = headers.get(ORIGIN)?;
        self.cors_for(origin)?;
        Some([
            (ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()),
            (ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")),
            (ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("WWW-Authenticate, Retry-After")),
            (VARY, HeaderValue::from_static("Origin")),
        ])
    }

    /// Is CORS configured, so that the upstream's own answers about it do not count?
    pub fn decides_cors(&self) -> bool {
        self.cors.is_some()
    }

    /// Is this a preflight that we answer? It carries no credentials, so it is answered before any is looked for.
    pub fn is_preflight(&self, head: &RequestHead<'_>) -> bool {
        self.cors.is_some()
            && head.method == Method::OPTIONS
            && head.headers.contains_key(ORIGIN)
            && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The answer to a preflight. The fields of [`Origins::answer`] are added to it as to every answer.
    pub fn preflight(&self, headers: &HeaderMap) -> Reply {
        let reply = Reply::empty(StatusCode::NO_CONTENT);
        match headers.get(ORIGIN).and_then(|origin| self.cors_for(origin)) {
            Some(cors) => reply
                .with(ACCESS_CONTROL_ALLOW_METHODS, cors.allow_methods.clone())
                .with(ACCESS_CONTROL_ALLOW_HEADERS, cors.allow_headers.clone())
                .with(ACCESS_CONTROL_MAX_AGE, cors.max_age_s.into()),
            None => reply,
        }
    }

    fn cors_for(&self, origin: &HeaderValue) -> Option<&Cors> {
        self.cors.as_ref().filter(|cors| cors.allow_origins.iter().any(|allowed| origin == allowed.as_str()))
    }

    fn is_own(&self, head: &RequestHead<'_>, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        self.own.iter().any(|own| own == origin) || head.host.is_origin(head.scheme.as_str(), origin)
    }
}
