//! Why the process cannot start: one clear line each.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::handover::TakeOverError;
use crate::admin::socket::SocketError;
use crate::endpoints::LoginPageError;
use crate::gate::DuplicateRoute;
use crate::keys::KeysError;
use crate::login::UsersFileError;
use crate::login::upstream::UpstreamLoginError;
use crate::proxy::CertificateError;
use crate::proxy::upstream::UpstreamError;
use crate::store::embedded::EmbeddedError;
use crate::store::redis::RedisOptionsError;
use crate::telemetry::MetricsError;

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// A listener cannot be shared with the service that takes connections from it.
    #[error("the listeners cannot be set up: {0}; is the limit of open files very low?")]
    Clone(std::io::Error),
    /// The place of a running process cannot be taken.
    #[error(transparent)]
    TakeOver(#[from] TakeOverError),
    /// The data folder cannot be made.
    #[error("cannot make the data folder {path}: {source}; choose another with data_dir")]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The admin socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The users file.
    #[error(transparent)]
    Users(#[from] UsersFileError),
    /// The app's own login.
    #[error(transparent)]
    UpstreamLogin(#[from] UpstreamLoginError),
    /// The embedded store.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The settings of Redis.
    #[error(transparent)]
    Redis(#[from] RedisOptionsError),
    /// A file of the login page cannot be read.
    #[error("{path}: it cannot be read: {source}")]
    LoginPageFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The login page.
    #[error(transparent)]
    LoginPage(#[from] LoginPageError),
    /// An upstream.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The routes.
    #[error(transparent)]
    Routes(#[from] DuplicateRoute),
    /// The metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A value of the configuration cannot stand in a header.
    #[error("{key}: {value:?} cannot stand in a header")]
    HeaderValue {
        /// The key of the configuration.
        key: String,
        /// Its value.
        value: String,
    },
    /// No randomness.
    #[error("the system gives no random bytes")]
    Randomness,
    /// Pingora refuses something.
    #[error("the listeners cannot be set up: {0}")]
    Listeners(#[from] Box<pingora::Error>),
}
