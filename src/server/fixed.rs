//! What cannot change while the process runs: it stays as it is, and is named, so that the operator knows what a restart is for.
//!
//! Each key of the configuration has to be decided on here: that is why the pattern is without `..`.
//!
//! What must never happen in here: a key that is kept back and not named; a bound that outlives what was promised for it.

use secrecy::{ExposeSecret, SecretString};

use crate::config::{Config, Listener, Log, Redis, RedisPassword, RedisPrimary, Store, StoreKind};

/// Puts back what cannot change from `running` to `new`, and gives the names of what would have.
pub(super) fn keep(running: &Config, new: &mut Config) -> Vec<&'static str> {
    let mut kept = Kept(Vec::new());
    let Config {
        listen,
        admin,
        store,
        data_dir,
        keys,
        access_token,
        cookie,
        development,
        shutdown,
        // All these are read from the configuration by each request, login or refresh.
        trusted_proxies: _,
        issuer: _,
        origins: _,
        endpoints: _,
        cors: _,
        native_clients: _,
        users: _,
        login: _,
        login_page: _,
        session: _,
        rotation: _,
        revocation: _,
        identity_headers: _,
        limits: _,
        log,
        upstreams: _,
        routes: _,
        files: _,
        warnings: _,
    } = new;

    keep_listeners(&running.listen, listen, &mut kept);
    kept.keep("admin.listen", &running.admin.listen, &mut admin.listen);
    kept.keep("admin.socket", &running.admin.socket, &mut admin.socket);
    if admin.token.as_ref().map(exposed) != running.admin.token.as_ref().map(exposed) {
        kept.name("admin.token");
        admin.token.clone_from(&running.admin.token);
    }
    kept.keep("data_dir", &running.data_dir, data_dir);
    if !same_store(&running.store, store) {
        kept.name("store");
        *store = running.store.clone();
        // They go with the store: one without a file has another file's.
        keys.clone_from(&running.keys);
    }
    if matches!(store.kind, StoreKind::Memory) {
        kept.keep("keys.algorithm", &running.keys.algorithm, &mut keys.algorithm);
    }
    // Endings are kept for as long as the tokens that they are for. Longer tokens would outlive those that are published already.
    kept.keep("access_token.lifetime", &running.access_token.lifetime, &mut access_token.lifetime);
    kept.keep("access_token.skew", &running.access_token.skew, &mut access_token.skew);
    if *development != running.development {
        kept.name("development");
        // What is allowed on the addresses of the new file may not be on those that are listened on.
        development.clone_from(&running.development);
        cookie.clone_from(&running.cookie);
    }
    // Whether new traces are sampled is read by each request.
    let running_log = Log { new_traces_sampled: log.new_traces_sampled, ..running.log.clone() };
    kept.keep("log", &running_log, log);
    kept.keep("shutdown.drain", &running.shutdown.drain, &mut shutdown.drain);
    kept.0
}

struct Kept(Vec<&'static str>);

impl Kept {
    fn name(&mut self, key: &'static str) {
        self.0.push(key);
    }

    fn keep<T: Clone + PartialEq>(&mut self, key: &'static str, running: &T, new: &mut T) {
        if new != running {
            self.name(key);
            new.clone_from(running);
        }
    }
}

/// The addresses stay; each takes the certificates that the new file has for it.
fn keep_listeners(running: &[Listener], new: &mut Vec<Listener>, kept: &mut Kept) {
    let addresses = |listeners: &[Listener]| listeners.iter().map(|it| it.address).collect::<Vec<_>>();
    let (mut before, mut after) = (addresses(running), addresses(new));
    before.sort_unstable();
    after.sort_unstable();
    if before != after {
        kept.name("listen");
    }
    let (mut plain, mut h2c) = (false, false);
    let mut listeners = Vec::new();
    for listener in running {
        let next = new.iter().find(|next| next.address == listener.address).unwrap_or(listener);
        let same_kind = next.tls.is_empty() == listener.tls.is_empty();
        plain |= !same_kind;
        h2c |= same_kind && next.h2c != listener.h2c;
        let tls = if same_kind { next.tls.clone() } else { listener.tls.clone() };
        listeners.push(Listener { tls, ..listener.clone() });
    }
    *new = listeners;
    if plain {
        kept.name("listen[].tls (between none and some)");
    }
    if h2c {
        kept.name("listen[].h2c");
    }
}

fn same_store(a: &Store, b: &Store) -> bool {
    let same_kind = match (&a.kind, &b.kind) {
        (StoreKind::Memory, StoreKind::Memory) => true,
        (StoreKind::Embedded { path: a }, StoreKind::Embedded { path: b }) => a == b,
        (StoreKind::Redis(a), StoreKind::Redis(b)) => same_redis(a, b),
        (StoreKind::Memory | StoreKind::Embedded { .. } | StoreKind::Redis(_), _) => false,
    };
    same_kind && a.deadline == b.deadline
}

fn same_redis(a: &Redis, b: &Redis) -> bool {
    let Redis { primary, tls, username, password, key_prefix, ca_file } = a;
    let same_primary = match (primary, &b.primary) {
        (RedisPrimary::At(a), RedisPrimary::At(b)) => a == b,
        (RedisPrimary::OfCluster(a), RedisPrimary::OfCluster(b)) => a == b,
        (RedisPrimary::NamedBy(a), RedisPrimary::NamedBy(b)) => {
            (&a.urls, &a.master_name, &a.username) == (&b.urls, &b.master_name, &b.username)
                && same_password(a.password.as_ref(), b.password.as_ref())
        }
        (RedisPrimary::At(_) | RedisPrimary::OfCluster(_) | RedisPrimary::NamedBy(_), _) => false,
    };
    same_primary
        && (tls, username, key_prefix, ca_file) == (&b.tls, &b.username, &b.key_prefix, &b.ca_file)
        && same_password(password.as_ref(), b.password.as_ref())
}

fn same_password(a: Option<&RedisPassword>, b: Option<&RedisPassword>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(RedisPassword::Fixed(a)), Some(RedisPassword::Fixed(b))) => exposed(a) == exposed(b),
        (Some(RedisPassword::File(a)), Some(RedisPassword::File(b))) => a == b,
        (None | Some(RedisPassword::Fixed(_) | RedisPassword::File(_)), _) => false,
    }
}

