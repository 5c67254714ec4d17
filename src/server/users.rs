//! Who may log in, as the configuration says, to a way to log in.

use std::sync::Arc;

use super::compile::{Before, login_limits};
use super::error::StartError;
use crate::config::{self, Config, UPSTREAM_LOGINS_AT_A_TIME, Users};
use crate::login::upstream::{
    Csrf, JsonIs, Logout, Roles, Sends, ServerSpec, Source, Subject, Success, UpstreamSpec, Userinfo,
};
use crate::login::{self, Authenticator, Lasting, UpstreamLogin};

/// The way to log in. What was counted and seen goes on.
pub(super) fn open(
    config: &Config,
    lasting: &Lasting,
    before: Option<Before<'_>>,
) -> Result<Arc<dyn Authenticator>, StartError> {
    let same = before.filter(|before| before.config.users == config.users);
    Ok(match (&config.users, same) {
        (Users::File(path), _) => login::users_file(path, &login_limits(&config.login), lasting)?,
        // It would ask the app once more whether it refuses anybody. What is in a file may have changed.
        (Users::Upstream(login), Some(before)) if login.tls.as_ref().is_none_or(|tls| tls.ca_file.is_none()) => {
            Arc::clone(&before.compiled.endpoints.login)
        }
        (Users::Upstream(login), _) => Arc::new(UpstreamLogin::new(spec(login), lasting)?),
    })
}

fn spec(login: &config::UpstreamLogin) -> UpstreamSpec {
    let tls = login.tls.as_ref();
    let name = |server: &config::ServerUrl| {
        let named = tls.and_then(|tls| tls.server_name.clone());
        server.tls.then(|| named.unwrap_or_else(|| server.host.clone()))
    };
    let server = |server: &config::ServerUrl| ServerSpec {
        host: server.host.clone(),
        port: server.port,
        tls_name: name(server),
    };
    UpstreamSpec {
        servers: login.servers.iter().map(server).collect(),
        ca_file: tls.and_then(|tls| tls.ca_file.clone()),
        path: login.path.clone(),
        headers: login.headers.clone(),
        sends: match login.sends.clone() {
            config::Sends::Form { username, password, extra } => Sends::Form { username, password, extra },
            config::Sends::Json { username, password, extra } => Sends::Json { username, password, extra },
            config::Sends::Basic => Sends::Basic,
        },
        csrf: login.csrf.as_ref().map(csrf),
        success: Success {
            status: login.success.status.clone(),
            redirect: login.success.redirect.clone(),
            cookie: login.success.cookie.clone(),
            json: login.success.json.clone().map(|(pointer, equals)| JsonIs { pointer, equals }),
        },
        subject: match &login.subject {
            config::Subject::Typed => Subject::Typed,
            config::Subject::Told(from) => Subject::Told(source(from)),
        },
        roles: match &login.roles {
            config::Roles::Fixed(roles) => Roles::Fixed(roles.clone()),
            config::Roles::Told { from, map } => Roles::Told { from: source(from), map: map.clone() },
        },
        userinfo: login.userinfo.clone().map(|config::Userinfo { path, token }| Userinfo { path, token }),
        kept_cookies: login.keep_session.clone(),
        logout: login.logout.as_ref().map(|logout| Logout {
            method: logout.method.clone(),
            path: logout.path.clone(),
            csrf: logout.csrf.as_ref().map(csrf),
        }),
        connect_timeout: login.connect_timeout,
        timeout: login.timeout,
        at_a_time: UPSTREAM_LOGINS_AT_A_TIME,
    }
}

fn csrf(csrf: &config::Csrf) -> Csrf {
    Csrf { from: csrf.from.clone(), field: csrf.field.clone() }
}

fn source(source: &config::Source) -> Source {
    match source {
        config::Source::Json(pointer) => Source::Json(pointer.clone()),
        config::Source::Header(name) => Source::Header(name.clone()),
    }
}
