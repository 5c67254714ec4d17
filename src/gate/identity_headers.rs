//! The names under which an upstream learns who asks, and how clients may have spelled them.

use http::HeaderName;

/// Under which names the upstream is told about the identity. None: it is not told.
#[derive(Clone, Debug, Default)]
pub struct IdentityHeaderNames {
    /// For the subject.
    pub subject: Option<HeaderName>,
    /// For the roles.
    pub roles: Option<HeaderName>,
    /// For the scopes.
    pub scopes: Option<HeaderName>,
    /// For the session's id.
    pub session: Option<HeaderName>,
}

/// Recognises every spelling of the identity headers that some backend takes for the name itself.
///
/// CGI-like gateways turn `-` and, some of them, everything else that is not a letter or a digit into `_`.
#[derive(Clone, Debug, Default)]
pub struct IdentityHeaderSpellings {
    folded: Vec<Vec<u8>>,
    /// Bit n is set if one of the names has n characters: almost every other header is passed over by this alone.
    lengths: u128,
}

impl IdentityHeaderSpellings {
    /// For these names.
    pub fn new(names: &IdentityHeaderNames) -> IdentityHeaderSpellings {
        let IdentityHeaderNames { subject, roles, scopes, session } = names;
        let names = [subject, roles, scopes, session].into_iter().flatten();
        let folded: Vec<Vec<u8>> = names.map(|name| name.as_str().bytes().map(fold).collect()).collect();
        let lengths = folded.iter().fold(0, |lengths, name| lengths | length_bit(name.len()));
        IdentityHeaderSpellings { folded, lengths }
    }

    /// Could a backend take `name` for one of ours?
    pub fn matches(&self, name: &[u8]) -> bool {
        self.lengths & length_bit(name.len()) != 0
            && self
                .folded
                .iter()
                .any(|ours| ours.len() == name.len() && name.iter().map(|&byte| fold(byte)).eq(ours.iter().copied()))
    }
}

fn length_bit(length: usize) -> u128 {
    1 << length.min(127)
}

fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_recognised_and_nothing_else() {
        let names = IdentityHeaderNames {
            subject: Some(HeaderName::from_static("x-auth-subject")),
            roles: Some(HeaderName::from_static("remote_groups")),
            ..IdentityHeaderNames::default()
        };
        let spellings = IdentityHeaderSpellings::new(&names);
        for name in
            ["x-auth-subject", "X_Auth_Subject", "x.auth.subject", "x~auth-subject", "REMOTE-GROUPS", "remote|groups"]
        {
            assert!(spellings.matches(name.as_bytes()), "{name}");
        }
        for name in ["x-auth-subjec", "x-auth-subjects", "xauthsubject", "x-auth-subjecu", "cookie", "host"] {
            assert!(!spellings.matches(name.as_bytes()), "{name}");
        }
    }
}
