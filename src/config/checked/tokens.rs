//! Keys, users, and the life of tokens and sessions.

use std::path::PathBuf;
use std::time::Duration;

use super::UpstreamLogin;

/// The keys that sign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keys {
    /// `file`: the private JWK set (RFC 7517). Always there with Redis, never with the memory store. None with the embedded
    /// store: `keys.jwks` in `data_dir`, made at the first start.
    pub file: Option<PathBuf>,
    /// `algorithm`: of keys that are made from now on. Default EdDSA.
    pub algorithm: Algorithm,
}

/// A signature algorithm (RFC 7518 section 3.1, RFC 8037).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// `EdDSA`: Ed25519.
    EdDsa,
    /// `ES256`: ECDSA over P-256.
    Es256,
    /// `RS256`: RSASSA-PKCS1-v1_5.
    Rs256,
    /// `HS256`: a shared secret; nobody else can verify.
    Hs256,
}

impl Algorithm {
    /// The name that `alg` has.
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Es256 => "ES256",
            Algorithm::Rs256 => "RS256",
            Algorithm::Hs256 => "HS256",
        }
    }
}

/// Who may log in: exactly one of these is written.
#[derive(Clone, PartialEq, Debug)]
pub enum Users {
    /// `users.file`.
    File(PathBuf),
    /// `login.upstream`: the app keeps its users.
    Upstream(Box<UpstreamLogin>),
}

/// Limits on attempts to log in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Login {
    /// `concurrent_hashes`: passwords that are hashed at the same time. Default 2.
    pub concurrent_hashes: usize,
    /// `attempts_per_account`: failed attempts on one account within `window`. Default 10.
    pub attempts_per_account: u32,
    /// `attempts_per_address`: failed attempts from one address within `window`. Default 50.
    pub attempts_per_address: u32,
    /// `window`. Default 15 min.
    pub window: Duration,
}

/// How access tokens are made and judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessToken {
    /// `lifetime`: 1 s to 1 h. Default 15 min.
    pub lifetime: Duration,
    /// `audience`: claim `aud`. Default `portcullis`.
    pub audience: String,
    /// `skew`: how far the clocks of two proxies may be apart, 0 to 60 s. Default 5 s.
    pub skew: Duration,
    /// `cache_max_entries`: how many verified tokens are remembered, 1 to 10 million. Default 50,000.
    pub cache_max_entries: usize,
}

/// How long a login lasts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionLifetime {
    /// `lifetime`: from login to the absolute end, which no refresh moves. At least the access token's. Default 30 days.
    pub lifetime: Duration,
}

/// How refresh tokens are rotated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// `grace`: how long the token before the current one may still be presented, 0 to 60 s. Default 30 s.
    pub grace: Duration,
    /// `late_retry`: who may present it later, when the answer with its successor was lost. Default `same_client`.
    pub late_retry: LateRetry,
}

/// Who may come back late with the token before the current one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LateRetry {
    /// `same_client`: who looks like the client that asked for the rotation.
    SameClient,
    /// `any`: anybody, as long as the successor was never used.
    Any,
    /// `off`: nobody.
    Off,
}

/// What holds when the news of logouts stops coming.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revocation {
    /// `max_staleness`: the greatest age of the newest heartbeat read. Default 30 s.
    pub max_staleness: Duration,
    /// `when_stale`: what protected routes do past it. Default deny.
    pub when_stale: WhenStale,
    /// `max_entries`: how many revocations are held in memory, 10,000 to 1,000 million. Default 10 million.
    pub max_entries: usize,
}

/// What protected routes do when revocations are not fresh.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhenStale {
    /// `deny`: 503.
    Deny,
    /// `allow`: go by what is known.
    Allow,
}
