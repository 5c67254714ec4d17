//! One password hash: read from a file, checked against a password, made anew. Argon2id (RFC 9106) and bcrypt.
//!
//! A password is its bytes as they arrive: no Unicode normalisation, no trimming.
//!
//! What must never happen in here: a rejected password costs less than the hash it was rejected by; a password is cut
//! short in silence (bcrypt reads 72 bytes and stops at NUL); a hash or a password shows in a message.

use std::fmt;
use std::hint::black_box;

use argon2::password_hash::{Error, PasswordHasher, PasswordVerifier, phc};
use argon2::{Algorithm, Argon2, Params, Version};

use super::limits::HashLimits;

/// No password is longer. Longer ones are wrong whoever sends them.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Bcrypt reads no further than this.
const BCRYPT_BYTES_MAX: usize = 72;

/// What it takes to compute a hash. Two hashes of equal cost take equal time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cost {
    /// Argon2id version 19.
    Argon2id {
        /// Parameter `m`.
        memory_kib: u32,
        /// Parameter `t`.
        passes: u32,
        /// Parameter `p`.
        lanes: u32,
    },
    /// Bcrypt.
    Bcrypt {
        /// 2 to this power rounds.
        cost: u32,
    },
}

/// The hash could not be computed, for want of memory say. That tells nothing about the password.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the password hash could not be computed")]
pub struct HashFailed;

impl Cost {
    /// What OWASP's Password Storage Cheat Sheet recommends: 19 MiB, 2 passes, 1 lane. New hashes cost this.
    pub const RECOMMENDED: Cost = Cost::Argon2id { memory_kib: 19 * 1024, passes: 2, lanes: 1 };

    /// Does the work of checking `password` against a hash of this cost, for nothing.
    pub fn burn(self, password: &[u8]) -> Result<(), HashFailed> {
        const SALT: [u8; 16] = *b"a salt for none.";
        match self {
            Cost::Argon2id { .. } => {
                let mut output = [0; 32];
                self.argon2()?.hash_password_into(password, &SALT, &mut output).map_err(|_| HashFailed)?;
                black_box(output);
            }
            Cost::Bcrypt { cost } => {
                let mut key = [0; BCRYPT_BYTES_MAX];
                let length = password.len().min(BCRYPT_BYTES_MAX);
                key[..length].copy_from_slice(&password[..length]);
                black_box(bcrypt::bcrypt(cost, SALT, &key[..(length + 1).min(BCRYPT_BYTES_MAX)]));
            }
        }
        Ok(())
    }

    fn argon2(self) -> Result<Argon2<'static>, HashFailed> {
        let Cost::Argon2id { memory_kib, passes, lanes } = self else { return Err(HashFailed) };
        let params = Params::new(memory_kib, passes, lanes, None).map_err(|_| HashFailed)?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cost::Argon2id { memory_kib, passes, lanes } => write!(f, "argon2id m={memory_kib},t={passes},p={lanes}"),
            Cost::Bcrypt { cost } => write!(f, "bcrypt cost {cost}"),
        }
    }
}

/// A password hash that has been read, and found to be of a kind and a cost that may be used.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    text: Box<str>,
    cost: Cost,
}

/// It cannot be used as a password hash. The text says what to write instead.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ParsePasswordHashError(String);

impl PasswordHash {
    /// From its text, `$argon2id$...` or `$2a$...`, `$2b$...`, `$2y$...`.
    pub fn parse(text: &str, limits: &HashLimits) -> Result<PasswordHash, ParsePasswordHashError> {
        let cost = match text.split('$').nth(1) {
            Some("argon2id") => parse_argon2id(text, limits),
            Some("2a" | "2b" | "2y") => parse_bcrypt(text, limits),
            _ => Err(format!("{}; {REMEDY}", describe_foreign(text))),
        };
        cost.map(|cost| PasswordHash { text: text.into(), cost }).map_err(ParsePasswordHashError)
    }

