//! Did a request reach what it has no right to, by the backend's reading of it? Did it arrive with an identity that is not
//! exactly the verified one? Nothing else counts, however the proxy came to its answer.

use crate::cases::{Asker, Case, Expect};
use crate::record::{Identity, Record};
use crate::send::Sent;

/// Who has logged in, and what is theirs.
pub struct Known {
    pub alice: Identity,
    pub boss: Identity,
    /// Tokens and cookies that no backend may see.
    pub secrets: Vec<String>,
}

/// What a resource asks for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Right {
    None,
    Member,
    Admin,
}

const ADMIN: [&str; 4] = ["/admin", "/Upper", "/upper", "/slashes/admin"];
const MEMBER: [&str; 2] = ["/member", "/cookie"];

fn needed(path: &str) -> Right {
    let below = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    match () {
        () if ADMIN.iter().any(|prefix| below(prefix)) => Right::Admin,
        () if MEMBER.iter().any(|prefix| below(prefix)) => Right::Member,
        () => Right::None,
    }
}

fn right_of(asker: Asker) -> Right {
    match asker {
        Asker::Nobody => Right::None,
        Asker::Alice | Asker::AliceByCookie | Asker::Hostile => Right::Member,
        Asker::Boss => Right::Admin,
    }
}

/// What is wrong with what arrived. `records` are those of this request.
pub fn breaches(case: &Case, asker: Asker, records: &[&Record], known: &Known) -> Vec<String> {
    let mut wrong = Vec::new();
    for record in records {
        if case.expect == Expect::Refused {
            wrong.push(format!("{} got {} {:?}", record.backend, record.method, record.target));
        }
        let beyond = record.paths.iter().find(|(_, path)| needed(path) > right_of(asker));
        if let Some((reader, path)) = beyond {
            wrong.push(format!("{} ({reader}) takes {:?} for {path:?}", record.backend, record.target));
        }
        let read_only = |path: &String| path == "/read" || path.starts_with("/read/");
        if record.paths.values().any(read_only) && !["GET", "HEAD"].contains(&record.method.as_str()) {
            wrong.push(format!("{} takes {:?} for a {}", record.backend, record.target, record.method));
        }
        wrong.extend(false_identity(record, asker, known));
        let (cookie, authorization) = (record.cookie.to_ascii_lowercase(), &record.authorization);
        if ["__host-refresh=", "__host-access="]
            .iter()
            .any(|own| cookie.split(';').any(|pair| pair.trim().starts_with(own)))
        {
            wrong.push(format!("{} gets our cookie: {:?}", record.backend, record.cookie));
        }
        if known.secrets.iter().any(|secret| authorization.contains(secret) || record.cookie.contains(secret)) {
            wrong.push(format!("{} gets a secret of ours", record.backend));
        }
    }
    wrong
}

fn false_identity(record: &Record, asker: Asker, known: &Known) -> Option<String> {
    let protected = record.paths.values().any(|path| needed(path) > Right::None);
    let nobody = Identity::default();
    record.identity.iter().find_map(|(reader, seen)| {
        let fits = match asker {
            Asker::Nobody => *seen == nobody,
            Asker::Alice | Asker::AliceByCookie => *seen == known.alice || (!protected && *seen == nobody),
            Asker::Boss => *seen == known.boss || (!protected && *seen == nobody),
            Asker::Hostile => {
                let [subject, roles, scopes, _] = seen;
                let is = |list: &str, word: &str| list.split([',', ' ', '\r', '\n']).any(|item| item.trim() == word);
                subject != "root"
                    && !is(roles, "admin")
                    && !is(scopes, "everything")
                    && !seen.iter().any(|text| text.contains(['\r', '\n', '\0']))
            }
        };
        (!fits)
            .then(|| format!("{} ({reader}) takes {asker:?} for {}", record.backend, shortened(&format!("{seen:?}"))))
    })
}

/// What is wrong with the answer of the gate, beside what reached the backend.
pub fn faults(case: &Case, asker: Asker, sent: &Sent, arrived: usize) -> Vec<String> {
    let mut wrong = Vec::new();
    let status = sent.status.unwrap_or(0);
    if status == 500 {
        wrong.push("answered 500".to_owned());
    }
    if !case.answers.is_empty() && !case.answers.contains(&status) {
        wrong.push(format!("answered {status} instead of {:?}", case.answers));
    }
    if case.expect == Expect::Arrives && (arrived != 1 || !(200..500).contains(&status)) {
        wrong.push(format!("answered {status}, {arrived} arrived: {asker:?} is kept out"));
    }
    if case.expect == Expect::Refused && (200..300).contains(&status) {
        wrong.push(format!("answered {status}"));
    }
    // A browser takes what stands before the first `;` and `=` for the name, and without a `=` all of it for the value.
    let planted = sent
        .head
        .lines()
        .filter_map(|line| Some(line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))?.1));
    for line in planted {
        let pair = line.split(';').next().unwrap_or_default().to_ascii_lowercase();
        let name = pair.split('=').map(str::trim).find(|part| !part.is_empty()).unwrap_or_default();
        if ["__host-refresh", "__host-access"].contains(&name) {
            wrong.push(format!("the client gets {line:?}"));
        }
    }
    if let Some(echo) = &sent.next_got {
        wrong.push(format!("the next request got the answer to {echo:?}"));
    }
    wrong
}

/// For reports: the beginning.
pub fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}
