//! How much the outside, and the users file, may ask of a login. Configuration fills these; the defaults are meant to stay.
//!
//! What must never happen in here: a default that lets password hashing take all cores, or lets guessing go on for free.

use std::time::Duration;

/// All limits of a way to log in that checks passwords itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoginLimits {
    /// What a password hash in the users file may cost.
    pub hash: HashLimits,
    /// How many passwords are checked at the same time, each on a thread of its own. Half of the cores, at least 1.
    pub concurrent_hashes: usize,
    /// How many logins may wait for their turn; one more is told at once that too many are under way. 64.
    pub queued_logins: usize,
    /// How long a login waits for its turn at most. 5 s.
    pub queue_wait_max: Duration,
    /// How many wrong passwords are borne.
    pub throttle: ThrottleLimits,
}

impl Default for LoginLimits {
    fn default() -> LoginLimits {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        LoginLimits {
            hash: HashLimits::default(),
            concurrent_hashes: (cores / 2).max(1),
            queued_logins: 64,
            queue_wait_max: Duration::from_secs(5),
            throttle: ThrottleLimits::default(),
        }
    }
}

/// What a password hash in the users file may cost. An absurd cost is refused when the file is read, because each attempt
/// would hold a core for that long. With the defaults no single hash takes much longer than a second.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HashLimits {
    /// Argon2 parameter `m`, in KiB. 131072 (128 MiB).
    pub argon2_memory_kib_max: u32,
    /// Argon2 parameter `t`, in passes over the memory. 10.
    pub argon2_passes_max: u32,
    /// Argon2 parameter `p`, in lanes. 16.
    pub argon2_lanes_max: u32,
    /// The cost of bcrypt: 2 to this power rounds. 14.
    pub bcrypt_cost_max: u32,
    /// How many different costs one file may mix: a rejected attempt does the work of each of them. 8.
    pub different_costs_max: usize,
}

impl HashLimits {
    /// None, for who reads a file and hashes nothing.
    pub const UNLIMITED: HashLimits = HashLimits {
        argon2_memory_kib_max: u32::MAX,
        argon2_passes_max: u32::MAX,
        argon2_lanes_max: u32::MAX,
        bcrypt_cost_max: 31,
        different_costs_max: usize::MAX,
    };
}

impl Default for HashLimits {
    fn default() -> HashLimits {
        HashLimits {
            argon2_memory_kib_max: 128 * 1024,
            argon2_passes_max: 10,
            argon2_lanes_max: 16,
            bcrypt_cost_max: 14,
            different_costs_max: 8,
        }
    }
}

/// How many wrong passwords are borne, and where they are counted. See [`super::throttle`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ThrottleLimits {
    /// From one address prefix, whatever the account. 50, one more each 20 s.
    pub per_address: Budget,
    /// For one account from one address prefix. 10, one more each minute.
    pub per_account_and_address: Budget,
    /// For one account, from all address prefixes together that it has not logged in from. 50, one more each 2 minutes.
    pub per_account: Budget,
    /// For one account from one address prefix that it has logged in from: 20, one more each minute. Nothing that
    /// happens elsewhere takes from it.
    pub familiar: Budget,
    /// How long after a login an address prefix counts as familiar. 30 days.
    pub familiar_for: Duration,
    /// How many counters of each kind are kept. 65536: that bounds memory to some 20 MB, and 1 kB more for each account
    /// that has logged in from 16 places.
    pub entries_max: usize,
}

impl Default for ThrottleLimits {
    fn default() -> ThrottleLimits {
        ThrottleLimits {
            per_address: Budget::new(50, 20),
            per_account_and_address: Budget::new(10, 60),
            per_account: Budget::new(50, 120),
            familiar: Budget::new(20, 60),
            familiar_for: Duration::from_secs(30 * 24 * 3600),
            entries_max: 65_536,
        }
    }
}

/// So many wrong passwords at once, and one more each time the interval has passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// How many may be wrong in a row. At least 1.
    pub attempts: u32,
    /// How long until one of them is given back.
    pub refill: Duration,
}

impl Budget {
    /// So many attempts, one more each `refill_s` seconds.
    pub const fn new(attempts: u32, refill_s: u64) -> Budget {
        Budget { attempts, refill: Duration::from_secs(refill_s) }
    }
}