fn exposed(secret: &SecretString) -> &str {
    secret.expose_secret()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    fn read(text: &str) -> Config {
        let rest = "upstream: http://127.0.0.1:3000\nusers: users.yaml\n";
        config::parse(&format!("{text}{rest}"), Path::new("proxy.yaml"), &|_| None).unwrap()
    }

    const LISTEN: &str = "listen: 127.0.0.1:8080\n";

    #[test]
    fn what_cannot_change_stays_and_is_named() {
        let redis = "store: { redis: { url: \"redis://a\", password: one } }\nkeys: { file: a.jwks }\n";
        for (before, after, named) in [
            ("", "", &[][..]),
            ("", "limits: { keep_alive: 1s }\nissuer: other\nrotation: { grace: 1s }\n", &[]),
            ("", "admin: { listen: \"127.0.0.1:1\" }\n", &["admin.listen"]),
            ("", "data_dir: other\nstore: embedded\n", &["admin.socket", "data_dir", "store"]),
            ("", "store: memory\n", &["store"]),
            ("store: memory\n", "store: memory\nkeys: { algorithm: ES256 }\n", &["keys.algorithm"]),
            ("", "keys: { algorithm: ES256 }\n", &[]),
            ("", "access_token: { lifetime: 1m, skew: 1s }\n", &["access_token.lifetime", "access_token.skew"]),
            ("", "access_token: { audience: other }\n", &[]),
            ("", "development: { insecure_cookies: true }\n", &["development"]),
            ("", "log: { access: stdout, new_traces: unsampled }\n", &["log"]),
            ("", "log: { new_traces: unsampled }\n", &[]),
            ("", "shutdown: { drain: 1s }\n", &["shutdown.drain"]),
            (redis, redis, &[]),
            (redis, &redis.replace("one", "two"), &["store"]),
            (redis, &redis.replace("//a", "//b"), &["store"]),
            (redis, &redis.replace("a.jwks", "b.jwks"), &[]),
        ] {
            let running = read(&format!("{LISTEN}{before}"));
            let mut new = read(&format!("{LISTEN}{after}"));
            assert_eq!(keep(&running, &mut new), named, "{before} -> {after}");
            assert_eq!(keep(&running, &mut new), [""; 0], "it has been put back: {after}");
        }
    }

    #[test]
    fn addresses_stay_and_take_the_certificates_that_the_new_file_has_for_them() {
        let (one, two) = ("{ certificate: one.pem, key: one.key }", "{ certificate: two.pem, key: two.key }");
        let tls = |port: u16, pair: &str| format!("{{ address: \"127.0.0.1:{port}\", tls: {pair} }}");
        let running = read(&format!("listen: [{}, 127.0.0.1:2]\n", tls(1, one)));
        for (listen, named, certificate) in [
            (format!("[127.0.0.1:2, {}]", tls(1, two)), &[][..], "two.pem"),
            (format!("[{}, 127.0.0.1:2]", tls(1, &format!("[{two}, {one}]"))), &[], "two.pem"),
            (format!("[{}]", tls(1, two)), &["listen"], "two.pem"),
            (format!("[{}, 127.0.0.1:2]", tls(3, two)), &["listen"], "one.pem"),
            ("[127.0.0.1:1, 127.0.0.1:2]".to_owned(), &["listen[].tls (between none and some)"], "one.pem"),
            (format!("[{}, {{ address: \"127.0.0.1:2\", h2c: false }}]", tls(1, one)), &["listen[].h2c"], "one.pem"),
        ] {
            let mut new = read(&format!("listen: {listen}\n"));
            assert_eq!(keep(&running, &mut new), named, "{listen}");
            let kept: Vec<_> = new.listen.iter().map(|it| (it.address.port(), it.h2c)).collect();
            assert_eq!(kept, [(1, false), (2, true)], "{listen}");
            assert_eq!(new.listen[0].tls[0].certificate, Path::new(certificate), "{listen}");
        }
    }
}
