//! The key file on a real file system, and rotation with a clock that can be set.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use tempfile::TempDir;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.jwks");
    (folder, path)
}

fn names_in(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn rotation(which: Which) -> Rotation {
    Rotation { which, at_once: false, algorithm: None, access_lifetime: HOUR / 4, session_lifetime: 30 * DAY }
}

fn statuses(set: &PrivateJwkSet, of: KeyUse) -> Vec<KeyStatus> {
    set.keys.iter().filter(|key| key.r#use == of).map(|key| key.status).collect()
}

#[test]
fn what_is_made_can_be_read_by_its_owner_alone() {
    for algorithm in Algorithm::ALL {
        let (folder, path) = folder();
        let made = create(&path, algorithm).unwrap();
        let loaded = load(&path).unwrap();
        assert!(made.key_ids().eq(loaded.key_ids()));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(names_in(&folder), ["keys.jwks"], "nothing is left beside it");
        let listed = list(&path).unwrap();
        assert_eq!(listed[0].algorithm, algorithm);
        assert_eq!((listed[0].r#use, listed[1].r#use), (KeyUse::Sig, KeyUse::Refresh));
        assert!(listed[0].age.unwrap() < HOUR);
    }
}

#[test]
fn a_file_that_others_can_use_is_refused() {
    let (_folder, path) = folder();
    create(&path, Algorithm::EdDsa).unwrap();
    for bit in [0o020, 0o010, 0o004, 0o002, 0o001] {
        fs::set_permissions(&path, Permissions::from_mode(0o600 | bit)).unwrap();
        let error = load(&path).unwrap_err();
        assert!(matches!(error, KeysError::Exposed { .. }), "{bit:o}");
        assert!(error.to_string().contains(&format!("chmod 600 {}", path.display())), "{error}");
        assert!(rotate(&path, &rotation(Which::All)).is_err(), "{bit:o}");
    }
    for mode in [0o400, 0o440, 0o640] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert!(load(&path).is_ok(), "{mode:o}");
    }
}

#[test]
fn errors_say_what_to_do() {
    let (folder, path) = folder();
    let missing = load(&path).unwrap_err().to_string();
    assert!(missing.contains(&format!("portcullis keys new --file {}", path.display())), "{missing}");
    assert!(rotate(&path, &rotation(Which::All)).unwrap_err().to_string().contains("portcullis keys new"));
    assert!(load(folder.path()).unwrap_err().to_string().contains("not a regular file"));

    fs::write(&path, r#"{"keys":[{"kty":"oct","k":"topsecret","#).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let broken = load(&path).unwrap_err().to_string();
    assert!(broken.contains("line 1") && !broken.contains("topsecret"), "{broken}");
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let (folder, path) = folder();
    for content in ["", "something else"] {
        fs::write(&path, content).unwrap();
        assert!(matches!(create(&path, Algorithm::EdDsa), Err(KeysError::Exists { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    fs::remove_file(&path).unwrap();
    symlink(folder.path().join("elsewhere"), &path).unwrap();
    assert!(matches!(create(&path, Algorithm::EdDsa), Err(KeysError::Exists { .. })), "a dangling link");
    assert_eq!(names_in(&folder), ["keys.jwks"]);
}

#[test]
fn of_many_that_make_it_at_once_all_have_the_same_keys() {
    let (folder, path) = folder();
    let ids = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| load_or_create(&path, Algorithm::EdDsa).unwrap().signing_key_id().clone()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(names_in(&folder), ["keys.jwks"]);
}

#[test]
fn of_many_rotations_at_once_each_sees_the_one_before() {
    let (_folder, path) = folder();
    create(&path, Algorithm::EdDsa).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| rotate(&path, &Rotation { at_once: true, ..rotation(Which::Sig) }).unwrap());
        }
        // Whoever reads meanwhile reads a whole file.
        scope.spawn(|| (0..200).for_each(|_| assert!(load(&path).is_ok())));
    });
    assert_eq!(list(&path).unwrap().len(), 2 + 8);
}

#[test]
fn a_failed_rotation_leaves_the_file_as_it_was() {
    let (folder, path) = folder();
    create(&path, Algorithm::EdDsa).unwrap();
    let spoiled = fs::read_to_string(&path).unwrap().replace("\"active\"", "\"retired\"");
    fs::write(&path, &spoiled).unwrap();
    assert!(matches!(rotate(&path, &rotation(Which::All)), Err(KeysError::Unusable { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), spoiled);
    assert_eq!(names_in(&folder), ["keys.jwks"]);
}

#[test]
fn a_link_a_mode_and_an_owner_survive_a_rotation() {
    let (folder, path) = folder();
    create(&path, Algorithm::EdDsa).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    let link = folder.path().join("link");
    symlink(&path, &link).unwrap();
    // Only root can give a file away; whoever else runs this checks that it stays theirs.
    let _ = chown(&path, Some(65_534), Some(65_534));
    let owner = fs::metadata(&path).unwrap().uid();
    rotate(&link, &rotation(Which::All)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().uid(), owner);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o400);
    assert_eq!(list(&path).unwrap().len(), 4);
}

#[test]
fn rotates_in_two_steps_and_then_forgets() {
    use KeyStatus::{Active, Next, Retired};
    let mut set = new_set(Algorithm::Es256, NOW).unwrap();
    let rotation = rotation(Which::All);
    let mut step = |now: Timestamp| {
        let changes = rotation.apply(&mut set, now).unwrap();
        KeySet::from_jwks(&set.keys).unwrap();
        assert!(set.keys.iter().all(|key| key.r#use == KeyUse::Refresh || key.alg == Some(Algorithm::Es256)));
        (changes.len(), statuses(&set, KeyUse::Sig), statuses(&set, KeyUse::Refresh))
    };
    assert_eq!(step(NOW), (2, vec![Active, Next], vec![Active, Next]));
    assert_eq!(step(NOW), (4, vec![Retired, Active], vec![Retired, Active]));
    // Retired at NOW. A signing key outlives that by the access lifetime and a day, a refresh key by a session's.
    let signing_gone = NOW.plus(HOUR / 4).plus(DAY);
    assert_eq!(step(signing_gone), (2, vec![Retired, Active, Next], vec![Retired, Active, Next]));
    let later = signing_gone.plus(Duration::from_secs(1));
    assert_eq!(step(later), (5, vec![Retired, Active], vec![Retired, Retired, Active]));
    let refresh_gone = NOW.plus(31 * DAY).plus(Duration::from_secs(1));
    assert_eq!(step(refresh_gone), (4, vec![Active, Next], vec![Retired, Active, Next]));
}

#[test]
fn both_steps_at_once() {
    use KeyStatus::{Active, Next, Retired};
    let mut set = new_set(Algorithm::EdDsa, NOW).unwrap();
    let at_once = Rotation { at_once: true, algorithm: Some(Algorithm::Hs256), ..rotation(Which::Sig) };
    at_once.apply(&mut set, NOW).unwrap();
    assert_eq!(statuses(&set, KeyUse::Sig), [Retired, Active]);
    assert_eq!(statuses(&set, KeyUse::Refresh), [Active], "only what was asked for");
    assert_eq!(set.keys[2].alg, Some(Algorithm::Hs256));

    // A key that waits already is used up first.
    rotation(Which::Refresh).apply(&mut set, NOW).unwrap();
    assert_eq!(statuses(&set, KeyUse::Refresh), [Active, Next]);
    Rotation { at_once: true, ..rotation(Which::Refresh) }.apply(&mut set, NOW).unwrap();
    assert_eq!(statuses(&set, KeyUse::Refresh), [Retired, Active]);
}

#[test]
fn a_refresh_key_outlives_every_session_it_served() {
    let mut set = new_set(Algorithm::EdDsa, NOW).unwrap();
    let first = KeySet::from_jwks(&set.keys).unwrap().mac_key_id().clone();
    // The key is retired right after a login, and somebody rotates every hour.
    let hourly = Rotation { at_once: true, ..rotation(Which::Refresh) };
    for hour in 0..32 * 24 {
        hourly.apply(&mut set, NOW.plus(HOUR * hour)).unwrap();
        let known = KeySet::from_jwks(&set.keys).unwrap().key_ids().any(|id| *id == first);
        assert_eq!(known, hour <= 31 * 24, "hour {hour}");
    }
}

#[test]
fn keys_without_an_id_or_a_date_get_one_and_stay() {
    let mut set = new_set(Algorithm::EdDsa, NOW).unwrap();
    let mut undated = new_key(KeyUse::Sig, Algorithm::EdDsa, NOW).unwrap();
    undated.status = KeyStatus::Retired;
    undated.kid = None;
    undated.iat = None;
    set.keys.push(undated);
    rotation(Which::All).apply(&mut set, NOW.plus(1000 * DAY)).unwrap();
    assert!(set.keys.iter().all(|key| key.kid.is_some()));
    assert!(statuses(&set, KeyUse::Sig).contains(&KeyStatus::Retired));
}

#[test]
fn ephemeral_keys_are_new_each_time() {
    let (one, other) = (ephemeral(Algorithm::EdDsa).unwrap(), ephemeral(Algorithm::EdDsa).unwrap());
    assert!(one.key_ids().all(|id| other.key_ids().all(|other| id != other)));
}
