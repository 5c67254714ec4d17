//! What a new configuration takes over from the one before.

use super::peers::Authority;
use super::*;

fn upstreams(specs: &[UpstreamSpec]) -> Upstreams {
    Upstreams::new(specs.to_vec(), None, |_, _| ()).unwrap()
}

fn renewed(previous: &Upstreams, specs: &[UpstreamSpec]) -> Upstreams {
    Upstreams::new(specs.to_vec(), Some(previous), |_, _| ()).unwrap()
}

fn named(name: &str, servers: &[(&str, u16)]) -> UpstreamSpec {
    UpstreamSpec { name: name.to_owned(), ..spec(servers) }
}

#[test]
fn what_did_not_change_is_the_same_in_another_place_too() {
    let (one, two) = (named("one", THREE), named("two", &THREE[..1]));
    let before = upstreams(&[one.clone(), two.clone()]);
    let _under_way = before.get(0).unwrap().open().unwrap();
    let after = renewed(&before, &[two, one]);
    assert!(Arc::ptr_eq(after.get(0).unwrap(), before.get(1).unwrap()));
    assert_eq!(after.get(1).unwrap().under_way(), 1);
}

#[test]
fn what_changed_keeps_what_is_known_of_its_servers() {
    let before = upstreams(&[named("one", &THREE[..2])]);
    let under_way = before.get(0).unwrap().open().unwrap();
    under_way.connect_failed();
    let retries = 3;
    // In another order, and with one more.
    let servers = [THREE[2], THREE[1], THREE[0]];
    let after = renewed(&before, &[UpstreamSpec { retries, ..named("one", &servers) }]);
    let one = after.get(0).unwrap();
    assert!(!Arc::ptr_eq(one, before.get(0).unwrap()));
    assert_eq!(one.under_way(), 1);
    drop(under_way);
    assert_eq!(one.under_way(), 0, "who began before counts until its end");
    assert_eq!(picks(one, 6).keys().collect::<Vec<_>>(), ["10.0.0.2:80", "[::1]:80"]);
    assert_eq!(one.open().unwrap().group_key, before.get(0).unwrap().open().unwrap().group_key, "connections are kept");
}

#[test]
fn a_name_that_was_resolved_is_there_at_once_and_a_server_that_is_gone_is_not() {
    let before = upstreams(&[named("one", &[("app.invalid", 80), ("10.0.0.9", 80)])]);
    let known = vec![(0, "10.0.0.7:80".parse().unwrap()), (1, "10.0.0.9:80".parse().unwrap())];
    before.get(0).unwrap().use_addresses(&known);
    let after = renewed(&before, &[named("one", &[("10.0.0.8", 80), ("app.invalid", 80)])]);
    assert_eq!(picks(after.get(0).unwrap(), 4).keys().collect::<Vec<_>>(), ["10.0.0.7:80", "10.0.0.8:80"]);
}

#[test]
fn another_upstream_of_the_same_servers_takes_nothing_over() {
    let before = upstreams(&[named("one", &THREE[..1])]);
    let after = renewed(&before, &[named("other", &THREE[..1])]);
    assert!(!Arc::ptr_eq(after.get(0).unwrap(), before.get(0).unwrap()));
    assert_ne!(after.get(0).unwrap().open().unwrap().group_key, before.get(0).unwrap().open().unwrap().group_key);
}

#[test]
fn files_that_hold_something_else_are_a_change_and_files_that_cannot_be_read_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &Authority::new().pem).unwrap();
    let server = ServerSpec { host: "10.0.0.1".to_owned(), port: 443, tls: true };
    let tls = UpstreamSpec { servers: vec![server], ca_file: Some(ca.clone()), ..spec(&[]) };
    let before = upstreams(std::slice::from_ref(&tls));
    let same = renewed(&before, std::slice::from_ref(&tls));
    assert!(Arc::ptr_eq(same.get(0).unwrap(), before.get(0).unwrap()));

    std::fs::write(&ca, &Authority::new().pem).unwrap();
    let after = renewed(&before, std::slice::from_ref(&tls));
    let key = |upstreams: &Upstreams| upstreams.get(0).unwrap().open().unwrap().group_key;
    assert_ne!(key(&after), key(&before), "connections that other certificates vouched for are not used");

    std::fs::remove_file(&ca).unwrap();
    assert!(Upstreams::new([tls], Some(&before), |_, _| ()).is_err());
}
