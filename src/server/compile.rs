//! The configuration, as text and choices, to what requests are judged and forwarded by.

use std::sync::Arc;

use http::HeaderValue;
use http::header::AUTHORIZATION;

use super::error::StartError;
use super::login_page::login_page;
use super::state::State;
use super::users;
use crate::config::{self, Config};
use crate::endpoints::{CookieShape, Endpoints, Events, SameSite};
use crate::gate::{
    Auth, CookieCredentials, Cors, Credentials, Endpoint, EndpointTable, HostPattern, IdentityHeaderNames,
    IdentityHeaderSpellings, LoginPage, Origins, PathPattern, Policy, Route, RouteTable, WhenStale,
};
use crate::login::LoginLimits;
use crate::proxy::upstream::{
    Balance, ClientCertificate, Ejection, HealthCheckSpec, News, ServerSpec, UpstreamSpec, Upstreams,
};
use crate::proxy::{Compiled, KeptCookies, Limits, Rate, RouteExtras, Verifier};
use crate::session::{LateRetry, RotationPolicy};
use crate::telemetry::{Metrics, UpstreamTable};
use crate::time::Timestamp;
use crate::token::{AccessPolicy, KeySet};

/// What goes on from one configuration to the next.
#[derive(Clone, Copy)]
pub(super) struct Before<'a> {
    pub(super) config: &'a Config,
    pub(super) compiled: &'a Compiled,
}

/// Reads all files but for the certificates and those of the store. Nothing has changed if it fails.
pub(super) fn compile(
    config: &Config,
    state: &State,
    keys: Arc<KeySet>,
    before: Option<Before<'_>>,
) -> Result<Compiled, StartError> {
    let access = AccessPolicy {
        issuer: config.issuer.clone(),
        audience: config.access_token.audience.clone(),
        lifetime: config.access_token.lifetime,
        skew: config.access_token.skew,
    };
    let (upstreams, upstream_metrics) = open_upstreams(config, &state.metrics, before)?;
    let policy = policy(config)?;
    let names: Vec<&str> = policy.routes.routes().iter().map(|route| route.name.as_str()).collect();
    let remembered = config.access_token.cache_max_entries;
    let same = |it: &&Arc<Verifier>| it.judges_by(&keys, &access, remembered);
    let verifier = match before.map(|before| &before.compiled.verifier).filter(same) {
        Some(verifier) => Arc::clone(verifier),
        None => Arc::new(Verifier::new(Arc::clone(&keys), access.clone(), remembered, state.used.clone())),
    };
    // With another app they would be shown to a stranger.
    let same_users = before.filter(|before| before.config.users == config.users);
    let app_sessions = same_users.map(|before| Arc::clone(&before.compiled.endpoints.app_sessions));
    Ok(Compiled {
        routes: config
            .routes
            .iter()
            .map(|route| RouteExtras {
                preserve_host: route.preserve_host,
                preserve_header_case: route.preserve_header_case,
            })
            .collect(),
        endpoints: Arc::new(Endpoints {
            keys,
            access,
            rotation: rotation(&config.rotation),
            session_lifetime: config.session.lifetime,
            sessions: Arc::clone(&state.sessions),
            login: users::open(config, &state.logins, before)?,
            cookie: cookie(&config.cookie),
            access_cookie: takes_cookies(config).then(|| access_cookie(&config.cookie)),
            body_transport: config.native_clients.is_some(),
            login_page: login_page(config)?,
            app_sessions: app_sessions.unwrap_or_default(),
            events: Arc::clone(&state.metrics) as Arc<dyn Events>,
            clock: Arc::new(Timestamp::now),
        }),
        own_cookies: own_cookies(config),
        kept_cookies: kept_cookies(config),
        verifier,
        mirror: Arc::clone(&state.mirror),
        max_staleness: config.revocation.max_staleness,
        trusted_proxies: config.trusted_proxies.clone(),
        limits: limits(&config.limits),
        metrics: Arc::clone(&state.metrics),
        access: state.logs.access(),
        new_traces_sampled: config.log.new_traces_sampled,
        route_metrics: state.metrics.routes(&names)?,
        upstreams,
        upstream_metrics,
        policy,
    })
}

