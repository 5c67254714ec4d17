//! A server that fails in every way that servers fail in, and writes down whom it heard.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What it does with a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Does {
    /// 200 and the body that it got, or its own address if there was none, and keeps the connection.
    Answers,
    /// Resets the connection before it has read anything.
    ResetsAtOnce,
    /// Reads the head and resets the connection.
    ResetsAfterHead,
    /// Reads the whole request and resets the connection.
    Resets,
    /// Reads the whole request and closes the connection.
    Closes,
    /// Reads the whole request and says nothing.
    IsSilent,
    /// Writes these bytes and closes the connection.
    Says(Vec<u8>),
    /// Answers the first request of a connection, and resets it when the second has come.
    ResetsReused,
    /// Answers with this status.
    Status(u16),
}

/// See the module. It ends when this is dropped.
pub struct Rogue {
    pub address: SocketAddr,
    does: Arc<Mutex<Does>>,
    heard: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Rogue {
    /// Starts one on a loopback address of its own: when it is gone, nobody else takes its port.
    pub async fn start(host: &str, does: Does) -> Rogue {
        Rogue::start_at((host, 0), does).await
    }

    /// The same, on a port that is known.
    pub async fn start_at(at: (&str, u16), does: Does) -> Rogue {
        let listener = TcpListener::bind(at).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let (does, heard) = (Arc::new(Mutex::new(does)), Arc::<Mutex<Vec<String>>>::default());
        let (doing, hearing) = (Arc::clone(&does), Arc::clone(&heard));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, address, Arc::clone(&doing), Arc::clone(&hearing)));
            }
        });
        Rogue { address, does, heard, task }
    }

    /// From now on it does this, on connections that it has, too.
    pub fn does(&self, does: Does) {
        *self.does.lock().unwrap_or_else(PoisonError::into_inner) = does;
    }

    /// The first lines of all requests that it has read, which are then forgotten.
    pub fn take_heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, address: SocketAddr, does: Arc<Mutex<Does>>, heard: Arc<Mutex<Vec<String>>>) {
    let now = || does.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let reset = |stream: TcpStream| stream.set_zero_linger().expect("a TCP option is set");
    if now() == Does::ResetsAtOnce {
        return reset(stream);
    }
    for number in 0.. {
        let Some((head, mut body)) = read_head(&mut stream).await else { return };
        let line = head.lines().next().unwrap_or_default().to_owned();
        heard.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        let does = now();
        if does == Does::ResetsAfterHead {
            return reset(stream);
        }
        let length = |line: &str| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok();
        let length = head.lines().find_map(length).unwrap_or(0);
        while body.len() < length {
            if !matches!(stream.read_buf(&mut body).await, Ok(1..)) {
                return;
            }
        }
        let text = if body.is_empty() { address.to_string() } else { String::from_utf8_lossy(&body).into_owned() };
        let answer =
            |status| format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into_bytes();
        let bytes = match does {
            Does::Answers => answer(200),
            Does::Status(status) => answer(status),
            Does::ResetsReused if number == 0 => answer(200),
            Does::ResetsAtOnce | Does::ResetsAfterHead | Does::Resets | Does::ResetsReused => return reset(stream),
            Does::Closes => return,
            Does::IsSilent => std::future::pending().await,
            Does::Says(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
        };
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// The head of a request, and what came of its body with it.
async fn read_head(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Some((String::from_utf8_lossy(&bytes[..end]).into_owned(), body));
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
