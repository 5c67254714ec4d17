//! A backend of ours that can be told how lenient it is: with whom it splits a stream of bytes into requests, and which
//! readings of a path and of field names it follows. Each is a real server's; `lenient.yaml` says whose.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::record::{Collector, Identity, Record};

/// One thing that some reader does to a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Decode,
    DecodeUnicode,
    CutParameters,
    CutQuery,
    TurnBackslashes,
    MergeSlashes,
    ResolveDots,
    FoldCase,
    FoldCaseUnicode,
    DropAuthority,
    TrimEnds,
}

/// Which of several fields of one name counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    First,
    Last,
    Joined,
}

/// One lenient reader.
#[derive(Clone, Debug, Deserialize)]
pub struct Reader {
    pub name: String,
    pub path: Vec<Step>,
    /// The steps are tried in every order, as often as they change something; else once, as they stand.
    #[serde(default)]
    pub any_order: bool,
    /// What it takes for `-` in a field's name.
    pub separators: String,
    pub duplicates: Duplicates,
    /// Fields in which it looks for another target than the one in the request line, or another method.
    #[serde(default)]
    pub believes: Vec<String>,
}

/// How it finds the end of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Framing {
    pub name: &'static str,
    /// Of several lengths the last one counts, else the first.
    pub last_length: bool,
    /// A length counts more than `Transfer-Encoding`.
    pub length_wins: bool,
    /// A line may end with a CR alone.
    pub bare_cr: bool,
}

/// The ways to split a stream that are tried.
pub const FRAMINGS: [Framing; 3] = [
    Framing { name: "lenient", last_length: false, length_wins: false, bare_cr: false },
    Framing { name: "lenient, length first", last_length: false, length_wins: true, bare_cr: false },
    Framing { name: "lenient, last length, bare CR", last_length: true, length_wins: true, bare_cr: true },
];

/// What all lenient readers are.
pub fn readers() -> Vec<Reader> {
    serde_yaml::from_str(include_str!("../cases/attacks/lenient.yaml")).expect("the readers are YAML")
}

/// Starts one.
pub async fn start(framing: Framing, collector: Collector) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let readers = Arc::new(readers());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(Connection { stream, buffer: Vec::new(), framing }, readers.clone(), collector.clone()));
        }
    });
    address
}

struct Head {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
}