fn limits(limits: &config::Limits) -> Limits {
    Limits {
        connections_max: limits.connections,
        connections_per_address: limits.connections_per_address,
        requests_max: limits.requests.unwrap_or(usize::MAX),
        requests_per_address: limits.requests_per_address.map(|rate| Rate { count: rate.count, period: rate.period }),
        streams_max: limits.streams,
        tls_timeout: limits.tls_timeout,
        header_timeout: limits.header_timeout,
        header_bytes_max: limits.header_size_bytes,
        header_fields_max: limits.header_count,
        body_bytes_max: limits.body_size_bytes,
        body_timeout: limits.body_timeout,
        body_rate: limits.body_rate,
        keep_alive: limits.keep_alive,
    }
}

/// The rules of the configuration, as decisions are made by them.
pub fn policy(config: &Config) -> Result<Policy, StartError> {
    let endpoints = &config.endpoints;
    let identity = &config.identity_headers;
    let identity_headers = IdentityHeaderNames {
        subject: identity.subject.clone(),
        roles: identity.roles.clone(),
        scopes: identity.scopes.clone(),
        session: identity.session.clone(),
    };
    // Where nobody needs it, the path is the app's.
    let takes_tickets = config.routes.iter().any(config::Route::takes_tickets);
    Ok(Policy {
        routes: RouteTable::new(config.routes.iter().map(|rule| route(config, rule)).collect())?,
        endpoints: EndpointTable {
            host: endpoints.host.clone(),
            paths: [
                Some((Endpoint::Login, endpoints.login.clone())),
                Some((Endpoint::Refresh, endpoints.refresh.clone())),
                Some((Endpoint::Logout, endpoints.logout.clone())),
                Some((Endpoint::LogoutAll, endpoints.logout_all.clone())),
                takes_tickets.then(|| (Endpoint::Ticket, endpoints.ticket.clone())),
                Some((Endpoint::Userinfo, endpoints.userinfo.clone())),
                Some((Endpoint::Jwks, endpoints.jwks.clone())),
            ]
            .into_iter()
            .flatten()
            .collect(),
            login_page: matches!(config.login_page, config::LoginPage::Own(_)),
        },
        origins: Origins {
            own: config.origins.iter().map(ToString::to_string).collect(),
            cors: config.cors.as_ref().map(pages).transpose()?,
            web_views: config.native_clients.as_ref().map(web_views).transpose()?.flatten(),
        },
        cookies: takes_cookies(config).then(|| CookieCredentials {
            access: config.cookie.access_name.as_str().into(),
            refresh: config.cookie.name.as_str().into(),
            login_page: match &config.login_page {
                config::LoginPage::Off => None,
                config::LoginPage::Own(_) => Some(LoginPage::Own(endpoints.login.clone())),
                // Cannot fail: the address is printable ASCII.
                config::LoginPage::Url(url) => HeaderValue::try_from(url).ok().map(LoginPage::Elsewhere),
            },
        }),
        identity_spellings: IdentityHeaderSpellings::new(&identity_headers),
        identity_headers,
        when_stale: match config.revocation.when_stale {
            config::WhenStale::Deny => WhenStale::Deny,
            config::WhenStale::Allow => WhenStale::Allow,
        },
        skew: config.access_token.skew,
    })
}

