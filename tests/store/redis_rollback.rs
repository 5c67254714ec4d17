//! Redis comes back with an older memory: what the proxies hold is put back into it, and what it says meanwhile is not believed.

use std::time::{Duration, Instant};

use portcullis::session::{Outcome, Session};
use portcullis::time::Timestamp;

use crate::redis_copies::{is_refused, known, refresh, rotated_to, server_and_proxies};
use crate::redis_server::{Options, RedisServer};
use crate::support::{ACCESS_TAIL, Proxy, copying_proxy, open_epoch, redis_proxy, until};

/// Saves a snapshot.
fn save(server: &RedisServer) -> Vec<u8> {
    let _: () = server.command(&["SAVE"]);
    std::fs::read(server.folder().join("dump.rdb")).unwrap()
}

/// Redis comes back with what it had when `snapshot` was saved.
fn roll_back(server: &mut RedisServer, snapshot: &[u8]) {
    server.kill();
    std::fs::write(server.folder().join("dump.rdb"), snapshot).unwrap();
    server.start_again();
}

struct Story {
    logged_out: Session,
    rotated: Session,
    began_later: Session,
}

/// What happens after the snapshot: a logout, two rotations, a login.
async fn snapshot_and_story(server: &RedisServer, proxy: &Proxy) -> (Vec<u8>, Story) {
    let [logged_out, rotated] = [proxy.begin("demo").await, proxy.begin("demo").await];
    let snapshot = save(server);
    proxy.end(&logged_out.id).await.unwrap();
    assert_eq!(rotated_to(refresh(proxy, &rotated.id, 0).await), 1);
    let began_later = proxy.begin("demo").await;
    (snapshot, Story { logged_out, rotated, began_later })
}

