//! The client that behaves: 100 requests a second with a token, nine of ten on four kept connections and one on a new one.
//!
//! Its waits are counted from when a request was due, not from when it was sent: a request that had to stand in line behind a
//! slow one has waited too. It has a thread of its own, so that the attackers of this program do not delay it more than those of
//! another would.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const CONNECTIONS: u32 = 4;
/// Of each of these connections; a further one is for requests on connections of their own.
const EVERY: Duration = Duration::from_millis(44);
const NEW_EVERY: Duration = Duration::from_millis(100);
/// Whoever waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long requests took.
#[derive(Default)]
pub struct Waits {
    /// Those on kept connections.
    pub kept: Vec<Duration>,
    /// Those on new ones.
    pub new: Vec<Duration>,
    /// How many were not answered with 200.
    pub failed: usize,
}

/// Asks for so long.
pub fn run(address: SocketAddr, token: &str, time: Duration) -> Waits {
    let request = format!("GET /page HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    let (begin, request) = (Instant::now() + Duration::from_millis(50), request.as_str());
    std::thread::scope(|scope| {
        let kept: Vec<_> = (0..CONNECTIONS)
            .map(|number| scope.spawn(move || ask(address, request, begin + number * EVERY / CONNECTIONS, time, true)))
            .collect();
        let new = scope.spawn(move || ask(address, request, begin, time, false));
        let mut waits = Waits::default();
        for thread in kept {
            let (times, failed) = thread.join().expect("the thread ends");
            waits.kept.extend(times);
            waits.failed += failed;
        }
        let (times, failed) = new.join().expect("the thread ends");
        Waits { new: times, failed: waits.failed + failed, ..waits }
    })
}

fn ask(address: SocketAddr, request: &str, begin: Instant, time: Duration, is_kept: bool) -> (Vec<Duration>, usize) {
    let (mut waits, mut failed, mut connection) = (Vec::new(), 0, None);
    let every = if is_kept { EVERY } else { NEW_EVERY };
    for number in 0..(time.as_nanos() / every.as_nanos()) as u32 {
        let due = begin + number * every;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let answered = match connection.take().map_or_else(|| open(address), Ok) {
            Ok(mut open) => once(&mut open, request).map(|()| open),
            Err(error) => Err(error),
        };
        match answered {
            Ok(open) => {
                waits.push(due.elapsed());
                connection = Some(open).filter(|_| is_kept);
            }
            Err(error) => {
                eprintln!("a well-behaved request failed: {error}");
                failed += 1;
            }
        }
    }
    (waits, failed)
}

fn open(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn once(stream: &mut TcpStream, request: &str) -> std::io::Result<()> {
    stream.write_all(request.as_bytes())?;
    let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
    while !seen.ends_with(b"\r\n\r\nok") {
        let length = stream.read(&mut piece)?;
        seen.extend_from_slice(&piece[..length]);
        if length == 0 || (seen.len() > 12 && !seen.starts_with(b"HTTP/1.1 200")) {
            return Err(std::io::Error::other(String::from_utf8_lossy(&seen).into_owned()));
        }
    }
    Ok(())
}
