//! A token that does not verify changes nothing: no store command, no log line at error level, no cache entry
//! (invariant 5).

use std::path::Path;

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::{ALICE, Answer, Browser, Cluster, EchoBackend, Setup, bearer, client, raw};

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(part: &str) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("our own tokens are base64url");
    serde_json::from_slice(&bytes).expect("our own tokens hold JSON")
}

/// A good token, taken apart, and the key that it was signed with.
struct Workshop {
    token: String,
    header: Value,
    claims: Value,
    key: Ed25519KeyPair,
}

impl Workshop {
    fn open(token: &str, keys_file: &Path) -> Workshop {
        let parts: Vec<&str> = token.split('.').collect();
        let header = decode(parts[0]);
        let keys: Value =
            serde_json::from_slice(&std::fs::read(keys_file).expect("the key file is there")).expect("it is a JWK set");
        let jwk = keys["keys"]
            .as_array()
            .expect("it has keys")
            .iter()
            .find(|key| key["kid"] == header["kid"] && key["d"].is_string());
        let jwk = jwk.expect("the key that the token names");
        let member = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().expect("a member")).expect("base64url");
        let key = Ed25519KeyPair::from_seed_and_public_key(&member("d"), &member("x")).expect("an Ed25519 key");
        Workshop { token: token.to_owned(), header, claims: decode(parts[1]), key }
    }

    /// Signs whatever it is given with the real key.
    fn sign(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        format!("{signed}.{}", encode(self.key.sign(signed.as_bytes())))
    }

    /// The good token with a header member changed, and signed with the real key.
    fn with_header(&self, member: &str, value: Value) -> String {
        let mut header = self.header.clone();
        header[member] = value;
        self.sign(header.to_string(), self.claims.to_string())
    }

    /// The good token with a claim changed, or taken out if null, and signed with the real key.
    fn with_claim(&self, claim: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        match value {
            Value::Null => drop(claims.as_object_mut().expect("an object").remove(claim)),
            value => claims[claim] = value,
        }
        self.sign(self.header.to_string(), claims.to_string())
    }

    /// Tokens that a stranger could make from a good one.
    fn forged(&self, jwks: &Value) -> Vec<String> {
        let parts: Vec<&str> = self.token.split('.').collect();
        let [header, claims, signature] = [parts[0], parts[1], parts[2]];
        let with_alg = |alg: &str, signature: &str| {
            let mut header = self.header.clone();
            header["alg"] = json!(alg);
            format!("{}.{claims}.{signature}", encode(header.to_string()))
        };
        let root = encode(self.claims.to_string().replace("\"alice\"", "\"root\""));
        let public_key = jwks["keys"][0]["x"].as_str().expect("a public key");
        let hmac_key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, public_key.as_bytes());
        let mut hs256 = self.header.clone();
        hs256["alg"] = json!("HS256");
        let to_sign = format!("{}.{root}", encode(hs256.to_string()));
        let confused = format!("{to_sign}.{}", encode(aws_lc_rs::hmac::sign(&hmac_key, to_sign.as_bytes())));
        let own_key = Ed25519KeyPair::generate().expect("randomness");
        let strangers = format!("{header}.{root}.{}", encode(own_key.sign(format!("{header}.{root}").as_bytes())));
        let mut flipped = signature.to_owned().into_bytes();
        flipped[5] = if flipped[5] == b'A' { b'B' } else { b'A' };
        // The last character carries bits that are no part of the signature.
        let last = signature.as_bytes()[signature.len() - 1];
        let sloppy = format!("{}{}", &signature[..signature.len() - 1], char::from(last + 1));
        vec![
            with_alg("none", ""),
            with_alg("None", signature),
            with_alg("HS256", signature),
            with_alg("ES256", signature),
            confused,
            strangers,
            format!("{header}.{root}.{signature}"),
            format!("{header}.{claims}.{}", String::from_utf8(flipped).expect("ASCII")),
            format!("{header}.{claims}.{sloppy}"),
            format!("{header}.{claims}.{}", encode([0; 64])),
            format!("{header}.{claims}."),
            format!("{header}.{claims}"),
            format!("{header}..{signature}"),
            format!("{header}.{claims}.{signature}."),
            format!("{header}.{claims}.{signature}="),
            format!("{header}.{claims}.{signature}.{signature}.{signature}"),
            format!("{header}=.{claims}.{signature}"),
            self.token[1..].to_owned(),
            "x".to_owned(),
            "..".to_owned(),
            "eyJ.eyJ.eyJ".to_owned(),
            "A".repeat(9_000),
            format!("{}.{}.{signature}", encode("[".repeat(2_000)), encode("{\"a\":".repeat(1_000))),
        ]
    }

    /// Tokens that hold a good signature, and are still none of ours: what a neighbour with the same key might issue.
    fn not_for_this(&self) -> Vec<String> {
        let now = self.claims["iat"].as_u64().expect("iat is a number");
        let claims = self.claims.to_string();
        let again = format!("{},\"sub\":\"root\"}}", &claims[..claims.len() - 1]);
        let mut tokens = vec![
            self.with_header("typ", json!("JWT")),
            self.with_header("typ", json!(1)),
            self.with_header("alg", json!("none")),
            self.with_header("alg", json!("HS256")),
            self.with_header("crit", json!(["exp"])),
            self.with_header("b64", json!(false)),
            self.with_header("kid", json!("nobody")),
            self.with_header("kid", json!("../../etc/passwd")),
            self.with_claim("aud", json!("somebody-else")),
            self.with_claim("aud", json!(7)),
            self.with_claim("iss", json!(["portcullis"])),
            self.with_claim("iss", json!("https://evil.example")),
            self.with_claim("exp", json!(now.to_string())),
            self.with_claim("exp", json!(-1)),
            self.with_claim("exp", json!(1e300)),
            self.with_claim("exp", json!(now - 1)),
            self.with_claim("exp", json!(now + 10 * 365 * 24 * 3600)),
            self.with_claim("iat", json!(now + 3600)),
            self.with_claim("nbf", json!(now + 3600)),
            self.with_claim("sub", json!("")),
            self.with_claim("sub", json!(["alice"])),
            self.with_claim("sub", json!("a".repeat(5_000))),
            self.with_claim("sid", json!("0")),
            self.with_claim("gen", json!(-1)),
            self.sign(self.header.to_string(), again),
            self.sign(self.header.to_string(), "[]"),
            self.sign(self.header.to_string(), "{}"),
            self.sign("[]", self.claims.to_string()),
        ];
        tokens.extend(
            ["exp", "iat", "iss", "aud", "sub", "sid", "gen", "jti"].map(|claim| self.with_claim(claim, Value::Null)),
        );
        tokens
    }
}

