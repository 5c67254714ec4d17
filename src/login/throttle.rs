//! How many wrong passwords are borne. PURE: time and the key are parameters.
//!
//! Only wrong passwords count. An attempt is reserved before the password is hashed and settled afterwards, so that many
//! attempts at once cannot pass where one after the other could not. What is known and what is under way together never
//! exceed a budget.
//!
//! | counted for | takes from |
//! |---|---|
//! | an address that the account has logged in from before (it is *familiar*) | a budget of that account and that address, and no other |
//! | any other address | the budget of the address, of the account at that address, and of the account at all such addresses |
//!
//! So an attack from elsewhere can use up what an account has for strange addresses, and the victim still logs in from
//! where it did before. What remains: while such an attack lasts the victim cannot log in from a new address; and
//! somebody behind the victim's own address can use up the budget there. Familiarity is per process and ends with it.
//!
//! An address is a whole IPv4 address, or the first 64 bits of an IPv6 address, which is what one subscriber has.
//!
//! What must never happen in here: an account that does not exist is counted in another way than one that does; an
//! attacker chooses what is forgotten; memory grows with what attackers make up. Names are kept as keyed hashes only.

mod buckets;
mod familiar;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;

use self::buckets::Buckets;
use self::familiar::Familiar;
use super::limits::ThrottleLimits;

/// A keyed hash: of an account's name or of an address.
type Tag = u128;

/// Counts wrong passwords.
pub struct Throttle {
    limits: ThrottleLimits,
    key: hmac::Key,
    addresses: Buckets<Tag>,
    accounts: Buckets<Tag>,
    pairs: Buckets<(Tag, Tag)>,
    familiar: Familiar,
}

/// An attempt that may be made. It must be settled, whatever becomes of it.
#[derive(Debug)]
#[must_use = "an attempt that is not settled is held against the account for ever"]
pub struct Reservation {
    account: Tag,
    address: Tag,
    familiar: bool,
}

/// What became of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempt {
    /// The password was right.
    Succeeded,
    /// The password was wrong, or there is no such account.
    Failed,
    /// No password was checked: nothing was learned from it.
    Withdrawn,
}

/// No more attempts for now; one may be made after this long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exhausted {
    /// How long to wait.
    pub retry_after: Duration,
}

impl Throttle {
    /// Knows nothing. `key` must come from a cryptographic source: with it, nobody can choose names whose hashes collide.
    pub fn new(limits: ThrottleLimits, key: &[u8; 32]) -> Throttle {
        Throttle {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            addresses: Buckets::new(limits.per_address, limits.entries_max),
            accounts: Buckets::new(limits.per_account, limits.entries_max),
            pairs: Buckets::new(limits.per_account_and_address, limits.entries_max),
            familiar: Familiar::new(limits.familiar, limits.familiar_for, limits.entries_max),
            limits,
        }
    }

    /// So much is borne from now on. What is missing from a budget stays missing for as long as it would have.
    pub fn limit(&mut self, limits: ThrottleLimits) {
        self.addresses.limit(limits.per_address, limits.entries_max);
        self.accounts.limit(limits.per_account, limits.entries_max);
        self.pairs.limit(limits.per_account_and_address, limits.entries_max);
        self.familiar.limit(limits.familiar, limits.familiar_for, limits.entries_max);
        self.limits = limits;
    }

    /// May a password for `account` be tried from `address`?
    pub fn reserve(&mut self, account: &str, address: IpAddr, now: Instant) -> Result<Reservation, Exhausted> {
        let (account, address) = (self.tag(b"account", account.as_bytes()), self.tag_of_address(address));
        if let Some(bucket) = self.familiar.get(account, address, now) {
            bucket.check(self.limits.familiar, now)?;
            bucket.begin();
            return Ok(Reservation { account, address, familiar: true });
        }
        let checks = [
            self.addresses.check(&address, now),
            self.accounts.check(&account, now),
            self.pairs.check(&(account, address), now),
        ];
        if let Some(retry_after) = checks.into_iter().filter_map(|check| check.err().map(|e| e.retry_after)).max() {
            return Err(Exhausted { retry_after });
        }
        self.addresses.begin(address, now);
        self.accounts.begin(account, now);
        self.pairs.begin((account, address), now);
        Ok(Reservation { account, address, familiar: false })
    }

    /// What became of the attempt.
    pub fn settle(&mut self, reservation: Reservation, attempt: Attempt, now: Instant) {
        let Reservation { account, address, familiar } = reservation;
        let failed = attempt == Attempt::Failed;
        if familiar {
            self.familiar.end(account, address, failed, now);
        } else {
            self.addresses.end(&address, failed, now);
            self.accounts.end(&account, failed, now);
            self.pairs.end(&(account, address), failed, now);
        }
        if attempt == Attempt::Succeeded {
            self.familiar.remember(account, address, now);
        }
    }

    fn tag_of_address(&self, address: IpAddr) -> Tag {
        match address.to_canonical() {
            IpAddr::V4(address) => self.tag(b"v4", &address.octets()),
            IpAddr::V6(address) => self.tag(b"v6", &address.octets()[..8]),
        }
    }

    fn tag(&self, kind: &[u8], value: &[u8]) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(kind);
        context.update(&[0]);
        context.update(value);
        let mut tag = [0; 16];
        tag.copy_from_slice(&context.sign().as_ref()[..16]);
        Tag::from_le_bytes(tag)
    }

    /// How many counters are kept.
    pub fn len(&self) -> usize {
        self.addresses.len() + self.accounts.len() + self.pairs.len() + self.familiar.len()
    }

    /// Is nothing counted?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests;
