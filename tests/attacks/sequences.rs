//! Attacks that are not one request but a course of them: on what is remembered of tokens, with junk, by guessing; and what is
//! left in logs and metrics when all is over.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::{Value, json};

use crate::forge::now_s;
use crate::harness::{ALICE, Answer, Browser, Cluster, Portcullis, RawConnection, Setup, client, eventually};
use crate::report::Extra;
use crate::stage::Stage;

/// What the library says when a backend has closed a connection that was kept: no client writes that.
const CLOSED_BY_BACKEND: &str = "failed to acquire reusable stream";
/// How many series of metrics may come with the first event of their kind.
const SERIES_MADE_MAX: usize = 50;
/// How many clients send junk at a time.
const AT_A_TIME: usize = 4;

/// The status of a request for `/member/x` at the lenient backend; 0 without an answer. The connection is used again.
async fn status(connection: &mut RawConnection, gate: &Portcullis, host: &str, token: &str) -> u16 {
    let request =
        format!("GET /member/x HTTP/1.1\r\nHost: {host}\r\nX-Case: sequence\r\nAuthorization: Bearer {token}\r\n\r\n");
    for _ in 0..2 {
        connection.send(&request).await;
        if let Some(answer) = connection.answer().await {
            return answer.status;
        }
        // It was closed after a refusal.
        *connection = RawConnection::open(gate.listen).await;
    }
    0
}

/// A token that has been verified is remembered. Nothing may come of that for another token, or for this one later.
pub async fn remembered(stage: &Stage, every: usize) -> Extra {
    let (gate, mut wrong) = (&stage.gate, Vec::new());
    let host = &stage.backends.all.iter().find(|backend| backend.name == "lenient").expect("it is there").host;
    let mut connection = RawConnection::open(gate.listen).await;
    let mut expect = async |what: &str, token: &str, wanted: u16| {
        let got = status(&mut connection, gate, host, token).await;
        if got != wanted {
            wrong.push(format!("{what}: answered {got} instead of {wanted}"));
        }
    };
    let good = stage.forge.token(&json!({}));
    let bent: Vec<String> = stage.forge.bent().into_iter().step_by(every).collect();
    for (number, token) in bent.iter().enumerate() {
        if number % 100 == 0 {
            expect("a good token", &good, 200).await;
        }
        expect(&format!("one character changed: {token}"), token, 401).await;
    }
    // Served until it expires, and not after: `skew` is a second.
    let expires_s = now_s() + 3;
    let short = stage.forge.token(&json!({ "claims": { "iat": now_s() - 1, "exp": expires_s } }));
    expect("a token that is about to expire", &short, 200).await;
    eventually("its time is up", async || (now_s() > expires_s + 1).then_some(())).await;
    expect("an expired token that was remembered", &short, 401).await;
    let mut other = Browser::logged_in(gate, &ALICE).await;
    let token = other.token().to_owned();
    expect("a token before its logout", &token, 200).await;
    other.logout().await.expect(204);
    expect("a token after its logout", &token, 401).await;
    expect("the same user's other session", &good, 200).await;
    let arrived = stage.backends.collector.take();
    for record in &arrived {
        if record.identity.values().any(|seen| seen[0] != "alice") {
            wrong.push(format!("somebody else arrived: {record:?}"));
        }
    }
    let row =
        format!("{} | – | {} | {} | {}", bent.len() + 3, bent.len() + bent.len() / 100 + 7, arrived.len(), wrong.len());
    Extra { class: "verified-token cache", row, wrong }
}

