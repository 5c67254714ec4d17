//! Whole logins, against a real file.

use std::net::IpAddr;
use std::path::Path;
use std::time::Instant;

use secrecy::SecretString;
use tempfile::TempDir;

use super::*;
use crate::login::limits::{Budget, LoginLimits, ThrottleLimits};
use crate::login::users_file;

const HOME: &str = "192.0.2.1";
const ELSEWHERE: &str = "198.51.100.7";

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, &[("demo", "right"), ("ann", "for ann")]);
    folder
}

fn write(folder: &TempDir, users: &[(&str, &str)]) {
    let entry = |(name, password): &(&str, &str)| {
        let hash = bcrypt::hash(password, 4).unwrap();
        format!("{name}:\n  password: {hash}\n  roles: [user]\n  scopes: [read]\n")
    };
    replace(&folder.path().join("users.yaml"), &users.iter().map(entry).collect::<String>());
}

fn replace(path: &Path, text: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, path).unwrap();
}

fn limits() -> LoginLimits {
    let throttle = ThrottleLimits {
        per_address: Budget::new(1000, 3600),
        per_account_and_address: Budget::new(3, 3600),
        per_account: Budget::new(4, 3600),
        familiar: Budget::new(2, 3600),
        ..ThrottleLimits::default()
    };
    LoginLimits { throttle, concurrent_hashes: 2, ..LoginLimits::default() }
}

fn open(folder: &TempDir, limits: LoginLimits) -> Arc<dyn Authenticator> {
    let lasting = Lasting::new(limits.throttle.clone()).unwrap();
    users_file(&folder.path().join("users.yaml"), &limits, &lasting).unwrap()
}

async fn login(
    logins: &Arc<dyn Authenticator>,
    name: &str,
    password: &str,
    from: &str,
) -> Result<Principal, LoginError> {
    let address: IpAddr = from.parse().unwrap();
    let password = SecretString::from(password);
    let credentials = Credentials { username: name.to_owned(), password, address, user_agent: None };
    logins.login(credentials).await.map(|logged_in| logged_in.principal)
}

#[tokio::test]
async fn the_right_password_tells_who_it_is() {
    let folder = folder();
    let logins = open(&folder, limits());
    let demo = login(&logins, "demo", "right", HOME).await.unwrap();
    assert_eq!(
        (demo.subject.as_str(), &*demo.roles, &*demo.scopes),
        ("demo", &["user".into()][..], &["read".into()][..])
    );
    assert_eq!(logins.current("demo").await, Ok(Some(demo)));
    assert_eq!(logins.current("nobody").await, Ok(None));
    for (name, password) in [("demo", "wrong"), ("nobody", "right"), ("demo", ""), ("", "")] {
        assert_eq!(login(&logins, name, password, HOME).await, Err(LoginError::Rejected));
    }
}

#[tokio::test]
async fn a_change_of_the_file_counts_at_once() {
    let folder = folder();
    let logins = open(&folder, limits());
    let path = folder.path().join("users.yaml");
    write(&folder, &[("demo", "other")]);
    assert_eq!(login(&logins, "demo", "right", HOME).await, Err(LoginError::Rejected));
    assert!(login(&logins, "demo", "other", HOME).await.is_ok());
    assert_eq!(logins.current("ann").await, Ok(None));
    replace(&path, "demo: oops");
    for _ in 0..2 {
        assert!(matches!(logins.current("demo").await, Err(LoginError::Unavailable(_))));
        assert!(matches!(login(&logins, "demo", "other", HOME).await, Err(LoginError::Unavailable(_))));
    }
    write(&folder, &[("demo", "third")]);
    assert!(login(&logins, "demo", "third", HOME).await.is_ok());
}

#[tokio::test]
async fn known_and_unknown_accounts_are_throttled_alike() {
    let folder = folder();
    let logins = open(&folder, limits());
    for name in ["demo", "nobody"] {
        for _ in 0..3 {
            assert_eq!(login(&logins, name, "wrong", HOME).await, Err(LoginError::Rejected));
        }
        let Err(LoginError::TooManyAttempts { retry_after_s }) = login(&logins, name, "right", HOME).await else {
            panic!("{name} passes");
        };
        assert!((3590..=3600).contains(&retry_after_s), "{retry_after_s}");
    }
}

#[tokio::test]
async fn an_attack_from_elsewhere_does_not_lock_out_the_victim() {
    let folder = folder();
    let logins = open(&folder, limits());
    assert!(login(&logins, "demo", "right", HOME).await.is_ok());
    let mut rejected = 0;
    for host in 0..20 {
        rejected += usize::from(
            login(&logins, "demo", "wrong", &format!("198.51.100.{host}")).await == Err(LoginError::Rejected),
        );
    }
    assert_eq!(rejected, 4);
    for _ in 0..5 {
        assert!(login(&logins, "demo", "right", HOME).await.is_ok());
    }
}

