//! The gate, configured as dangerously as an operator may: everything is public but for some prefixes. And the run of all
//! cases through it, and through the naive gate.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use futures::StreamExt;
use tempfile::TempDir;

use crate::backends::Backends;
use crate::cases::{Case, Expect};
use crate::forge::Forge;
use crate::harness::{ALICE, BOSS, Browser, Portcullis, run_binary};
use crate::naive;
use crate::oracle::{Known, breaches, faults, shortened};
use crate::record::{Identity, Record};
use crate::send::{Job, Sent, Words};

/// How many requests are under way at a time.
const AT_A_TIME: usize = 8;
/// How many of those about framing, for each backend.
const LANES: usize = 3;

/// Everything that runs.
pub struct Stage {
    pub backends: Backends,
    pub gate: Portcullis,
    pub naive: SocketAddr,
    pub forge: Forge,
    pub known: Known,
    words: Words,
    _keys: TempDir,
}

/// What came of a class.
#[derive(Default)]
pub struct Outcome {
    pub cases: usize,
    pub requests: usize,
    /// Cases that get past the naive gate to some backend.
    pub biting: usize,
    /// How many of the requests the gate handed to a backend.
    pub passed_on: usize,
    pub wrong: Vec<String>,
}

impl Stage {
    /// Starts it all, and logs alice and boss in.
    pub async fn start() -> Stage {
        let backends = Backends::start().await;
        let naive = naive::start(backends.all.clone()).await;
        let folder = TempDir::new().expect("a temporary folder");
        let keys = folder.path().join("keys.jwks");
        let file = keys.to_str().expect("temporary paths are UTF-8");
        // One of each kind: the newest signs, the others verify.
        run_binary(&["keys", "new", "--file", file, "--alg", "HS256"], "");
        for algorithm in ["RS256", "ES256", "EdDSA"] {
            run_binary(&["keys", "rotate", "--file", file, "--use", "sig", "--now", "--alg", algorithm], "");
        }
        let gate = Portcullis::start(&config(&backends, file)).await;
        let alice = Browser::logged_in(&gate, &ALICE).await;
        let boss = Browser::logged_in(&gate, &BOSS).await;
        let known = Known {
            alice: identity(&alice, ALICE.name, "staff"),
            boss: identity(&boss, BOSS.name, "staff,admin"),
            secrets: vec![alice.token().to_owned(), boss.token().to_owned(), alice.refresh_token()],
        };
        let words: Words = Arc::new(vec![
            ("{alice}", alice.token().to_owned()),
            ("{boss}", boss.token().to_owned()),
            ("{cookie}", alice.refresh_token()),
        ]);
        let forge = Forge::open(&keys, alice.token());
        Stage { backends, gate, naive, forge, known, words, _keys: folder }
    }

    /// Runs all cases against every backend, and says what came of each class.
    pub async fn run(&self, cases: &[Case]) -> BTreeMap<String, Outcome> {
        let (through_gate, judged) = self.pass(cases, self.gate.listen, "gate").await;
        let naive_jobs = self.pass(cases, self.naive, "naive").await;
        let mut outcomes: BTreeMap<String, Outcome> = BTreeMap::new();
        for (job, sent) in &through_gate {
            let outcome = outcomes.entry(job.case.class.clone()).or_default();
            let records = judged.of(job.number);
            let mut wrong = breaches(job.case, job.asker, &records, &self.known);
            wrong.extend(faults(job.case, job.asker, sent, records.len()));
            outcome.requests += 1;
            outcome.passed_on += usize::from(!records.is_empty());
            let what = || {
                shortened(&format!(
                    "{:?} {:?} {:?} {:?}",
                    job.case.method,
                    job.case.target,
                    job.case.fields,
                    job.case.raw.as_ref().or(job.case.body.as_ref())
                ))
            };
            let where_ = format!("{} by {:?} over {:?}", job.case.name, job.asker, job.protocol);
            outcome.wrong.extend(wrong.into_iter().map(|wrong| format!("{where_}: {wrong}; {}", what())));
        }
        let (jobs, judged) = naive_jobs;
        let mut biting = BTreeSet::new();
        for (job, _) in &jobs {
            if !breaches(job.case, job.asker, &judged.of(job.number), &self.known).is_empty() {
                biting.insert((job.case as *const Case as usize, job.asker as u8));
            }
        }
        for case in cases {
            let outcome = outcomes.entry(case.class.clone()).or_default();
            let askers = case.askers();
            outcome.cases += askers.len();
            outcome.biting +=
                askers.iter().filter(|asker| biting.contains(&(case as *const Case as usize, **asker as u8))).count();
        }
        outcomes
    }

