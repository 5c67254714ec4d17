//! Requests to the app: one server, one conversation, with its cookies.
//!
//! What must never happen in here: a redirect is followed (it is an answer to be judged); a password is sent twice, or to
//! a server that cannot prove its name; an answer is read without a bound; what was sent or received gets into an error.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, REFERER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, redirect};
use url::Url;

use super::UpstreamLoginError;
use super::answer::{Answer, Unclear};
use super::jar::Jar;
use super::spec::{ServerSpec, UpstreamSpec};

/// No page of a login is longer, and no answer of an API.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// No app needs more header fields to answer a login.
const ANSWER_FIELDS_MAX: usize = 100;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The app's servers.
pub(super) struct App {
    servers: Vec<Server>,
    headers: HeaderMap,
}

#[derive(Clone)]
struct Server {
    client: Client,
    base: Url,
    authority: HeaderValue,
}

impl App {
    pub fn new(spec: &UpstreamSpec) -> Result<App, UpstreamLoginError> {
        let authorities = match &spec.ca_file {
            None => None,
            Some(path) => {
                let wrong = |problem: String| UpstreamLoginError::Authorities { path: path.clone(), problem };
                let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
                Some(Certificate::from_pem_bundle(&pem).map_err(|error| wrong(error.to_string()))?)
            }
        };
        let servers =
            spec.servers.iter().map(|server| Server::new(server, authorities.as_deref(), spec.connect_timeout));
        Ok(App { servers: servers.collect::<Result<_, _>>()?, headers: spec.headers.iter().cloned().collect() })
    }

    /// A conversation with the first server that takes a connection. `about` are fields that tell of the client.
    pub fn talk(&self, about: HeaderMap, jar: Jar) -> Talk<'_> {
        Talk { app: self, server: None, about, jar }
    }
}

impl Server {
    fn new(
        spec: &ServerSpec,
        authorities: Option<&[Certificate]>,
        connect: Duration,
    ) -> Result<Server, UpstreamLoginError> {
        let bracketed = |host: &str| if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        // TLS asks for the name of the URL; the resolver leads it to the server.
        let (scheme, name) = spec.tls_name.as_ref().map_or(("http", &spec.host), |name| ("https", name));
        let base = Url::parse(&format!("{scheme}://{}:{}/", bracketed(name), spec.port))
            .map_err(|error| UpstreamLoginError::Server { server: spec.host.clone(), problem: error.to_string() })?;
        let wrong = |problem: String| UpstreamLoginError::Server { server: spec.host.clone(), problem };
        let default_port = if scheme == "https" { 443 } else { 80 };
        let authority = match spec.port == default_port {
            true => bracketed(&spec.host),
            false => format!("{}:{}", bracketed(&spec.host), spec.port),
        };
        let mut client = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            // Nothing of the environment decides where passwords go.
            .no_proxy()
            .http1_only()
            .http1_max_headers(ANSWER_FIELDS_MAX)
            // Logins are rare, and a kept connection may be a dead one.
            .pool_max_idle_per_host(0)
            .connect_timeout(connect)
            .dns_resolver(Arc::new(Leads { host: spec.host.clone() }));
        match (authorities, &spec.tls_name) {
            (Some(authorities), _) => client = client.tls_certs_only(authorities.iter().cloned()),
            // Over plain http nobody is trusted: the system's authorities need not be read.
            (None, None) => client = client.tls_certs_only([]),
            (None, Some(_)) => {}
        }
        let client = client.build().map_err(|error| wrong(root_of(&error.without_url())))?;
        let authority = HeaderValue::try_from(authority).map_err(|error| wrong(error.to_string()))?;
        Ok(Server { client, base, authority })
    }
}

/// Leads to one host, whatever name is asked for.
struct Leads {
    host: String,
}

impl Resolve for Leads {
    fn resolve(&self, _name: Name) -> Resolving {
        let host = self.host.clone();
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// One conversation.
pub(super) struct Talk<'a> {
    app: &'a App,
    server: Option<&'a Server>,
    about: HeaderMap,
    pub jar: Jar,
}

/// What is asked.
pub(super) struct Ask<'a> {
    pub method: Method,
    pub path: &'a str,
    pub body: Option<(&'static str, Vec<u8>)>,
    /// `Authorization`.
    pub authorization: Option<HeaderValue>,
    pub accept: &'static str,
    /// The page that a browser would come from.
    pub referer: Option<&'a str>,
    pub reads_body: bool,
}

impl<'a> Ask<'a> {
    /// GET of a path.
    pub fn get(path: &'a str, accept: &'static str) -> Ask<'a> {
        Ask { method: Method::GET, path, body: None, authorization: None, accept, referer: None, reads_body: true }
    }
}

