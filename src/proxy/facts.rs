//! What the decision needs to know of the world, answered from memory: verified tokens and the mirror.
//!
//! What must never happen in here: a request waits for a store; a token that does not verify leaves a trace.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use super::table::{Hash, Table};
use super::token_key::TokenKeys;
use crate::gate::{Facts, Identity, Knowledge, Reason, Remembered, Rights};
use crate::session::SessionId;
use crate::store::{Freshness, Mirror, UsedMarks};
use crate::time::Timestamp;
use crate::token::{ACCESS_TOKEN_BYTES_MAX, AccessPolicy, AccessTokenError, ClaimsRef, KeySet, verify_access_token_in};

/// So many different sets of roles and scopes are kept for tokens to share. Beyond them each token has its own.
const RIGHTS_MAX: usize = 1024;

thread_local! {
    /// What a token is decoded in. Made for each one and freed after its identity was made, it would leave a hole before it.
    static DECODED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Verifies each access token once.
///
/// No token in the cache can be taken for another (see [`TokenKeys`]), and the cache belongs to one key set and one policy: when one
/// of them changes there is a new one, which remembers nothing. What time and logouts change is judged anew at each request.
pub struct Verifier {
    keys: Arc<KeySet>,
    policy: AccessPolicy,
    token_keys: TokenKeys,
    entries_max: usize,
    verified: Table<Identity>,
    rights: Table<Rights>,
    hashing: RandomState,
    used: UsedMarks,
}

impl Verifier {
    /// For these keys and this policy, remembering up to `entries_max` tokens. First sights are told to `used`.
    pub fn new(keys: Arc<KeySet>, policy: AccessPolicy, entries_max: usize, used: UsedMarks) -> Verifier {
        Verifier {
            keys,
            policy,
            token_keys: TokenKeys::new(),
            entries_max,
            verified: Table::new(entries_max),
            rights: Table::new(RIGHTS_MAX),
            hashing: RandomState::default(),
            used,
        }
    }

    /// Does it judge by these very keys and this policy, and remember as many? Then what it remembers holds.
    pub fn judges_by(&self, keys: &Arc<KeySet>, policy: &AccessPolicy, entries_max: usize) -> bool {
        Arc::ptr_eq(&self.keys, keys) && self.policy == *policy && self.entries_max == entries_max
    }

    /// How many tokens are remembered.
    pub fn entries(&self) -> usize {
        self.verified.len()
    }

    /// Forgets tokens that have expired, and rights that no token has any more: a part of them at each call, so that none takes
    /// more than about a millisecond.
    pub fn forget_expired(&self, now: Timestamp) {
        self.verified.retain_some(|identity| now < identity.expires_at.plus(self.policy.skew));
        self.rights.retain_some(|rights| Arc::strong_count(rights) > 1);
    }

    fn remembered(&self, token: &[u8]) -> Option<Arc<Identity>> {
        if token.len() > ACCESS_TOKEN_BYTES_MAX {
            return None;
        }
        let key = self.token_keys.key_of(token)?;
        self.verified.find(hash(key), |known: &Identity| known.remembered == key)
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Identity>, Reason> {
        let Some(key) = self.token_keys.key_of(token.as_bytes()) else {
            return self.read(token, Remembered::default(), now);
        };
        let (hash, is_meant) = (hash(key), |known: &Identity| known.remembered == key);
        if let Some(identity) = self.verified.find(hash, is_meant) {
            return Ok(identity);
        }
        let identity = self.read(token, key, now)?;
        self.verified.put(hash, Arc::clone(&identity), is_meant);
        self.used.seen(identity.session, identity.generation);
        Ok(identity)
    }

    fn read(&self, token: &str, key: Remembered, now: Timestamp) -> Result<Arc<Identity>, Reason> {
        DECODED.with_borrow_mut(|buffer| self.read_in(token, key, now, buffer))
    }

    fn read_in(
        &self,
        token: &str,
        key: Remembered,
        now: Timestamp,
        buffer: &mut Vec<u8>,
    ) -> Result<Arc<Identity>, Reason> {
        let claims = verify_access_token_in(&self.keys, &self.policy, token, now, buffer);
        let claims = claims.map_err(|error| match error {
            AccessTokenError::Malformed => Reason::TokenMalformed,
            AccessTokenError::Invalid => Reason::TokenInvalid,
            AccessTokenError::Expired => Reason::TokenExpired,
        })?;
        let app_session = claims.app_session.as_ref().and_then(|sealed| self.keys.open(&claims.sid, sealed));
        let mut identity = Identity::with_rights(&claims, self.rights_of(&claims)?)?;
        identity.remembered = key;
        Ok(Arc::new(match app_session {
            Some(cookies) => identity.with_app_session(&cookies),
            None => identity,
        }))
    }

    fn rights_of(&self, claims: &ClaimsRef<'_>) -> Result<Arc<Rights>, Reason> {
        let hash = Rights::hash_of(claims, &self.hashing);
        // The other number has its own high bits, and these choose a place.
        let hash = [hash, hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)];
        let are_meant = |rights: &Rights| rights.are_of(claims);
        if let Some(rights) = self.rights.find(hash, are_meant) {
            return Ok(rights);
        }
        let rights = Arc::new(Rights::of(claims)?);
        self.rights.put(hash, Arc::clone(&rights), are_meant);
        Ok(rights)
    }
}

/// A MAC is as good as random.
fn hash(Remembered(key): Remembered) -> Hash {
    let key = u128::from_le_bytes(key);
    [key as u64, (key >> 64) as u64]
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

    fn remembered(&self, token: &[u8]) -> Option<Arc<Identity>> {
        self.verifier.remembered(token)
    }

    fn verify(&self, token: &str) -> Result<Arc<Identity>, Reason> {
        match self.answer {
            // Its client does not have it yet, and may never get it: it is not used before it comes back from there.
            Some(Ok(renewed)) if renewed == token => self.verifier.read(token, Remembered::default(), self.now),
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