impl Story {
    async fn still_holds_at(&self, proxy: &Proxy) {
        assert!(is_refused(&refresh(proxy, &self.logged_out.id, 0).await), "the logout after the snapshot holds");
        // Until the store is healed, a proxy without a copy believes the token and rotates.
        let current = refresh(proxy, &self.rotated.id, 1).await;
        let holds = matches!(current, Outcome::Kept { .. } | Outcome::Rotated { .. } | Outcome::Retried { .. });
        assert!(holds, "the rotation after the snapshot holds: {current:?}");
        assert!(known(proxy, &self.rotated.id).await.is_some_and(|session| session.generation >= 1));
        until("the login holds", async || known(proxy, &self.began_later.id).await.is_some()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_rolled_back_forgets_nothing() {
    let (mut server, _folders, [here, there]) = server_and_proxies().await;
    let (snapshot, story) = snapshot_and_story(&server, &here).await;
    until("the other proxy has heard of the logout", async || there.lists(&story.logged_out.id)).await;
    roll_back(&mut server, &snapshot);
    // At the proxy that knows nothing of it but the logout.
    story.still_holds_at(&there).await;
    story.still_holds_at(&here).await;
    let new = redis_proxy(&server);
    until("it has read the store", async || new.age().is_some()).await;
    assert!(new.sessions.get(&story.logged_out.id).await.unwrap().unwrap().session.ended.is_some(), "it is healed");
    assert!(new.lists(&story.logged_out.id));
    // And all goes on.
    new.end(&story.rotated.id).await.unwrap();
    until("logouts are heard", async || here.lists(&story.rotated.id) && there.lists(&story.rotated.id)).await;
}

/// What the epoch of the session's partition is.
fn epoch_of(server: &RedisServer, session: &Session) -> Option<String> {
    server.command(&["GET", &format!("portcullis:{{{:02}}}:epoch", session.id.partition())])
}

fn record_of(server: &RedisServer, session: &Session) -> String {
    let key = format!("portcullis:{{{:02}}}:s:{}", session.id.partition(), session.id);
    server.command::<Option<String>>(&["GET", &key]).unwrap_or_default()
}

/// The streams tell it, though the server is another one as well: nobody is served from it before all have had their time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_closes_the_store() {
    let (mut server, _folders, [here]) = server_and_proxies().await;
    let (snapshot, story) = snapshot_and_story(&server, &here).await;
    roll_back(&mut server, &snapshot);
    let began = Instant::now();
    loop {
        // Never what the snapshot says.
        let ended = here.sessions.get(&story.logged_out.id).await;
        assert!(!matches!(&ended, Ok(Some(stored)) if stored.session.ended.is_none()), "{ended:?}");
        let open = epoch_of(&server, &story.logged_out).is_some_and(|it| it != "before" && !it.starts_with("closed"));
        if open && ended.is_ok() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(15), "still {ended:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    story.still_holds_at(&here).await;
}

/// A write was lost without a trace in the stream. That the server is another one has the copies compared all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_restart_lost_without_a_gap_is_given_back() {
    let mut server = RedisServer::start_with(Options { durable: true, ..Options::default() });
    open_epoch(&server);
    let folder = tempfile::tempdir().unwrap();
    let here = copying_proxy(&server, folder.path());
    until("it has read the store", async || here.age().is_some()).await;
    let [session, gone] = [here.begin("demo").await, here.begin("demo").await];
    let before = record_of(&server, &session);
    assert_eq!(rotated_to(refresh(&here, &session.id, 0).await), 1);

    let key = |session: &Session| format!("portcullis:{{{:02}}}:s:{}", session.id.partition(), session.id);
    let _: () = server.command(&["SET", &key(&session), &before]);
    let _: i64 = server.command(&["DEL", &key(&gone)]);
    assert_eq!(record_of(&server, &session), before, "nobody notices that");
    server.kill();
    server.start_again();
    until("both are back, and nobody has asked for them", async || {
        record_of(&server, &session).contains("\"generation\":1") && !record_of(&server, &gone).is_empty()
    })
    .await;
    assert_eq!(epoch_of(&server, &session).as_deref(), Some("before"), "the streams had no gap");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn protected_routes_are_served_on_while_a_rollback_is_healed() {
    let (mut server, _folders, [here, there]) = server_and_proxies().await;
    let (snapshot, story) = snapshot_and_story(&server, &here).await;
    until("the other one has heard of the logout", async || there.lists(&story.logged_out.id)).await;
    roll_back(&mut server, &snapshot);
    until("it has been healed", async || {
        for proxy in [&here, &there] {
            let is_known = proxy.age().is_some_and(|age| age < Duration::from_secs(10));
            assert!(is_known, "what the mirror holds is still right, whoever was first to notice");
            assert!(proxy.lists(&story.logged_out.id));
        }
        let record = |session: &Session| -> String {
            let key = format!("portcullis:{{{:02}}}:s:{}", session.id.partition(), session.id);
            server.command::<Option<String>>(&["GET", &key]).unwrap_or_default()
        };
        record(&story.logged_out).contains("ended")
            && record(&story.rotated).contains("\"generation\":1")
            && !record(&story.began_later).is_empty()
    })
    .await;
    story.still_holds_at(&here).await;
}

/// The proxy was gone while Redis was rolled back: only its file remembers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_starts_on_a_store_that_was_rolled_back_heals_it() {
    let (mut server, folders, [here]) = server_and_proxies().await;
    let (snapshot, story) = snapshot_and_story(&server, &here).await;
    drop(here);
    roll_back(&mut server, &snapshot);
    let here = copying_proxy(&server, folders[0].path());
    story.still_holds_at(&here).await;
}

/// A logout of long ago is in no stream and in no mirror.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_that_is_long_past_survives_a_rollback_at_every_proxy() {
    let (mut server, folders, [here, there]) = server_and_proxies().await;
    let session = here.begin("demo").await;
    let snapshot = save(&server);
    let stored = here.sessions.get(&session.id).await.unwrap().unwrap();
    here.sessions
        .commit(Some(&stored), &session.end(Timestamp::now(), portcullis::session::EndReason::Logout))
        .await
        .map(drop)
        .unwrap();
    until("the other proxy has heard of the logout", async || there.lists(&session.id)).await;
    // The proxy that logged out is lost with its disk, and the other one has heard of it.
    drop((here, there));
    roll_back(&mut server, &snapshot);
    let there = copying_proxy(&server, folders[1].path());
    there.mirror.revocations.remove_expired(Timestamp::now().plus(2 * ACCESS_TAIL));
    assert!(!there.lists(&session.id));
    assert!(is_refused(&refresh(&there, &session.id, 0).await));
}