impl<'a> Talk<'a> {
    /// Asks, and takes up the cookies that the answer sets.
    pub async fn ask(&mut self, ask: Ask<'_>) -> Result<Answer, Unclear> {
        let servers = match self.server {
            Some(server) => std::slice::from_ref(server),
            None => &self.app.servers[..],
        };
        let mut problem = "there is no server".to_owned();
        for server in servers {
            match self.ask_at(server, &ask).await {
                Ok(response) => {
                    self.server = Some(server);
                    return self.read(server, response, ask.reads_body).await;
                }
                // Nothing was sent.
                Err(error) if error.is_connect() => problem = told(error),
                Err(error) => return Err(told(error)),
            }
        }
        Err(problem)
    }

    async fn ask_at(&self, server: &Server, ask: &Ask<'_>) -> Result<reqwest::Response, reqwest::Error> {
        let mut url = server.base.clone();
        let (path, query) = ask.path.split_once('?').map_or((ask.path, None), |(path, query)| (path, Some(query)));
        url.set_path(path);
        url.set_query(query);
        let mut headers = self.about.clone();
        headers.insert(HOST, server.authority.clone());
        headers.insert(ACCEPT, HeaderValue::from_static(ask.accept));
        for (name, value) in &self.app.headers {
            headers.insert(name, value.clone());
        }
        if let Some(page) = ask.referer
            && !headers.contains_key(REFERER)
            && let Ok(referer) = HeaderValue::try_from(format!("{}{page}", self.known_as(server)))
        {
            headers.insert(REFERER, referer);
        }
        let mut secret = |name, value: Option<HeaderValue>| {
            if let Some(mut value) = value {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        };
        secret(AUTHORIZATION, ask.authorization.clone());
        secret(COOKIE, self.jar.field(None).and_then(|field| HeaderValue::try_from(field).ok()));
        if let Some((kind, _)) = &ask.body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let mut request = server.client.request(ask.method.clone(), url).headers(headers);
        if let Some((_, body)) = &ask.body {
            request = request.body(body.clone());
        }
        request.send().await
    }

    /// Scheme and authority as the app sees itself: what `headers` say, else the server's own.
    fn known_as(&self, server: &Server) -> String {
        let said = |name: &HeaderName| self.app.headers.get(name).and_then(|value| value.to_str().ok());
        let scheme = said(&X_FORWARDED_PROTO).unwrap_or(server.base.scheme());
        let authority = said(&HOST).or(server.authority.to_str().ok()).unwrap_or_default();
        format!("{scheme}://{authority}")
    }

    async fn read(
        &mut self,
        server: &Server,
        mut response: reqwest::Response,
        reads_body: bool,
    ) -> Result<Answer, Unclear> {
        self.jar.take(response.headers());
        let own = format!("{}://{}", server.base.scheme(), server.authority.to_str().unwrap_or_default());
        let mut url = Url::parse(&own).map_err(|error| error.to_string())?;
        url.set_path(response.url().path());
        let known = [own, self.known_as(server)];
        let origins = known.iter().filter_map(|known| Url::parse(known).ok());
        let origins = origins.map(|known| known.origin().ascii_serialization()).collect();
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = if reads_body { response.chunk().await.map_err(told)? } else { None } {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(format!("the app's answer is longer than {ANSWER_BYTES_MAX} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { url, origins, status, headers, body })
    }
}

/// What the app is told of the client.
pub(super) fn about(address: std::net::IpAddr, user_agent: Option<HeaderValue>) -> HeaderMap {
    let mut about = HeaderMap::new();
    if let Ok(address) = HeaderValue::try_from(address.to_canonical().to_string()) {
        about.insert(X_FORWARDED_FOR, address);
    }
    if let Some(user_agent) = user_agent {
        about.insert(USER_AGENT, user_agent);
    }
    about
}

/// What went wrong, without the URL.
fn told(error: reqwest::Error) -> Unclear {
    format!("the app cannot be asked: {}", root_of(&error.without_url()))
}

fn root_of(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}
