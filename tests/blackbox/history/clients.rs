//! The people of a recorded day: each does things at random, and everything is written down.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::join_all;
use reqwest::{Method, RequestBuilder};

use super::checker::{Operation, Outcome, Token, Wish, tally};
use crate::harness::{Account, Answer, Cluster, client};

/// What a browser or a thief has.
#[derive(Clone)]
struct Loot {
    cookie_name: String,
    token: Token,
    access: String,
}

/// The record of a day, and where the proxies are.
pub struct Day {
    began: Instant,
    length: Duration,
    proxies: Vec<String>,
    done: Mutex<Vec<Operation>>,
    /// What each browser has: there for the taking.
    open: Mutex<Vec<Option<Loot>>>,
}

/// The next number of a SplitMix64.
pub fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Day {
    pub fn new(cluster: &Cluster, length: Duration) -> Arc<Day> {
        Arc::new(Day {
            began: Instant::now(),
            length,
            proxies: cluster.gates.iter().map(|gate| gate.url("")).collect(),
            done: Mutex::default(),
            open: Mutex::new(vec![None; 16]),
        })
    }

    /// How long it has lasted.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// A day on which chance has left out something goes on, for a while.
    pub fn is_over(&self) -> bool {
        let lasted = self.now();
        lasted > self.length && (lasted > 6 * self.length || tally(&self.done()).all_is_tried())
    }

    pub fn history(&self) -> Vec<Operation> {
        self.done().clone()
    }

    fn done(&self) -> MutexGuard<'_, Vec<Operation>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, browser: usize) -> Option<Loot> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)[browser].clone()
    }

    fn leave_open(&self, browser: usize, loot: Option<&Loot>) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)[browser] = loot.cloned();
    }

    fn note(&self, operation: Operation) {
        self.done().push(operation);
    }

    /// Logs in, opens tabs, refreshes, calls, and logs out some time.
    pub async fn browser(self: Arc<Day>, me: usize, account: Account, mut dice: u64) {
        let mut jar: Option<Loot> = None;
        let mut old: Option<Loot> = None;
        while !self.is_over() {
            let Some(has) = jar.clone() else {
                jar = self.log_in(me, &account, &mut dice).await;
                self.leave_open(me, jar.as_ref());
                pause(&mut dice, 100).await;
                continue;
            };
            match random(&mut dice) % 40 {
                0 => {
                    let wish = Wish::Logout(has.token.clone());
                    if self.ask(me, false, wish, Some(&has), &mut dice).await.0 == Outcome::LoggedOut {
                        (jar, old) = (None, Some(has));
                    }
                }
                1 if account.roles.is_empty() => {
                    let wish = Wish::LogoutAll { subject: account.name, token: has.token.clone() };
                    if self.ask(me, false, wish, Some(&has), &mut dice).await.0 == Outcome::LoggedOut {
                        (jar, old) = (None, Some(has));
                    }
                }
                2 => {
                    self.ask(me, false, Wish::Forged, Some(&has), &mut dice).await;
                }
                3..8 => {
                    // A tab that nobody told that it is over.
                    if let Some(old) = &old {
                        let call = Wish::Call { session: old.token.session.clone() };
                        let refresh = Wish::Refresh(old.token.clone());
                        self.ask(
                            me,
                            false,
                            if random(&mut dice).is_multiple_of(2) { call } else { refresh },
                            Some(old),
                            &mut dice,
                        )
                        .await;
                    }
                }
                8..20 => {
                    let mut seeds: Vec<u64> = (0..1 + random(&mut dice) % 3).map(|_| random(&mut dice)).collect();
                    let wish = Wish::Refresh(has.token.clone());
                    let tabs = seeds.iter_mut().map(|seed| self.ask(me, false, wish.clone(), Some(&has), seed));
                    for (outcome, loot) in join_all(tabs).await {
                        match (outcome, loot) {
                            (Outcome::Tokens(_), Some(new)) => {
                                let newest = jar.as_ref().map_or(0, |jar| jar.token.generation);
                                if new.token.generation >= newest {
                                    jar = Some(new);
                                }
                            }
                            (Outcome::Refused(_), _) => (jar, old) = (None, Some(has.clone())),
                            _ => {}
                        }
                    }
                }
                _ => {
                    let wish = Wish::Call { session: has.token.session.clone() };
                    if let (Outcome::Refused(reason), _) = self.ask(me, false, wish, Some(&has), &mut dice).await
                        && reason == "session_ended"
                    {
                        (jar, old) = (None, Some(has));
                    }
                }
            }
            self.leave_open(me, jar.as_ref());
            let slow = if random(&mut dice).is_multiple_of(12) { 2_500 } else { 120 };
            pause(&mut dice, slow).await;
        }
    }

    /// Copies what a browser has, now and then, and uses it.
    pub async fn thief(self: Arc<Day>, me: usize, mut dice: u64) {
        let mut loot: Option<Loot> = None;
        while !self.is_over() {
            // Half of the browsers are never robbed: invariant 4 is about those.
            if random(&mut dice).is_multiple_of(20)
                && let Some(found) = self.open((random(&mut dice) % 3) as usize)
            {
                let now = self.now();
                let wish = Wish::Steal { session: found.token.session.clone() };
                self.note(Operation {
                    client: me,
                    thief: true,
                    proxy: 0,
                    begin: now,
                    end: now,
                    wish,
                    outcome: Outcome::Passed,
                });
                loot = Some(found);
            }
            if let Some(has) = loot.clone() {
                let wish = match random(&mut dice) % 3 {
                    0 => Wish::Refresh(has.token.clone()),
                    _ => Wish::Call { session: has.token.session.clone() },
                };
                if let (Outcome::Tokens(_), Some(new)) = self.ask(me, true, wish, Some(&has), &mut dice).await {
                    loot = Some(new);
                }
            }
            pause(&mut dice, 300).await;
        }
    }

    async fn log_in(&self, me: usize, account: &Account, dice: &mut u64) -> Option<Loot> {
        let proxy = (random(dice) % self.proxies.len() as u64) as usize;
        let form = [("username", account.name), ("password", account.password)];
        let request = client().request(Method::POST, format!("{}/login", self.proxies[proxy])).form(&form);
        self.send(me, false, proxy, Wish::Login { subject: account.name }, request, None).await.1
    }

    /// Everybody can still log in when all faults are over.
    pub async fn one_more_login(self: Arc<Day>, me: usize) {
        let mut dice = me as u64;
        crate::harness::eventually("logins work again", async || {
            self.log_in(me, &crate::harness::ALICE, &mut dice).await
        })
        .await;
    }

    async fn ask(
        &self,
        me: usize,
        thief: bool,
        wish: Wish,
        has: Option<&Loot>,
        dice: &mut u64,
    ) -> (Outcome, Option<Loot>) {
        let proxy = (random(dice) % self.proxies.len() as u64) as usize;
        let at = |path: &str| format!("{}{path}", self.proxies[proxy]);
        let http = client();
        let has = has.expect("only a login needs nothing");
        let cookie = |value: &str| format!("{}={value}", has.cookie_name);
        let request = match &wish {
            Wish::Refresh(token) => http.post(at("/refresh")).header("Cookie", cookie(&token.text)),
            Wish::Logout(token) => http.post(at("/logout")).header("Cookie", cookie(&token.text)),
            Wish::LogoutAll { token, .. } => http.post(at("/logout/all")).header("Cookie", cookie(&token.text)),
            Wish::Call { .. } => http.get(at("/")).bearer_auth(&has.access),
            Wish::Forged => {
                // One character of the MAC, which stands last, is another one.
                let mut text = has.token.text.clone().into_bytes();
                let place = text.len() - 2;
                text[place] = if text[place] == b'A' { b'B' } else { b'A' };
                http.post(at("/refresh")).header("Cookie", cookie(&String::from_utf8_lossy(&text)))
            }
            Wish::Login { .. } | Wish::Steal { .. } => unreachable!("these are made elsewhere"),
        };
        let agent = if thief { "Thief/6.66" } else { "TestBrowser/1.0" };
        // Some do not wait for the answer: the connection is closed, and whatever happens happens.
        let lost = random(dice).is_multiple_of(10) && !matches!(wish, Wish::Logout(_) | Wish::LogoutAll { .. });
        let patience = lost.then(|| Duration::from_micros(500 + random(dice) % 8_000));
        self.send(me, thief, proxy, wish, request.header("User-Agent", agent), patience).await
    }

    async fn send(
        &self,
        me: usize,
        thief: bool,
        proxy: usize,
        wish: Wish,
        request: RequestBuilder,
        patience: Option<Duration>,
    ) -> (Outcome, Option<Loot>) {
        let begin = self.now();
        let reading = async {
            let answer = request.send().await.ok()?;
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            Some(Answer { status, headers, body: answer.bytes().await.ok()? })
        };
        let answer = tokio::time::timeout(patience.unwrap_or(Duration::from_secs(20)), reading).await.ok().flatten();
        let end = self.now();
        let loot = answer.as_ref().and_then(loot);
        let outcome = match (&answer, &loot) {
            (None, _) => Outcome::Unheard,
            (Some(Answer { status: 200, .. }), Some(loot)) => Outcome::Tokens(loot.token.clone()),
            (Some(Answer { status: 200, .. }), None) => Outcome::Passed,
            (Some(Answer { status: 204, .. }), _) => Outcome::LoggedOut,
            (Some(answer @ Answer { status: 400..=428, .. }), _) => {
                Outcome::Refused(answer.json()["reason"].as_str().unwrap_or_default().to_owned())
            }
            (Some(_), _) => Outcome::Unknown,
        };
        self.note(Operation { client: me, thief, proxy, begin, end, wish, outcome: outcome.clone() });
        (outcome, loot)
    }
}

/// The tokens in an answer.
fn loot(answer: &Answer) -> Option<Loot> {
    let cookie = answer.refresh_cookie().filter(|cookie| !cookie.value().is_empty())?;
    let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    let access = body["access_token"].as_str()?.to_owned();
    let claims = URL_SAFE_NO_PAD.decode(access.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    let token = Token {
        session: claims["sid"].as_str()?.to_owned(),
        generation: claims["gen"].as_u64()?,
        text: cookie.value().to_owned(),
    };
    Some(Loot { cookie_name: cookie.name().to_owned(), token, access })
}

async fn pause(dice: &mut u64, about_ms: u64) {
    tokio::time::sleep(Duration::from_millis(about_ms / 2 + random(dice) % about_ms)).await;
}