    /// Sends every case to every backend by way of `front`.
    async fn pass<'a>(&'a self, cases: &'a [Case], front: SocketAddr, mark: &str) -> (Vec<(Job<'a>, Sent)>, Judged) {
        let jobs = self.jobs(cases, mark == "naive");
        // Framing cases may spoil connections to a backend: few of one backend are under way at a time.
        let (framing, others): (Vec<Job>, Vec<Job>) =
            jobs.into_iter().partition(|job| job.case.class.starts_with("framing"));
        let mut done: Vec<(Job, Sent)> = futures::stream::iter(others)
            .map(async |job| {
                let sent = job.send(front).await;
                (job, sent)
            })
            .buffer_unordered(AT_A_TIME)
            .collect()
            .await;
        let lanes = (0..self.backends.all.len() * LANES).map(|lane| {
            let own = framing.iter().filter(|job| job.backend == lane / LANES).enumerate();
            let own: Vec<Job> =
                own.filter(|(number, _)| number % LANES == lane % LANES).map(|(_, job)| job.clone()).collect();
            async move {
                let mut done = Vec::new();
                for job in own {
                    let sent = job.send(front).await;
                    done.push((job, sent));
                }
                done
            }
        });
        done.extend(futures::future::join_all(lanes).await.into_iter().flatten());
        self.backends.settle(mark).await;
        (done, Judged::new(self.backends.collector.take()))
    }

    fn jobs<'a>(&'a self, cases: &'a [Case], is_naive: bool) -> Vec<Job<'a>> {
        let mut jobs = Vec::new();
        for case in cases.iter().filter(|case| !is_naive || case.expect != Expect::Arrives) {
            for asker in case.askers() {
                let words = match &case.token {
                    Some(description) => {
                        let forged = ("{forged}", self.forge.token(description));
                        Arc::new(self.words.iter().cloned().chain([forged]).collect())
                    }
                    None => self.words.clone(),
                };
                for (backend, own) in self.backends.all.iter().enumerate() {
                    let framing = case.class.starts_with("framing");
                    if (own.for_framing_only && !framing) || (case.lenient_only && own.name != "lenient") {
                        continue;
                    }
                    for protocol in case.protocols() {
                        let number = 10_000_000 + jobs.len();
                        jobs.push(Job {
                            number,
                            case,
                            asker,
                            protocol,
                            backend,
                            host: &own.host,
                            words: words.clone(),
                        });
                    }
                }
            }
        }
        jobs
    }
}

/// Records by the request that they belong to.
struct Judged(BTreeMap<usize, Vec<Record>>);

impl Judged {
    fn new(records: Vec<Record>) -> Judged {
        let mut by_number: BTreeMap<usize, Vec<Record>> = BTreeMap::new();
        for record in records {
            // What was smuggled in has its number in its target only.
            let number = record.case.parse().ok().or_else(|| {
                let (_, rest) = record.target.split_once("smuggled-")?;
                rest.get(..8)?.parse().ok()
            });
            if let Some(number) = number {
                by_number.entry(number).or_default().push(record);
            }
        }
        Judged(by_number)
    }

    fn of(&self, number: usize) -> Vec<&Record> {
        self.0.get(&number).map(|records| records.iter().collect()).unwrap_or_default()
    }
}

fn identity(browser: &Browser, subject: &str, roles: &str) -> Identity {
    let claims = browser.token().split('.').nth(1).expect("three parts");
    let claims = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims).expect("base64url");
    let claims: serde_json::Value = serde_json::from_slice(&claims).expect("JSON");
    let session = claims["sid"].as_str().expect("a session").to_owned();
    [subject.to_owned(), roles.to_owned(), String::new(), session]
}

fn config(backends: &Backends, keys: &str) -> String {
    let (mut upstreams, mut routes) = (String::new(), String::new());
    for backend in &backends.all {
        let name = backend.host.trim_end_matches(".test");
        upstreams += &format!("  {name}: {{ servers: [\"http://{}\"] }}\n", backend.address);
        for (route, rest) in [
            ("all", "auth: public"),
            ("member", "path_prefix: /member"),
            ("admin", "path_prefix: /admin, roles: [admin]"),
            ("optional", "path_prefix: /optional, auth: optional"),
            ("upper", "path_prefix: /Upper, roles: [admin]"),
            ("slashes", "path_prefix: /slashes, auth: public, encoded_slashes: true"),
            ("slashes-admin", "path_prefix: /slashes/admin, roles: [admin], encoded_slashes: true"),
            ("cookie", "path_prefix: /cookie, credentials: [cookie]"),
            ("both", "path_prefix: /member/both, credentials: [header, cookie]"),
            ("read", "path_prefix: /read, methods: [GET, HEAD], auth: public"),
        ] {
            routes += &format!("  - {{ name: {name}-{route}, host: {}, upstream: {name}, {rest} }}\n", backend.host);
        }
    }
    format!(
        "listen: [{{ address: \"{{listen}}\", h2c: true }}]\nkeys: {{ file: \"{keys}\" }}\naccess_token: {{ skew: 1s }}\n\
         upstreams:\n{upstreams}routes:\n{routes}"
    )
}
