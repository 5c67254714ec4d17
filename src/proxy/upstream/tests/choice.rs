//! Which server is next, and how many requests may be under way.

use super::*;

#[test]
fn servers_take_turns() {
    let upstream = upstream(spec(THREE));
    let order: Vec<_> = (0..6).map(|_| address(&upstream.open().unwrap()).to_string()).collect();
    assert_eq!(order[..3], ["10.0.0.1:80", "10.0.0.2:80", "[::1]:80"]);
    assert_eq!(order[..3], order[3..]);
}

#[test]
fn the_least_busy_server_is_next() {
    let upstream = upstream(UpstreamSpec { balance: Balance::LeastBusy, ..spec(THREE) });
    let mut held: Vec<_> = (0..6).map(|_| upstream.open().unwrap()).collect();
    for place in 0..3 {
        let at = upstream.endpoints.load()[place].address;
        assert_eq!(held.iter().filter(|picked| address(picked) == at).count(), 2, "{at}");
    }
    let freed = address(&held.remove(4));
    for _ in 0..5 {
        assert_eq!(address(&upstream.open().unwrap()), freed);
    }
    drop(held);
    assert_eq!(picks(&upstream, 30).values().collect::<Vec<_>>(), [&10, &10, &10]);
}

#[test]
fn a_server_that_takes_no_connections_is_passed_over_and_shared_out_evenly() {
    let upstream = upstream(spec(THREE));
    upstream.open().unwrap().connect_failed();
    let counts = picks(&upstream, 30);
    assert_eq!(counts, BTreeMap::from([("10.0.0.2:80".to_owned(), 15), ("[::1]:80".to_owned(), 15)]));
}

#[test]
fn when_none_takes_connections_all_are_tried_still() {
    let upstream = upstream(spec(&THREE[..2]));
    (0..2).for_each(|_| upstream.open().unwrap().connect_failed());
    assert_eq!(picks(&upstream, 4).len(), 2);
}

#[test]
fn another_attempt_goes_to_another_server_if_one_is_able() {
    let three = upstream(spec(THREE));
    for _ in 0..6 {
        let mut picked = three.open().unwrap();
        picked.begin_attempt();
        let first = address(&picked);
        picked.begin_attempt();
        assert_ne!(address(&picked), first);
    }
    let alone = upstream(spec(&THREE[..1]));
    let mut picked = alone.open().unwrap();
    picked.begin_attempt();
    picked.connect_failed();
    picked.begin_attempt();
    assert_eq!(address(&picked), alone.endpoints.load()[0].address, "there is no other");
}

#[test]
fn attempts_are_counted() {
    for retries in [0, 1, RETRIES_MAX] {
        let upstream = upstream(UpstreamSpec { retries, ..spec(THREE) });
        let mut picked = upstream.open().unwrap();
        let mut attempts = 0;
        while picked.has_attempts_left() {
            picked.begin_attempt();
            attempts += 1;
        }
        assert_eq!(attempts, 1 + retries);
    }
}

#[test]
fn requests_under_way_are_bounded_and_counted_whatever_becomes_of_them() {
    let upstream = upstream(UpstreamSpec { requests_max: Some(2), balance: Balance::LeastBusy, ..spec(THREE) });
    let (mut one, two) = (upstream.open().unwrap(), upstream.open().unwrap());
    assert_eq!(upstream.open().err(), Some(Unavailable::Busy));
    one.begin_attempt();
    one.begin_attempt();
    assert_eq!(upstream.under_way(), 2, "a request with two attempts is one request");
    drop(two);
    drop(upstream.open().unwrap());
    drop(one);
    assert_eq!(upstream.under_way(), 0);
    assert!(upstream.endpoints.load().iter().all(|endpoint| endpoint.busy() == 0));
}

#[test]
fn who_finds_no_server_is_not_under_way() {
    let upstream = upstream(spec(&THREE[..1]));
    take_down(&upstream, 0);
    assert_eq!(upstream.open().err(), Some(Unavailable::Down));
    assert_eq!(upstream.under_way(), 0);
}