struct Stage {
    cluster: Cluster,
    app: EchoBackend,
    alice: Browser,
    workshop: Workshop,
}

async fn stage() -> Stage {
    let app = EchoBackend::start().await;
    let cluster = Cluster::start(Setup::Redis, &format!("upstream: {}\n", app.url())).await;
    let alice = Browser::logged_in(cluster.first(), &ALICE).await;
    let workshop = Workshop::open(alice.token(), &cluster.keys());
    Stage { cluster, app, alice, workshop }
}

#[tokio::test]
async fn what_our_key_signs_as_it_stands_is_good() {
    // So that the refusals below are for the reason that each of them is about.
    let Stage { cluster, workshop, .. } = stage().await;
    let unchanged = workshop.sign(workshop.header.to_string(), workshop.claims.to_string());
    bearer(cluster.first(), &unchanged, "/").await.expect(200);
    bearer(cluster.first(), &workshop.with_claim("jti", json!("another-one-of-the-same-kind")), "/").await.expect(200);
}

#[tokio::test]
async fn no_forged_token_is_let_in() {
    let Stage { cluster, app, workshop, .. } = stage().await;
    let gate = cluster.first();
    let jwks = Answer::to(client().get(gate.url("/.well-known/jwks.json"))).await.expect(200).json();
    let tokens = [workshop.forged(&jwks), workshop.not_for_this()].concat();
    for token in tokens {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
        let answer = raw(gate.listen, request).await.expect("an answer");
        assert_eq!(answer.status, 401, "{token}: {}", answer.text());
        let challenge = answer.header("www-authenticate").unwrap_or_default().to_owned();
        assert!(challenge.contains("error=\"invalid_token\""), "{token}: {challenge}");
        assert!(!answer.text().contains(&token) || token.len() < 5, "{token}: a token is shown in {}", answer.text());
    }
    assert!(app.take().is_empty(), "nothing reached the app");
}