/// Junk costs no store command, no entry in the cache, no line in the log.
pub async fn junk(stage: &Stage, count: usize) -> Extra {
    let mut wrong = Vec::new();
    let cluster = Cluster::start(Setup::Redis, "upstream: http://127.0.0.1:1\n").await;
    let (gate, redis) = (cluster.first(), cluster.redis.as_ref().expect("this setup has a Redis"));
    let alice = Browser::logged_in(gate, &ALICE).await;
    alice.get("/").await;
    let bent = stage.forge.bent();
    let tokens = [&bent[..], &[alice.token()[1..].to_owned(), alice.refresh_token(), "x".to_owned()]].concat();
    let entries = async || gate.metrics().await.sum("portcullis_token_cache_entries", &[]).expect("it is measured");
    let (entries_before, lines_before) = (entries().await, gate.log().lines().count());
    // To follow the news takes commands whoever asks: so many while nobody does.
    let idle = commands_in(&commands(&redis.command::<String>(&["INFO", "commandstats"])));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = commands_in(&commands(&redis.command::<String>(&["INFO", "commandstats"]))) - idle;
    let commands_before = commands(&redis.command::<String>(&["INFO", "commandstats"]));
    let (began, cpu) = (Instant::now(), gate.cpu());
    let let_in: usize = futures::stream::iter(0..AT_A_TIME)
        .map(async |lane| {
            let (mut connection, mut let_in) = (RawConnection::open(gate.listen).await, 0);
            for number in (lane..count).step_by(AT_A_TIME) {
                // Each of them new: what was remembered of the last one is no help.
                let junk = format!("{}{number}", tokens[number % tokens.len()]);
                let request = match number % 10 {
                    0 => format!("POST /refresh HTTP/1.1\r\nHost: a\r\nCookie: __Host-refresh={junk}\r\nContent-Length: 0\r\n\r\n"),
                    1 => format!("POST /logout HTTP/1.1\r\nHost: a\r\nCookie: __Host-refresh={junk}\r\nContent-Length: 0\r\n\r\n"),
                    _ => format!("GET /x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {junk}\r\n\r\n"),
                };
                connection.send(&request).await;
                match connection.answer().await {
                    // A logout of no session is done already.
                    Some(answer) => let_in += usize::from(answer.status < 400 && number % 10 != 1),
                    None => connection = RawConnection::open(gate.listen).await,
                }
            }
            let_in
        })
        .buffer_unordered(AT_A_TIME)
        .collect::<Vec<usize>>()
        .await
        .into_iter()
        .sum();
    let (took, cpu) = (began.elapsed(), gate.cpu() - cpu);
    let after = commands(&redis.command::<String>(&["INFO", "commandstats"]));
    let asked: Vec<String> = after
        .iter()
        .map(|(name, calls)| {
            (name, calls - commands_before.iter().find(|(own, _)| own == name).map_or(0, |(_, calls)| *calls))
        })
        .filter(|(_, calls)| *calls > 0)
        .map(|(name, calls)| format!("{name} {calls}"))
        .collect();
    let total = commands_in(&after) - commands_in(&commands_before);
    let borne = idle * (took.as_secs() + 2) + 50;
    let lines = gate.log().lines().count() - lines_before;
    let entries_after = entries().await;
    println!(
        "junk: {count} tokens and cookies in {:.1} s, {:.0} µs of processor time each (debug build); store commands meanwhile: {}; log lines: {lines}",
        took.as_secs_f64(),
        cpu.as_micros() as f64 / count as f64,
        asked.join(", "),
    );
    let mut hold = |is_well: bool, what: String| wrong.extend((!is_well).then_some(what));
    hold(let_in == 0, format!("{let_in} were let in"));
    hold(total <= borne, format!("{total} store commands, {borne} would be usual: {asked:?}"));
    hold(entries_after <= entries_before, format!("{entries_after} entries in the cache, {entries_before} before"));
    hold(lines < 20, format!("{lines} lines in the log, such as {:?}", gate.log().lines().last()));
    alice.get("/").await.expect(502);
    let row = format!("{count} | – | {count} | 0 | {}", wrong.len());
    Extra { class: "junk", row, wrong }
}

fn commands_in(commands: &[(String, u64)]) -> u64 {
    commands.iter().map(|(_, calls)| calls).sum()
}

fn commands(info: &str) -> Vec<(String, u64)> {
    let calls = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    };
    // Our own question is no cost of junk.
    info.lines().filter_map(calls).filter(|(name, _)| !name.starts_with("info")).collect()
}

