//! Tokens, good and forged, made from their descriptions in `tokens.yaml` and `values.yaml`.
//!
//! | member | meaning |
//! |---|---|
//! | `key` | whose `kid` and `alg` the header begins with: EdDSA (the default), ES256, RS256 or HS256 |
//! | `header`, `claims` | members that are changed; `{absent}` takes one out, `=now+60` is a time |
//! | `header_text`, `claims_text` | the JSON itself; `{header}` and `{claims}` are the good ones without the last brace |
//! | `sign` | `real` (the default; EdDSA and HS256 only), `stranger`, `kept` (of the good token), `hmac_of_public` (text, bytes or PEM), or else the third part itself |
//! | `shape` | where the parts go; by default `{h}.{c}.{s}` |

use std::path::Path;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// What tokens are made with: the proxy's own keys and one good token.
pub struct Forge {
    keys: Vec<Value>,
    good: String,
    claims: Value,
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Forge {
    /// With the keys in this file, and a token that is good.
    pub fn open(keys_file: &Path, good: &str) -> Forge {
        let text = std::fs::read(keys_file).expect("the key file is there");
        let set: Value = serde_json::from_slice(&text).expect("it is a JWK set");
        let keys = set["keys"].as_array().expect("it has keys").clone();
        let claims = URL_SAFE_NO_PAD.decode(good.split('.').nth(1).expect("three parts")).expect("base64url");
        Forge { keys, good: good.to_owned(), claims: serde_json::from_slice(&claims).expect("JSON") }
    }

    /// The token of this description.
    pub fn token(&self, description: &Value) -> String {
        let key = self.key(description["key"].as_str().unwrap_or("EdDSA"));
        let mut header = json!({ "typ": "at+jwt", "alg": key["alg"], "kid": key["kid"] });
        let mut claims = self.claims.clone();
        self.patch(&mut header, &description["header"]);
        self.patch(&mut claims, &description["claims"]);
        let own_text = |member: &str, value: &Value, mark: &str| match description[member].as_str() {
            Some(text) => {
                let json = value.to_string();
                repeated(&text.replace(mark, &json[..json.len() - 1]))
            }
            None => value.to_string(),
        };
        let h = encode(own_text("header_text", &header, "{header}"));
        let c = encode(own_text("claims_text", &claims, "{claims}"));
        let signed = format!("{h}.{c}");
        let signature = match description["sign"].as_str().unwrap_or("real") {
            "real" => self.real(key, &signed),
            "stranger" => encode(Ed25519KeyPair::generate().expect("randomness").sign(signed.as_bytes())),
            "kept" => self.good.rsplit('.').next().unwrap_or_default().to_owned(),
            how if how.starts_with("hmac_of_public") => {
                encode(sign(&Key::new(HMAC_SHA256, &self.public(key, how)), signed.as_bytes()))
            }
            text => repeated(text),
        };
        let shape = description["shape"].as_str().unwrap_or("{h}.{c}.{s}");
        repeated(shape).replace("{h}", &h).replace("{c}", &c).replace("{s}", &signature).replace("{good}", &self.good)
    }

    /// The good token with one character changed, for every place and each of some characters.
    pub fn bent(&self) -> Vec<String> {
        let mut bent = Vec::new();
        for (place, own) in self.good.char_indices() {
            let near = [(own as u8 ^ 1) as char, (own as u8 ^ 0x20) as char, 'A', '.'];
            for other in near
                .into_iter()
                .filter(|other| *other != own && (other.is_ascii_alphanumeric() || "-_.".contains(*other)))
            {
                bent.push(format!("{}{other}{}", &self.good[..place], &self.good[place + 1..]));
            }
        }
        bent.dedup();
        bent
    }

    fn key(&self, algorithm: &str) -> &Value {
        let found = self.keys.iter().find(|key| key["use"] == "sig" && key["alg"] == algorithm);
        found.unwrap_or_else(|| panic!("there is a key for {algorithm}"))
    }

    fn real(&self, key: &Value, signed: &str) -> String {
        let member = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().expect("a member")).expect("base64url");
        match key["alg"].as_str() {
            Some("EdDSA") => {
                let key = Ed25519KeyPair::from_seed_and_public_key(&member("d"), &member("x")).expect("an Ed25519 key");
                encode(key.sign(signed.as_bytes()))
            }
            Some("HS256") => encode(sign(&Key::new(HMAC_SHA256, &member("k")), signed.as_bytes())),
            other => panic!("tokens are not signed with {other:?} here"),
        }
    }

    /// What everybody knows of a key, as somebody could take it for a secret.
    fn public(&self, key: &Value, how: &str) -> Vec<u8> {
        let text = key["n"].as_str().or(key["x"].as_str()).unwrap_or_default();
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        match how {
            "hmac_of_public text" => text.as_bytes().to_vec(),
            "hmac_of_public bytes" => bytes,
            "hmac_of_public PEM" => {
                let lines = STANDARD.encode(&bytes);
                format!("-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n").into_bytes()
            }
            "hmac_of_public JWK" => json!({ "kty": key["kty"], "n": key["n"], "x": key["x"] }).to_string().into_bytes(),
            "hmac_of_public kid" => key["kid"].as_str().unwrap_or_default().as_bytes().to_vec(),
            "hmac_of_public nothing" => Vec::new(),
            other => panic!("{other} is not known"),
        }
    }

    fn patch(&self, object: &mut Value, patch: &Value) {
        for (name, value) in patch.as_object().into_iter().flatten() {
            match value {
                Value::String(text) if text == "{absent}" => {
                    drop(object.as_object_mut().expect("an object").remove(name))
                }
                other => object[name] = typed(other),
            }
        }
    }
}

/// `=now+60` is a number; `{long:N}` many characters, in lists too.
fn typed(value: &Value) -> Value {
    match value {
        Value::String(text) => match text.strip_prefix("=now") {
            Some(offset) => json!(now_s() + offset.parse::<i64>().unwrap_or(0)),
            None => Value::String(repeated(text)),
        },
        Value::Array(items) => items.iter().map(typed).collect(),
        other => other.clone(),
    }
}

/// Seconds since the epoch.
#[allow(clippy::disallowed_methods, reason = "tokens hold the time of day")]
pub fn now_s() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

/// `{long:N}` is that many `x`; `{nest:N:[}` that many of what stands after.
fn repeated(text: &str) -> String {
    let mut text = text.to_owned();
    for (mark, default) in [("{long:", "x"), ("{nest:", "[")] {
        while let Some(at) = text.find(mark) {
            let end = at + text[at..].find('}').expect("it is closed");
            let inside = text[at + mark.len()..end].to_owned();
            let (count, what) = inside.split_once(':').unwrap_or((&inside, default));
            let count: usize = count.parse().expect("a number");
            text.replace_range(at..=end, &what.repeat(count));
        }
    }
    text
}
