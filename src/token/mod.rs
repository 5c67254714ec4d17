//! Access tokens, refresh tokens, and the keys they are made with.
//!
//! PURE. Time and entropy are parameters; nothing here reads a clock, a file or a socket. (A signature by ECDSA is
//! randomised inside the cryptographic library; nothing rests on its bytes.)
//!
//! Access tokens are JWTs that upstreams can verify for themselves; refresh tokens are ours alone. They use different
//! keys, so that neither can stand in for the other.
//!
//! What must never happen in here: a token chooses its key's algorithm; anything is believed before it is verified;
//! a text that does not verify costs more than its length; a secret has a `Debug` that shows it.

mod access;
mod claims;
mod client;
pub(crate) mod der;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod header;
mod jwk;
mod key_set;
mod material;
mod refresh;
mod sealed;

pub use access::{
    AccessGrant, AccessPolicy, AccessTokenError, IssueError, issue_access_token, verify_access_token,
    verify_access_token_in,
};
pub use claims::{AccessClaims, ClaimsRef, Text};
pub use header::ACCESS_TOKEN_BYTES_MAX;
pub use jwk::{Algorithm, KeyStatus, KeyUse, PrivateJwk, PrivateJwkSet, SecretMember, UnknownAlgorithm};
pub use key_set::{KeyName, KeySet, KeySetError};
pub use refresh::{RefreshToken, RefreshTokenError};

#[cfg(test)]
mod tests;