/// Guessing is slowed down, the victim gets in all the same, and an account that does not exist cannot be told from one that does.
pub async fn guessing() -> Extra {
    let mut wrong = Vec::new();
    let gate = Portcullis::start(
        "upstream: http://127.0.0.1:1\ntrusted_proxies: [127.0.0.1/32]\nlogin: { attempts_per_account: 3, attempts_per_address: 8 }\n",
    )
    .await;
    let login = async |user: String, password: &str, from: String| {
        let request = client().post(gate.url("/login")).json(&json!({ "username": user, "password": password }));
        Answer::to(request.header("X-Forwarded-For", from)).await
    };
    let mut hold = |is_well: bool, what: String| wrong.extend((!is_well).then_some(what));
    let own = || "10.1.1.1".to_owned();
    hold(login(ALICE.name.to_owned(), ALICE.password, own()).await.status == 200, "alice cannot log in".to_owned());

    let mut taken = 0;
    for number in 0..70 {
        taken += usize::from(login(ALICE.name.to_owned(), "a guess", format!("10.2.0.{number}")).await.status == 400);
    }
    // 50 for all strange addresses together, and one more every two minutes.
    hold(taken <= 55, format!("{taken} guesses at one account from 70 addresses were looked at, not 50"));
    hold(
        login(ALICE.name.to_owned(), ALICE.password, own()).await.status == 200,
        "the victim is locked out at home".to_owned(),
    );

    let mut taken = 0;
    for number in 0..40 {
        taken += usize::from(login(format!("user{number}"), "a guess", "10.3.0.1".to_owned()).await.status == 400);
    }
    hold(taken <= 12, format!("{taken} guesses at 40 accounts from one address were looked at, not 8"));

    let known = login("boss".to_owned(), "a guess", "10.4.0.1".to_owned()).await;
    let unknown = login("nobody".to_owned(), "a guess", "10.4.0.2".to_owned()).await;
    hold(
        known.status == unknown.status && known.body == unknown.body,
        "an unknown user gets another answer".to_owned(),
    );
    let row = format!("114 | – | 114 | 0 | {}", wrong.len());
    Extra { class: "brute force", row, wrong }
}

/// What the run left behind: every line of the log is one line of JSON without a secret, and no series of metrics was added by
/// what clients made up.
pub async fn left_behind(stage: &Stage, before: &BTreeSet<String>, requests: usize) -> Extra {
    let mut wrong = Vec::new();
    let log = stage.gate.log();
    for line in log.lines() {
        let parsed: Option<Value> = serde_json::from_str(line).ok();
        if parsed.is_none_or(|line| !line.is_object()) || line.chars().any(char::is_control) {
            wrong.push(format!("no line of a log: {line:?}"));
        } else if line.contains("\"level\":\"ERROR\"") && !line.contains(CLOSED_BY_BACKEND) {
            wrong.push(format!("a client writes errors: {line}"));
        } else if stage.known.secrets.iter().any(|secret| line.contains(secret)) {
            wrong.push("a secret is in the log".to_owned());
        }
    }
    let metrics = stage.gate.metrics().await;
    let series = series_of(&metrics.text);
    // Some series come with the first event of their kind; their labels are from closed lists, so there are few.
    let made: Vec<&String> = series.difference(before).collect();
    if made.len() > SERIES_MADE_MAX || made.iter().any(|series| series.contains("smuggled") || series.contains("alice"))
    {
        wrong.push(format!("{} series that were not there at first, such as {:?}", made.len(), made.last()));
    }
    if metrics.text.contains("smuggled") || metrics.text.contains("/admin") {
        wrong.push("a path is in the metrics".to_owned());
    }
    wrong.truncate(20);
    println!(
        "log and metrics: {} lines of log, {} series after {requests} requests",
        log.lines().count(),
        series.len()
    );
    let row = format!("{requests} | – | {requests} | – | {}", wrong.len());
    Extra { class: "logs and metrics", row, wrong }
}

/// All series, without their values.
pub fn series_of(metrics: &str) -> BTreeSet<String> {
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}