    /// A new hash of the recommended kind and cost.
    pub fn make(password: &[u8]) -> Result<PasswordHash, HashFailed> {
        let cost = Cost::RECOMMENDED;
        let hash = cost.argon2()?.hash_password(password).map_err(|_| HashFailed)?;
        Ok(PasswordHash { text: hash.to_string().into(), cost })
    }

    /// Is this the password? Takes the same time whatever the answer is, also for a password that bcrypt cannot take.
    pub fn verify(&self, password: &[u8]) -> Result<bool, HashFailed> {
        match self.cost {
            Cost::Argon2id { .. } => {
                let hash = phc::PasswordHash::new(&self.text).map_err(|_| HashFailed)?;
                match Argon2::default().verify_password(password, &hash) {
                    Ok(()) => Ok(true),
                    Err(Error::PasswordInvalid) => Ok(false),
                    Err(_) => Err(HashFailed),
                }
            }
            Cost::Bcrypt { .. } => {
                let matches = bcrypt::verify(password, &self.text).map_err(|_| HashFailed)?;
                Ok(matches && password.len() <= BCRYPT_BYTES_MAX && !password.contains(&0))
            }
        }
    }

    /// What it takes to check it.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// As it stands in a file.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash({})", self.cost)
    }
}

const REMEDY: &str =
    "write an argon2id hash, which `portcullis user passwd NAME` makes, or a bcrypt hash, which `htpasswd -B` makes";

/// What it is instead, without quoting it: it may be a password.
fn describe_foreign(text: &str) -> &'static str {
    match text {
        _ if text.starts_with("$argon2") => "only the id variant of argon2 is accepted",
        _ if text.starts_with("$apr1$") || text.starts_with("$1$") => "md5 hashes are too weak",
        _ if text.starts_with("{SHA") || text.starts_with("{SSHA") => "sha1 hashes are too weak",
        _ if text.starts_with("$5$") || text.starts_with("$6$") => "sha-crypt hashes are not accepted",
        _ if text.starts_with("$2x$") => "bcrypt hashes of version 2x come from a faulty implementation",
        _ if text.starts_with("$y$") || text.starts_with("$7$") => "scrypt and yescrypt hashes are not accepted",
        "" => "the password hash is empty",
        _ => "this is not a password hash (plain passwords and DES crypt are never accepted)",
    }
}

fn parse_argon2id(text: &str, limits: &HashLimits) -> Result<Cost, String> {
    const SHAPE: &str = "expected `$argon2id$v=19$m=...,t=...,p=...$salt$hash`";
    let hash =
        phc::PasswordHash::new(text).map_err(|error| format!("the argon2id hash is damaged ({error}); {SHAPE}"))?;
    let params = Params::try_from(&hash).map_err(|error| format!("the argon2id hash is damaged ({error}); {SHAPE}"))?;
    let complete = hash.version == Some(19)
        && ["m", "t", "p"].iter().all(|name| hash.params.get(*name).is_some())
        && params.keyid().is_empty()
        && params.data().is_empty()
        && hash.salt.is_some_and(|salt| salt.len() >= 8)
        && hash.hash.is_some_and(|output| output.len() >= 16);
    if !complete {
        return Err(format!("the argon2id hash is incomplete; {SHAPE}, with 8 bytes of salt and 16 of hash at least"));
    }
    let within = |name, value, max| {
        if value <= max {
            Ok(value)
        } else {
            Err(format!("the argon2id hash asks for {name}={value}; at most {max} is allowed"))
        }
    };
    Ok(Cost::Argon2id {
        memory_kib: within("m", params.m_cost(), limits.argon2_memory_kib_max)?,
        passes: within("t", params.t_cost(), limits.argon2_passes_max)?,
        lanes: within("p", params.p_cost(), limits.argon2_lanes_max)?,
    })
}

