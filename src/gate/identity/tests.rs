//! What goes into an identity comes out of it, whatever its texts are; and what must not go in does not.

use proptest::prelude::*;

use super::*;

fn claims(sub: &str, roles: &[String], scope: Option<String>) -> AccessClaims {
    AccessClaims {
        iss: "a".into(),
        aud: "b".into(),
        sub: sub.into(),
        sid: SessionId::new(sub, [7; 15]),
        generation: 3,
        jti: "c".into(),
        iat: 1,
        exp: 1_700_000_000,
        roles: roles.to_vec(),
        scope,
        session_exp: 1_800_000_000,
        app_session: None,
    }
}

/// What may stand in a header: no control characters, no blanks at the ends.
fn may_stand(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && !text.contains(char::is_control)
}

proptest! {
    #[test]
    fn what_went_in_comes_out(
        sub in prop_oneof![".{0,40}", "[a-z]{1,120}", "[äöü日本語🙂]{1,60}"],
        roles in prop::collection::vec("[a-zé日-]{0,12}", 0..5),
        scopes in prop::collection::vec("[a-z:ß]{0,9}", 0..5),
    ) {
        let scope = (!scopes.is_empty()).then(|| scopes.join(" "));
        let named: Vec<&String> = scopes.iter().filter(|scope| !scope.is_empty()).collect();
        let good = may_stand(&sub) && roles.iter().all(|role| !role.is_empty());
        let claims = claims(&sub, &roles, scope);
        let identity = Identity::from_claims(&claims);
        prop_assert_eq!(identity.is_ok(), good);
        let Ok(identity) = identity else { return Ok(()) };
        let (headers, rights) = (identity.headers(), identity.rights());
        prop_assert_eq!(identity.subject(), &sub);
        prop_assert_eq!(headers.subject.as_bytes(), sub.as_bytes());
        prop_assert!(headers.session == claims.sid.to_string().as_str());
        prop_assert!(rights.roles.iter().map(|role| &**role).eq(roles.iter()));
        prop_assert!(rights.scopes.iter().map(|scope| &**scope).eq(named.iter().copied()));
        let joined = |items: Vec<&str>, by: &str| (!items.is_empty()).then(|| items.join(by).into_bytes());
        let value = |value: Option<&HeaderValue>| value.map(|value| value.as_bytes().to_vec());
        prop_assert_eq!(value(headers.roles), joined(roles.iter().map(|role| &**role).collect(), ","));
        prop_assert_eq!(value(headers.scopes), joined(named.iter().map(|scope| &***scope).collect(), " "));
        prop_assert_eq!((identity.session, identity.generation), (claims.sid, 3));
        prop_assert_eq!((identity.expires_at.as_secs(), identity.session_ends_at().as_secs()), (claims.exp, claims.session_exp));
    }

    #[test]
    fn rights_are_shared_only_where_they_are_equal(
        first in (prop::collection::vec("[ab,]{0,2}", 0..3), prop::option::of("[ab ]{0,4}")),
        second in (prop::collection::vec("[ab,]{0,2}", 0..3), prop::option::of("[ab ]{0,4}")),
    ) {
        let hashing = foldhash::fast::FixedState::default();
        let [first, second] = [first, second].map(|(roles, scope)| claims("demo", &roles, scope));
        let (Ok(one), Ok(other)) = (Rights::of(&first.as_ref()), Rights::of(&second.as_ref())) else { return Ok(()) };
        prop_assert!(one.are_of(&first.as_ref()));
        prop_assert_eq!(one.are_of(&second.as_ref()), one == other);
        if one == other {
            prop_assert_eq!(Rights::hash_of(&first.as_ref(), &hashing), Rights::hash_of(&second.as_ref(), &hashing));
        }
    }
}

#[test]
fn subjects_of_any_length_keep_their_session() {
    for length in (1..=130).chain([1024, 8192]) {
        let subject = "x".repeat(length);
        let identity = Identity::from_claims(&claims(&subject, &[], None)).unwrap();
        assert_eq!(identity.subject(), subject);
        assert_eq!(identity.headers().session, identity.session.to_string().as_str());
    }
    for bad in ["", " a", "a ", "a\n", "\u{a0}a", "a\u{85}", &"x".repeat(8193)] {
        assert_eq!(Identity::from_claims(&claims(bad, &[], None)).err(), Some(Reason::TokenInvalid), "{bad:?}");
    }
}

#[test]
fn what_it_is_remembered_by_is_not_shown() {
    let mut identity = Identity::from_claims(&claims("demo", &[], None)).unwrap();
    identity.remembered = Remembered([42; 16]);
    assert!(!format!("{identity:?}").contains("42"));
}

/// With two counters before it, 160 bytes: a size that allocators have. The texts are 72 for a subject of 34, and the table has ten.
#[test]
fn it_is_small() {
    assert!(size_of::<Identity>() <= 144, "{}", size_of::<Identity>());
}
