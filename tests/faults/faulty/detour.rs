//! A way to Redis that we can disturb: a TCP proxy, one for each Portcullis, so that one can be cut off alone.
//!
//! What cannot be done here: a connection that is never taken. The kernel takes it, and then nothing happens.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// What happens to bytes on the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// They pass.
    Open,
    /// Answers come this much later.
    Slow(Duration),
    /// Commands arrive, answers do not. They come when the way is open again, as lost packets do.
    Deaf,
    /// Neither arrives.
    Silent,
    /// Redis hears nothing, and every command is answered with these bytes.
    Answers(&'static [u8]),
}

/// See the module.
pub struct Detour {
    /// Where it listens.
    pub port: u16,
    way: watch::Sender<Way>,
}

impl Detour {
    /// A way to the server on this port of this machine, open at first.
    pub async fn to(redis: u16) -> Detour {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let (way, watching) = watch::channel(Way::Open);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(connection(near, redis, watching.clone()));
            }
        });
        Detour { port, way }
    }

    /// From now on.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn connection(near: TcpStream, redis: u16, way: watch::Receiver<Way>) {
    // One that fails is closed at once: nobody listens there.
    let Ok(far) = TcpStream::connect(("127.0.0.1", redis)).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_reads, near_writes) = near.into_split();
    let (far_reads, far_writes) = far.into_split();
    let (answers, to_near) = mpsc::unbounded_channel();
    let (commands, to_far) = mpsc::unbounded_channel();
    tokio::select! {
        () = take_commands(near_reads, commands, answers.clone(), way.clone()) => {}
        () = take_answers(far_reads, answers, way.clone()) => {}
        () = deliver(far_writes, to_far, way.clone(), |way| way != Way::Silent) => {}
        () = deliver(near_writes, to_near, way, |way| !matches!(way, Way::Silent | Way::Deaf)) => {}
    }
}

type Piece = (Instant, Vec<u8>);

async fn take_commands(
    mut from: OwnedReadHalf,
    to_far: mpsc::UnboundedSender<Piece>,
    to_near: mpsc::UnboundedSender<Piece>,
    way: watch::Receiver<Way>,
) {
    while let Some(piece) = read(&mut from).await {
        let way = *way.borrow();
        let _ = match way {
            Way::Answers(answer) => to_near.send((Instant::now(), answer.repeat(commands_in(&piece)))),
            _ => to_far.send((Instant::now(), piece)),
        };
    }
}

async fn take_answers(mut from: OwnedReadHalf, to_near: mpsc::UnboundedSender<Piece>, way: watch::Receiver<Way>) {
    while let Some(piece) = read(&mut from).await {
        let later = match *way.borrow() {
            Way::Slow(later) => later,
            _ => Duration::ZERO,
        };
        let _ = to_near.send((Instant::now() + later, piece));
    }
}

async fn deliver(
    mut to: OwnedWriteHalf,
    mut pieces: mpsc::UnboundedReceiver<Piece>,
    mut way: watch::Receiver<Way>,
    passes: fn(Way) -> bool,
) {
    while let Some((at, piece)) = pieces.recv().await {
        tokio::time::sleep_until(at).await;
        if way.wait_for(|way| passes(*way)).await.is_err() || to.write_all(&piece).await.is_err() {
            return;
        }
    }
}

async fn read(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut piece = vec![0; 64 * 1024];
    let length = from.read(&mut piece).await.ok().filter(|length| *length > 0)?;
    piece.truncate(length);
    Some(piece)
}

/// How many commands these bytes are: each is an array of strings, `*2\r\n$3\r\nGET\r\n$1\r\nx\r\n`.
fn commands_in(bytes: &[u8]) -> usize {
    let (mut rest, mut commands) = (bytes, 0);
    while let Some((b'*', strings, after)) = header(rest) {
        rest = after;
        for _ in 0..strings {
            match header(rest) {
                Some((b'$', length, after)) => rest = after.get(length + 2..).unwrap_or_default(),
                _ => return commands,
            }
        }
        commands += 1;
    }
    commands
}

fn header(bytes: &[u8]) -> Option<(u8, usize, &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let number = std::str::from_utf8(bytes.get(1..end)?).ok()?.parse().ok()?;
    Some((bytes[0], number, &bytes[end + 2..]))
}

#[test]
fn commands_are_counted() {
    assert_eq!(commands_in(b"*2\r\n$3\r\nGET\r\n$1\r\nx\r\n*1\r\n$4\r\nPING\r\n"), 2);
    assert_eq!(commands_in(b""), 0);
}
