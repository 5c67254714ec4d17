//! Whoever is removed is out before asking for anything, also when the store was down at that moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::house::House;
use super::rig::Fault;
use crate::endpoints::Removed;
use crate::session::EndReason;

async fn told_of(house: &House, subjects: &[&str]) {
    let (tell, removed) = Removed::new();
    for subject in subjects {
        tell.send((*subject).to_owned()).await.unwrap();
    }
    drop(tell);
    tokio::time::timeout(Duration::from_secs(30), removed.end_sessions(|| &house.endpoints)).await.unwrap();
}

#[tokio::test]
async fn all_sessions_of_a_removed_user_end_and_nobody_elses() {
    let house = House::new();
    let (own, login) = house.logged_in("demo").await;
    let (phone, _) = house.logged_in("demo").await;
    let (root, root_login) = house.logged_in("root").await;
    house.users.removed.lock().unwrap().push("demo".to_owned());
    house.heard.drain();

    told_of(&house, &["demo"]).await;
    let heard = house.heard.drain();
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(heard.iter().all(|line| line.starts_with("audit subject_removed")), "{heard:?}");
    assert!(house.verify(login.access_token()).is_err());
    for client in [&own, &phone] {
        assert_eq!(house.record_of(client).await.ended.unwrap().reason, EndReason::SubjectRemoved);
        house.second_proxy().refresh(client).await.invalid_grant("subject_removed");
    }
    assert!(house.verify(root_login.access_token()).is_ok());
    assert_eq!(house.refresh(&root).await.status, 200);

    // Another proxy has noticed it as well, and has nothing to tell.
    let other = house.second_proxy();
    told_of(&other, &["demo"]).await;
    assert_eq!(other.heard.drain(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_is_asked_again() {
    let house = House::new();
    let (client, _) = house.logged_in("demo").await;
    house.users.removed.lock().unwrap().push("demo".to_owned());
    let failures = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&failures);
    house.store.script(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0..=4 => Fault::Fail,
        _ => Fault::None,
    });
    told_of(&house, &["demo"]).await;
    assert!(failures.load(Ordering::SeqCst) > 5);
    assert_eq!(house.record_of(&client).await.ended.unwrap().reason, EndReason::SubjectRemoved);
}

#[tokio::test]
async fn whoever_was_put_back_stays() {
    let house = House::new();
    let (client, _) = house.logged_in("demo").await;
    told_of(&house, &["demo"]).await;
    assert_eq!(house.record_of(&client).await.ended, None);
    assert_eq!(house.refresh(&client).await.status, 200);
}
