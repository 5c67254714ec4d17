//! What a private JWK set must be, and what is shown of it.

use super::*;

/// A set with a good refresh key and this signing key.
fn fault_of(signing: Value) -> String {
    key_set(&[signing, jwk("refresh", "active")]).unwrap_err().to_string()
}

/// This key with one member changed, or removed with `null`.
fn with(name: &str, member: &str, value: Value) -> Value {
    let mut jwk = jwk(name, "active");
    match value {
        Value::Null => drop(jwk.as_object_mut().unwrap().remove(member)),
        value => jwk[member] = value,
    }
    jwk
}

#[test]
fn ids_are_thumbprints() {
    // RFC 8037 appendix A.3.
    let keys = keys_for(Algorithm::EdDsa);
    assert_eq!(&*keys.signing_key_id().0, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_eq!(keys.mac_key_id().0.len(), 43);
    assert_eq!(keys.key_ids().collect::<Vec<_>>(), [keys.signing_key_id(), keys.mac_key_id()]);
}

#[test]
fn the_public_set_holds_every_public_half_and_no_secret() {
    let all = key_set(&[
        jwk("RS256", "retired"),
        jwk("EdDSA", "active"),
        jwk("ES256", "next"),
        jwk("HS256", "retired"),
        jwk("refresh", "active"),
        jwk("refresh_2", "retired"),
    ]);
    let public = all.unwrap().public_jwk_set();
    let published = public["keys"].as_array().unwrap();
    let mut algorithms: Vec<_> = published.iter().map(|key| key["alg"].as_str().unwrap()).collect();
    algorithms.sort_unstable();
    assert_eq!(algorithms, ["ES256", "EdDSA", "RS256"]);
    for key in published {
        let members: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
        let public = ["alg", "crv", "e", "kid", "kty", "n", "use", "x", "y"];
        assert!(members.iter().all(|member| public.contains(member)), "{members:?}");
        assert_eq!(key["use"], "sig");
        // Others can read it.
        let parsed: jsonwebtoken::jwk::Jwk = serde_json::from_value(key.clone()).unwrap();
        assert!(jsonwebtoken::DecodingKey::from_jwk(&parsed).is_ok());
    }
}

#[test]
fn an_upstream_can_verify_with_the_public_set() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256] {
        let keys = keys_for(algorithm);
        let token = issue(&keys, &session(&keys), NOW).unwrap();
        let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(keys.public_jwk_set()).unwrap();
        let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
        let key = jsonwebtoken::DecodingKey::from_jwk(set.find(&kid).unwrap()).unwrap();
        let mut validation = jsonwebtoken::Validation::new(algorithm.for_crypto());
        validation.set_audience(&["apps"]);
        validation.set_issuer(&["https://auth.example.com"]);
        validation.validate_exp = false;
        let decoded = jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap();
        assert_eq!(decoded.claims["sub"], "demo", "{algorithm}");
    }
}

#[test]
fn nothing_secret_is_shown() {
    let keys = keys_for(Algorithm::EdDsa);
    let private: PrivateJwkSet = serde_json::from_value(
        json!({ "keys": [jwk("EdDSA", "active"), jwk("RS256", "active"), jwk("refresh", "active")] }),
    )
    .unwrap();
    let shown = format!("{keys:?} {private:?}");
    for jwk in [jwk("EdDSA", "active"), jwk("RS256", "active"), jwk("refresh", "active")] {
        for member in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(jwk[member].as_str().is_none_or(|secret| !shown.contains(secret)), "{member}");
        }
    }
}