fn route(config: &Config, rule: &config::Route) -> Route {
    Route {
        name: rule.name.clone(),
        host: match &rule.host {
            None => HostPattern::Any,
            Some(config::HostPattern::Exact(name)) => HostPattern::Exact(name.clone()),
            Some(config::HostPattern::Suffix(suffix)) => HostPattern::Below(suffix.trim_start_matches('.').to_owned()),
        },
        path: match &rule.path {
            config::PathPattern::Exact(path) => PathPattern::Exact(path.clone()),
            config::PathPattern::Prefix(prefix) => PathPattern::Prefix(prefix.clone()),
        },
        methods: rule.methods.clone().unwrap_or_default(),
        // Checked by the configuration: every name is there. None would be refused, as no upstream has this number.
        upstream: config.upstreams.iter().position(|upstream| upstream.name == rule.upstream).unwrap_or(usize::MAX),
        auth: match rule.auth {
            config::Auth::Public => Auth::Public,
            config::Auth::Optional => Auth::Optional,
            config::Auth::Required => Auth::Required,
        },
        roles_any: rule.roles_any.clone(),
        roles_all: rule.roles_all.clone(),
        scopes: rule.scopes_all.clone(),
        credentials: Credentials {
            header: rule.credentials.header,
            cookie: rule.credentials.cookie,
            ticket: rule.credentials.ticket,
        },
        token_header: rule.token_header.clone().unwrap_or(AUTHORIZATION),
        keep_authorization: rule.keep_authorization,
        encoded_slashes: rule.encoded_slashes,
    }
}

/// The cookies of the app that keeps its users, if its sessions are kept.
fn kept_cookies(config: &Config) -> Option<KeptCookies> {
    let config::Users::Upstream(login) = &config.users else { return None };
    let upstream = config.upstreams.iter().position(|upstream| login.upstream.as_ref() == Some(&upstream.name))?;
    (!login.keep_session.is_empty()).then(|| KeptCookies { upstream, names: login.keep_session.clone() })
}

fn pages(cors: &config::Cors) -> Result<Cors, StartError> {
    let origins = cors.allow_origins.iter().map(ToString::to_string).collect();
    rules("cors", origins, &cors.preflight)
}

/// None without web views, as the clients that are no pages know nothing of CORS.
fn web_views(clients: &config::NativeClients) -> Result<Option<Cors>, StartError> {
    let origins = clients.allow_origins.clone();
    if origins.is_empty() { Ok(None) } else { rules("native_clients", origins, &clients.preflight).map(Some) }
}

fn rules(table: &str, allow_origins: Vec<String>, preflight: &config::Preflight) -> Result<Cors, StartError> {
    let methods: Vec<&str> = preflight.allow_methods.iter().map(http::Method::as_str).collect();
    let headers: Vec<&str> = preflight.allow_headers.iter().map(http::HeaderName::as_str).collect();
    let value = |key, text: String| {
        HeaderValue::try_from(&text).map_err(|_| StartError::HeaderValue { key: format!("{table}.{key}"), value: text })
    };
    Ok(Cors {
        allow_origins,
        allow_methods: value("allow_methods", methods.join(", "))?,
        allow_headers: value("allow_headers", headers.join(", "))?,
        max_age_s: u32::try_from(preflight.max_age.as_secs()).unwrap_or(u32::MAX),
    })
}

fn cookie(cookie: &config::Cookie) -> CookieShape {
    CookieShape {
        name: cookie.name.as_str().into(),
        secure: cookie.secure,
        same_site: match cookie.same_site {
            config::SameSite::Strict => SameSite::Strict,
            config::SameSite::Lax => SameSite::Lax,
            config::SameSite::None => SameSite::None,
        },
    }
}

/// Lax at least: it goes with what a link from another site opens, and with nothing else from there.
fn access_cookie(cookie: &config::Cookie) -> CookieShape {
    CookieShape {
        name: cookie.access_name.as_str().into(),
        secure: cookie.secure,
        same_site: match cookie.same_site {
            config::SameSite::Strict | config::SameSite::Lax => SameSite::Lax,
            config::SameSite::None => SameSite::None,
        },
    }
}

fn own_cookies(config: &Config) -> Vec<Box<str>> {
    // Also where no route takes it: the proxy before this configuration, or one beside this, may have set it. Without the prefix
    // it may be an app's.
    let access = (config.cookie.secure || takes_cookies(config)).then_some(&config.cookie.access_name);
    [Some(&config.cookie.name), access].into_iter().flatten().map(|name| name.as_str().into()).collect()
}

