//! Tokens that somebody made up. Each is a row: what is changed, and how it must be refused.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, crypto};
use proptest::prelude::*;

use super::AccessTokenError::{Expired, Invalid, Malformed};
use super::*;

const CLAIMS: &str = r#"{"iss":"https://auth.example.com","aud":"apps","sub":"demo","sid":"AAAAAAAAAAAAAAAAAAAAAA","gen":0,"jti":"j","iat":1800000000,"exp":1800000900,"session_exp":1800009999}"#;

fn header(keys: &KeySet) -> String {
    let key = keys.active_signing_key();
    format!(r#"{{"typ":"at+jwt","alg":"{}","kid":"{}"}}"#, key.algorithm, key.id)
}

/// A token whose signature is good, whatever it says.
fn signed(keys: &KeySet, header: &str, claims: &str) -> String {
    let key = keys.active_signing_key();
    signed_with(&key.encoding, key.algorithm, header, claims)
}

fn signed_with(key: &EncodingKey, algorithm: Algorithm, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = crypto::sign(message.as_bytes(), key, algorithm.for_crypto()).unwrap();
    format!("{message}.{signature}")
}

fn verdict(keys: &KeySet, token: &str) -> Result<(), AccessTokenError> {
    verify_access_token(keys, &policy(), token, NOW).map(|_| ())
}

/// Every algorithm: a flaw of one verifier is not seen with another.
fn with_every_algorithm(check: impl Fn(&KeySet)) {
    Algorithm::ALL.into_iter().for_each(|algorithm| check(&keys_for(algorithm)));
}

#[test]
fn the_rows_below_differ_from_a_good_token() {
    with_every_algorithm(|keys| assert_eq!(verdict(keys, &signed(keys, &header(keys), CLAIMS)), Ok(())));
}

/// Headers with a good signature. `KID` and `ALG` stand for what would be right.
#[test]
fn headers() {
    // What is ignored is skipped without recursion: depth costs no stack.
    let nested = format!("{}1{}", "[".repeat(2000), "]".repeat(2000));
    let deep = format!(r#"{{"typ":"at+jwt","alg":"ALG","kid":"KID","x":{nested}}}"#);
    let deep_crit = format!(r#"{{"typ":"at+jwt","alg":"ALG","kid":"KID","crit":{nested}}}"#);
    let deep_kid = format!(r#"{{"typ":"at+jwt","alg":"ALG","kid":{nested}}}"#);
    let unclosed = format!(r#"{{"typ":"at+jwt","alg":"ALG","kid":"KID","x":{}"#, "[".repeat(4000));
    let rows: &[(&str, Result<(), AccessTokenError>)] = &[
        // The right type in its other spellings (RFC 7515 section 4.1.9).
        (r#"{"typ":"AT+JWT","alg":"ALG","kid":"KID"}"#, Ok(())),
        (r#"{"typ":"application/at+jwt","alg":"ALG","kid":"KID"}"#, Ok(())),
        (r#"{"typ":"at+jwt","alg":"ALG","kid":"KID","unknown":[{"a":null}]}"#, Ok(())),
        // Something else in place of an access token.
        (r#"{"typ":"JWT","alg":"ALG","kid":"KID"}"#, Err(Invalid)),
        (r#"{"typ":"logout+jwt","alg":"ALG","kid":"KID"}"#, Err(Invalid)),
        (r#"{"typ":"refresh+jwt","alg":"ALG","kid":"KID"}"#, Err(Invalid)),
        (r#"{"typ":"text/at+jwt","alg":"ALG","kid":"KID"}"#, Err(Invalid)),
        (r#"{"typ":"","alg":"ALG","kid":"KID"}"#, Err(Invalid)),
        (r#"{"alg":"ALG","kid":"KID"}"#, Err(Invalid)),
        // The algorithm is the key's.
        (r#"{"typ":"at+jwt","alg":"none","kid":"KID"}"#, Err(Invalid)),
        (r#"{"typ":"at+jwt","alg":"None","kid":"KID"}"#, Err(Invalid)),
        (r#"{"typ":"at+jwt","alg":"","kid":"KID"}"#, Err(Invalid)),
        (r#"{"typ":"at+jwt","alg":"HS384","kid":"KID"}"#, Err(Invalid)),
        (r#"{"typ":"at+jwt","alg":"PS256","kid":"KID"}"#, Err(Invalid)),
        (r#"{"typ":"at+jwt","alg":"ALG ","kid":"KID"}"#, Err(Invalid)),
        (r#"{"typ":"at+jwt","kid":"KID"}"#, Err(Malformed)),
        (r#"{"typ":"at+jwt","alg":null,"kid":"KID"}"#, Err(Malformed)),
        (r#"{"typ":"at+jwt","alg":["ALG"],"kid":"KID"}"#, Err(Malformed)),
        // The key is one of ours.
        (r#"{"typ":"at+jwt","alg":"ALG"}"#, Err(Invalid)),
        (r#"{"typ":"at+jwt","alg":"ALG","kid":""}"#, Err(Invalid)),
        (r#"{"typ":"at+jwt","alg":"ALG","kid":"../../dev/null"}"#, Err(Invalid)),
        (r#"{"typ":"at+jwt","alg":"ALG","kid":"KID "}"#, Err(Invalid)),
        (r#"{"typ":"at+jwt","alg":"ALG","kid":0}"#, Err(Malformed)),
        // What we do not do, even where it would change nothing.
        (r#"{"typ":"at+jwt","alg":"ALG","kid":"KID","crit":["exp"]}"#, Err(Invalid)),
        (r#"{"typ":"at+jwt","alg":"ALG","kid":"KID","crit":[]}"#, Err(Invalid)),
        (r#"{"typ":"at+jwt","alg":"ALG","kid":"KID","crit":null}"#, Err(Invalid)),
        (r#"{"typ":"at+jwt","alg":"ALG","kid":"KID","b64":false,"crit":["b64"]}"#, Err(Invalid)),
        (r#"{"typ":"at+jwt","alg":"ALG","kid":"KID","b64":false}"#, Err(Invalid)),
        (r#"{"typ":"at+jwt","alg":"ALG","kid":"KID","b64":true}"#, Err(Invalid)),
        (r#"{"typ":"at+jwt","alg":"ALG","kid":"KID","jku":"https://evil.example/jwks"}"#, Err(Invalid)),
        (r#"{"typ":"at+jwt","alg":"ALG","kid":"KID","jwk":{"kty":"oct","k":"AA"}}"#, Err(Invalid)),
        (r#"{"typ":"at+jwt","alg":"ALG","kid":"KID","x5u":"https://evil.example/cert"}"#, Err(Invalid)),
        (r#"{"typ":"at+jwt","alg":"ALG","kid":"KID","x5c":["AA"]}"#, Err(Invalid)),
        (r#"{"typ":"at+jwt","alg":"ALG","kid":"KID","\u0063rit":[]}"#, Err(Invalid)),
        // Two readings.
        (r#"{"typ":"at+jwt","alg":"none","alg":"ALG","kid":"KID"}"#, Err(Malformed)),
        (r#"{"typ":"at+jwt","alg":"ALG","kid":"KID","kid":"KID"}"#, Err(Malformed)),
        (r#"{"typ":"JWT","typ":"at+jwt","alg":"ALG","kid":"KID"}"#, Err(Malformed)),
        (r#"{"typ":"at+jwt","alg":"ALG","\u0061lg":"ALG","kid":"KID"}"#, Err(Malformed)),
        (r#"{"typ":"at+jwt","alg":"ALG","kid":"KID"}{}"#, Err(Malformed)),
        // Not a header.
        (r#"["at+jwt","ALG","KID"]"#, Err(Malformed)),
        (r#""at+jwt""#, Err(Malformed)),
        ("null", Err(Malformed)),
        ("", Err(Malformed)),
        ("{", Err(Malformed)),
        ("\u{feff}{}", Err(Malformed)),
        (&deep, Ok(())),
        (&deep_crit, Err(Invalid)),
        (&deep_kid, Err(Malformed)),
        (&unclosed, Err(Malformed)),
    ];
    with_every_algorithm(|keys| {
        let key = keys.active_signing_key();
        for (row, expected) in rows {
            let header = row.replace("ALG", key.algorithm.as_str()).replace("KID", &key.id.0);
            assert_eq!(verdict(keys, &signed(keys, &header, CLAIMS)), *expected, "{} {row:.200}", key.algorithm);
        }
    });
}

/// Claims with a good signature: what stands there is replaced in an otherwise good token.
#[test]
fn claims() {
    let nested = format!("{}1{}", "[".repeat(2000), "]".repeat(2000));
    let deep = format!(r#""jti":"j","x":{nested}"#);
    let deep_subject = format!(r#""sub":{nested}"#);
    let long = format!(r#""sub":"{}""#, "x".repeat(1025));
    let rows: &[(&str, &str, Result<(), AccessTokenError>)] = &[
        // Fine, and ignored.
        (r#""jti":"j""#, r#""jti":"j","cnf":{"jkt":[1,{"a":2}]},"auth_time":"soon""#, Ok(())),
        (r#""jti":"j""#, r#""jti":"j","nbf":1800000000"#, Ok(())),
        (r#""jti":"j""#, r#""jti":"j","roles":[],"scope":"""#, Ok(())),
        (r#""gen":0"#, r#""gen":4294967295"#, Ok(())),
        (r#""jti":"j""#, &deep, Ok(())),
        // In order but for its age.
        (r#""iat":1800000000,"exp":1800000900"#, r#""iat":1799990000,"exp":1799990900"#, Err(Expired)),
        (r#""iat":1800000000,"exp":1800000900"#, r#""iat":0,"exp":0"#, Err(Expired)),
        // Old, and not in order: nobody is told that it was once good.
        (r#""apps","sub":"demo""#, r#""other","sub":"demo","exp":1"#, Err(Invalid)),
        // Times.
        (r#""exp":1800000900"#, r#""exp":1800000901"#, Err(Invalid)),
        (r#""exp":1800000900"#, r#""exp":18446744073709551615"#, Err(Invalid)),
        (r#""exp":1800000900"#, r#""exp":18446744073709551616"#, Err(Invalid)),
        (r#""exp":1800000900"#, r#""exp":"1800000900""#, Err(Invalid)),
        (r#""exp":1800000900"#, r#""exp":1800000900.5"#, Err(Invalid)),
        (r#""exp":1800000900"#, r#""exp":1.8000009e9"#, Err(Invalid)),
        (r#""exp":1800000900"#, r#""exp":1e400"#, Err(Invalid)),
        (r#""exp":1800000900"#, r#""exp":NaN"#, Err(Invalid)),
        (r#""exp":1800000900"#, r#""exp":-1"#, Err(Invalid)),
        (r#""exp":1800000900"#, r#""exp":null"#, Err(Invalid)),
        (r#""exp":1800000900"#, r#""exp":true"#, Err(Invalid)),
        (r#""exp":1800000900"#, r#""exp":[1800000900]"#, Err(Invalid)),
        (r#""exp":1800000900,"#, "", Err(Invalid)),
        (r#""exp":1800000900"#, r#""exp":1799999999"#, Err(Invalid)),
        (r#""iat":1800000000"#, r#""iat":1800000006"#, Err(Invalid)),
        (r#""iat":1800000000"#, r#""iat":"1800000000""#, Err(Invalid)),
        (r#""iat":1800000000,"#, "", Err(Invalid)),
        (r#""jti":"j""#, r#""jti":"j","nbf":1800000006"#, Err(Invalid)),
        (r#""jti":"j""#, r#""jti":"j","nbf":18446744073709551615"#, Err(Invalid)),
        (r#""jti":"j""#, r#""jti":"j","nbf":"0""#, Err(Invalid)),
        (r#""jti":"j""#, r#""jti":"j","nbf":null"#, Err(Invalid)),
        (r#""session_exp":1800009999"#, r#""session_exp":"never""#, Err(Invalid)),
        (r#","session_exp":1800009999"#, "", Err(Invalid)),
        // Issuer and audience.
        (r#""iss":"https://auth.example.com""#, r#""iss":["https://auth.example.com"]"#, Err(Invalid)),
        (r#""iss":"https://auth.example.com""#, r#""iss":"https://auth.example.com/""#, Err(Invalid)),
        (r#""iss":"https://auth.example.com""#, r#""iss":null"#, Err(Invalid)),
        (r#""iss":"https://auth.example.com","#, "", Err(Invalid)),
        (r#""aud":"apps""#, r#""aud":["apps"]"#, Err(Invalid)),
        (r#""aud":"apps""#, r#""aud":["other","apps"]"#, Err(Invalid)),
        (r#""aud":"apps""#, r#""aud":"other""#, Err(Invalid)),
        (r#""aud":"apps""#, r#""aud":"""#, Err(Invalid)),
        (r#""aud":"apps","#, "", Err(Invalid)),
        // Whom it speaks for.
        (r#""sub":"demo""#, r#""sub":"""#, Err(Invalid)),
        (r#""sub":"demo""#, r#""sub":1"#, Err(Invalid)),
        (r#""sub":"demo""#, r#""sub":["demo"]"#, Err(Invalid)),
        (r#""sub":"demo""#, r#""sub":{"$ne":""}"#, Err(Invalid)),
        (r#""sub":"demo""#, r#""sub":"\ud800""#, Err(Invalid)),
        (r#""sub":"demo""#, &long, Err(Invalid)),
        (r#""sub":"demo","#, "", Err(Invalid)),
        (r#""sid":"AAAAAAAAAAAAAAAAAAAAAA""#, r#""sid":"AAAAAAAAAAAAAAAAAAAAAB""#, Err(Invalid)),
        (r#""sid":"AAAAAAAAAAAAAAAAAAAAAA""#, r#""sid":"""#, Err(Invalid)),
        (r#""sid":"AAAAAAAAAAAAAAAAAAAAAA","#, "", Err(Invalid)),
        (r#""gen":0"#, r#""gen":-1"#, Err(Invalid)),
        (r#""gen":0"#, r#""gen":4294967296"#, Err(Invalid)),
        (r#""gen":0"#, r#""gen":"0""#, Err(Invalid)),
        (r#""gen":0,"#, "", Err(Invalid)),
        (r#""jti":"j","#, "", Err(Invalid)),
        (r#""jti":"j""#, r#""jti":7"#, Err(Invalid)),
        (r#""jti":"j""#, r#""jti":"j","roles":"admin""#, Err(Invalid)),
        (r#""jti":"j""#, r#""jti":"j","roles":["admin",1]"#, Err(Invalid)),
        (r#""jti":"j""#, r#""jti":"j","roles":null"#, Err(Invalid)),
        (r#""jti":"j""#, r#""jti":"j","scope":["a"]"#, Err(Invalid)),
        (r#""jti":"j""#, r#""jti":"j","scope":null"#, Err(Invalid)),
        // Two readings.
        (r#""sub":"demo""#, r#""sub":"root","sub":"demo""#, Err(Invalid)),
        (r#""sub":"demo""#, r#""sub":"root","\u0073ub":"demo""#, Err(Invalid)),
        (r#""exp":1800000900"#, r#""exp":1,"exp":1800000900"#, Err(Invalid)),
        (r#""jti":"j""#, r#""jti":"j","nbf":0,"nbf":0"#, Err(Invalid)),
        (r#""jti":"j""#, r#""jti":"j","roles":[],"roles":["admin"]"#, Err(Invalid)),
        ("{", "[{", Err(Malformed)),
        ("}", "}{}", Err(Invalid)),
        (r#""sub":"demo""#, &deep_subject, Err(Invalid)),
    ];
    let keys = keys_for(Algorithm::EdDsa);
    for (original, forged, expected) in rows {
        let claims = CLAIMS.replacen(original, forged, 1);
        assert_ne!(claims, CLAIMS, "{original} is not there");
        assert_eq!(verdict(&keys, &signed(&keys, &header(&keys), &claims)), *expected, "{forged:.200}");
    }
    for claims in ["", "null", "[]", "0", "{}", "\"x\"", "\u{feff}{}"] {
        assert_ne!(verdict(&keys, &signed(&keys, &header(&keys), claims)), Ok(()), "{claims:?}");
    }
}

/// Texts that say what a good token says, spelled in another way.
#[test]
fn spellings() {
    with_every_algorithm(|keys| {
        let good = signed(keys, &header(keys), CLAIMS);
        let (head, claims, signature) = parts(&good);
        let other = |decoded: &str| STANDARD.encode(URL_SAFE_NO_PAD.decode(decoded).unwrap());
        let padded = |decoded: &str| URL_SAFE.encode(URL_SAFE_NO_PAD.decode(decoded).unwrap());
        let rows = [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            "...".to_owned(),
            head.to_owned(),
            format!("{head}.{claims}"),
            format!("{head}.{claims}."),
            format!("{head}..{signature}"),
            format!(".{claims}.{signature}"),
            format!("{good}."),
            format!(".{good}"),
            format!("{good}.{signature}"),
            // Encrypted (RFC 7516): five parts.
            format!("{good}.{claims}.{signature}"),
            format!("{head}..{claims}.{claims}.{signature}"),
            format!("{good} "),
            format!(" {good}"),
            format!("{good}\n"),
            format!("{good}="),
            format!("{head}.{claims}=.{signature}"),
            format!("{head}.{claims}.{signature}\0"),
            format!("{head}.{claims}.ü{signature}"),
            good.replace('.', ","),
            good.replace('.', "%2e"),
            // A JWS in its JSON form (RFC 7515 section 7.2).
            json!({ "protected": head, "payload": claims, "signature": signature }).to_string(),
            "a".repeat(ACCESS_TOKEN_BYTES_MAX + 1),
            format!("{good}{}", "A".repeat(ACCESS_TOKEN_BYTES_MAX)),
            ".".repeat(1_000_000),
        ];
        for row in &rows {
            assert_eq!(verdict(keys, row), Err(Malformed), "{row:.200}");
        }
        for part in [head, claims, signature] {
            for spelled in [other(part), padded(part), part.to_lowercase(), part[..part.len() - 1].to_owned()] {
                if spelled != part {
                    let forged = good.replace(part, &spelled);
                    assert!(verdict(keys, &forged).is_err(), "{forged}");
                }
            }
        }
    });
}

/// A part whose length is not a multiple of four has unused bits at its end: only zeros are accepted there, or one token
/// would have several texts.
#[test]
fn trailing_bits() {
    with_every_algorithm(|keys| {
        let good = signed(keys, &header(keys), CLAIMS);
        let (.., signature) = parts(&good);
        let decoded = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let mut alternatives = 0;
        for last in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
            let text = format!("{}{}", &signature[..signature.len() - 1], char::from(*last));
            if text != signature && lenient(&text) == decoded {
                alternatives += 1;
                let forged = good.replace(signature, &text);
                assert_eq!(verdict(keys, &forged), Err(Malformed));
            }
        }
        // 64 bytes, 256 bytes and 32 bytes leave 4, 4 and 2 bits.
        let expected = if decoded.len() == 32 { 3 } else { 15 };
        assert_eq!(alternatives, expected, "the forgeries were not made");
    });
}

fn lenient(text: &str) -> Vec<u8> {
    use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&base64::alphabet::URL_SAFE, config).decode(text).unwrap()
}

fn parts(token: &str) -> (&str, &str, &str) {
    let mut parts = token.split('.');
    (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
}

/// The public half of a key, in every form that somebody might use as a secret, signs nothing.
#[test]
fn a_public_key_is_not_a_secret() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256] {
        let keys = keys_for(algorithm);
        let public = keys.public_jwk_set()["keys"][0].clone();
        let member = |name: &str| URL_SAFE_NO_PAD.decode(public[name].as_str().unwrap_or_default()).unwrap();
        let secrets = [
            public.to_string().into_bytes(),
            member("x"),
            [vec![4], member("x"), member("y")].concat(),
            member("n"),
            public["n"].as_str().unwrap_or_default().as_bytes().to_vec(),
            keys.signing_key_id().0.as_bytes().to_vec(),
            Vec::new(),
        ];
        for secret in secrets {
            let secret = EncodingKey::from_secret(&secret);
            let honest = header(&keys);
            let confused = honest.replace(algorithm.as_str(), "HS256");
            for header in [honest, confused] {
                let forged = signed_with(&secret, Algorithm::Hs256, &header, CLAIMS);
                assert_eq!(verdict(&keys, &forged), Err(Invalid), "{algorithm} {header}");
            }
        }
    }
}

/// A key of ours vouches for its own algorithm only, also when the set has another key for the one that is claimed.
#[test]
fn one_key_does_not_vouch_for_another() {
    let all = |active: Algorithm| {
        let status = |algorithm| if algorithm == active { "active" } else { "retired" };
        let mut jwks = vec![jwk("refresh", "active")];
        jwks.extend(Algorithm::ALL.map(|algorithm| jwk(algorithm.as_str(), status(algorithm))));
        key_set(&jwks).unwrap()
    };
    for signs in Algorithm::ALL {
        for claimed in Algorithm::ALL.into_iter().filter(|claimed| *claimed != signs) {
            let (signer, named) = (all(signs), all(claimed));
            assert_eq!(verdict(&named, &signed(&signer, &header(&signer), CLAIMS)), Ok(()));
            assert_eq!(verdict(&named, &signed(&signer, &header(&named), CLAIMS)), Err(Invalid));
        }
    }
}

/// Signatures that some library once took: zeros (CVE-2022-21449), nothing, and a little too much.
#[test]
fn signatures() {
    with_every_algorithm(|keys| {
        let good = signed(keys, &header(keys), CLAIMS);
        let (.., signature) = parts(&good);
        let decoded = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let order = b"\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51";
        let rows = [
            vec![0; decoded.len()],
            vec![0],
            vec![0xff; decoded.len()],
            order.repeat(2),
            [&[0; 32][..], order].concat(),
            // An ECDSA signature in DER, r = s = 0.
            vec![0x30, 6, 2, 1, 0, 2, 1, 0],
            [&decoded[..], &[0]].concat(),
            [&[0], &decoded[..]].concat(),
            decoded[1..].to_vec(),
            decoded[..decoded.len() - 1].to_vec(),
            decoded.iter().rev().copied().collect(),
        ];
        for row in rows {
            let forged = good.replace(signature, &URL_SAFE_NO_PAD.encode(&row));
            assert_eq!(verdict(keys, &forged), Err(Invalid), "{row:?}");
        }
    });
}

#[test]
fn a_refresh_token_is_not_an_access_token_nor_the_other_way_round() {
    with_every_algorithm(|keys| {
        let refresh = RefreshToken::of(&session(keys)).encode(keys).unwrap();
        assert_eq!(verdict(keys, &refresh), Err(Malformed));
        let access = issue(keys, &session(keys), NOW).unwrap();
        assert_eq!(RefreshToken::verify(keys, &access, NOW), Err(RefreshTokenError::Malformed));

        // Not even as the key of one.
        let mac = jwk("refresh", "active")["k"].as_str().unwrap().to_owned();
        let mac = EncodingKey::from_secret(&URL_SAFE_NO_PAD.decode(mac).unwrap());
        let header = format!(r#"{{"typ":"at+jwt","alg":"HS256","kid":"{}"}}"#, keys.mac_key_id());
        assert_eq!(verdict(keys, &signed_with(&mac, Algorithm::Hs256, &header, CLAIMS)), Err(Invalid));
        assert!(!keys.names_key_of_ours(&signed_with(&mac, Algorithm::Hs256, &header, CLAIMS)));
    });
}

#[test]
fn every_character_counts() {
    with_every_algorithm(|keys| {
        let good = signed(keys, &header(keys), CLAIMS);
        for place in 0..good.len() {
            let mut forged = good.clone().into_bytes();
            forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert!(verdict(keys, &forged).is_err(), "{place}");
            assert!(verdict(keys, &good[..place]).is_err(), "{place}");
        }
    });
}

#[test]
fn our_own_token_is_told_from_the_apps() {
    with_every_algorithm(|keys| {
        let ours = signed(keys, &header(keys), CLAIMS);
        assert!(keys.names_key_of_ours(&ours));
        let (head, claims, _) = parts(&ours);
        assert!(keys.names_key_of_ours(&format!("{head}.{claims}.AAAA")), "it is a look, not a proof");
        let other = header(keys).replace(&*keys.signing_key_id().0, "other");
        for foreign in [
            signed(keys, &other, CLAIMS),
            signed(keys, r#"{"alg":"HS256"}"#, CLAIMS),
            String::new(),
            "dXNlcjpwYXNz".to_owned(),
            head.to_owned(),
            format!("{ours}.x.y"),
            format!("{ours}{}", "A".repeat(ACCESS_TOKEN_BYTES_MAX)),
        ] {
            assert!(!keys.names_key_of_ours(&foreign), "{foreign:.100}");
        }
    });
}

proptest! {
    /// Whatever is sent, the answer is no, and it is an answer.
    #[test]
    fn junk(text in r"\PC{0,200}", head in ".{0,60}", body in ".{0,60}", tail in proptest::collection::vec(any::<u8>(), 0..80)) {
        let keys = keys_for(Algorithm::EdDsa);
        let [head, body, tail] = [head.as_bytes(), body.as_bytes(), &tail].map(|part| URL_SAFE_NO_PAD.encode(part));
        for token in [text, format!("{head}.{body}.{tail}"), format!("{}.{body}.{tail}", URL_SAFE_NO_PAD.encode(header(&keys)))] {
            prop_assert!(verdict(&keys, &token).is_err());
            keys.names_key_of_ours(&token);
            prop_assert!(RefreshToken::verify(&keys, &token, NOW).is_err());
        }
    }
}
