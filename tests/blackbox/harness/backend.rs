//! A backend that knows only bytes: it records every request exactly as it arrived and answers as it is told.
//!
//! It reads HTTP/1.1 as leniently as backends do (a bare LF ends a line, `Transfer-Encoding` beats
//! `Content-Length`, what follows a body is the next request), so that what a proxy lets through by mistake shows up
//! as a request that nobody sent.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::wire::find;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub method: String,
    /// The request target, byte for byte.
    pub target: String,
    /// The header fields in order, names spelled as they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Head and body as they were on the wire.
    pub raw: Vec<u8>,
}

impl Recorded {
    /// The values of all fields of that name, in any case.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// The value of the only field of that name.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} arrived {} times: {:?}", values.len(), self.headers);
        values.first().copied()
    }
}

/// What a backend does with a request.
pub enum Script {
    /// Writes these bytes.
    Raw(Vec<u8>),
    /// Writes pieces as they come, then closes the connection.
    Stream(mpsc::Receiver<Bytes>),
    /// Never answers.
    Hang,
    /// Closes the connection without an answer.
    Close,
}

impl Script {
    /// An ordinary answer.
    pub fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Script {
        let fields: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        Script::Raw(format!("HTTP/1.1 {status} X\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
    }
}

type Answering = dyn Fn(&Recorded) -> Script + Send + Sync;

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<Recorded>>,
    body_bytes: AtomicUsize,
    connections: AtomicUsize,
}

/// See the module.
#[derive(Clone)]
pub struct EchoBackend {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

impl EchoBackend {
    /// One that answers everything with 200 and a JSON description of what it got.
    pub async fn start() -> EchoBackend {
        EchoBackend::answering(echo).await
    }

    /// One that answers as `script` says.
    pub async fn answering(script: impl Fn(&Recorded) -> Script + Send + Sync + 'static) -> EchoBackend {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let (seen, script): (Arc<Seen>, Arc<Answering>) = (Arc::default(), Arc::new(script));
        let backend = EchoBackend { address, seen: seen.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(Connection { stream, buffer: Vec::new(), seen: seen.clone() }, script.clone()));
            }
        });
        backend
    }

    /// Its address, as a proxy's configuration wants it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that has arrived so far.
    pub fn seen(&self) -> Vec<Recorded> {
        self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything that has arrived so far, which is then forgotten.
    pub fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut *self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What arrived, which must have been one request; it is then forgotten.
    #[track_caller]
    pub fn take_one(&self) -> Recorded {
        let mut seen = self.take();
        assert_eq!(seen.len(), 1, "exactly one request should have arrived: {seen:#?}");
        seen.remove(0)
    }

    /// How many bytes of bodies have arrived, those of unfinished requests too.
    pub fn body_bytes(&self) -> usize {
        self.seen.body_bytes.load(Ordering::SeqCst)
    }

    /// How many connections were opened to it.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }
}

fn echo(request: &Recorded) -> Script {
    let description = serde_json::json!({
        "method": request.method,
        "target": request.target,
        "headers": request.headers,
        "body_bytes": request.body.len(),
    });
    let body = if request.method == "HEAD" { String::new() } else { description.to_string() };
    Script::answer(200, &[("Content-Type", "application/json")], &body)
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    seen: Arc<Seen>,
}

async fn serve(mut connection: Connection, script: Arc<Answering>) {
    while let Some(request) = connection.request().await {
        let answer = script(&request);
        connection.seen.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        match answer {
            Script::Raw(bytes) => {
                if connection.stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Script::Stream(mut pieces) => {
                while let Some(piece) = pieces.recv().await {
                    if connection.stream.write_all(&piece).await.is_err() {
                        return;
                    }
                }
                return;
            }
            Script::Hang => std::future::pending().await,
            Script::Close => return,
        }
    }
}

impl Connection {
    async fn request(&mut self) -> Option<Recorded> {
        let end = loop {
            let ends = [find(&self.buffer, b"\r\n\r\n").map(|at| at + 4), find(&self.buffer, b"\n\n").map(|at| at + 2)];
            if let Some(end) = ends.into_iter().flatten().min() {
                break end;
            }
            self.more().await?;
        };
        let mut raw: Vec<u8> = self.buffer.drain(..end).collect();
        let head = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = head.lines();
        let mut words = lines.next()?.splitn(2, ' ');
        let method = words.next()?.to_owned();
        let target = words.next()?.rsplit_once(' ').map_or("", |(target, _)| target).to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut request = Recorded { method, target, headers, body: Vec::new(), raw: Vec::new() };

        if request.all("expect").iter().any(|value| value.eq_ignore_ascii_case("100-continue")) {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.ok()?;
        }
        if request.all("transfer-encoding").iter().any(|coding| coding.to_ascii_lowercase().contains("chunked")) {
            while let Some(piece) = self.chunk(&mut raw).await? {
                request.body.extend(piece);
            }
        } else if let Some(length) = request.all("content-length").first().and_then(|length| length.parse().ok()) {
            request.body = self.exactly(length).await?;
            raw.extend_from_slice(&request.body);
        }
        request.raw = raw;
        Some(request)
    }

    /// The next chunk; none after the last.
    async fn chunk(&mut self, raw: &mut Vec<u8>) -> Option<Option<Vec<u8>>> {
        let line = self.line().await?;
        raw.extend_from_slice(&line);
        let length = String::from_utf8_lossy(&line);
        let length = usize::from_str_radix(length.split(';').next()?.trim(), 16).ok()?;
        if length > 0 {
            let piece = self.exactly(length).await?;
            raw.extend_from_slice(&piece);
            raw.extend(self.line().await?);
            return Some(Some(piece));
        }
        loop {
            let trailer = self.line().await?;
            raw.extend_from_slice(&trailer);
            if trailer.trim_ascii().is_empty() {
                return Some(None);
            }
        }
    }

    async fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = find(&self.buffer, b"\n") {
                return Some(self.buffer.drain(..=at).collect());
            }
            self.more().await?;
        }
    }

    /// That many bytes of a body, counted as they come.
    async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        let mut counted = 0;
        loop {
            let here = self.buffer.len().min(length);
            self.seen.body_bytes.fetch_add(here - counted, Ordering::SeqCst);
            counted = here;
            if here == length {
                return Some(self.buffer.drain(..length).collect());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Option<()> {
        let mut piece = vec![0; 64 * 1024];
        match self.stream.read(&mut piece).await {
            Ok(length @ 1..) => {
                self.buffer.extend_from_slice(&piece[..length]);
                Some(())
            }
            _ => None,
        }
    }
}

#[tokio::test]
async fn the_backend_records_bytes_and_takes_what_follows_a_body_for_a_request() {
    let backend = EchoBackend::start().await;
    let bytes = b"POST /a%2Fb HTTP/1.1\r\nhost: x\r\nContent-Length: 2\r\n\r\nhiGET /smuggled HTTP/1.1\nX_Y: z\n\n";
    let mut connection = super::RawConnection::open(backend.address).await;
    connection.send(bytes).await;
    assert_eq!(connection.answer().await.map(|answer| answer.status), Some(200));
    assert_eq!(connection.answer().await.map(|answer| answer.status), Some(200));
    let seen = backend.take();
    assert_eq!(seen.iter().map(|request| request.target.as_str()).collect::<Vec<_>>(), ["/a%2Fb", "/smuggled"]);
    assert_eq!((seen[0].body.as_slice(), seen[1].header("x_y")), (b"hi".as_slice(), Some("z")));
    assert_eq!([seen[0].raw.as_slice(), seen[1].raw.as_slice()].concat(), bytes);
}