#[test]
fn faults_name_the_key_and_what_to_do() {
    let kid = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
    let elsewhere = jwk("ES256", "active")["x"].clone();
    let p = jwk("RS256", "active")["p"].clone();
    for (signing, expected) in [
        (with("EdDSA", "kid", json!("mine")), kid),
        (with("EdDSA", "kid", json!("mine")), r#"keys[0] (kid "mine")"#),
        (with("EdDSA", "alg", Value::Null), r#"keys[0]: "alg" is missing"#),
        (with("EdDSA", "alg", json!("HS256")), r#""kty" must be "oct""#),
        (with("EdDSA", "alg", json!("none")), "unknown variant `none`"),
        (with("EdDSA", "crv", json!("Ed448")), r#""crv" must be "Ed25519""#),
        (with("EdDSA", "x", elsewhere.clone()), "do not belong together"),
        (with("EdDSA", "x", json!("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")), r#""x" is not base64url"#),
        (with("EdDSA", "d", Value::Null), r#""d" is missing"#),
        (with("EdDSA", "status", Value::Null), "missing field `status`"),
        (with("EdDSA", "status", json!("retired")), "0 keys have \"use\":\"sig\" and \"status\":\"active\""),
        (with("EdDSA", "key_ops", json!(["sign"])), "unknown field `key_ops`"),
        (with("EdDSA", "use", json!("enc")), "unknown variant `enc`"),
        (with("ES256", "y", elsewhere), "do not belong together"),
        (with("ES256", "crv", json!("P-384")), r#""crv" must be "P-256""#),
        (with("ES256", "x", json!("AA")), "32 bytes"),
        (with("RS256", "q", p), "not those of one RSA key"),
        (with("RS256", "e", json!("AAEAAQ")), "without leading zero bytes"),
        (with("RS256", "n", json!("sRPT")), "2048 to 8192 bits"),
        (with("HS256", "k", json!("c2hvcnQ")), r#""k" has 5 bytes and must have at least 32"#),
        (with("HS256", "k", json!(5)), "expected base64url text"),
    ] {
        let fault = fault_of(signing.clone());
        assert!(fault.contains(expected), "{fault}\nfor {signing}");
    }
}

#[test]
fn a_set_is_good_as_a_whole_or_not_at_all() {
    let signing = || jwk("EdDSA", "active");
    let refresh = || jwk("refresh", "active");
    for (jwks, expected) in [
        (vec![], "0 keys have \"use\":\"sig\""),
        (vec![signing()], "0 keys have \"use\":\"refresh\""),
        (vec![signing(), jwk("ES256", "active"), refresh()], "2 keys have \"use\":\"sig\""),
        (vec![signing(), refresh(), jwk("refresh_2", "active")], "2 keys have \"use\":\"refresh\""),
        (vec![signing(), jwk("EdDSA", "retired"), refresh()], "keys[1]: the same key is in the set twice"),
        (vec![signing(), refresh(), with("EdDSA", "alg", json!("ES256"))], "keys[2]"),
    ] {
        let fault = key_set(&jwks).unwrap_err().to_string();
        assert!(fault.contains(expected), "{fault}");
    }
    // One secret for both would let one kind of token stand in for the other.
    let mut both = jwk("refresh", "active");
    both["use"] = "sig".into();
    both["alg"] = "HS256".into();
    assert!(matches!(key_set(&[both, refresh()]), Err(KeySetError::Duplicate(_))));

    for text in [
        "",
        "[]",
        "{}",
        r#"{"keys":[],"keys":[]}"#,
        r#"{"keys":[],"more":1}"#,
        r#"{"keys":[{"kty":"oct","kty":"oct"}]}"#,
    ] {
        assert!(matches!(KeySet::from_jwk_set(text), Err(KeySetError::Malformed(_))), "{text}");
    }
}

#[test]
fn sets_are_equal_when_they_have_the_same_keys_and_the_same_are_active() {
    let set = |eddsa: &str, es256: &str, refresh: &str| {
        let keys = [jwk("EdDSA", eddsa), jwk("ES256", es256), jwk(refresh, "active")];
        key_set(&keys).unwrap()
    };
    let one = set("active", "retired", "refresh");
    assert_eq!(one, set("active", "retired", "refresh"));
    assert_eq!(one, set("active", "next", "refresh"), "both verify, and neither signs");
    assert_ne!(one, set("retired", "active", "refresh"));
    assert_ne!(one, set("active", "retired", "refresh_2"));
    assert_ne!(one, key_set(&[jwk("EdDSA", "active"), jwk("refresh", "active")]).unwrap());
}
