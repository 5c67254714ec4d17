//! Keys, users, and the life of tokens and sessions.

use super::{DAY, HOUR, seconds};
use crate::config::checked::{
    AccessToken, Algorithm, Keys, LateRetry, Login, Revocation, Rotation, SessionLifetime, WhenStale,
};
use crate::config::files::FileKind;
use crate::config::item::{Item, Table};
use crate::config::schema;

/// A claim's value: any text without control characters.
fn claim(item: Item<'_>) -> Option<String> {
    item.parse("text such as `portcullis`, in quotes if it looks like something else", |text| {
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) || text.len() > 256 {
            return Err("cannot be a claim; write at most 256 bytes without spaces and control characters".into());
        }
        Ok(text.to_owned())
    })
}

pub(super) fn issuer(top: &Table<'_>) -> String {
    top.get("issuer").and_then(claim).unwrap_or("portcullis".to_owned())
}

pub(super) fn keys(top: &Table<'_>) -> Keys {
    let table = top.section("keys", schema::KEYS);
    let words = &[
        ("EdDSA", Algorithm::EdDsa),
        ("ES256", Algorithm::Es256),
        ("RS256", Algorithm::Rs256),
        ("HS256", Algorithm::Hs256),
    ];
    Keys {
        file: table.get("file").and_then(|item| item.file(FileKind::Keys)),
        algorithm: table.get("algorithm").and_then(|item| item.one_of(words)).unwrap_or(Algorithm::EdDsa),
    }
}

pub(super) fn login(top: &Table<'_>) -> Login {
    let table = top.section("login", schema::LOGIN);
    let number = |key, most, default| table.get(key).and_then(|item| item.number(1, most)).unwrap_or(default);
    Login {
        concurrent_hashes: number("concurrent_hashes", 256, 2) as usize,
        attempts_per_account: number("attempts_per_account", 1_000_000, 10) as u32,
        attempts_per_address: number("attempts_per_address", 1_000_000, 50) as u32,
        window: table.get("window").and_then(|item| item.duration(seconds(1), DAY)).unwrap_or(seconds(900)),
    }
}

pub(super) fn access_token(top: &Table<'_>) -> AccessToken {
    let table = top.section("access_token", schema::ACCESS_TOKEN);
    AccessToken {
        lifetime: table.get("lifetime").and_then(|item| item.duration(seconds(1), HOUR)).unwrap_or(seconds(900)),
        audience: table.get("audience").and_then(claim).unwrap_or("portcullis".to_owned()),
        skew: table.get("skew").and_then(|item| item.duration(seconds(0), seconds(60))).unwrap_or(seconds(5)),
        cache_max_entries: table.get("cache_max_entries").and_then(|item| item.number(1, 10_000_000)).unwrap_or(50_000)
            as usize,
    }
}

pub(super) fn session(top: &Table<'_>, access_token: &AccessToken) -> SessionLifetime {
    // Browsers keep no cookie for longer than 400 days (RFC 6265bis section 5.5).
    let item = top.section("session", schema::SESSION).get("lifetime");
    let lifetime = item.and_then(|item| item.duration(seconds(1), 400 * DAY)).unwrap_or(30 * DAY);
    if let Some(item) = item
        && lifetime < access_token.lifetime
    {
        item.error("a session cannot end before its first access token does; write more than `access_token.lifetime`");
    }
    SessionLifetime { lifetime }
}

pub(super) fn rotation(top: &Table<'_>) -> Rotation {
    let table = top.section("rotation", schema::ROTATION);
    let words = &[("same_client", LateRetry::SameClient), ("any", LateRetry::Any), ("off", LateRetry::Off)];
    Rotation {
        grace: table.get("grace").and_then(|item| item.duration(seconds(0), seconds(60))).unwrap_or(seconds(30)),
        late_retry: table.get("late_retry").and_then(|item| item.one_of(words)).unwrap_or(LateRetry::SameClient),
    }
}

pub(super) fn revocation(top: &Table<'_>) -> Revocation {
    let table = top.section("revocation", schema::REVOCATION);
    let when_stale = table.get("when_stale");
    let words = &[("deny", WhenStale::Deny), ("allow", WhenStale::Allow)];
    let chosen = when_stale.and_then(|item| item.one_of(words)).unwrap_or(WhenStale::Deny);
    if let (Some(item), WhenStale::Allow) = (when_stale, chosen) {
        item.warn("while the store is away, sessions that end elsewhere go on here until their access tokens expire");
    }
    Revocation {
        // A heartbeat is written every second: less than two would cry wolf.
        max_staleness: table
            .get("max_staleness")
            .and_then(|item| item.duration(seconds(2), HOUR))
            .unwrap_or(seconds(30)),
        when_stale: chosen,
        max_entries: table.get("max_entries").and_then(|item| item.number(10_000, 1_000_000_000)).unwrap_or(10_000_000)
            as usize,
    }
}
