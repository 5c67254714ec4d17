//! Every key of `proxy.yaml`, table by table. A test holds the annotated `proxy.yaml` at the root against it.

pub(super) type Keys = &'static [&'static str];

pub(super) const TOP: Keys = &[
    "listen",
    "upstream",
    "users",
    "public",
    "credentials",
    "store",
    "admin",
    "trusted_proxies",
    "issuer",
    "origins",
    "endpoints",
    "cookie",
    "cors",
    "native_clients",
    "development",
    "data_dir",
    "keys",
    "login",
    "login_page",
    "access_token",
    "session",
    "rotation",
    "revocation",
    "identity_headers",
    "limits",
    "log",
    "shutdown",
    "upstreams",
    "routes",
];
pub(super) const LISTENER: Keys = &["address", "tls", "h2c"];
pub(super) const TLS: Keys = &["certificate", "key"];
pub(super) const ADMIN: Keys = &["listen", "socket", "token", "token_env", "token_file"];
pub(super) const ENDPOINTS: Keys = &["host", "login", "refresh", "logout", "logout_all", "ticket", "userinfo", "jwks"];
pub(super) const COOKIE: Keys = &["name", "same_site"];
pub(super) const CORS: Keys = &["allow_origins", "allow_methods", "allow_headers", "max_age"];
pub(super) const NATIVE_CLIENTS: Keys = CORS;
pub(super) const DEVELOPMENT: Keys = &["insecure_cookies"];
pub(super) const STORE: Keys = &["embedded", "memory", "redis", "deadline"];
pub(super) const EMBEDDED: Keys = &["path"];
pub(super) const MEMORY: Keys = &[];
pub(super) const REDIS: Keys = &[
    "url",
    "sentinels",
    "cluster",
    "master_name",
    "sentinel_username",
    "sentinel_password",
    "sentinel_password_env",
    "sentinel_password_file",
    "username",
    "password",
    "password_env",
    "password_file",
    "key_prefix",
    "ca_file",
];
pub(super) const KEYS: Keys = &["file", "algorithm"];
pub(super) const USERS: Keys = &["file"];
pub(super) const LOGIN: Keys =
    &["concurrent_hashes", "attempts_per_account", "attempts_per_address", "window", "upstream"];
pub(super) const LOGIN_UPSTREAM: Keys = &[
    "url",
    "upstream",
    "path",
    "ca_file",
    "headers",
    "form",
    "json",
    "basic",
    "csrf",
    "success",
    "subject",
    "roles",
    "userinfo",
    "keep_session",
    "logout",
    "timeout",
];
pub(super) const LOGIN_FIELDS: Keys = &["username", "password", "extra"];
pub(super) const LOGIN_CSRF: Keys = &["from", "field"];
pub(super) const LOGIN_SUCCESS: Keys = &["status", "redirect", "cookie", "json"];
pub(super) const LOGIN_SUCCESS_JSON: Keys = &["pointer", "equals"];
pub(super) const LOGIN_SUBJECT: Keys = &["json", "header"];
pub(super) const LOGIN_ROLES: Keys = &["json", "header", "map"];
pub(super) const LOGIN_USERINFO: Keys = &["path", "token"];
pub(super) const LOGIN_LOGOUT: Keys = &["method", "path", "csrf"];
pub(super) const LOGIN_PAGE: Keys = &["title", "text", "logo", "stylesheet", "template", "url"];
pub(super) const ACCESS_TOKEN: Keys = &["lifetime", "audience", "skew", "cache_max_entries"];
pub(super) const SESSION: Keys = &["lifetime"];
pub(super) const ROTATION: Keys = &["grace", "late_retry"];
pub(super) const REVOCATION: Keys = &["max_staleness", "when_stale", "max_entries"];
pub(super) const IDENTITY_HEADERS: Keys = &["subject", "roles", "scopes", "session"];
pub(super) const LIMITS: Keys = &[
    "connections",
    "connections_per_address",
    "requests",
    "requests_per_address",
    "streams",
    "tls_timeout",
    "header_size",
    "header_count",
    "header_timeout",
    "body_size",
    "body_timeout",
    "body_rate",
    "keep_alive",
];
pub(super) const LOG: Keys = &["level", "format", "access", "audit", "new_traces"];
pub(super) const LOG_FILE: Keys = &["file"];
pub(super) const SHUTDOWN: Keys = &["drain"];
pub(super) const UPSTREAM: Keys = &[
    "servers",
    "balance",
    "health_check",
    "ejection",
    "retries",
    "requests",
    "connect_timeout",
    "read_timeout",
    "write_timeout",
    "idle_timeout",
    "tls",
    "protocol",
];
pub(super) const HEALTH_CHECK: Keys = &["path", "interval", "timeout"];
pub(super) const EJECTION: Keys = &["failures", "for", "status"];
pub(super) const UPSTREAM_TLS: Keys = &["ca_file", "server_name", "certificate", "key"];
pub(super) const ROUTE: Keys = &[
    "name",
    "host",
    "path",
    "path_prefix",
    "methods",
    "upstream",
    "auth",
    "roles",
    "roles_all",
    "scopes",
    "credentials",
    "keep_authorization",
    "token_header",
    "preserve_host",
    "preserve_header_case",
    "encoded_slashes",
];

/// The tables and the keys that lead to them, for the test.
#[cfg(test)]
pub(super) const ALL: &[(&str, Keys)] = &[
    ("", TOP),
    ("listen[]", LISTENER),
    ("listen[].tls", TLS),
    ("admin", ADMIN),
    ("endpoints", ENDPOINTS),
    ("cookie", COOKIE),
    ("cors", CORS),
    ("native_clients", NATIVE_CLIENTS),
    ("development", DEVELOPMENT),
    ("store", STORE),
    ("store.embedded", EMBEDDED),
    ("store.memory", MEMORY),
    ("store.redis", REDIS),
    ("keys", KEYS),
    ("users", USERS),
    ("login", LOGIN),
    ("login.upstream", LOGIN_UPSTREAM),
    ("login.upstream.form", LOGIN_FIELDS),
    ("login.upstream.json", LOGIN_FIELDS),
    ("login.upstream.csrf", LOGIN_CSRF),
    ("login.upstream.success", LOGIN_SUCCESS),
    ("login.upstream.success.json", LOGIN_SUCCESS_JSON),
    ("login.upstream.subject", LOGIN_SUBJECT),
    ("login.upstream.roles", LOGIN_ROLES),
    ("login.upstream.userinfo", LOGIN_USERINFO),
    ("login.upstream.logout", LOGIN_LOGOUT),
    ("login.upstream.logout.csrf", LOGIN_CSRF),
    ("login_page", LOGIN_PAGE),
    ("access_token", ACCESS_TOKEN),
    ("session", SESSION),
    ("rotation", ROTATION),
    ("revocation", REVOCATION),
    ("identity_headers", IDENTITY_HEADERS),
    ("limits", LIMITS),
    ("log", LOG),
    ("log.access", LOG_FILE),
    ("log.audit", LOG_FILE),
    ("shutdown", SHUTDOWN),
    ("upstreams.*", UPSTREAM),
    ("upstreams.*.health_check", HEALTH_CHECK),
    ("upstreams.*.ejection", EJECTION),
    ("upstreams.*.tls", UPSTREAM_TLS),
    ("routes[]", ROUTE),
];