async fn serve(mut connection: Connection, readers: Arc<Vec<Reader>>, collector: Collector) {
    while let Some(head) = connection.head().await {
        let mut record = Record {
            backend: connection.framing.name.to_owned(),
            method: head.method.clone(),
            target: head.target.clone(),
            ..Record::default()
        };
        for (name, value) in &head.fields {
            match name.to_ascii_lowercase().as_str() {
                "x-case" => record.case = value.clone(),
                "cookie" => record.cookie = [&record.cookie, "; ", value].concat(),
                "authorization" => record.authorization = [&record.authorization, ", ", value].concat(),
                _ => {}
            }
        }
        for reader in readers.iter() {
            reader.read(&head, &mut record);
        }
        let echo: String = head.target.chars().map(|mark| if mark.is_ascii_graphic() { mark } else { '?' }).collect();
        collector.push(record);
        if connection.skip_body(&head).await.is_none() {
            return;
        }
        let set: String = planted(&head).iter().map(|line| format!("Set-Cookie: {line}\r\n")).collect();
        let answer = format!("HTTP/1.1 200 OK\r\nX-Echo: {echo}\r\n{set}Content-Length: 2\r\n\r\nok");
        if connection.stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The cookies that a case has it set: it speaks for an app that an attacker rules.
fn planted(head: &Head) -> Vec<&str> {
    let asks = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("x-plant");
    head.fields.iter().filter(asks).map(|(_, value)| value.as_str()).collect()
}

impl Reader {
    fn read(&self, head: &Head, record: &mut Record) {
        let mut targets = vec![head.target.as_str()];
        for (name, value) in &head.fields {
            let believed = self.believes.iter().any(|own| self.fold(name) == *own);
            match believed {
                true if name.to_ascii_lowercase().contains("method") => record.method = value.clone(),
                true => targets.push(value),
                false => {}
            }
        }
        for (number, target) in targets.into_iter().enumerate() {
            for (order, path) in self.readings(target).into_iter().enumerate() {
                record.paths.insert(format!("{} {number}.{order}", self.name), path);
            }
        }
        let identity: Identity = ["subject", "roles", "scopes", "session"].map(|part| {
            let name = format!("x-auth-{part}");
            let mut values =
                head.fields.iter().filter(|(own, _)| self.fold(own) == name).map(|(_, value)| value.as_str());
            match self.duplicates {
                Duplicates::First => values.next().unwrap_or_default().to_owned(),
                Duplicates::Last => values.next_back().unwrap_or_default().to_owned(),
                Duplicates::Joined => values.collect::<Vec<_>>().join(","),
            }
        });
        record.identity.insert(self.name.clone(), identity);
    }

    fn fold(&self, name: &str) -> String {
        let fold = |mark: char| if self.separators.contains(mark) { '-' } else { mark.to_ascii_lowercase() };
        name.trim().chars().map(fold).collect()
    }

    /// The paths that it could take a target for.
    pub fn readings(&self, target: &str) -> BTreeSet<String> {
        let path = target.split(['?', '#']).next().unwrap_or_default().to_owned();
        if !self.any_order {
            return BTreeSet::from([self.path.iter().fold(path, |path, step| step.apply(&path))]);
        }
        let mut found = BTreeSet::from([path.clone()]);
        let mut open = vec![path];
        while let Some(path) = open.pop() {
            for step in &self.path {
                let next = step.apply(&path);
                if found.len() < 300 && found.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        found
    }
}

impl Step {
    fn apply(self, path: &str) -> String {
        match self {
            Step::Decode => decode(path),
            Step::DecodeUnicode => decode(&path.replace("%u00", "%").replace("%U00", "%")),
            Step::CutParameters => path
                .split('/')
                .map(|segment| segment.split(';').next().unwrap_or_default())
                .collect::<Vec<_>>()
                .join("/"),
            Step::CutQuery => path.split(['?', '#']).next().unwrap_or_default().to_owned(),
            Step::TurnBackslashes => path.replace('\\', "/"),
            Step::MergeSlashes => {
                let mut merged = path.to_owned();
                while merged.contains("//") {
                    merged = merged.replace("//", "/");
                }
                merged
            }
            Step::ResolveDots => resolve_dots(path),
            Step::FoldCase => path.to_ascii_lowercase(),
            // As Java's equalsIgnoreCase: each letter to upper case first.
            Step::FoldCaseUnicode => path.to_uppercase().to_lowercase(),
            Step::DropAuthority => match path.strip_prefix("//") {
                Some(rest) => rest.find('/').map_or("/".to_owned(), |at| rest[at..].to_owned()),
                None => path.to_owned(),
            },
            Step::TrimEnds => {
                let trim = |segment: &'_ str| match segment {
                    "." | ".." => segment.to_owned(),
                    other => other.trim_end_matches(['.', ' ']).to_owned(),
                };
                path.split('/').map(trim).collect::<Vec<_>>().join("/")
            }
        }
    }
}

fn decode(path: &str) -> String {
    let (bytes, mut out, mut at) = (path.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.filter(|_| bytes[at] == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn resolve_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    framing: Framing,
}

impl Connection {
    async fn head(&mut self) -> Option<Head> {
        let first = loop {
            let line = self.line().await?;
            if !line.is_empty() {
                break line;
            }
        };
        let mut words = first.splitn(2, ' ');
        let (method, rest) = (words.next()?.to_owned(), words.next().unwrap_or_default());
        let target = rest.rsplit_once(" HTTP/").map_or(rest, |(target, _)| target).trim().to_owned();
        let mut fields: Vec<(String, String)> = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Some(Head { method, target, fields });
            }
            match (line.starts_with([' ', '\t']), fields.last_mut(), line.split_once(':')) {
                // A line that is folded goes on.
                (true, Some((_, value)), _) => *value = [value, " ", line.trim()].concat(),
                (_, _, Some((name, value))) => fields.push((name.trim().to_owned(), value.trim().to_owned())),
                _ => {}
            }
        }
    }

    async fn skip_body(&mut self, head: &Head) -> Option<()> {
        let all = |wanted: &str| {
            let mut found: Vec<&str> = Vec::new();
            for (name, value) in &head.fields {
                if name.to_ascii_lowercase().replace('_', "-") == wanted {
                    found.extend(value.split(',').map(str::trim));
                }
            }
            found
        };
        let lengths = all("content-length");
        let length = if self.framing.last_length { lengths.last() } else { lengths.first() };
        let length = length.and_then(|length| length.trim_start_matches('+').parse::<usize>().ok());
        let chunked = all("transfer-encoding").iter().any(|coding| coding.to_ascii_lowercase().contains("chunked"));
        match length {
            Some(length) if self.framing.length_wins || !chunked => self.skip(length).await,
            _ if chunked => self.skip_chunks().await,
            _ => Some(()),
        }
    }

    async fn skip_chunks(&mut self) -> Option<()> {
        loop {
            let line = self.line().await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits.trim_start_matches("0x"), 16).ok()?;
            if length > 0 {
                self.skip(length).await?;
                self.line().await?;
                continue;
            }
            while !self.line().await?.is_empty() {}
            return Some(());
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            let ends = |byte: &u8| *byte == b'\n' || (self.framing.bare_cr && *byte == b'\r');
            let Some(at) = self.buffer.iter().position(ends) else {
                self.more().await?;
                continue;
            };
            // The LF of a CR LF belongs to it.
            if self.buffer[at] == b'\r' && at + 1 == self.buffer.len() {
                self.more().await?;
            }
            let taken = if self.buffer[at] == b'\r' && self.buffer[at + 1] == b'\n' { at + 2 } else { at + 1 };
            let line: Vec<u8> = self.buffer.drain(..taken).collect();
            return Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
        }
    }

    async fn skip(&mut self, length: usize) -> Option<()> {
        let mut left = length;
        loop {
            let here = self.buffer.len().min(left);
            self.buffer.drain(..here);
            left -= here;
            if left == 0 {
                return Some(());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Option<()> {
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece).await {
            Ok(length @ 1..) => {
                self.buffer.extend_from_slice(&piece[..length]);
                Some(())
            }
            _ => None,
        }
    }
}