fn parse_bcrypt(text: &str, limits: &HashLimits) -> Result<Cost, String> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| {
        "the bcrypt hash is damaged; expected 60 characters, `$2y$10$` and then salt and hash".to_owned()
    })?;
    let (cost, max) = (parts.get_cost(), limits.bcrypt_cost_max.min(31));
    if (4..=max).contains(&cost) {
        Ok(Cost::Bcrypt { cost })
    } else {
        Err(format!("the bcrypt hash has cost {cost}; 4 to {max} is allowed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `correctbatteryhorsestapler`, by another implementation.
    const BCRYPT: &str = "$2b$04$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie";
    /// `password`, salt `somesalt`: a test vector of the reference implementation.
    const ARGON2ID: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

    fn parse(text: &str) -> Result<PasswordHash, ParsePasswordHashError> {
        PasswordHash::parse(text, &HashLimits::default())
    }

    #[test]
    fn hashes_of_other_implementations_are_understood() {
        for (text, password) in [(BCRYPT, "correctbatteryhorsestapler"), (ARGON2ID, "password")] {
            let hash = parse(text).unwrap();
            assert_eq!(hash.verify(password.as_bytes()), Ok(true));
            assert_eq!(hash.verify(b"Password"), Ok(false));
            assert_eq!(hash.verify(b""), Ok(false));
            assert_eq!(hash.as_str(), text);
        }
    }

    #[test]
    fn a_new_hash_is_argon2id_of_the_recommended_cost_with_its_own_salt() {
        let hash = PasswordHash::make("pässwörd 🗝".as_bytes()).unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash:?}");
        assert_eq!(parse(hash.as_str()).unwrap(), hash);
        assert_eq!(hash.verify("pässwörd 🗝".as_bytes()), Ok(true));
        // The same letters decomposed are other bytes, and so another password.
        assert_eq!(hash.verify("pa\u{308}sswo\u{308}rd 🗝".as_bytes()), Ok(false));
        assert_ne!(hash.as_str(), PasswordHash::make("pässwörd 🗝".as_bytes()).unwrap().as_str());
    }

    #[test]
    fn bcrypt_never_cuts_a_password_short() {
        let long = "x".repeat(72);
        let hash = parse(&bcrypt::hash(&long, 4).unwrap()).unwrap();
        assert_eq!(hash.verify(long.as_bytes()), Ok(true));
        assert_eq!(hash.verify(format!("{long}y").as_bytes()), Ok(false), "73 bytes");
        let hash = parse(&bcrypt::hash("ab", 4).unwrap()).unwrap();
        assert_eq!(hash.verify(b"ab\0"), Ok(false));
        let hash = parse(&bcrypt::hash("ab\0cd", 4).unwrap()).unwrap();
        assert_eq!(hash.verify(b"ab\0cd"), Ok(false), "NUL is never taken");
    }

    #[test]
    fn what_is_not_acceptable_is_named_and_not_quoted() {
        let too_deep = BCRYPT.replace("$04$", "$15$");
        let cases = [
            ("", "empty"),
            ("hunter2", "not a password hash"),
            ("$apr1$salt$hunter2", "md5"),
            ("{SHA}hunter2", "sha1"),
            ("$6$salt$hunter2", "sha-crypt"),
            ("$2x$04$hunter2", "2x"),
            (&BCRYPT[..59], "60 characters"),
            (&too_deep, "cost 15"),
            ("$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "id variant"),
            ("$argon2id$v=16$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "v=19"),
            ("$argon2id$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "v=19"),
            ("$argon2id$v=19$m=256,t=2$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "p=..."),
            ("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ", "incomplete"),
            ("$argon2id$v=19$m=131073,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "m=131073"),
            ("$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "at most"),
            ("$argon2id$v=19$m=256,t=11,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "t=11"),
            ("$argon2id$v=19$m=256,t=2,p=17$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "p=17"),
            ("$argon2id$v=19$m=8,t=1,p=2$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "damaged"),
        ];
        for (text, expected) in cases {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("hunter2") && !error.contains("c29tZXNhbHQ"), "{error}");
        }
    }

    #[test]
    fn burning_takes_every_password_and_every_cost() {
        for cost in [Cost::Bcrypt { cost: 4 }, Cost::Argon2id { memory_kib: 64, passes: 1, lanes: 2 }] {
            for length in [0, 1, 71, 72, 73, PASSWORD_BYTES_MAX] {
                assert_eq!(cost.burn(&vec![b'x'; length]), Ok(()));
            }
        }
    }
}
