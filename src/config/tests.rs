//! The room as a whole: the files people would write, the annotated reference, and a folder of mistakes.
//!
//! `tests/cases/config/NAME.yaml` is a mistake, and `NAME.err` what must be said about it. Write what the tests print
//! with `UPDATE_CASES=1 cargo test --lib config::`, then read it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;

use super::*;

mod fuzz;
mod reference;

pub(super) const SHORT: &str = r#"# enough to start: everything is protected but /assets/
listen: 127.0.0.1:8080
upstream: http://127.0.0.1:3000      # short for one upstream and one route for everything
users: users.yaml
public: [/assets/]
store: embedded                       # or redis://127.0.0.1:6379
"#;

pub(super) const LONG: &str = r#"listen:
  - address: 0.0.0.0:443
    tls: { certificate: tls/fullchain.pem, key: tls/privkey.pem }
admin: { listen: 127.0.0.1:9911 }
trusted_proxies: [10.0.0.0/8]
issuer: https://auth.example.com
endpoints: { host: auth.example.com }  # where login, refresh, logout, jwks are served; default: every host
store:
  redis: { url: "rediss://portcullis@redis.internal:6379/0", password_file: /run/secrets/redis, key_prefix: "portcullis:" }
keys: { file: /run/secrets/keys.jwks }  # required with Redis
users: { file: users.yaml }
access_token: { lifetime: 15m, audience: apps }
session: { lifetime: 30d }
rotation: { grace: 30s }
revocation: { max_staleness: 30s, when_stale: deny }
cors: { allow_origins: [https://app.example.com] }
identity_headers: { subject: X-Forwarded-User, roles: X-Forwarded-Groups }
upstreams:
  jenkins: { servers: [http://10.0.1.5:8080] }
  crm:
    servers: [http://10.0.2.5:80, http://10.0.2.6:80]
    balance: least_busy
    health_check: { path: /ping, interval: 5s }
routes:
  - { name: jenkins,       host: jenkins.example.com, upstream: jenkins, auth: required }
  - { name: jenkins-admin, host: jenkins.example.com, path_prefix: /manage, upstream: jenkins, auth: required, roles: [admin] }
  - { name: crm,           host: crm.example.com, upstream: crm, auth: required }
  - { name: crm-assets,    host: crm.example.com, path_prefix: /assets, upstream: crm, auth: public }
"#;

fn env(name: &str) -> Option<String> {
    match name {
        "SECRET" => Some("hunter2".to_owned()),
        "PORT" => Some("6380".to_owned()),
        "REDIS_URL" => Some("redis://:hunter2@localhost/0/0".to_owned()),
        _ => None,
    }
}

fn read(text: &str) -> Config {
    parse(text, Path::new("proxy.yaml"), &env).unwrap_or_else(|errors| panic!("{errors}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn five_lines_are_enough() {
    let config = parse(SHORT, Path::new("/etc/portcullis/proxy.yaml"), &env).unwrap();
    assert_eq!(config.warnings, []);
    assert_eq!(config.users, Users::File("/etc/portcullis/users.yaml".into()));
    assert_eq!(config.data_dir, Path::new("/etc/portcullis/data"));
    let StoreKind::Embedded { path } = &config.store.kind else { panic!() };
    assert_eq!(path, Path::new("/etc/portcullis/data/sessions.redb"));
    assert_eq!(config.upstream("app").unwrap().servers[0].to_string(), "http://127.0.0.1:3000");
    let routes: Vec<_> = config.routes.iter().map(|route| (route.name.as_str(), &route.path, route.auth)).collect();
    assert_eq!(
        routes,
        [
            ("app", &PathPattern::Prefix("/".into()), Auth::Required),
            ("public:/assets/", &PathPattern::Prefix("/assets/".into()), Auth::Public)
        ]
    );
    assert_eq!((config.cookie.name.as_str(), config.cookie.secure), ("__Host-refresh", true));
    assert_eq!(config.identity_headers.subject.unwrap(), "x-auth-subject");
}

#[test]
fn the_long_form_says_everything() {
    let config = read(LONG);
    assert_eq!(config.warnings, []);
    let StoreKind::Redis(redis) = &config.store.kind else { panic!() };
    let RedisPrimary::At(url) = &redis.primary else { panic!() };
    assert_eq!(url, "rediss://redis.internal:6379/0");
    assert_eq!(redis.username.as_deref(), Some("portcullis"));
    assert_eq!(config.listen[0].tls[0].key, Path::new("tls/privkey.pem"));
    assert!(!config.listen[0].h2c);
    assert_eq!(config.upstream("crm").unwrap().balance, Balance::LeastBusy);
    assert_eq!(config.routes.len(), 4);
    assert_eq!(config.routes[1].roles_any, ["admin"]);
    assert_eq!(config.identity_headers.roles.unwrap(), "x-forwarded-groups");
    assert_eq!(config.identity_headers.scopes.unwrap(), "x-auth-scopes");
    assert_eq!(config.cors.unwrap().allow_origins[0].to_string(), "https://app.example.com");
}

#[test]
fn variables_are_put_in_wherever_a_value_is_text() {
    let text = SHORT.replace(
        "store: embedded",
        "keys: { file: \"k-${PORT}\" }\n\
         login: { attempts_per_account: \"${PORT}\" }\n\
         store: { redis: { url: \"redis://localhost:${PORT}\", password: \"${SECRET}$${x}\" } } ",
    );
    let config = read(&text);
    let StoreKind::Redis(redis) = &config.store.kind else { panic!() };
    let RedisPrimary::At(url) = &redis.primary else { panic!() };
    assert_eq!(url, "redis://localhost:6380/0");
    let Some(RedisPassword::Fixed(password)) = &redis.password else { panic!() };
    assert_eq!(password.expose_secret(), "hunter2${x}");
    assert_eq!(config.keys.file.as_deref(), Some(Path::new("k-6380")));
    assert_eq!(config.login.attempts_per_account, 6380);
    assert!(!format!("{config:?}").contains("hunter2"), "no secret shows in Debug");
}

#[test]
fn sentinels_are_read() {
    let text = SHORT.replace(
        "store: embedded",
        "keys: { file: k }\n\
         store: { redis: { sentinels: [redis://127.0.0.1, \"redis://[::1]:7000\"], master_name: main, sentinel_username: s, \
         sentinel_password_env: SECRET, password: p } } ",
    );
    let config = read(&text);
    let StoreKind::Redis(redis) = &config.store.kind else { panic!() };
    let RedisPrimary::NamedBy(sentinels) = &redis.primary else { panic!() };
    assert_eq!(sentinels.urls, ["redis://127.0.0.1:26379", "redis://[::1]:7000"]);
    assert_eq!((sentinels.master_name.as_str(), sentinels.username.as_deref()), ("main", Some("s")));
    let passwords = [&redis.password, &sentinels.password].map(|password| match password {
        Some(RedisPassword::Fixed(password)) => password.expose_secret(),
        other => panic!("{other:?}"),
    });
    assert_eq!(passwords, ["p", "hunter2"]);
    assert!(!redis.tls && config.warnings.is_empty());
}

#[test]
fn native_clients_are_off_unless_written() {
    assert_eq!(read(SHORT).native_clients, None);
    let read = |text: &str| read(&format!("{SHORT}native_clients: {text}\n"));
    let on = read("{}");
    assert_eq!((on.native_clients.unwrap().allow_origins, on.warnings), (Vec::new(), Vec::new()));
    let listed = read(
        "{ allow_origins: [capacitor://localhost, 'https://localhost:443', http://tauri.localhost], max_age: 1m }",
    );
    let clients = listed.native_clients.unwrap();
    assert_eq!(clients.allow_origins, ["capacitor://localhost", "https://localhost", "http://tauri.localhost"]);
    assert_eq!((clients.preflight.allow_methods.len(), clients.preflight.max_age.as_secs()), (6, 60));
    assert_eq!(listed.warnings, []);
    let website = read("{ allow_origins: [https://app.example.com] }");
    assert!(website.warnings[0].to_string().contains("any browser can open"), "{:?}", website.warnings);
}

#[test]
fn a_cluster_is_read() {
    let text = SHORT.replace(
        "store: embedded",
        "keys: { file: k }\n\
         store: { redis: { cluster: [rediss://node-1, \"rediss://[::1]:7000/0\"], username: u, password_env: SECRET } } ",
    );
    let config = read(&text);
    let StoreKind::Redis(redis) = &config.store.kind else { panic!() };
    let RedisPrimary::OfCluster(nodes) = &redis.primary else { panic!() };
    assert_eq!(nodes[..], ["rediss://node-1:6379", "rediss://[::1]:7000"]);
    assert!(redis.tls && redis.username.as_deref() == Some("u") && redis.password.is_some());
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

fn begins(warnings: &[String], line: usize, key: &str) {
    let found = warnings.iter().any(|w| w.starts_with(&format!("proxy.yaml:{line}:")) && w.contains(key));
    assert!(found, "{line} {key}: {warnings:#?}");
}

#[test]
fn what_may_surprise_is_a_warning() {
    let text = "listen: 0.0.0.0:80\nupstreams: { a: { servers: [http://a] }, b: { servers: [http://b] } }\nusers: u\n\
                routes: [{ name: a, upstream: a, path_prefix: /login }, { name: c, upstream: a, auth: public }]\nadmin: { listen: 0.0.0.0:9911 }\n\
                rotation: { late_retry: any }\nrevocation: { when_stale: allow }\nkeys: { file: k, algorithm: HS256 }\n\
                store: redis://cache.internal\ncors: { allow_origins: [http://x.example] }\ntrusted_proxies: [10.0.0.0/8, 128.0.0.0/1, '::/0']\n";
    let warnings: Vec<String> = read(text).warnings.iter().map(ToString::to_string).collect();
    let begin = |line, key| begins(&warnings, line, key);
    begin(2, "upstreams.b: no route leads");
    begin(4, "routes[0].path_prefix: our own endpoint");
    begin(4, "routes[1]: whatever no other route is for");
    begin(5, "admin.listen");
    begin(6, "rotation.late_retry");
    begin(7, "revocation.when_stale");
    begin(8, "keys.algorithm");
    begin(9, "store: sessions and the password cross");
    begin(10, "cors.allow_origins[0]: whether");
    begin(11, "trusted_proxies[1]");
    begin(11, "trusted_proxies[2]");
    assert_eq!(warnings.len(), 11, "{warnings:#?}");

    let config = read(&format!(
        "{}cookie: {{ same_site: none }}\n",
        SHORT.replace("127.0.0.1:8080", "0.0.0.0:80").replace("/assets/", "/logout")
    ));
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    begins(&warnings, 2, "listen: 0.0.0.0:80 is plain http");
    begins(&warnings, 5, "public[0]: our own endpoint `logout`");
    begins(&warnings, 7, "cookie.same_site: pages of every site");
    assert_eq!(warnings.len(), 3, "{warnings:#?}");

    let config = read(&format!("{SHORT}development: {{ insecure_cookies: true }}\n"));
    assert_eq!((config.cookie.name.as_str(), config.cookie.secure), ("refresh", false));
    assert_eq!(config.warnings.len(), 1);
}

#[test]
fn every_mistake_is_told_where_it_is_and_what_to_write() {
    let folder = root().join("tests/cases/config");
    let mut cases: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    cases.sort();
    assert!(cases.len() >= 40, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let text = fs::read_to_string(&case).unwrap();
        let said = match parse(&text, Path::new("proxy.yaml"), &env) {
            Ok(_) => "nothing is wrong\n".to_owned(),
            Err(errors) => format!("{errors}\n"),
        };
        assert!(!said.contains("hunter2"), "a secret shows in what is said about {}", case.display());
        let expected = case.with_extension("err");
        if std::env::var_os("UPDATE_CASES").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        if said != expected {
            wrong.push(format!("{}\nexpected:\n{expected}said:\n{said}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Writes `files` into a new folder, each with its mode.
fn folder(files: &[(&str, &str, u32)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text, mode) in files {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
    }
    folder
}

#[test]
fn files_must_be_there_and_secrets_kept() {
    let text = "listen: [{ address: 127.0.0.1:1, tls: { certificate: cert, key: key } }]\nupstream: http://a\nusers: users\n\
                store: { redis: { url: redis://localhost, password_file: password } }\nkeys: { file: keys }\n";
    let good = folder(&[
        ("proxy.yaml", text, 0o644),
        ("cert", "", 0o644),
        ("key", "", 0o600),
        ("users", "", 0o600),
        ("password", "hunter2\r\n", 0o440),
        ("keys", "", 0o400),
    ]);
    let config = load(&good.path().join("proxy.yaml"), &env).unwrap();
    let StoreKind::Redis(redis) = &config.store.kind else { panic!() };
    let Some(RedisPassword::File(file)) = &redis.password else { panic!() };
    assert_eq!(*file, good.path().join("password"));
    assert_eq!(config.warnings, []);

    let bad =
        folder(&[("proxy.yaml", text, 0o644), ("key", "", 0o644), ("users", "", 0o644), ("password", "\n", 0o400)]);
    fs::create_dir(bad.path().join("cert")).unwrap();
    let said = load(&bad.path().join("proxy.yaml"), &env).unwrap_err().to_string();
    let said: Vec<&str> = said.lines().collect();
    for (line, part) in said.iter().zip([
        "tls.certificate: ",
        "tls.key: everybody on this machine",
        "password_file: ",
        "make it with `portcullis keys new --file ",
    ]) {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(said.len(), 4, "{said:#?}");

    let text = "listen: 127.0.0.1:1\nupstream: http://a\nusers: users\nadmin: { token_file: token }\n";
    let token = "0123456789abcdef0123456789abcdef";
    for (content, mode, expected) in [
        (token, 0o600, Ok(())),
        (token, 0o604, Err("everybody on this machine can read")),
        (&token[1..], 0o600, Err("32 random characters or more")),
        ("0123456789abcdef 123456789abcdef!", 0o600, Err("32 random characters or more")),
        ("", 0o600, Err("32 random characters or more")),
    ] {
        let folder = folder(&[("proxy.yaml", text, 0o644), ("users", "", 0o600), ("token", content, mode)]);
        match (load(&folder.path().join("proxy.yaml"), &env), expected) {
            (Ok(config), Ok(())) => assert_eq!(config.admin.token.unwrap().expose_secret(), token),
            (Err(said), Err(part)) => assert!(said.to_string().contains(part), "{said}"),
            (loaded, expected) => panic!("{content:?}: {loaded:?}, not {expected:?}"),
        }
    }

    let said = load(&bad.path().join("absent.yaml"), &env).unwrap_err().to_string();
    assert!(said.contains("absent.yaml: this file cannot be read"), "{said}");
}
