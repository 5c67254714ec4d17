//! Rotation in two steps, so that it can roll from proxy to proxy without logging anyone out.
//!
//! First a `next` key is added: it verifies and does not sign. Once every proxy has the file, a second run makes it
//! `active` and the old one `retired`: it still verifies. Retired keys go when nothing they made can still be alive.

use std::fmt;
use std::time::Duration;

use super::{KeysError, new_key};
use crate::time::Timestamp;
use crate::token::{Algorithm, KeyStatus, KeyUse, PrivateJwk, PrivateJwkSet};

/// How much longer a retired key is kept than what it made can live: other proxies may have signed with it until the
/// new file reached them.
const MARGIN: Duration = Duration::from_secs(24 * 60 * 60);

/// Which keys are rotated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Which {
    /// The signing key.
    Sig,
    /// The refresh MAC key.
    Refresh,
    /// Both.
    #[default]
    All,
}

/// One step of a rotation.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// Which keys.
    pub which: Which,
    /// Both steps at once: for a single proxy, or when a key is known to be stolen.
    pub at_once: bool,
    /// The algorithm of a new signing key; none: that of the active one.
    pub algorithm: Option<Algorithm>,
    /// How long an access token lives.
    pub access_lifetime: Duration,
    /// How long a session, and with it a refresh token, lives.
    pub session_lifetime: Duration,
}

/// What became of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Its `kid`.
    pub kid: String,
    /// What it is for.
    pub r#use: KeyUse,
    /// Its new status; none if it was removed.
    pub status: Option<KeyStatus>,
}

impl Rotation {
    /// Changes the set, which must be a good one, and says how.
    pub(super) fn apply(&self, set: &mut PrivateJwkSet, now: Timestamp) -> Result<Vec<Change>, KeysError> {
        let uses: &[KeyUse] = match self.which {
            Which::Sig => &[KeyUse::Sig],
            Which::Refresh => &[KeyUse::Refresh],
            Which::All => &[KeyUse::Sig, KeyUse::Refresh],
        };
        for (index, key) in set.keys.iter_mut().enumerate() {
            // A set from elsewhere may leave it out.
            key.kid = key.kid.take().or_else(|| key.key_id(index).ok().map(|id| id.to_string()));
        }
        let mut changes = Vec::new();
        for &r#use in uses {
            let waiting = set.keys.iter().any(|key| key.r#use == r#use && key.status == KeyStatus::Next);
            if !waiting {
                self.add_next(set, r#use, now, &mut changes)?;
            }
            if waiting || self.at_once {
                promote_next(set, r#use, now, &mut changes);
            }
            self.remove_outlived(set, r#use, now, &mut changes);
        }
        Ok(changes)
    }

    fn add_next(
        &self,
        set: &mut PrivateJwkSet,
        r#use: KeyUse,
        now: Timestamp,
        changes: &mut Vec<Change>,
    ) -> Result<(), KeysError> {
        let active = set.keys.iter().find(|key| key.r#use == r#use && key.status == KeyStatus::Active);
        let algorithm = self.algorithm.or_else(|| active.and_then(|key| key.alg)).unwrap_or_default();
        let key = PrivateJwk { status: KeyStatus::Next, ..new_key(r#use, algorithm, now)? };
        changes.push(change(&key, Some(KeyStatus::Next)));
        set.keys.push(key);
        Ok(())
    }

    fn remove_outlived(&self, set: &mut PrivateJwkSet, r#use: KeyUse, now: Timestamp, changes: &mut Vec<Change>) {
        let lifetime = match r#use {
            KeyUse::Sig => self.access_lifetime,
            KeyUse::Refresh => self.session_lifetime,
        };
        let outlived = |key: &PrivateJwk| {
            // A key that does not say when it was retired is kept.
            let retired_at = key.retired_at.filter(|_| key.status == KeyStatus::Retired && key.r#use == r#use);
            retired_at.is_some_and(|at| Timestamp::from_secs(at).plus(lifetime).plus(MARGIN) < now)
        };
        changes.extend(set.keys.iter().filter(|key| outlived(key)).map(|key| change(key, None)));
        set.keys.retain(|key| !outlived(key));
    }
}

/// The first `next` key becomes active. Another one, if somebody wrote it, waits for its own turn.
fn promote_next(set: &mut PrivateJwkSet, r#use: KeyUse, now: Timestamp, changes: &mut Vec<Change>) {
    let mut promoted = false;
    for key in set.keys.iter_mut().filter(|key| key.r#use == r#use) {
        match key.status {
            KeyStatus::Active => {
                key.status = KeyStatus::Retired;
                key.retired_at = Some(now.as_secs());
            }
            KeyStatus::Next if !promoted => {
                promoted = true;
                key.status = KeyStatus::Active;
            }
            KeyStatus::Next | KeyStatus::Retired => continue,
        }
        changes.push(change(key, Some(key.status)));
    }
}

fn change(key: &PrivateJwk, status: Option<KeyStatus>) -> Change {
    Change { kid: key.kid.clone().unwrap_or_default(), r#use: key.r#use, status }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.status {
            Some(KeyStatus::Next) => "next: verifies already, does not sign yet",
            Some(KeyStatus::Active) => "active: signs from now on",
            Some(KeyStatus::Retired) => "retired: still verifies",
            None => "removed: nothing it made is alive",
        };
        write!(f, "{} {} {what}", self.kid, self.r#use)
    }
}