fn takes_cookies(config: &Config) -> bool {
    config.routes.iter().any(config::Route::takes_cookies)
}

fn rotation(rotation: &config::Rotation) -> RotationPolicy {
    RotationPolicy {
        grace: rotation.grace,
        late_retry: match rotation.late_retry {
            config::LateRetry::SameClient => LateRetry::SameClient,
            config::LateRetry::Any => LateRetry::Any,
            config::LateRetry::Off => LateRetry::Off,
        },
    }
}

pub(super) fn login_limits(login: &config::Login) -> LoginLimits {
    let mut limits = LoginLimits { concurrent_hashes: login.concurrent_hashes, ..LoginLimits::default() };
    let throttle = &mut limits.throttle;
    throttle.per_address.attempts = login.attempts_per_address;
    throttle.per_address.refill = login.window / login.attempts_per_address.max(1);
    throttle.per_account_and_address.attempts = login.attempts_per_account;
    throttle.per_account_and_address.refill = login.window / login.attempts_per_account.max(1);
    limits
}

pub(super) fn upstream_spec(upstream: &config::Upstream) -> UpstreamSpec {
    let tls = upstream.tls.as_ref();
    UpstreamSpec {
        name: upstream.name.clone(),
        servers: upstream
            .servers
            .iter()
            .map(|server| ServerSpec { host: server.host.clone(), port: server.port, tls: server.tls })
            .collect(),
        balance: match upstream.balance {
            config::Balance::RoundRobin => Balance::RoundRobin,
            config::Balance::LeastBusy => Balance::LeastBusy,
        },
        health_check: upstream.health_check.as_ref().map(|check| HealthCheckSpec {
            path: Some(check.path.clone()),
            interval: check.interval,
            timeout: check.timeout,
        }),
        ejection: upstream.ejection.as_ref().map(|ejection| Ejection {
            failures: ejection.failures,
            time: ejection.time,
            statuses: ejection.statuses.clone(),
        }),
        retries: upstream.retries,
        requests_max: upstream.requests_max,
        connect_timeout: upstream.connect_timeout,
        read_timeout: Some(upstream.read_timeout),
        write_timeout: upstream.write_timeout,
        idle_timeout: upstream.idle_timeout,
        server_name: tls.and_then(|tls| tls.server_name.clone()),
        ca_file: tls.and_then(|tls| tls.ca_file.clone()),
        client_certificate: tls
            .and_then(|tls| tls.certificate.clone())
            .map(|(certificate, key)| ClientCertificate { certificate, key }),
        http2: upstream.protocol == config::Protocol::Http2,
    }
}

/// Upstreams, watched and reported to the metrics.
fn open_upstreams(
    config: &Config,
    metrics: &Arc<Metrics>,
    before: Option<Before<'_>>,
) -> Result<(Arc<Upstreams>, Arc<UpstreamTable>), StartError> {
    let servers: Vec<Vec<String>> = config
        .upstreams
        .iter()
        .map(|upstream| upstream.servers.iter().map(config::ServerUrl::authority).collect())
        .collect();
    let named = config.upstreams.iter().zip(&servers);
    let measured = metrics.upstreams(
        named.map(|(upstream, servers)| (upstream.name.as_str(), servers.iter().map(String::as_str).collect())),
    )?;
    let measured = Arc::new(measured);
    let report = Arc::clone(&measured);
    let before = before.map(|before| &*before.compiled.upstreams);
    let upstreams = Upstreams::new(config.upstreams.iter().map(upstream_spec), before, move |upstream, news| {
        let Some(metrics) = report.upstream(upstream) else { return };
        match news {
            News::Up { server, up } => metrics.set_up(server, up),
            News::Ejected { server } => metrics.ejected(server),
            News::UnderWay(requests) => metrics.set_under_way(requests),
        }
    })?;
    Ok((Arc::new(upstreams), measured))
}
