//! The checked configuration: plain data that holds together.
//!
//! Whoever is handed a [`Config`] need not check it again: every name that is referred to exists, every number is within
//! its bounds, every path is absolute or relative to the process as the file's folder says. Defaults are filled in.
//!
//! What must never happen in here: a secret in a type whose `Debug` shows it; behaviour beyond small questions about the
//! data itself.

mod limits;
mod listen;
mod log;
mod login_page;
mod origins;
mod route;
mod store;
mod tokens;
mod upstream;
mod upstream_login;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use http::{HeaderName, Method};
pub use ipnet::IpNet;
pub use limits::{Limits, Rate};
pub use listen::{Admin, Cookie, Development, Endpoints, Listener, SameSite, Shutdown, Tls};
pub use log::{Log, LogDestination, LogFormat, LogLevel};
pub use login_page::{LoginForm, LoginPage, Logo};
pub use origins::{Cors, NativeClients, Origin, Preflight};
pub use route::{Auth, Credentials, HostPattern, IdentityHeaders, PathPattern, Route};
pub use store::{Redis, RedisPassword, RedisPrimary, RedisSentinels, Store, StoreKind};
pub use tokens::{
    AccessToken, Algorithm, Keys, LateRetry, Login, Revocation, Rotation, SessionLifetime, Users, WhenStale,
};
pub use upstream::{Balance, Ejection, HealthCheck, Protocol, ServerUrl, Upstream, UpstreamTls};
pub(super) use upstream_login::tls_by;
pub use upstream_login::{
    Csrf, Roles, Sends, Source, Subject, Success, UPSTREAM_LOGINS_AT_A_TIME, UpstreamLogin, UpstreamLogout, Userinfo,
};

use super::Warning;

/// Everything `proxy.yaml` says, checked, with defaults filled in.
#[derive(Clone, Debug)]
pub struct Config {
    /// `listen`: where clients connect. At least one.
    pub listen: Vec<Listener>,
    /// `admin`: the listener for metrics and health.
    pub admin: Admin,
    /// `trusted_proxies`: the only peers whose `Forwarded` and `X-Forwarded-*` are believed. Default: none.
    pub trusted_proxies: Vec<IpNet>,
    /// `issuer`: claim `iss` of access tokens (RFC 7519 section 4.1.1). Default `portcullis`.
    pub issuer: String,
    /// `origins`: scheme and host of this proxy as clients see them, where the request itself does not tell. Default: none.
    pub origins: Vec<Origin>,
    /// `endpoints`: where login, refresh, logout and the keys are served.
    pub endpoints: Endpoints,
    /// `cookie`: the cookie that carries the refresh token.
    pub cookie: Cookie,
    /// `cors`: which other origins may call (Fetch standard, CORS protocol). None: no preflight is answered by us.
    pub cors: Option<Cors>,
    /// `native_clients`: clients without a cookie jar, which carry the refresh token in bodies. None: nobody does.
    pub native_clients: Option<NativeClients>,
    /// `development`: what is only for a machine of one's own.
    pub development: Development,
    /// `store`: where sessions are kept.
    pub store: Store,
    /// `data_dir`: the folder for what the proxy itself writes. Default `data` beside the file.
    pub data_dir: PathBuf,
    /// `keys`: the keys that sign.
    pub keys: Keys,
    /// `users`: who may log in.
    pub users: Users,
    /// `login`: limits on attempts to log in.
    pub login: Login,
    /// `login_page`: where browsers without a session are sent.
    pub login_page: LoginPage,
    /// `access_token`: how access tokens are made and judged.
    pub access_token: AccessToken,
    /// `session`: how long a login lasts.
    pub session: SessionLifetime,
    /// `rotation`: how refresh tokens are rotated.
    pub rotation: Rotation,
    /// `revocation`: what holds when the news of logouts stops coming.
    pub revocation: Revocation,
    /// `identity_headers`: how the upstream is told who it is.
    pub identity_headers: IdentityHeaders,
    /// `limits`: bounds on what clients may send and hold.
    pub limits: Limits,
    /// `log`: what is logged, and where to.
    pub log: Log,
    /// `shutdown`: how the process leaves.
    pub shutdown: Shutdown,
    /// `upstreams`, in the order of the file. The short form `upstream: URL` makes one, called `app`.
    pub upstreams: Vec<Upstream>,
    /// `routes`, in the order of the file, which means nothing: the most specific one wins. The short form makes `app`,
    /// and one called `public:PATH` for each path under `public`.
    pub routes: Vec<Route>,
    /// The file that all this was read from, and every file that it names.
    pub files: Vec<PathBuf>,
    /// What is allowed and still worth a look. To be reported at start.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// The upstream of that name. Every [`Route::upstream`] has one.
    pub fn upstream(&self, name: &str) -> Option<&Upstream> {
        self.upstreams.iter().find(|upstream| upstream.name == name)
    }

    /// The addresses of all listeners, the admin listener last.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.listen.iter().map(|listener| listener.address).chain([self.admin.listen])
    }
}
