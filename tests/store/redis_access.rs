//! How Redis is reached: TLS, user and password, database, key prefix; and what is said when it cannot be.

use std::time::Duration;

use portcullis::store::StoreError;
use portcullis::store::redis::{Password, RedisOptions, RedisOptionsError};

use crate::redis_server::cluster::RedisCluster;
use crate::redis_server::{Options, RedisServer};
use crate::support::{cluster_options, new_id, open_epoch, redis_options, redis_proxy_with, until, within};

fn protected() -> RedisServer {
    let user = Some(("gate".to_owned(), "correct horse".replace(' ', "-")));
    RedisServer::start_with(Options { tls: true, user, ..Options::default() })
}

fn options(server: &RedisServer) -> RedisOptions {
    RedisOptions {
        url: format!("{}/3", server.url()),
        username: Some("gate".to_owned()),
        password: Some(Password::Fixed("correct-horse".into())),
        key_prefix: "other:".to_owned(),
        ca_file: Some(server.ca_file()),
        ..redis_options(server)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_with_user_password_database_and_prefix() {
    let server = protected();
    let proxy = redis_proxy_with(&options(&server));
    until("the new store is open", async || proxy.age().is_some()).await;
    let session = proxy.begin("demo").await;
    proxy.end(&session.id).await.unwrap();

    let mut connection = server.connection();
    let everywhere: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    assert_eq!(everywhere, Vec::<String>::new(), "nothing is in the default database");
    redis::cmd("SELECT").arg(3).exec(&mut connection).unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    let expected = format!("other:{{{:02}}}:s:{}", session.id.partition(), session.id);
    assert!(keys.contains(&expected), "{keys:?}");
    assert!(keys.iter().all(|key| key.starts_with("other:{")), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_and_password_can_be_in_the_url() {
    let server =
        RedisServer::start_with(Options { user: Some(("gate".to_owned(), "p%40ss".to_owned())), ..Options::default() });
    let url = format!("redis://gate:p%2540ss@localhost:{}", server.port());
    let proxy = redis_proxy_with(&RedisOptions { url, ..redis_options(&server) });
    until("the new store is open", async || proxy.age().is_some()).await;
    proxy.begin("demo").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_or_certificate_opens_nothing_and_tells_no_secret() {
    let server = protected();
    let impostor = protected();
    let good = options(&server);
    let wrong = [
        RedisOptions { password: Some(Password::Fixed("battery-staple".into())), ..good.clone() },
        RedisOptions { username: None, password: None, ..good.clone() },
        RedisOptions { ca_file: Some(impostor.ca_file()), ..good.clone() },
        RedisOptions { ca_file: None, ..good.clone() },
        RedisOptions { url: format!("redis://localhost:{}", server.port()), ca_file: None, ..good.clone() },
    ];
    for options in wrong {
        assert!(!format!("{options:?}").contains("staple"), "{options:?}");
        let proxy = redis_proxy_with(&options);
        // Time for a few tries.
        until("it has tried", async || proxy.observed.requests.lock().unwrap().len() >= 3).await;
        assert_eq!(proxy.age(), None);
        match proxy.sessions.get(&new_id("demo")).await {
            Err(StoreError::Unavailable(why)) => assert!(!why.contains("staple"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_in_a_file_changes_without_a_restart() {
    // A user of the test's own, who stays.
    let root = Some(("root".to_owned(), "root".to_owned()));
    let server = RedisServer::start_with(Options { user: root, ..Options::default() });
    open_epoch(&server);
    let change = |password: &str| -> () {
        let password = format!(">{password}");
        server.command(&["ACL", "SETUSER", "gate", "on", "resetpass", &password, "~*", "&*", "+@all"])
    };
    let cut = || -> i64 { server.command(&["CLIENT", "KILL", "USER", "gate"]) };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "first\n").unwrap();
    change("first");
    let proxy = redis_proxy_with(&RedisOptions {
        username: Some("gate".to_owned()),
        password: Some(Password::File(file.clone())),
        ..redis_options(&server)
    });
    until("it has read the store", async || proxy.age().is_some()).await;
    let session = proxy.begin("demo").await;

    // The file first, as one would: connections that stand do not mind.
    std::fs::write(&file, "second\r\n").unwrap();
    change("second");
    assert!(cut() >= 2);
    assert_eq!(proxy.sessions.get(&session.id).await.unwrap().unwrap().session, session);
    until("it is followed", async || proxy.age().is_some_and(|age| age < Duration::from_millis(500))).await;

    // The server first: refused until the file says it too, and then well again by itself.
    change("third");
    cut();
    let refused = proxy.sessions.get(&session.id).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if !why.contains("second")), "{refused:?}");
    for missing in [None, Some("")] {
        match missing {
            None => std::fs::remove_file(&file).unwrap(),
            Some(text) => std::fs::write(&file, text).unwrap(),
        }
        match proxy.sessions.get(&session.id).await {
            Err(StoreError::Unavailable(why)) => assert!(why.contains("the password file"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    std::fs::write(&file, "third").unwrap();
    within(Duration::from_secs(2), "calls work", async || proxy.sessions.get(&session.id).await.is_ok()).await;
    within(Duration::from_secs(2), "logouts work", async || proxy.end(&session.id).await.is_ok()).await;
    until("it is followed", async || proxy.age().is_some_and(|age| age < Duration::from_millis(500))).await;
}

#[tokio::test]
async fn options_that_cannot_work_are_refused_at_once() {
    let server = RedisServer::start_with(Options { tls: true, ..Options::default() });
    let good = RedisOptions { ca_file: Some(server.ca_file()), ..redis_options(&server) };
    let refusal = |options: RedisOptions| {
        let mirror = std::sync::Arc::default();
        let observe = std::sync::Arc::<crate::support::Observed>::default();
        portcullis::store::redis::Redis::new(&options, mirror, crate::support::ACCESS_TAIL, observe).err()
    };
    assert!(refusal(good.clone()).is_none());

    let url = |url: &str| refusal(RedisOptions { url: url.to_owned(), ca_file: None, ..good.clone() });
    for nonsense in ["", "localhost", "http://localhost", "redis://", "redis://localhost:99999", "redis://localhost/x"]
    {
        let error = url(nonsense);
        assert!(matches!(error, Some(RedisOptionsError::Url(_))), "{nonsense}: {error:?}");
    }
    let error = url("redis://gate:secret@localhost:notaport").unwrap().to_string();
    assert!(!error.contains("secret") && error.contains("redis://host:6379/0"), "{error}");

    let prefixed = refusal(RedisOptions { key_prefix: "{all}:".to_owned(), ..good.clone() });
    assert!(matches!(prefixed, Some(RedisOptionsError::KeyPrefix)));
    let plain = refusal(RedisOptions { url: "redis://localhost".to_owned(), ..good.clone() });
    assert!(matches!(plain, Some(RedisOptionsError::CaWithoutTls)));
    for file in ["/nowhere/ca.pem", "/dev/null"] {
        let error = refusal(RedisOptions { ca_file: Some(file.into()), ..good.clone() });
        assert!(matches!(&error, Some(RedisOptionsError::CaFile { .. })), "{file}: {error:?}");
        assert!(error.unwrap().to_string().contains(file));
    }
}

/// The line in the README that makes a user with few rights, in words.
fn user_of_the_readme(password: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let line = readme.lines().find_map(|line| line.trim().strip_prefix("ACL SETUSER portcullis ")).unwrap();
    let line = line.replace(">PASSWORD", &format!("resetpass >{password}"));
    ["ACL", "SETUSER", "portcullis"].into_iter().chain(line.split(' ')).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_over_tls_with_few_rights_and_a_password_that_changes() {
    let root = Some(("root".to_owned(), "root".to_owned()));
    let options = Options { tls: true, user: root, cluster_node_timeout: Some(15_000), ..Options::default() };
    let cluster = RedisCluster::start(false, &options);
    let change = |password: &str| {
        let mut words = user_of_the_readme(password);
        words.push("+cluster|nodes".to_owned());
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        for node in &cluster.nodes {
            node.command::<()>(&words);
            node.command::<i64>(&["CLIENT", "KILL", "USER", "portcullis"]);
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "first\n").unwrap();
    change("first");
    let options = RedisOptions {
        url: "rediss://named-by-the-cluster:1".to_owned(),
        username: Some("portcullis".to_owned()),
        password: Some(Password::File(file.clone())),
        ca_file: Some(cluster.nodes[0].ca_file()),
        ..cluster_options(&cluster)
    };
    // A new store: nobody has opened it.
    let [one, other] = [redis_proxy_with(&options), redis_proxy_with(&options)];
    until("both are open", async || one.age().is_some() && other.age().is_some()).await;
    let session = one.begin("demo").await;

    std::fs::write(&file, "second\n").unwrap();
    change("second");
    let ended = async || one.end(&session.id).await.is_ok();
    within(Duration::from_secs(2), "logouts work with the new one", ended).await;
    until("the other hears of it", async || other.lists(&session.id)).await;
    assert_eq!(other.sessions.sessions_of("demo").await.unwrap(), []);
    let page = other.sessions.list(None).await.unwrap();
    assert!(page.next.is_some(), "there are more partitions");
    for node in &cluster.nodes {
        let log: Vec<redis::Value> = node.command(&["ACL", "LOG"]);
        let log = format!("{log:?}");
        assert!(!log.contains("command"), "the rights are enough: {log}");
    }
}
