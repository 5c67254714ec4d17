//! What clients do, and what they make of the answers.

use portcullis::session::SessionId;

use crate::client::{Answer, Request, Token, Wish};
use crate::rules::{ACCESS_LIFE, GRACE};
use crate::world::{Event, World};

impl World<'_> {
    /// A client does its next thing.
    pub fn act(&mut self, number: usize) {
        let pause = match self.random.below(10) {
            0..5 => self.random.between(10, 700),
            5..8 => self.random.between(700, 3_000),
            8 => self.random.between(GRACE - 600, GRACE + 600),
            _ => self.random.between(GRACE, ACCESS_LIFE),
        };
        self.later(pause, Event::Act(number));
        if self.clients[number].thief {
            self.steal(number);
        }
        let client = &self.clients[number];
        if let Some((token, access)) = client.left_over
            && self.random.chance(200)
        {
            let wish = if self.random.chance(500) { Wish::Call(access) } else { Wish::Refresh(token) };
            return self.send(number, wish);
        }
        let client = &self.clients[number];
        let (jar, access, tabs, thief) = (client.jar, client.access, client.tabs, client.thief);
        match (self.random.below(20), jar, access) {
            (0, Some(token), _) => {
                let session = SessionId::from_bytes({
                    let mut bytes = *token.session.as_bytes();
                    bytes[15] ^= self.random.below(2) as u8;
                    bytes
                });
                let generation = self.random.below(4) as u32;
                let forged = Token { session, generation, genuine: false, ..token };
                let wish = if self.random.chance(500) { Wish::Refresh(forged) } else { Wish::Logout(forged) };
                self.send(number, wish);
            }
            (1, Some(token), _) if !thief => {
                self.judge.ghost(token.session, |ghost| ghost.end_asked = true);
                self.send(number, Wish::Logout(token));
            }
            (2..9, _, Some(access)) => self.send(number, Wish::Call(access)),
            (_, Some(token), _) => {
                // All tabs wake at about the same time.
                for _ in 0..self.random.between(1, tabs as u64) {
                    self.send(number, Wish::Refresh(token));
                }
            }
            (_, None, _) if !thief => self.send(number, Wish::Login),
            (_, None, _) => {}
        }
    }

    /// At any moment a thief may get hold of what somebody else has.
    fn steal(&mut self, thief: usize) {
        if !self.random.chance(200) {
            return;
        }
        let from = self.random.index(self.clients.len());
        let (jar, access) = (self.clients[from].jar, self.clients[from].access);
        if let Some(token) = jar {
            self.judge.ghost(token.session, |ghost| ghost.stolen = true);
            self.tell(|_| format!("client {thief} steals generation {} from client {from}", token.generation));
            (self.clients[thief].jar, self.clients[thief].access) = (jar, access);
        }
    }

    fn send(&mut self, client: usize, wish: Wish) {
        let proxy = self.random.index(self.proxies.len());
        let newest = match wish {
            Wish::Refresh(token) => {
                let client = &self.clients[client];
                token.generation >= client.newest && client.jar.is_some_and(|jar| jar.session == token.session)
            }
            _ => true,
        };
        let sent_at = self.now;
        self.requests.push(Request { client, wish, proxy, sent_at, newest, judged_at: None, received_at: None });
        let request = self.requests.len() - 1;
        self.tell(|_| format!("client {client} sends request {request} to proxy {proxy}: {}", words(&wish)));
        let copies = 1 + u64::from(self.is_lost());
        for _ in 0..copies {
            if !self.is_lost() {
                // A tab may have its cookie in hand and be slow to send it.
                let slow = if self.random.chance(150) { self.random.between(300, GRACE) } else { 0 };
                let at = self.latency() + slow;
                self.later(at, Event::Arrive(request));
            }
        }
    }

    /// A proxy answers; the answer may be lost on its way.
    pub fn answer(&mut self, request: usize, answer: Answer) {
        let counts = &mut self.judge.counts;
        match answer {
            Answer::Tokens(..) => {}
            Answer::Passed => counts.passed += 1,
            Answer::LoggedOut => counts.logged_out += 1,
            Answer::Refused => counts.refused += 1,
            Answer::Unknown => counts.unknown += 1,
        }
        self.tell(|_| {
            let text = match answer {
                Answer::Tokens(token, _) => format!("tokens of generation {} (key {})", token.generation, token.key),
                answer => format!("{answer:?}"),
            };
            format!("  request {request} is answered: {text}")
        });
        if !self.is_lost() {
            let at = self.latency();
            self.later(at, Event::Hear(request, answer));
        }
    }

    /// An answer arrives at its client.
    pub fn hear(&mut self, number: usize, answer: Answer) {
        let request = &mut self.requests[number];
        if request.received_at.is_some() {
            return; // The answer to a copy of it.
        }
        request.received_at = Some(self.now);
        let client = &mut self.clients[request.client];
        match (answer, request.wish) {
            (Answer::Tokens(token, access), wish) => {
                let other = client.jar.is_none_or(|jar| jar.session != token.session);
                if other && !matches!(wish, Wish::Login) {
                    return; // It has logged out or in meanwhile.
                }
                if other {
                    client.newest = 0;
                }
                let newer = token.generation >= client.newest;
                client.newest = client.newest.max(token.generation);
                if other || newer || !client.keeps_newest {
                    (client.jar, client.access) = (Some(token), Some(access));
                    client.left_over = Some((token, access));
                }
            }
            (Answer::LoggedOut, Wish::Logout(token)) | (Answer::Refused, Wish::Refresh(token)) if token.genuine => {
                let its_own = client.jar.is_some_and(|jar| jar.session == token.session);
                (client.jar, client.access) = if its_own { (None, None) } else { (client.jar, client.access) };
            }
            (Answer::Refused, Wish::Call(access)) if client.access == Some(access) => client.access = None,
            _ => {}
        }
    }
}

fn words(wish: &Wish) -> String {
    match wish {
        Wish::Login => "login".to_owned(),
        Wish::Refresh(token) | Wish::Logout(token) => {
            let verb = if matches!(wish, Wish::Refresh(_)) { "refresh" } else { "logout" };
            let forged = if token.genuine { "" } else { " FORGED" };
            format!("{verb} of {} generation {} (key {}){forged}", token.session, token.generation, token.key)
        }
        Wish::Call(access) => format!("call of {} generation {}", access.session, access.generation),
    }
}