#[tokio::test]
async fn one_kind_of_token_is_not_taken_for_another() {
    let Stage { cluster, alice, workshop, .. } = stage().await;
    let gate = cluster.first();
    bearer(gate, &alice.refresh_token(), "/").await.expect(401).error("invalid_token");
    alice.clone().with_refresh_token(&workshop.token).refresh().await.expect(400).error("invalid_grant");
    alice.clone().with_refresh_token("").refresh().await.expect(400).error("invalid_grant");
    alice.get("/").await.expect(200);
}

#[tokio::test]
async fn a_flood_of_forgeries_costs_the_store_nothing_and_ends_nobodys_session() {
    let Stage { cluster, alice, workshop, app } = stage().await;
    let (gate, redis) = (cluster.first(), cluster.redis.as_ref().expect("this setup has a Redis"));
    alice.get("/").await.expect(200);
    app.take();
    let jwks = Answer::to(client().get(gate.url("/.well-known/jwks.json"))).await.expect(200).json();
    let forged = workshop.forged(&jwks);
    let cookie = alice.refresh_token();
    let entries_before = gate.metrics().await.sum("portcullis_token_cache_entries", &[]).expect("it is measured");
    let asked_before = session_requests(gate).await;
    let before = redis.commands_processed();

    const ROUNDS: usize = 300;
    for round in 0..ROUNDS {
        // Each of them new, so that nothing remembered from the last one helps.
        let token = format!("{}{round}", forged[round % forged.len()]);
        bearer(gate, &token, "/").await.expect(401);
        let mut bent = cookie.clone().into_bytes();
        let place = 1 + round % (bent.len() - 2);
        bent[place] = if bent[place] == b'x' { b'y' } else { b'x' };
        let bent = String::from_utf8(bent).expect("ASCII");
        alice.clone().with_refresh_token(&bent).refresh().await.expect(400).error("invalid_grant");
        alice.clone().with_refresh_token(&bent).logout().await;
    }

    let commands = redis.commands_processed() - before;
    assert!(commands < ROUNDS as u64, "{commands} commands for {ROUNDS} rounds: more than following the stream takes");
    // That alice was seen is told to the store in the background, and may fall into this time.
    let asked = session_requests(gate).await - asked_before;
    assert!(asked <= 2.0, "sessions were read or written {asked} times");
    let entries = gate.metrics().await.sum("portcullis_token_cache_entries", &[]).expect("it is measured");
    assert_eq!(entries, entries_before, "nothing invalid enters the cache");
    assert!(!gate.log().contains("\"level\":\"ERROR\""), "{}", gate.log());
    assert!(app.take().is_empty());
    alice.get("/").await.expect(200);
    alice.clone().refresh().await.expect(200);
}

/// How often sessions were asked for, by this proxy's own count; following the stream is not part of it.
async fn session_requests(gate: &crate::harness::Portcullis) -> f64 {
    let metrics = gate.metrics().await;
    let of = |operation: &str| metrics.sum("portcullis_store_requests_total", &[&format!("operation=\"{operation}\"")]);
    of("get").expect("it is counted") + of("commit").expect("it is counted")
}
