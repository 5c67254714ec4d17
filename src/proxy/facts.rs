//! What the decision needs to know of the world, answered from memory: verified tokens and the mirror.
//!
//! What must never happen in here: a request waits for a store; a token that does not verify leaves a trace.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

use super::token_key::{TokenKey, TokenKeys};
use crate::gate::{Facts, Identity, Knowledge, Reason};
use crate::session::SessionId;
use crate::store::{Freshness, Mirror, UsedMarks};
use crate::time::Timestamp;
use crate::token::{AccessPolicy, AccessTokenError, KeySet, verify_access_token};

/// Verifies each access token once.
///
/// No token in the cache can be taken for another (see [`TokenKeys`]), and the cache belongs to one key set and one policy: when one
/// of them changes there is a new one, which remembers nothing. What time and logouts change is judged anew at each request.
pub struct Verifier {
    keys: Arc<KeySet>,
    policy: AccessPolicy,
    token_keys: TokenKeys,
    verified: Cache<TokenKey, Arc<Identity>>,
    used: UsedMarks,
}

impl Verifier {
    /// For these keys and this policy, remembering up to `entries` tokens. First sights are told to `used`.
    pub fn new(keys: Arc<KeySet>, policy: AccessPolicy, entries: usize, used: UsedMarks) -> Verifier {
        Verifier { keys, policy, token_keys: TokenKeys::new(), verified: Cache::new(entries), used }
    }

    /// Does it judge by these very keys and this policy? Then what it remembers holds.
    pub fn judges_by(&self, keys: &Arc<KeySet>, policy: &AccessPolicy) -> bool {
        Arc::ptr_eq(&self.keys, keys) && self.policy == *policy
    }

    /// How many tokens are remembered.
    pub fn entries(&self) -> usize {
        self.verified.len()
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Identity>, Reason> {
        let key = self.token_keys.key_of(token);
        if let Some(identity) = key.and_then(|key| self.verified.get(&key)) {
            return Ok(identity);
        }
        let identity = self.read(token, now)?;
        if let Some(key) = key {
            self.verified.insert(key, Arc::clone(&identity));
        }
        self.used.seen(identity.session, identity.generation);
        Ok(identity)
    }

    fn read(&self, token: &str, now: Timestamp) -> Result<Arc<Identity>, Reason> {
        let claims = verify_access_token(&self.keys, &self.policy, token, now).map_err(|error| match error {
            AccessTokenError::Malformed => Reason::TokenMalformed,
            AccessTokenError::Invalid => Reason::TokenInvalid,
            AccessTokenError::Expired => Reason::TokenExpired,
        })?;
        let app_session = claims.app_session.as_ref().and_then(|sealed| self.keys.open(&claims.sid, sealed));
        let identity = Identity::from_claims(claims)?;
        Ok(Arc::new(match app_session {
            Some(cookies) => identity.with_app_session(&cookies),
            None => identity,
        }))
    }
}

/// The facts of one request.
pub(super) struct RequestFacts<'a> {
    pub(super) verifier: &'a Verifier,
    pub(super) mirror: &'a Mirror,
    pub(super) max_staleness: Duration,
    pub(super) now: Timestamp,
    pub(super) instant: Instant,
    /// What the refresh token in its cookie yielded, once that was asked.
    pub(super) answer: Option<Result<&'a str, Reason>>,
}

impl Facts for RequestFacts<'_> {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn verify(&self, token: &str) -> Result<Arc<Identity>, Reason> {
        match self.answer {
            // Its client does not have it yet, and may never get it: it is not used before it comes back from there.
            Some(Ok(renewed)) if renewed == token => self.verifier.read(token, self.now),
            _ => self.verifier.verify(token, self.now),
        }
    }

    fn is_ours(&self, token: &str) -> bool {
        self.verifier.keys.names_key_of_ours(token)
    }

    fn has_ended(&self, session: &SessionId) -> bool {
        self.mirror.revocations.contains(session)
    }

    fn knowledge(&self, session: &SessionId) -> Knowledge {
        match self.mirror.freshness(session, self.instant) {
            Freshness::Age(age) if age <= self.max_staleness => Knowledge::Fresh,
            Freshness::Age(_) => Knowledge::Stale,
            Freshness::Unknown => Knowledge::None,
        }
    }

    fn answer(&self) -> Option<Result<&str, Reason>> {
        self.answer
    }
}