#[tokio::test]
async fn guesses_in_parallel_are_no_more_than_guesses_in_a_row() {
    let folder = folder();
    let logins = open(&folder, LoginLimits { queued_logins: 100, ..limits() });
    let guesses = (0..50).map(|guess| {
        let logins = Arc::clone(&logins);
        async move { login(&logins, "demo", &format!("guess {guess}"), ELSEWHERE).await }
    });
    let answers = futures::future::join_all(guesses).await;
    let rejected = answers.iter().filter(|answer| **answer == Err(LoginError::Rejected)).count();
    let refused = answers.iter().filter(|answer| matches!(answer, Err(LoginError::TooManyAttempts { .. }))).count();
    assert_eq!((rejected, refused), (3, 47));
}

#[tokio::test]
async fn a_login_that_never_came_to_its_hash_is_not_counted() {
    let folder = folder();
    let logins = open(&folder, LoginLimits { concurrent_hashes: 1, queued_logins: 0, ..limits() });
    // Of two at once one finds the only place taken. That costs it nothing: not one of four attempts is missing after.
    let (mut overloaded, mut rounds) = (0, 0);
    while overloaded == 0 || rounds < 20 {
        rounds += 1;
        assert!(rounds < 10_000, "the test did not reach the bound");
        let both = futures::join!(login(&logins, "ann", "for ann", HOME), login(&logins, "demo", "right", ELSEWHERE));
        for answer in <[_; 2]>::from(both) {
            overloaded += usize::from(answer == Err(LoginError::Overloaded));
            assert!(matches!(answer, Ok(_) | Err(LoginError::Overloaded)), "{answer:?}");
        }
    }
    assert!(login(&logins, "demo", "right", ELSEWHERE).await.is_ok());
}

#[tokio::test]
async fn leaving_early_does_not_hide_a_guess() {
    let folder = folder();
    let slow = bcrypt::hash("right", 10).unwrap();
    let quick = bcrypt::hash("for ann", 4).unwrap();
    let text = format!("demo:\n  password: {slow}\nann:\n  password: {quick}\n");
    replace(&folder.path().join("users.yaml"), &text);
    let logins = open(&folder, LoginLimits { concurrent_hashes: 1, queued_logins: 0, ..limits() });
    for _ in 0..3 {
        let mut guess = Box::pin(login(&logins, "demo", "wrong", ELSEWHERE));
        // Until the hash is under way, which keeps others out; then the client is gone.
        loop {
            assert!(futures::poll!(&mut guess).is_pending());
            if login(&logins, "ann", "for ann", HOME).await == Err(LoginError::Overloaded) {
                break;
            }
        }
        drop(guess);
        while login(&logins, "ann", "for ann", HOME).await == Err(LoginError::Overloaded) {}
    }
    let answer = login(&logins, "demo", "right", ELSEWHERE).await;
    assert!(matches!(answer, Err(LoginError::TooManyAttempts { .. })), "{answer:?}");
}

/// Not a check of speed: prints how long rejecting takes, for the eye. Run with `--ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn measure_rejecting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.yaml");
    let argon2 = || crate::login::password::PasswordHash::make(b"right").unwrap().as_str().to_owned();
    let bcrypt = bcrypt::hash("right", 10).unwrap();
    let same = format!("demo:\n  password: {}\nann:\n  password: {}\n", argon2(), argon2());
    let mixed = format!("demo:\n  password: {}\nann:\n  password: {bcrypt}\n", argon2());
    for (kind, text) in [("one cost", same), ("two costs", mixed)] {
        replace(&path, &text);
        let wide = Budget::new(1_000_000, 1);
        let throttle = ThrottleLimits {
            per_address: wide,
            per_account_and_address: wide,
            per_account: wide,
            ..ThrottleLimits::default()
        };
        let logins = open(&folder, LoginLimits { throttle, concurrent_hashes: 1, ..LoginLimits::default() });
        let cases = [
            ("demo", "wrong".to_owned()),
            ("ann", "wrong".to_owned()),
            ("nobody", "wrong".to_owned()),
            ("demo", "x".repeat(2000)),
            ("nobody", "x".repeat(2000)),
            ("demo", String::new()),
        ];
        let mut times = vec![vec![]; cases.len()];
        for _ in 0..200 {
            for ((name, password), times) in cases.iter().zip(&mut times) {
                let start = Instant::now();
                assert_eq!(login(&logins, name, password, HOME).await, Err(LoginError::Rejected));
                times.push(start.elapsed().as_micros());
            }
        }
        for ((name, password), times) in cases.iter().zip(&mut times) {
            times.sort_unstable();
            let at = |percent: usize| times[(times.len() - 1) * percent / 100];
            println!(
                "{kind}: {name:>6}, {:4} bytes: p5 {:6} p50 {:6} p95 {:6} us",
                password.len(),
                at(5),
                at(50),
                at(95)
            );
        }
    }
}
