//! What is issued verifies, for as long as it should and not longer.

use super::*;

#[test]
fn says_what_it_was_issued_from_with_every_algorithm() {
    for algorithm in Algorithm::ALL {
        let keys = keys_for(algorithm);
        let token = issue(&keys, &session(&keys), NOW).unwrap();
        let claims = verify_access_token(&keys, &policy(), &token, NOW).unwrap();
        let expected = AccessClaims {
            iss: "https://auth.example.com".to_owned(),
            aud: "apps".to_owned(),
            sub: "demo".to_owned(),
            sid: SessionId::new("demo", [9; 15]),
            generation: 3,
            jti: "BwcHBwcHBwcHBwcHBwcHBw".to_owned(),
            iat: NOW.as_secs(),
            exp: NOW.as_secs() + 900,
            roles: vec!["admin".to_owned(), "ops".to_owned()],
            scope: Some("read write".to_owned()),
            session_exp: NOW.plus(30 * DAY).as_secs(),
            app_session: None,
        };
        assert_eq!(claims, expected, "{algorithm}");
    }
}

#[test]
fn has_the_header_of_rfc_9068_and_no_more() {
    let keys = keys_for(Algorithm::EdDsa);
    let token = issue(&keys, &session(&keys), NOW).unwrap();
    let header = header::decode_object(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(
        header,
        json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" })
    );
}

#[test]
fn without_roles_and_scopes_the_claims_are_absent() {
    let keys = keys_for(Algorithm::EdDsa);
    let session = session(&keys);
    let grant = AccessGrant { session: &session, roles: &[], scopes: &[], now: NOW, jti: [0; 16] };
    let token = issue_access_token(&keys, &policy(), &grant).unwrap();
    let claims = header::decode_object(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert!(claims.get("roles").is_none() && claims.get("scope").is_none() && claims["gen"] == 3, "{claims}");
    assert!(verify_access_token(&keys, &policy(), &token, NOW).is_ok());
}

#[test]
fn lives_from_its_issue_to_its_expiry_give_or_take_the_skew() {
    let keys = keys_for(Algorithm::EdDsa);
    let token = issue(&keys, &session(&keys), NOW).unwrap();
    let after = |seconds| verify_access_token(&keys, &policy(), &token, NOW.plus(Duration::from_secs(seconds))).err();
    let before = |seconds| verify_access_token(&keys, &policy(), &token, NOW.minus(Duration::from_secs(seconds))).err();
    assert_eq!(before(6), Some(AccessTokenError::Invalid), "issued in the future");
    assert_eq!(before(5), None);
    assert_eq!(after(904), None);
    assert_eq!(after(905), Some(AccessTokenError::Expired));
    assert_eq!(after(1_000_000_000), Some(AccessTokenError::Expired));
}

#[test]
fn expires_with_the_session_if_that_is_earlier() {
    let keys = keys_for(Algorithm::EdDsa);
    let session = Session { ends_at: Timestamp::from_millis(NOW.as_millis() + 60_999), ..session(&keys) };
    let token = issue(&keys, &session, NOW).unwrap();
    let claims = verify_access_token(&keys, &policy(), &token, NOW).unwrap();
    assert_eq!((claims.exp, claims.session_exp), (NOW.as_secs() + 60, NOW.as_secs() + 60));
}

#[test]
fn is_not_issued_for_a_session_that_is_over() {
    use crate::session::EndReason;
    let keys = keys_for(Algorithm::EdDsa);
    let live = session(&keys);
    for over in [
        live.end(NOW, EndReason::Logout),
        Session { ends_at: NOW, ..live.clone() },
        Session { ends_at: Timestamp::from_millis(NOW.as_millis() + 1), ..live.clone() },
        Session { ends_at: NOW.minus(DAY), ..live },
    ] {
        assert_eq!(issue(&keys, &over, NOW), Err(IssueError::SessionOver), "{over:?}");
    }
}

#[test]
fn what_would_not_be_accepted_is_not_issued() {
    let keys = keys_for(Algorithm::EdDsa);
    for (subject, expected) in [
        (String::new(), Err(IssueError::Subject)),
        ("x".repeat(1025), Err(IssueError::Subject)),
        ("x".repeat(1024), Ok(())),
        ("a\r\nb\0 ünïcode".to_owned(), Ok(())),
    ] {
        let session = Session { subject, ..session(&keys) };
        let issued = issue(&keys, &session, NOW);
        assert_eq!(issued.as_ref().map(|_| ()), expected.as_ref().map(|_| ()));
        if let Ok(token) = issued {
            assert_eq!(verify_access_token(&keys, &policy(), &token, NOW).unwrap().sub, session.subject);
        }
    }
    let session = session(&keys);
    let roles = vec!["a-rather-long-role-name".to_owned(); 1000];
    let grant = AccessGrant { session: &session, roles: &roles, scopes: &[], now: NOW, jti: [0; 16] };
    assert_eq!(issue_access_token(&keys, &policy(), &grant), Err(IssueError::TooLong));
}

#[test]
fn another_issuer_or_audience_or_a_shorter_lifetime_refuses_it() {
    let keys = keys_for(Algorithm::EdDsa);
    let token = issue(&keys, &session(&keys), NOW).unwrap();
    for other in [
        AccessPolicy { issuer: "https://auth.example.com/".to_owned(), ..policy() },
        AccessPolicy { issuer: "https://AUTH.example.com".to_owned(), ..policy() },
        AccessPolicy { audience: "app".to_owned(), ..policy() },
        AccessPolicy { lifetime: Duration::from_secs(899), ..policy() },
    ] {
        assert_eq!(verify_access_token(&keys, &other, &token, NOW), Err(AccessTokenError::Invalid), "{other:?}");
    }
}

#[test]
fn rotation_rolls_from_proxy_to_proxy_and_a_removed_key_is_gone() {
    let refresh = || jwk("refresh", "active");
    let steps = [
        key_set(&[jwk("EdDSA", "active"), refresh()]).unwrap(),
        key_set(&[jwk("EdDSA", "active"), jwk("ES256", "next"), refresh()]).unwrap(),
        key_set(&[jwk("EdDSA", "retired"), jwk("ES256", "active"), refresh()]).unwrap(),
        key_set(&[jwk("ES256", "active"), refresh()]).unwrap(),
    ];
    let accepts = |verifies: usize, signs: usize| {
        let token = issue(&steps[signs], &session(&steps[signs]), NOW).unwrap();
        verify_access_token(&steps[verifies], &policy(), &token, NOW)
    };
    // While the file rolls out, proxies are one step apart: each accepts what the other signs.
    for (verifies, signs) in [(0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2)] {
        assert!(accepts(verifies, signs).is_ok(), "step {verifies} refuses what step {signs} signs");
    }
    assert!(accepts(2, 0).is_ok(), "a retired key verifies");
    assert_eq!(accepts(3, 0), Err(AccessTokenError::Invalid), "a removed key does not");
    assert_eq!(accepts(0, 2), Err(AccessTokenError::Invalid), "a key that skipped `next` is not known everywhere");
}
