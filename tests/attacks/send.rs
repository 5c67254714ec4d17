//! Sends one request, byte for byte, over HTTP/1.1 or HTTP/2.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::cases::{Asker, Case, Protocol, bytes};
use crate::harness::{H2Answer, RawConnection, raw_h2_with};

/// Who waits longer for an answer waits for nothing: the request is one that has no end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Placeholders, and what they stand for.
pub type Words = Arc<Vec<(&'static str, String)>>;

/// One request to be made.
#[derive(Clone)]
pub struct Job<'a> {
    /// Its number, by which its traces are found.
    pub number: usize,
    pub case: &'a Case,
    pub asker: Asker,
    pub protocol: Protocol,
    pub backend: usize,
    pub host: &'a str,
    /// What placeholders stand for.
    pub words: Words,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    pub status: Option<u16>,
    pub head: String,
    /// The next request, on a connection of its own, got the answer to another one.
    pub next_got: Option<String>,
}

impl Job<'_> {
    /// Makes the request at this address.
    pub async fn send(&self, to: SocketAddr) -> Sent {
        let once = async {
            match self.protocol {
                Protocol::Http1 => self.http1(to).await,
                Protocol::Http2 => self.http2(to).await,
            }
        };
        let mut sent = tokio::time::timeout(PATIENCE, once).await.unwrap_or_default();
        if self.case.class.starts_with("framing") {
            sent.next_got = self.next(to).await;
        }
        sent
    }

    fn filled(&self, text: &str) -> Vec<u8> {
        let number = self.number.to_string();
        let credentials = self.credentials().map_or(String::new(), |(name, value)| format!("{name}: {value}\r\n"));
        let text = text.replace("{case}", &number).replace("{host}", self.host).replace("{credentials}", &credentials);
        let text = self.words.iter().fold(text, |text, (word, value)| text.replace(word, value));
        bytes(&text)
    }

    fn word(&self, wanted: &str) -> &str {
        self.words.iter().find(|(word, _)| *word == wanted).map_or("", |(_, value)| value)
    }

    /// The fields with which the asker says who it is.
    fn credentials(&self) -> Option<(&'static str, String)> {
        let bearer = |word: &str| Some(("Authorization", format!("Bearer {}", self.word(word))));
        match self.asker {
            Asker::Nobody => None,
            Asker::Alice => bearer("{alice}"),
            Asker::Boss => bearer("{boss}"),
            Asker::Hostile => bearer("{forged}"),
            Asker::AliceByCookie => Some(("Cookie", format!("__Host-access={}", self.word("{alice}")))),
        }
    }

    async fn http1(&self, to: SocketAddr) -> Sent {
        let case = self.case;
        let request = match &case.raw {
            Some(raw) => self.filled(raw),
            None => {
                let mut head =
                    [self.filled(&case.method), b" ".to_vec(), self.filled(&case.target), b" HTTP/1.1\r\n".to_vec()]
                        .concat();
                let mut add = |name: &[u8], value: &[u8]| head.extend([name, b": ", value, b"\r\n"].concat());
                if !case.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
                    add(b"Host", self.host.as_bytes());
                }
                add(b"X-Case", self.number.to_string().as_bytes());
                if let Some((name, value)) = self.credentials() {
                    add(name.as_bytes(), value.as_bytes());
                }
                for (name, value) in &case.fields {
                    add(&self.filled(name), &self.filled(value));
                }
                let body = case.body.as_deref().map(|body| self.filled(body));
                if let Some(body) = &body {
                    add(b"Content-Length", body.len().to_string().as_bytes());
                }
                [head, b"\r\n".to_vec(), body.unwrap_or_default()].concat()
            }
        };
        let mut connection = RawConnection::open(to).await;
        connection.send(request).await;
        if case.raw.is_some() {
            // Who waits for the rest of a broken request need not wait.
            let answer = tokio::time::timeout(PATIENCE / 6, connection.answer()).await;
            connection.finish().await;
            return answer.ok().flatten().map(|answer| Sent::of(answer.status, answer.head)).unwrap_or_default();
        }
        connection.answer().await.map(|answer| Sent::of(answer.status, answer.head)).unwrap_or_default()
    }

    async fn http2(&self, to: SocketAddr) -> Sent {
        let case = self.case;
        let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        match &case.http2 {
            Some(own) => fields.extend(own.iter().map(|(name, value)| (self.filled(name), self.filled(value)))),
            None => {
                let own_host = case.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
                let authority = own_host.map_or(self.host.as_bytes().to_vec(), |(_, value)| self.filled(value));
                for (name, value) in [
                    (":method", self.filled(&case.method)),
                    (":scheme", b"http".to_vec()),
                    (":authority", authority),
                    (":path", self.filled(&case.target)),
                    ("x-case", self.number.to_string().into_bytes()),
                ] {
                    fields.push((name.as_bytes().to_vec(), value));
                }
                if let Some((name, value)) = self.credentials() {
                    fields.push((name.to_ascii_lowercase().into_bytes(), value.into_bytes()));
                }
                let others = case.fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host"));
                fields
                    .extend(others.map(|(name, value)| (self.filled(&name.to_ascii_lowercase()), self.filled(value))));
            }
        }
        let fields: Vec<(&[u8], &[u8])> = fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let body = case.body.as_deref().map(|body| self.filled(body));
        match raw_h2_with(to, &fields, body.as_deref()).await {
            H2Answer::Status(status) => Sent { status: Some(status), ..Sent::default() },
            H2Answer::Refused => Sent::default(),
        }
    }

    /// Whoever comes next, on the connections that a gate keeps to the backend, has to get their own answer.
    async fn next(&self, to: SocketAddr) -> Option<String> {
        let target = format!("/next-{}", self.number);
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nX-Case: next-{}\r\nConnection: close\r\n\r\n",
            self.host, self.number
        );
        let mut answer = None;
        // No answer in time is no other one's answer: the backend was busy with what came before.
        for _ in 0..3 {
            let mut connection = RawConnection::open(to).await;
            connection.send(&request).await;
            answer = tokio::time::timeout(5 * PATIENCE, connection.answer()).await.ok().flatten();
            if answer.as_ref().is_some_and(|answer| answer.status < 500) {
                break;
            }
        }
        let Some(answer) = answer else { return Some("nothing".to_owned()) };
        match answer.header("x-echo") {
            Some(echo) if echo == target => None,
            // nginx adds nothing to what it refuses by itself.
            None => Some(format!("nobody knows: {}", answer.status)),
            Some(echo) => Some(echo.to_owned()),
        }
    }
}

impl Sent {
    fn of(status: u16, head: String) -> Sent {
        Sent { status: Some(status), head, next_got: None }
    }
}
