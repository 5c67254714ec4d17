//! Tokens that somebody made up: other spellings, other keys, other signatures, other kinds of tokens.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use proptest::prelude::*;

use super::AccessTokenError::{Invalid, Malformed};
use super::*;

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
