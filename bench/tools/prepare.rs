//! What has to be there before a round: tokens, users, revocations.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use portcullis::keys;
use portcullis::session::{Session, SessionId};
use portcullis::store::Mirror;
use portcullis::store::embedded::Embedded;
use portcullis::time::Timestamp;
use portcullis::token::{AccessGrant, AccessPolicy, issue_access_token};
use redb::{Database, TableDefinition};

use crate::Outcome;

/// Arguments of `tokens`.
#[derive(clap::Args)]
pub struct Tokens {
    /// The private JWK set file.
    #[arg(long)]
    keys: PathBuf,
    #[arg(long, default_value_t = 10_000)]
    count: u64,
    /// One token a line.
    #[arg(long)]
    out: PathBuf,
}

/// Arguments of `users`.
#[derive(clap::Args)]
pub struct Users {
    #[arg(long, default_value_t = 64)]
    count: u64,
    #[arg(long)]
    out: PathBuf,
}

/// Arguments of `revoke`.
#[derive(clap::Args)]
pub struct Revoke {
    /// The file of the embedded store.
    #[arg(long)]
    file: PathBuf,
    #[arg(long)]
    count: u64,
}

/// The claims of the bench's tokens, as `driver/servers.py` configures all servers. The longest lifetime that there is: a run takes long.
pub fn policy() -> AccessPolicy {
    AccessPolicy {
        issuer: "portcullis".to_owned(),
        audience: "portcullis".to_owned(),
        lifetime: Duration::from_secs(3600),
        skew: Duration::from_secs(5),
    }
}

/// Numbers that look random and are the same in every run (splitmix64).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn bytes(&mut self) -> [u8; 16] {
        (u128::from(self.next()) << 64 | u128::from(self.next())).to_le_bytes()
    }

    pub fn session(&mut self, subject: &str) -> SessionId {
        let mut random = [0; 15];
        random.copy_from_slice(&self.bytes()[1..]);
        SessionId::new(subject, random)
    }
}

/// Makes tokens of `count` users, with the claims of an ordinary deployment.
pub fn tokens(args: &Tokens) -> Outcome {
    let (keys, policy, now) = (keys::load(&args.keys)?, policy(), Timestamp::now());
    let roles = ["user", "editor"].map(str::to_owned);
    let scopes = ["openid", "profile", "email", "read:items", "write:items"].map(str::to_owned);
    let mut numbers = Numbers(1);
    let mut out = BufWriter::new(File::create(&args.out)?);
    for number in 0..args.count {
        let subject = format!("user{number:06}@example.com");
        let ends_at = now.plus(Duration::from_secs(30 * 86_400));
        let session = Session::begin(numbers.session(&subject), &subject, now, ends_at, keys.mac_key_id().clone());
        let grant = AccessGrant { session: &session, roles: &roles, scopes: &scopes, now, jti: numbers.bytes() };
        writeln!(out, "{}", issue_access_token(&keys, &policy, &grant)?)?;
    }
    Ok(out.flush()?)
}

/// The password of all users.
pub const PASSWORD: &str = "correct horse battery staple";

/// Makes users whose password is hashed as cheaply as can be: what is measured is sessions.
pub fn users(args: &Users) -> Outcome {
    let hash = bcrypt::hash(PASSWORD, 4)?;
    let mut text = String::new();
    for number in 0..args.count {
        writeln!(text, "user{number}:\n  password: {hash}\n  roles: [user, editor]")?;
    }
    Ok(fs::write(&args.out, text)?)
}

/// The table of [`portcullis::store::embedded`] that it fills: until when (ms), and the session's id.
const REVOCATIONS: TableDefinition<'_, (u64, [u8; 16]), ()> = TableDefinition::new("revocations");
/// So many in one transaction.
const BATCH: u64 = 500_000;

/// Fills the file directly: by way of `/logout`, millions would take hours.
pub fn revoke(args: &Revoke) -> Outcome {
    // The store itself makes the file, in the format that it reads.
    drop(Embedded::open(&args.file, Mirror::new().into(), policy().lifetime)?);
    let database = Database::open(&args.file)?;
    let until_ms = Timestamp::now().plus(Duration::from_secs(86_400)).as_millis();
    let mut numbers = Numbers(2);
    let mut left = args.count;
    while left > 0 {
        let mut batch: Vec<[u8; 16]> = (0..left.min(BATCH)).map(|_| numbers.bytes()).collect();
        left -= batch.len() as u64;
        batch.sort_unstable();
        let transaction = database.begin_write()?;
        let mut revocations = transaction.open_table(REVOCATIONS)?;
        for id in batch {
            revocations.insert((until_ms, id), ())?;
        }
        drop(revocations);
        transaction.commit()?;
    }
    Ok(())
}
