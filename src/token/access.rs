//! Access tokens: JWTs of the shape of RFC 9068, issued and verified by us alone.
//!
//! What must never happen in here: the token has a say in how it is verified; a claim is believed before the signature;
//! a token outlives what revocations are kept for.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto;
use serde::Serialize;

use super::KeySet;
use super::claims::{AccessClaims, ClaimsRef};
use super::header::{ACCESS_TOKEN_BYTES_MAX, Decoded, Header, Parts};
use crate::session::Session;
use crate::time::Timestamp;

/// A subject goes into a header of every request: longer ones are refused on both sides.
const SUBJECT_BYTES_MAX: usize = 1024;

/// What all access tokens of a deployment have in common.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessPolicy {
    /// Claim `iss`.
    pub issuer: String,
    /// Claim `aud`.
    pub audience: String,
    /// How long a token lives, in whole seconds. Revocations are kept for that long, so none that lives longer is accepted.
    pub lifetime: Duration,
    /// By how much the clocks of two proxies may differ, in whole seconds.
    pub skew: Duration,
}

/// What one access token is issued from.
#[derive(Clone, Copy, Debug)]
pub struct AccessGrant<'a> {
    /// The session, as it was read or committed.
    pub session: &'a Session,
    /// The subject's roles today.
    pub roles: &'a [String],
    /// The subject's scopes today.
    pub scopes: &'a [String],
    /// When the session was read, not when the token is made: a slow proxy must not mint past the life of a revocation.
    pub now: Timestamp,
    /// Random bytes for the token's id.
    pub jti: [u8; 16],
}

/// Why no access token is issued.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IssueError {
    /// The session has ended, or is past its absolute end.
    #[error("the session has ended")]
    SessionOver,
    /// The subject is empty or too long.
    #[error("the subject must have 1 to {SUBJECT_BYTES_MAX} bytes")]
    Subject,
    /// With these roles and scopes the token would be longer than what is accepted.
    #[error("the token would be longer than {ACCESS_TOKEN_BYTES_MAX} bytes: the subject has too many roles or scopes")]
    TooLong,
    /// The cryptographic library refuses to sign.
    #[error("the token cannot be signed")]
    Signature,
}

/// Why an access token is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AccessTokenError {
    /// Not the shape of a JWT.
    #[error("not the shape of a JWT")]
    Malformed,
    /// A JWT, and not one of ours, or not for this.
    #[error("not an access token of this issuer for this audience")]
    Invalid,
    /// One of ours, in order but for its age.
    #[error("the access token has expired")]
    Expired,
}

#[derive(Serialize)]
struct IssuedHeader<'a> {
    typ: &'a str,
    alg: &'a str,
    kid: &'a str,
}

/// Issues an access token. It expires after the policy's lifetime or with the session, whichever comes first.
///
/// # Errors
/// See [`IssueError`].
pub fn issue_access_token(keys: &KeySet, policy: &AccessPolicy, grant: &AccessGrant<'_>) -> Result<String, IssueError> {
    let session = grant.session;
    let iat = grant.now.as_secs();
    let session_exp = session.ends_at.as_secs();
    let exp = iat.saturating_add(policy.lifetime.as_secs()).min(session_exp);
    if !session.is_live(grant.now) || exp <= iat {
        return Err(IssueError::SessionOver);
    }
    if !subject_fits(&session.subject) {
        return Err(IssueError::Subject);
    }
    let claims = AccessClaims {
        iss: policy.issuer.clone(),
        aud: policy.audience.clone(),
        sub: session.subject.clone(),
        sid: session.id,
        generation: session.generation,
        jti: URL_SAFE_NO_PAD.encode(grant.jti),
        iat,
        exp,
        roles: grant.roles.to_vec(),
        scope: (!grant.scopes.is_empty()).then(|| grant.scopes.join(" ")),
        session_exp,
        app_session: session.told.as_ref().and_then(|told| told.app_session.clone()),
    };
    let key = keys.active_signing_key();
    let header = IssuedHeader { typ: "at+jwt", alg: key.algorithm.as_str(), kid: &key.id.0 };
    let part = |json: Result<Vec<u8>, _>| json.map(|json| URL_SAFE_NO_PAD.encode(json));
    let header = part(serde_json::to_vec(&header)).map_err(|_| IssueError::Signature)?;
    let claims = part(serde_json::to_vec(&claims)).map_err(|_| IssueError::Signature)?;
    let signed = format!("{header}.{claims}");
    let signature = crypto::sign(signed.as_bytes(), &key.encoding, key.algorithm.for_crypto())
        .map_err(|_| IssueError::Signature)?;
    let token = format!("{signed}.{signature}");
    if token.len() > ACCESS_TOKEN_BYTES_MAX { Err(IssueError::TooLong) } else { Ok(token) }
}

/// Verifies an access token: shape, header, signature, claims, times, in that order. The key is chosen by `kid` among
/// ours, and its algorithm decides.
///
/// # Errors
/// See [`AccessTokenError`]. `Expired` says that everything else was in order.
pub fn verify_access_token(
    keys: &KeySet,
    policy: &AccessPolicy,
    token: &str,
    now: Timestamp,
) -> Result<AccessClaims, AccessTokenError> {
    verify_access_token_in(keys, policy, token, now, &mut Vec::new()).map(ClaimsRef::into_owned)
}

/// The same, without copying a claim: they stand in `buffer`, which has room for a token after its first use.
///
/// # Errors
/// As [`verify_access_token`].
pub fn verify_access_token_in<'a>(
    keys: &KeySet,
    policy: &AccessPolicy,
    token: &str,
    now: Timestamp,
    buffer: &'a mut Vec<u8>,
) -> Result<ClaimsRef<'a>, AccessTokenError> {
    use AccessTokenError::{Expired, Invalid, Malformed};

    let parts = Parts::of(token).ok_or(Malformed)?;
    let Decoded { header, claims, signature } = parts.decode(buffer).ok_or(Malformed)?;
    let header: Header<'_> = serde_json::from_slice(header).map_err(|_| Malformed)?;
    let key = header.kid.as_deref().and_then(|kid| keys.signing_key(kid)).ok_or(Invalid)?;
    if header.alg != key.algorithm.as_str() || !header.is_access_token() || header.asks_for_more() {
        return Err(Invalid);
    }

    let signature = signature.ok_or(Malformed)?;
    if !key.verifying.verifies(parts.signed.as_bytes(), signature) {
        return Err(Invalid);
    }

    let claims: ClaimsRef<'a> = serde_json::from_slice(claims).map_err(|_| Invalid)?;

    let (now, skew) = (now.as_secs(), policy.skew.as_secs());
    let lifetime = claims.exp.checked_sub(claims.iat).ok_or(Invalid)?;
    let for_this = claims.iss == policy.issuer && claims.aud == policy.audience && subject_fits(&claims.sub);
    let begun = claims.iat.max(claims.nbf.unwrap_or(0)) <= now.saturating_add(skew);
    if !for_this || !begun || lifetime > policy.lifetime.as_secs() {
        return Err(Invalid);
    }
    if claims.exp <= now.saturating_sub(skew) { Err(Expired) } else { Ok(claims) }
}

fn subject_fits(subject: &str) -> bool {
    (1..=SUBJECT_BYTES_MAX).contains(&subject.len())
}
