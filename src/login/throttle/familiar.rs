//! Where accounts have logged in from. Each such place has a budget of its own.
//!
//! Only a right password puts something in here, and only into the account's own list, so nobody can push out what
//! others have.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Tag;
use super::buckets::Bucket;
use crate::login::limits::Budget;

/// So many places of one account are remembered: home, work, a phone that moves about.
const PLACES_MAX: usize = 16;

struct Place {
    address: Tag,
    last_login: Instant,
    bucket: Bucket,
}

pub(super) struct Familiar {
    budget: Budget,
    lasts: Duration,
    accounts_max: usize,
    accounts: HashMap<Tag, Vec<Place>>,
}

impl Familiar {
    pub(super) fn new(budget: Budget, lasts: Duration, accounts_max: usize) -> Familiar {
        Familiar { budget, lasts, accounts_max: accounts_max.max(16), accounts: HashMap::new() }
    }

    pub(super) fn limit(&mut self, budget: Budget, lasts: Duration, accounts_max: usize) {
        self.budget = budget;
        self.lasts = lasts;
        self.accounts_max = accounts_max.max(16);
    }

    /// The budget of the account there, if it has logged in from there.
    pub(super) fn get(&mut self, account: Tag, address: Tag, now: Instant) -> Option<&mut Bucket> {
        let lasts = self.lasts;
        let places = self.accounts.get_mut(&account)?;
        let place = places.iter_mut().find(|place| place.address == address)?;
        (!place.is_over(lasts, now)).then_some(&mut place.bucket)
    }

    /// An attempt that took from this budget is over.
    pub(super) fn end(&mut self, account: Tag, address: Tag, failed: bool, now: Instant) {
        let place = self.accounts.get_mut(&account).and_then(|places| places.iter_mut().find(|p| p.address == address));
        if let Some(place) = place {
            place.bucket.end(self.budget, failed, now);
        }
    }

    /// The account has logged in from there.
    pub(super) fn remember(&mut self, account: Tag, address: Tag, now: Instant) {
        if self.accounts.len() >= self.accounts_max && !self.accounts.contains_key(&account) {
            self.make_room(now);
        }
        let places = self.accounts.entry(account).or_default();
        if let Some(place) = places.iter_mut().find(|place| place.address == address) {
            place.last_login = now;
            return;
        }
        if places.len() >= PLACES_MAX {
            let idle = places.iter().enumerate().filter(|(_, place)| place.bucket.is_idle());
            match idle.min_by_key(|(_, place)| place.last_login).map(|(index, _)| index) {
                Some(oldest) => drop(places.swap_remove(oldest)),
                None => return,
            }
        }
        places.push(Place { address, last_login: now, bucket: Bucket::full(now) });
    }

    pub(super) fn len(&self) -> usize {
        self.accounts.values().map(Vec::len).sum()
    }

    /// Forgets what is over, and if that is not enough the sixteenth part that has not logged in for longest.
    fn make_room(&mut self, now: Instant) {
        let lasts = self.lasts;
        self.accounts.retain(|_, places| {
            places.retain(|place| !place.bucket.is_idle() || !place.is_over(lasts, now));
            !places.is_empty()
        });
        let wanted = self.accounts_max - self.accounts_max / 16;
        let Some(excess @ 1..) = self.accounts.len().checked_sub(wanted) else { return };
        let mut idle: Vec<(Option<Instant>, Tag)> = self
            .accounts
            .iter()
            .filter(|(_, places)| places.iter().all(|place| place.bucket.is_idle()))
            .map(|(account, places)| (places.iter().map(|place| place.last_login).max(), *account))
            .collect();
        idle.sort_unstable();
        for (_, account) in idle.into_iter().take(excess) {
            self.accounts.remove(&account);
        }
    }
}

impl Place {
    fn is_over(&self, lasts: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.last_login) > lasts
    }
}
