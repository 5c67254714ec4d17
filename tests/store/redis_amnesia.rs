//! A store that has lost its memory, or never had one: nothing is served until what the proxies hold is merged back.

use std::time::{Duration, Instant};

use portcullis::session::SessionId;
use portcullis::store::StoreError;

use crate::redis_server::{Options, RedisServer};
use crate::support::{begin, open_epoch, redis_proxy, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_store_opens_once_and_for_all_proxies() {
    let server = RedisServer::start();
    let [here, there] = [redis_proxy(&server), redis_proxy(&server)];
    let id = crate::support::new_id("demo");
    until("it is waited for other proxies", async || matches!(here.sessions.get(&id).await, Err(StoreError::Amnesia)))
        .await;
    assert_eq!((here.age(), there.age()), (None, None));

    until("the store is open", async || here.age().is_some() && there.age().is_some()).await;
    let session = here.begin("demo").await;
    assert_eq!(there.sessions.get(&session.id).await.unwrap().unwrap().session, session);
    there.end(&session.id).await.unwrap();
    until("the logout is heard", async || here.lists(&session.id)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_emptied_opens_only_with_the_revocations_in_it() {
    let server = RedisServer::start();
    open_epoch(&server);
    let old = redis_proxy(&server);
    until("it has read the store", async || old.age().is_some()).await;
    let mut ended = Vec::new();
    for number in 0..300 {
        let session = old.begin(&format!("user{number}")).await;
        old.end(&session.id).await.unwrap();
        ended.push(session.id);
    }
    let living = old.begin("demo").await;

    // Whoever asks first finds out, whatever is asked and in whichever partition: nothing is taken for an empty store.
    let unheard = begin("user3", living.ends_at);
    let partitions = [living.id.partition(), unheard.id.partition(), SessionId::partition_of_subject("user1")];
    assert!(partitions[0] != partitions[1] && partitions[1] != partitions[2] && partitions[0] != partitions[2]);
    let _: () = server.command(&["FLUSHALL"]);
    let [read, committed, listed] = [
        old.sessions.get(&living.id).await.map(drop),
        old.sessions.commit(None, &unheard).await.map(drop),
        old.sessions.sessions_of("user1").await.map(drop),
    ];
    for refused in [read, committed, listed] {
        assert!(matches!(refused, Err(StoreError::Amnesia)), "{refused:?}");
    }
    assert_eq!(old.age(), None, "and from then on nothing counts as known");

    // It has never seen the store as it was: all that it can know is what the other one gives back.
    let new = redis_proxy(&server);
    assert!(ended.iter().all(|id| old.lists(id)), "what is known still holds");

    loop {
        // Freshness first: what is listed after that was listed then.
        let open = new.age().is_some();
        let listed = ended.iter().filter(|id| new.lists(id)).count();
        if open {
            assert_eq!(listed, ended.len(), "access was given before the revocations were back");
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    until("the old proxy goes on as well", async || old.age().is_some()).await;
    assert!(old.sessions.get(&living.id).await.unwrap().is_none(), "session records are lost");
    let again = new.begin("demo").await;
    old.end(&again.id).await.unwrap();
    until("logouts are heard as before", async || new.lists(&again.id)).await;
}

/// Redis restarts empty, and nobody has been connected when it did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_comes_back_empty_is_noticed() {
    let mut server = RedisServer::start();
    open_epoch(&server);
    let proxy = redis_proxy(&server);
    until("it has read the store", async || proxy.age().is_some()).await;
    let session = proxy.begin("demo").await;
    proxy.end(&session.id).await.unwrap();
    server.kill();
    let refused = proxy.sessions.get(&session.id).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    server.start_again();

    loop {
        match proxy.sessions.get(&session.id).await {
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            Ok(None) => break,
            Ok(Some(stored)) => panic!("{stored:?}"),
        }
    }
    let late = redis_proxy(&server);
    until("it has read the store", async || late.age().is_some()).await;
    assert!(late.lists(&session.id), "the store opened without what the proxy held");
}

/// The other proxies were quicker: the store is open again, in an epoch that this one does not know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_missed_the_recovery_gives_back_what_it_holds_and_goes_on() {
    let server = RedisServer::start();
    open_epoch(&server);
    let proxy = redis_proxy(&server);
    until("it has read the store", async || proxy.age().is_some()).await;
    let session = proxy.begin("demo").await;
    proxy.end(&session.id).await.unwrap();

    let mut pipe = redis::pipe();
    pipe.atomic().cmd("FLUSHALL");
    for partition in 0..portcullis::session::PARTITIONS {
        pipe.cmd("SET").arg(format!("portcullis:{{{partition:02}}}:epoch")).arg("after");
    }
    pipe.exec(&mut server.connection()).unwrap();
    let other = redis_proxy(&server);
    until("the other proxy has read the new store", async || other.age().is_some()).await;
    until("it hears of the logout that the store had lost", async || other.lists(&session.id)).await;
    until("the proxy goes on", async || proxy.sessions.get(&session.id).await.is_ok_and(|found| found.is_none())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_saved_goes_on_without_waiting() {
    let mut server = RedisServer::start_with(Options { durable: true, ..Options::default() });
    open_epoch(&server);
    let proxy = redis_proxy(&server);
    until("it has read the store", async || proxy.age().is_some()).await;
    let session = proxy.begin("demo").await;
    let ended = proxy.begin("demo").await;
    proxy.end(&ended.id).await.unwrap();
    server.kill();
    server.start_again();
    loop {
        match proxy.sessions.get(&session.id).await {
            Ok(stored) => break assert_eq!(stored.unwrap().session, session),
            Err(StoreError::Amnesia) => panic!("nothing was lost"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    assert!(proxy.sessions.get(&ended.id).await.unwrap().unwrap().session.ended.is_some());
    proxy.end(&session.id).await.unwrap();
    until("it is fresh again", async || proxy.age().is_some_and(|age| age < Duration::from_secs(2))).await;
}

/// Redis was saved while it waited for the proxies, and comes back with that: since when it waited says nothing then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_in_a_snapshot_is_none() {
    let mut server = RedisServer::start();
    let early = redis_proxy(&server);
    let id = crate::support::new_id("demo");
    let waits = || server.command::<i64>(&["EXISTS", &format!("portcullis:{{{:02}}}:amnesia_since", id.partition())]);
    until("it waits", async || waits() == 1).await;
    let _: () = server.command(&["SAVE"]);
    drop(early);
    // In the run before, the wait would have been over.
    tokio::time::sleep(Duration::from_millis(3200)).await;
    server.kill();
    server.start_again();

    let began = Instant::now();
    let late = redis_proxy(&server);
    until("it is open", async || late.age().is_some()).await;
    assert!(began.elapsed() > Duration::from_millis(2900), "others had {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_store_is_not_listed_as_an_empty_one() {
    let server = RedisServer::start();
    open_epoch(&server);
    let proxy = redis_proxy(&server);
    until("the proxy has read the store", async || proxy.age().is_some()).await;
    proxy.begin("demo").await;
    server.command::<()>(&["FLUSHALL"]);
    // Whether the list or the follower finds out first.
    let listed = proxy.sessions.list(None).await;
    assert!(matches!(listed, Err(StoreError::Amnesia)), "{listed:?}");
}
