//! The app behind the proxies, and the verifier that some of them ask: one thread, as cheap as a server can be, so that what is
//! measured is the proxy.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use portcullis::keys;
use portcullis::time::Timestamp;
use portcullis::token::{AccessPolicy, KeySet, verify_access_token};

use crate::Outcome;
use crate::http::{field, head_end};
use crate::prepare::policy;

/// Arguments of `app`.
#[derive(clap::Args)]
pub struct App {
    listen: SocketAddr,
    /// Bytes of the answer's body.
    #[arg(long, default_value_t = 1024)]
    bytes: usize,
}

/// Arguments of `verifier`.
#[derive(clap::Args)]
pub struct Verifier {
    listen: SocketAddr,
    /// The private JWK set file.
    #[arg(long)]
    keys: PathBuf,
}

/// Answers until it is killed.
pub fn app(args: &App) -> Outcome {
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: app\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Type: application/json\r\n\
         Cache-Control: no-store\r\nX-Request-Id: 0123456789abcdef\r\nContent-Length: {}\r\n\r\n",
        args.bytes
    );
    let answer = [head.into_bytes(), vec![b'x'; args.bytes]].concat();
    serve(args.listen, |_, out| out.extend_from_slice(&answer))
}

/// Answers until it is killed. It verifies each token anew, as services that are asked commonly do.
pub fn verifier(args: &Verifier) -> Outcome {
    let keys = keys::load(&args.keys)?;
    let policy = policy();
    serve(args.listen, |head, out| match subject(&keys, &policy, head) {
        Some(subject) => {
            out.extend_from_slice(
                format!("HTTP/1.1 200 OK\r\nX-User: {subject}\r\nContent-Length: 0\r\n\r\n").as_bytes(),
            );
        }
        None => out.extend_from_slice(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"),
    })
}

fn subject(keys: &KeySet, policy: &AccessPolicy, head: &[u8]) -> Option<String> {
    let token = field(head, "authorization")?.strip_prefix("Bearer ")?;
    Some(verify_access_token(keys, policy, token, Timestamp::now()).ok()?.sub)
}

/// How long the body behind a head is. Most requests have none, and are not looked at for one.
fn body_bytes(head: &[u8]) -> usize {
    let length = if head.starts_with(b"GET ") { None } else { field(head, "content-length") };
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

struct Client {
    stream: TcpStream,
    /// What has arrived of a head that is not complete.
    rest: Vec<u8>,
}

fn serve(listen: SocketAddr, answer: impl Fn(&[u8], &mut Vec<u8>)) -> Outcome {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(256);
    let mut listener = TcpListener::bind(listen)?;
    poll.registry().register(&mut listener, Token(usize::MAX), Interest::READABLE)?;
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut out = Vec::new();
    loop {
        poll.poll(&mut events, Some(Duration::from_secs(1)))?;
        for event in &events {
            let Token(number) = event.token();
            if number == usize::MAX {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let free = clients.iter().position(Option::is_none).unwrap_or(clients.len());
                    poll.registry().register(&mut stream, Token(free), Interest::READABLE)?;
                    clients.resize_with(clients.len().max(free + 1), || None);
                    clients[free] = Some(Client { stream, rest: Vec::new() });
                }
            } else if let Some(client) = clients.get_mut(number).and_then(Option::as_mut)
                && !client.talk(&mut buffer, &mut out, &answer)
            {
                clients[number] = None;
            }
        }
    }
}

impl Client {
    /// Answers all requests that have arrived. False when the client has left.
    fn talk(&mut self, buffer: &mut [u8], out: &mut Vec<u8>, answer: &impl Fn(&[u8], &mut Vec<u8>)) -> bool {
        loop {
            let length = match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(length) => length,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            };
            self.rest.extend_from_slice(&buffer[..length]);
            out.clear();
            let mut done = 0;
            while let Some(head_bytes) = head_end(&self.rest[done..]) {
                let head = &self.rest[done..done + head_bytes];
                let end = done + head_bytes + body_bytes(head);
                if end > self.rest.len() {
                    break;
                }
                answer(head, out);
                done = end;
            }
            self.rest.drain(..done);
            // Answers are far smaller than a socket's buffer.
            if self.stream.write_all(out).is_err() {
                return false;
            }
            if length < buffer.len() {
                return true;
            }
        }
    }
}
