//! What stands in a header or in the claims, row by row: what is changed, and how it must be refused. Every token here has
//! a good signature.

use super::AccessTokenError::{Expired, Invalid, Malformed};
use super::*;

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
