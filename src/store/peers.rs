//! Proxies that share a store must be able to verify what the others sign, or users would be thrown out at random.

use serde::{Deserialize, Serialize};

use crate::session::KeyId;

/// Which keys a proxy has, told to the others through the store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Announcement {
    /// Signs access tokens.
    pub signing_key: KeyId,
    /// Makes refresh tokens.
    pub mac_key: KeyId,
    /// Everything that it can verify.
    pub keys: Vec<KeyId>,
}

/// Two proxies that do not understand one another.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Disagreement {
    /// Another proxy uses a key that this one does not have.
    #[error(
        "another proxy on this store uses the key {0}, which is not in this proxy's key file; give all proxies the same file \
         (a new key goes to all of them first, and is used after that: `portcullis keys rotate`)"
    )]
    UnknownHere(KeyId),
    /// This proxy uses a key that another one does not have.
    #[error(
        "another proxy on this store does not have the key {0}, which this proxy uses; give all proxies the same file \
         (a new key goes to all of them first, and is used after that: `portcullis keys rotate`)"
    )]
    UnknownThere(KeyId),
}

impl Announcement {
    /// Why this proxy and `other` cannot work on one store, if they cannot.
    pub fn disagreement(&self, other: &Announcement) -> Option<Disagreement> {
        let missing = |users: &Announcement, knowers: &Announcement| {
            [&users.signing_key, &users.mac_key].into_iter().find(|&key| !knowers.keys.contains(key)).cloned()
        };
        let here = missing(other, self).map(Disagreement::UnknownHere);
        here.or_else(|| missing(self, other).map(Disagreement::UnknownThere))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(signing_key: &str, mac_key: &str, keys: &[&str]) -> Announcement {
        Announcement {
            signing_key: signing_key.into(),
            mac_key: mac_key.into(),
            keys: keys.iter().map(|&key| key.into()).collect(),
        }
    }

    #[test]
    fn every_step_of_a_rotation_that_rolls_from_proxy_to_proxy_is_agreed_on() {
        let steps = [
            proxy("s1", "m1", &["s1", "m1"]),
            proxy("s1", "m1", &["s1", "m1", "s2", "m2"]),
            proxy("s2", "m2", &["s1", "m1", "s2", "m2"]),
        ];
        for pair in steps.windows(2) {
            assert_eq!(pair[0].disagreement(&pair[1]), None);
            assert_eq!(pair[1].disagreement(&pair[0]), None);
        }
        // A step that is left out is noticed from both sides.
        assert_eq!(steps[0].disagreement(&steps[2]), Some(Disagreement::UnknownHere("s2".into())));
        assert_eq!(steps[2].disagreement(&steps[0]), Some(Disagreement::UnknownThere("s2".into())));
    }

    #[test]
    fn refresh_keys_count_as_well() {
        let (one, other) = (proxy("s1", "m1", &["s1", "m1"]), proxy("s1", "m2", &["s1", "m2"]));
        assert_eq!(one.disagreement(&other), Some(Disagreement::UnknownHere("m2".into())));
    }
}
