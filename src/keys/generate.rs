//! New keys, from the cryptographic library's source of randomness.

use aws_lc_rs::encoding::{AsBigEndian, AsDer, Pkcs8V1Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::KeysError;
use crate::time::Timestamp;
use crate::token::{Algorithm, KeyStatus, KeyUse, PrivateJwk, SecretMember, der};

/// A new key with status `active`, and its `kid`. A refresh key is always for HMAC, whatever `algorithm` says.
///
/// # Errors
/// Only if the machine gives no random bytes.
pub fn new_key(r#use: KeyUse, algorithm: Algorithm, now: Timestamp) -> Result<PrivateJwk, KeysError> {
    let made = match (r#use, algorithm) {
        (KeyUse::Refresh, _) => secret().map(|jwk| PrivateJwk { alg: None, ..jwk }),
        (KeyUse::Sig, Algorithm::Hs256) => secret(),
        (KeyUse::Sig, Algorithm::EdDsa) => ed25519(),
        (KeyUse::Sig, Algorithm::Es256) => p256(),
        (KeyUse::Sig, Algorithm::Rs256) => rsa(),
    };
    let made = made.map_err(|_| KeysError::NotMade(algorithm))?;
    let mut jwk = PrivateJwk { r#use, status: KeyStatus::Active, iat: Some(now.as_secs()), ..made };
    let id = jwk.key_id(0).map_err(|_| KeysError::NotMade(algorithm))?;
    jwk.kid = Some(id.to_string());
    Ok(jwk)
}

fn secret() -> Result<PrivateJwk, Unspecified> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes)?;
    Ok(PrivateJwk { kty: "oct".to_owned(), alg: Some(Algorithm::Hs256), k: private(&bytes), ..PrivateJwk::default() })
}

fn ed25519() -> Result<PrivateJwk, Unspecified> {
    let pair = Ed25519KeyPair::generate()?;
    Ok(PrivateJwk {
        kty: "OKP".to_owned(),
        crv: Some("Ed25519".to_owned()),
        alg: Some(Algorithm::EdDsa),
        x: public(pair.public_key().as_ref()),
        d: private(pair.seed()?.as_be_bytes()?.as_ref()),
        ..PrivateJwk::default()
    })
}

fn p256() -> Result<PrivateJwk, Unspecified> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    // An uncompressed point: a byte 4, then both coordinates (SEC 1 section 2.3.3).
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    Ok(PrivateJwk {
        kty: "EC".to_owned(),
        crv: Some("P-256".to_owned()),
        alg: Some(Algorithm::Es256),
        x: public(x),
        y: public(y),
        d: private(pair.private_key().as_be_bytes()?.as_ref()),
        ..PrivateJwk::default()
    })
}

fn rsa() -> Result<PrivateJwk, Unspecified> {
    // 112 bits of strength were good until 2030 (NIST SP 800-57 part 1): 3072 bits have 128, as the others do.
    let pair = RsaKeyPair::generate(KeySize::Rsa3072)?;
    let pkcs8: Pkcs8V1Der<'static> = pair.as_der()?;
    let numbers = der::rsa_private_key(pkcs8.as_ref()).and_then(der::rsa_numbers);
    let [n, e, d, p, q, dp, dq, qi] = numbers.ok_or(Unspecified)?;
    Ok(PrivateJwk {
        kty: "RSA".to_owned(),
        alg: Some(Algorithm::Rs256),
        n: public(n),
        e: public(e),
        d: private(d),
        p: private(p),
        q: private(q),
        dp: private(dp),
        dq: private(dq),
        qi: private(qi),
        ..PrivateJwk::default()
    })
}

fn public(bytes: &[u8]) -> Option<String> {
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

fn private(bytes: &[u8]) -> Option<SecretMember> {
    Some(URL_SAFE_NO_PAD.encode(bytes).into())
}
