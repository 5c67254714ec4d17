//! From the members of a JWK to a key that can be used: every member is judged here, once, on load.
//!
//! What must never happen in here: a key of one algorithm becomes usable with another; the private and the public
//! half of a key do not belong together.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

use super::der;
use super::jwk::{Algorithm, KeyUse, PrivateJwk, SecretMember};

/// The shortest secret of an `oct` key, in bytes: as long as the hash (RFC 7518 section 3.2).
const SECRET_BYTES_MIN: usize = 32;

/// A key, ready for use.
pub(super) enum Material {
    Signing {
        algorithm: Algorithm,
        encoding: EncodingKey,
        verifying: VerifyingKey,
        /// The members that everybody may know (`kty` and the numbers); none for HMAC.
        public: Option<Value>,
    },
    Mac(Box<hmac::Key>),
}

/// The half that verifies, parsed once: who meets a token for the first time pays for its signature, and not for the key.
pub(super) enum VerifyingKey {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl VerifyingKey {
    /// Is `signature` one of `message` by this key, under the one algorithm that it is for?
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            VerifyingKey::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            VerifyingKey::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

/// A judged key and its thumbprint (RFC 7638), which is its `kid`.
pub(super) struct Judged {
    pub material: Material,
    pub thumbprint: [u8; 32],
}

/// What is wrong with a key, and what to write instead.
pub(super) type Fault = String;

impl PrivateJwk {
    /// Judges every member.
    pub(super) fn judge(&self) -> Result<Judged, Fault> {
        match (self.r#use, self.alg) {
            (KeyUse::Refresh, None | Some(Algorithm::Hs256)) => {
                let (secret, thumbprint) = self.secret()?;
                Ok(Judged { material: Material::Mac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &secret))), thumbprint })
            }
            (KeyUse::Refresh, Some(_)) => Err(r#"a key with "use":"refresh" has no "alg", or "HS256""#.to_owned()),
            (KeyUse::Sig, None) => Err(r#""alg" is missing: write EdDSA, ES256, RS256 or HS256"#.to_owned()),
            (KeyUse::Sig, Some(Algorithm::EdDsa)) => self.ed25519(),
            (KeyUse::Sig, Some(Algorithm::Es256)) => self.p256(),
            (KeyUse::Sig, Some(Algorithm::Rs256)) => self.rsa(),
            (KeyUse::Sig, Some(Algorithm::Hs256)) => {
                let (secret, thumbprint) = self.secret()?;
                let encoding = EncodingKey::from_secret(&secret);
                let verifying = VerifyingKey::Secret(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &secret)));
                let material = Material::Signing { algorithm: Algorithm::Hs256, encoding, verifying, public: None };
                Ok(Judged { material, thumbprint })
            }
        }
    }

    fn ed25519(&self) -> Result<Judged, Fault> {
        self.expect("kty", Some(&self.kty), "OKP")?;
        self.expect("crv", self.crv.as_deref(), "Ed25519")?;
        let (x_text, x) = public("x", self.x.as_ref())?;
        let pair = Ed25519KeyPair::from_seed_and_public_key(&private("d", self.d.as_ref())?, &x)
            .map_err(|_| halves_differ("d", "x"))?;
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| unusable())?;
        Ok(asymmetric(
            Algorithm::EdDsa,
            EncodingKey::from_ed_der(pkcs8.as_ref()),
            ParsedPublicKey::new(&ED25519, &x).map_err(|_| unusable())?,
            json!({ "crv": "Ed25519", "kty": "OKP", "x": x_text }),
        ))
    }

    fn p256(&self) -> Result<Judged, Fault> {
        self.expect("kty", Some(&self.kty), "EC")?;
        self.expect("crv", self.crv.as_deref(), "P-256")?;
        let (x_text, x) = public("x", self.x.as_ref())?;
        let (y_text, y) = public("y", self.y.as_ref())?;
        if x.len() != 32 || y.len() != 32 {
            return Err(r#""x" and "y" must be 32 bytes each"#.to_owned());
        }
        let point = [&[4], &x[..], &y[..]].concat();
        let d = private("d", self.d.as_ref())?;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &d, &point)
            .map_err(|_| halves_differ("d", "x, y"))?;
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| unusable())?;
        Ok(asymmetric(
            Algorithm::Es256,
            EncodingKey::from_ec_der(pkcs8.as_ref()),
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).map_err(|_| unusable())?,
            json!({ "crv": "P-256", "kty": "EC", "x": x_text, "y": y_text }),
        ))
    }

    fn rsa(&self) -> Result<Judged, Fault> {
        self.expect("kty", Some(&self.kty), "RSA")?;
        let (n_text, n) = public("n", self.n.as_ref())?;
        let (e_text, e) = public("e", self.e.as_ref())?;
        if n.first() == Some(&0) || e.first() == Some(&0) {
            // RFC 7518 section 6.3.1.1; otherwise one key would have two thumbprints.
            return Err(r#""n" and "e" must be written without leading zero bytes"#.to_owned());
        }
        let pair = RsaKeyPair::from_components(&KeyPairComponents {
            public_key: PublicKeyComponents { n: &n[..], e: &e[..] },
            d: &private("d", self.d.as_ref())?[..],
            p: &private("p", self.p.as_ref())?[..],
            q: &private("q", self.q.as_ref())?[..],
            dP: &private("dp", self.dp.as_ref())?[..],
            dQ: &private("dq", self.dq.as_ref())?[..],
            qInv: &private("qi", self.qi.as_ref())?[..],
        })
        .map_err(|_| "the numbers are not those of one RSA key of 2048 to 8192 bits".to_owned())?;
        let pkcs8: Pkcs8V1Der<'static> = pair.as_der().map_err(|_| unusable())?;
        let pkcs1 = der::rsa_private_key(pkcs8.as_ref()).ok_or_else(unusable)?;
        let public_key = RsaPublicKeyComponents { n: &n, e: &e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
        Ok(asymmetric(
            Algorithm::Rs256,
            EncodingKey::from_rsa_der(pkcs1),
            public_key.map_err(|_| unusable())?,
            json!({ "e": e_text, "kty": "RSA", "n": n_text }),
        ))
    }

    /// The secret of an `oct` key, and its thumbprint.
    fn secret(&self) -> Result<(Vec<u8>, [u8; 32]), Fault> {
        self.expect("kty", Some(&self.kty), "oct")?;
        let secret = private("k", self.k.as_ref())?;
        if secret.len() < SECRET_BYTES_MIN {
            return Err(format!(r#""k" has {} bytes and must have at least {SECRET_BYTES_MIN}"#, secret.len()));
        }
        let members = json!({ "k": URL_SAFE_NO_PAD.encode(&secret), "kty": "oct" });
        Ok((secret, thumbprint(&members)))
    }

    fn expect(&self, member: &str, found: Option<&str>, expected: &str) -> Result<(), Fault> {
        if found == Some(expected) {
            return Ok(());
        }
        Err(format!(r#""{member}" must be "{expected}" for this "use" and "alg""#))
    }
}

fn asymmetric(algorithm: Algorithm, encoding: EncodingKey, public_key: ParsedPublicKey, public: Value) -> Judged {
    let thumbprint = thumbprint(&public);
    let verifying = VerifyingKey::Public(public_key);
    Judged { material: Material::Signing { algorithm, encoding, verifying, public: Some(public) }, thumbprint }
}

/// RFC 7638 section 3: exactly the required members, sorted by name, without white space. The literals above are
/// written in that order, so it does not matter whether a map of `serde_json` sorts or keeps it.
fn thumbprint(members: &Value) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, members.to_string().as_bytes()).as_ref());
    bytes
}

fn public<'a>(member: &str, text: Option<&'a String>) -> Result<(&'a str, Vec<u8>), Fault> {
    let text = text.ok_or_else(|| missing(member))?;
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| not_base64url(member))?;
    Ok((text, bytes))
}

fn private(member: &str, text: Option<&SecretMember>) -> Result<Vec<u8>, Fault> {
    let text = text.ok_or_else(|| missing(member))?;
    URL_SAFE_NO_PAD.decode(text.expose()).map_err(|_| not_base64url(member))
}

fn missing(member: &str) -> Fault {
    format!(r#""{member}" is missing"#)
}

fn not_base64url(member: &str) -> Fault {
    format!(r#""{member}" is not base64url without padding"#)
}

fn halves_differ(private: &str, public: &str) -> Fault {
    format!("the private half ({private}) and the public half ({public}) do not belong together")
}

fn unusable() -> Fault {
    "the cryptographic library cannot use this key".to_owned()
}
