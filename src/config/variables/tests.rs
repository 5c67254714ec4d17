//! What variables say, as an operator of containers would write them.

use std::path::Path;

use super::super::*;
use super::*;

const FILE: &str = "listen: 127.0.0.1:8080
upstreams:
  crm-web: { servers: [http://a:80] }
  other: { servers: [http://b:80] }
users: users.yaml
store: embedded
limits: { connections: 10 }
routes:
  - { name: crm, upstream: crm-web, roles: [admin] }
  - { name: crm.open, upstream: other, path_prefix: /open, auth: public }
";

fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let variables = variables.iter().map(|(name, value)| Variable {
        name: format!("PORTCULLIS_{name}"),
        value: (*value != "\u{fffd}").then(|| (*value).to_owned()),
    });
    let env = |name: &str| (name == "SET").then(|| "from-env".to_owned());
    let cx = Context::new(text, Path::new("proxy.yaml"), &env).with_variables(variables.collect());
    let config = read_text(&cx, true)?;
    finish(cx, config)
}

fn good(variables: &[(&str, &str)]) -> Config {
    read(FILE, variables).unwrap_or_else(|errors| panic!("{errors}"))
}

fn wrong(variables: &[(&str, &str)]) -> String {
    match read(FILE, variables) {
        Ok(_) => panic!("{variables:?} is taken"),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn every_kind_of_value_is_what_is_asked_for() {
    let config = good(&[
        ("LISTEN", "[{ address: 0.0.0.0:8443, tls: { certificate: c, key: k } }]"),
        ("LISTEN__1", "127.0.0.1:82"),
        ("LISTEN__2__ADDRESS", "127.0.0.1:83"),
        ("LISTEN__2__H2C", "false"),
        ("LIMITS__CONNECTIONS", "77"),
        ("LIMITS__HEADER_SIZE", "64KiB"),
        ("STORE__REDIS__URL", "redis://127.0.0.1"),
        ("STORE__REDIS__USERNAME", "0123"),
        ("STORE__REDIS__PASSWORD", "{[${SET}"),
        ("KEYS__FILE", "keys.jwks"),
        ("ROUTES__CRM__ROLES", "[ops, \"7\"]"),
        ("ROUTES__CRM_OPEN__PATH_PREFIX", "/shown"),
        ("ROUTES__1__METHODS__0", "GET"),
        ("ROUTES__2", "{ name: new, upstream: added, path: /new }"),
        ("UPSTREAMS__CRM_WEB__SERVERS__1", "http://c:80"),
        ("UPSTREAMS__ADDED__SERVERS", "- http://d:80\n- http://e:80\n"),
    ]);
    let addresses: Vec<String> = config.listen.iter().map(|listener| listener.address.to_string()).collect();
    assert_eq!(addresses, ["0.0.0.0:8443", "127.0.0.1:82", "127.0.0.1:83"]);
    assert!(!config.listen[0].tls.is_empty() && !config.listen[2].h2c);
    assert_eq!((config.limits.connections, config.limits.header_size_bytes), (77, 64 << 10));
    let StoreKind::Redis(redis) = &config.store.kind else { panic!() };
    let Some(RedisPassword::Fixed(password)) = &redis.password else { panic!() };
    assert_eq!(redis.username.as_deref(), Some("0123"));
    assert_eq!(secrecy::ExposeSecret::expose_secret(password), "{[${SET}", "a variable is not looked into");
    assert_eq!(config.routes[0].roles_any, ["ops", "7"]);
    assert_eq!(config.routes[1].path, PathPattern::Prefix("/shown".into()));
    assert_eq!(config.routes[1].methods.as_deref(), Some(&[Method::GET][..]));
    assert_eq!(config.routes[2].upstream, "added");
    assert_eq!(config.upstream("crm-web").unwrap().servers.len(), 2);
    assert_eq!(config.upstream("added").unwrap().servers.len(), 2);
}

#[test]
fn entries_are_added_in_the_order_of_their_numbers() {
    let all: Vec<(String, String)> =
        (0..12).map(|i| (format!("LISTEN__{i}"), format!("127.0.0.1:{}", 100 + i))).collect();
    let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let ports: Vec<u16> = good(&all).listen.iter().map(|listener| listener.address.port()).collect();
    assert_eq!(ports, (100..112).collect::<Vec<_>>());
}

#[test]
fn no_file_is_needed() {
    let config = read(
        "",
        &[
            ("LISTEN", "0.0.0.0:8080"),
            ("UPSTREAM", "http://app:3000"),
            ("USERS", "/run/users.yaml"),
            ("PUBLIC", "[/assets/]"),
        ],
    );
    assert_eq!(config.unwrap().routes.len(), 2);
    let absent = tempfile::tempdir().unwrap();
    let path = absent.path().join("proxy.yaml");
    let users = absent.path().join("users.yaml");
    std::fs::write(&users, "").unwrap();
    let variable = |name: &str, value: &str| Variable { name: name.to_owned(), value: Some(value.to_owned()) };
    let variables = || {
        vec![
            variable("PORTCULLIS_LISTEN", "127.0.0.1:8080"),
            variable("PORTCULLIS_UPSTREAM", "http://app:3000"),
            variable("PORTCULLIS_USERS", "users.yaml"),
        ]
    };
    let config = load_with(&path, &|_| None, variables(), true).unwrap();
    assert_eq!(config.users, Users::File(users));
    assert!(config.warnings.iter().any(|warning| warning.to_string().contains("there is no such file")));
    let said = load_with(&path, &|_| None, variables().split_off(2), true).unwrap_err().to_string();
    assert!(said.contains("proxy.yaml: there is no such file"), "{said}");
    assert!(said.contains("`listen` is missing") && !said.contains(":0:"), "{said}");
    let said = load_with(&path, &|_| None, Vec::new(), true).unwrap_err().to_string();
    assert!(said.contains("this file cannot be read"), "{said}");
    let said = load_with(&path, &|_| None, variables(), false).unwrap_err().to_string();
    assert!(said.contains("this file cannot be read"), "one that was there has to stay: {said}");
    std::fs::write(&path, "# half\n").unwrap();
    let said = load_with(&path, &|_| None, variables(), true).unwrap_err().to_string();
    assert!(said.contains("nothing is in this file"), "{said}");
}

#[test]
fn what_is_overridden_need_not_be_good() {
    let text = FILE.replace("127.0.0.1:8080", "\"${UNSET}\"").replace("connections: 10", "connections: many");
    assert!(read(&text, &[]).is_err());
    let config = read(&text, &[("LISTEN", "127.0.0.1:1"), ("LIMITS__CONNECTIONS", "1")]).unwrap();
    assert_eq!(config.listen[0].address.port(), 1);
}

#[test]
fn what_is_wrong_names_the_variable() {
    for (variables, said) in [
        (
            &[("LISTNE", "x")][..],
            "PORTCULLIS_LISTNE: listne: there is no key `listne` for this variable (did you mean \"listen\"?); allowed here: listen,",
        ),
        (&[("LIMITS_CONNECTIONS", "1")], "two underscores stand between levels"),
        (
            &[("LIMITS__CONECTIONS", "1")],
            "PORTCULLIS_LIMITS__CONECTIONS: limits.conections: there is no key `conections` for this variable (did you mean \"connections\"?)",
        ),
        (
            &[("LIMITS__CONNECTIONS", "many")],
            "PORTCULLIS_LIMITS__CONNECTIONS: limits.connections: this is text; write a whole number from 1 to",
        ),
        (&[("LIMITS__CONNECTIONS", "")], "PORTCULLIS_LIMITS__CONNECTIONS: limits.connections: this is"),
        (&[("LIMITS__HEADER_TIMEOUT", "5")], "\"5\" is no duration; write a duration from 1s to 10m"),
        (&[("ISSUER", "")], "this is empty; write"),
        (&[("ROUTES__CRM__ROLES", "[]")], "PORTCULLIS_ROUTES__CRM__ROLES: routes[0].roles: this list is empty"),
        (&[("ROUTES__CRM__ROLES", "admin")], "this is text; write a list such as `[admin]`"),
        (&[("ROUTES__CRM__ROLES", "[admin")], "this is text; write a list such as `[admin]`"),
        (
            &[("ROUTES__CRN__ROLES", "[admin]")],
            "no entry of this list has the name `CRN` (did you mean \"CRM\"?); write one of the names, or a number from 0 to 1",
        ),
        (&[("ROUTES__4__ROLES", "[admin]")], "there is no entry 4 in this list; the next one is 2"),
        (
            &[("ROUTES__0__UPSTREAM", "none")],
            "PORTCULLIS_ROUTES__0__UPSTREAM: routes[0].upstream: there is no upstream named \"none\"",
        ),
        (
            &[("ROUTES__0__AUTH", "public"), ("ROUTES__CRM__AUTH", "public")],
            "PORTCULLIS_ROUTES__0__AUTH sets this, too; keep one of them",
        ),
        (&[("STORE", "memory"), ("STORE__DEADLINE", "1s")], "PORTCULLIS_STORE sets this, too; keep one of them"),
        (
            &[("STORE", "{ redis: { url: redis://:hunter2@a/x } }"), ("KEYS__FILE", "k")],
            "PORTCULLIS_STORE: store.redis.url: ",
        ),
        (&[("LISTEN___0", "x")], "this names no key; write its way in upper case"),
        (&[("listen", "x")], "this names no key; write its way in upper case"),
        (&[("ISSUER", "\u{fffd}")], "PORTCULLIS_ISSUER: its value is not UTF-8 text"),
        (
            &[("UPSTREAM", "http://c")],
            "PORTCULLIS_UPSTREAM: upstream: `upstream` is short for one app, and `upstreams` (line 3) says more",
        ),
        (
            &[("UPSTREAMS", "{ a: { servers: [http://a], servers: [http://b] } }")],
            "this key is there twice, first in PORTCULLIS_UPSTREAMS",
        ),
    ] {
        let all = wrong(variables);
        assert!(all.contains(said), "{variables:?}: {all}");
        assert!(!all.contains("hunter2"), "{all}");
    }
}

#[test]
fn what_kubernetes_sets_for_a_service_of_our_name_is_no_key() {
    for (name, value) in [
        ("PORTCULLIS_CONFIG", "x"),
        ("PORTCULLIS_ADMIN", "127.0.0.1:9911"),
        ("PORTCULLIS_SERVICE_HOST", "10.0.0.1"),
        ("PORTCULLIS_SERVICE_PORT", "80"),
        ("PORTCULLIS_SERVICE_PORT_HTTP", "80"),
        ("PORTCULLIS_PORT", "tcp://10.0.0.1:80"),
        ("PORTCULLIS_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("PORTCULLIS_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("PORTCULLIS_ADMIN_SERVICE_HOST", "10.0.0.1"),
        ("PORTCULLIS_ADMIN_PORT_9911_TCP_PROTO", "tcp"),
        ("HOME", "/"),
    ] {
        assert!(!overrides(name, Some(value)), "{name}");
    }
    for name in
        ["PORTCULLIS_LISTEN", "PORTCULLIS_SUPPORT_1", "PORTCULLIS_PORT", "PORTCULLIS_", "PORTCULLIS_ADMIN__LISTEN"]
    {
        assert!(overrides(name, Some("1")), "{name}");
    }
}
