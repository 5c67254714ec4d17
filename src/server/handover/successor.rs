//! The process that takes the place of this one.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Interest, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{FromNew, FromOld, VERSION, WRITE_WITHIN, socket};
use crate::proxy::InFlight;
use crate::server::listeners::Listeners;
use crate::store::embedded::StoreFile;
use crate::store::lending::{Asked, Lent};
use crate::store::{Movable, Moving};

/// How long the new process may be silent before it has the file; and afterwards, until it is ready.
const PATIENCE: Duration = Duration::from_secs(30);
const READY_WITHIN: Duration = Duration::from_secs(90);
/// As many questions to the new process may be open: so few that they fit into the socket, and neither process waits to
/// write while the other does.
const WAITING_MAX: usize = 64;

/// What this process keeps sessions in, and has to let go of.
pub(in crate::server) enum Keeps {
    /// A store.
    Embedded(Arc<Movable>, PathBuf),
    /// Copies of what is in Redis.
    Copies(StoreFile, PathBuf),
}

impl Keeps {
    fn path(&self) -> &Path {
        match self {
            Keeps::Embedded(_, path) | Keeps::Copies(_, path) => path,
        }
    }
}

/// Where new processes knock.
pub(in crate::server) struct Doorstep {
    path: PathBuf,
    listeners: Arc<Listeners>,
    keeps: Keeps,
    in_flight: InFlight,
}

type Heard = Lines<BufReader<OwnedReadHalf>>;

impl Doorstep {
    /// Nobody can knock before [`Doorstep::wait`].
    pub(in crate::server) fn new(
        data_dir: &Path,
        listeners: Arc<Listeners>,
        keeps: Keeps,
        in_flight: InFlight,
    ) -> Doorstep {
        Doorstep { path: socket(data_dir), listeners, keeps, in_flight }
    }

    /// Puts the socket in the place of the one that another process had, if it had one.
    fn open(&self) -> io::Result<tokio::net::UnixListener> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        if fs::metadata(folder)?.mode() & 0o002 != 0 {
            return Err(io::Error::other("everybody may write to its folder; run `chmod o-w` on it"));
        }
        let new = self.path.with_extension("new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = tokio::net::UnixListener::bind(&new)?;
        fs::set_permissions(&new, Permissions::from_mode(0o600))?;
        fs::rename(&new, &self.path)?;
        Ok(socket)
    }

    /// Waits for a new process, and hands over to it. Tried again with the next if it does not take over.
    pub(in crate::server) async fn wait(&self) {
        let socket = match self.open() {
            Ok(socket) => socket,
            Err(error) => {
                return warn!(path = %self.path.display(), %error, "no other process will be able to take over");
            }
        };
        loop {
            match socket.accept().await {
                Ok((stream, _)) => match self.hand_over(stream).await {
                    Ok(()) => return,
                    Err(error) => warn!("a process wanted to take over, and did not: {error}; this one goes on"),
                },
                Err(error) => {
                    warn!(%error, "a process that wants to take over cannot be heard");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Ok: it has taken over, and has left since.
    async fn hand_over(&self, stream: UnixStream) -> Result<(), String> {
        let ours = rustix::process::geteuid().as_raw();
        if !stream.peer_cred().is_ok_and(|other| other.uid() == ours || other.uid() == 0) {
            return Err("it runs as somebody else".to_owned());
        }
        self.offer(&stream).await.map_err(|error| error.to_string())?;
        let (heard, mut said) = stream.into_split();
        let mut heard = BufReader::new(heard).lines();
        let outcome = self.give(&mut heard, &mut said).await;
        if let Err(why) = &outcome {
            // It may be gone.
            let _ = say(&mut said, &FromOld::Refused(why.clone())).await;
        }
        outcome
    }

    /// Hello, and here are the listeners. They are usable only by whoever asked, and do nothing until then.
    async fn offer(&self, stream: &UnixStream) -> io::Result<()> {
        let (names, listeners) = self.listeners.all()?;
        if listeners.is_empty() {
            return Err(io::Error::other("this process is leaving"));
        }
        let listeners: Vec<BorrowedFd<'_>> = listeners.iter().map(AsFd::as_fd).collect();
        let process = std::process::id();
        let store = std::path::absolute(self.keeps.path())?;
        let text = line(&FromOld::Listeners { process, names, store })?;
        stream
            .async_io(Interest::WRITABLE, || {
                let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(listeners.len()))];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                if !ancillary.push(SendAncillaryMessage::ScmRights(&listeners)) {
                    return Err(io::Error::other("there are too many listeners"));
                }
                match sendmsg(stream, &[IoSlice::new(&text)], &mut ancillary, SendFlags::NOSIGNAL)? {
                    sent if sent == text.len() => Ok(()),
                    _ => Err(io::Error::other("the names of the listeners are too long")),
                }
            })
            .await
    }

    async fn give(&self, heard: &mut Heard, said: &mut OwnedWriteHalf) -> Result<(), String> {
        match next(heard, PATIENCE).await? {
            FromNew::Hello { version: VERSION } => {}
            FromNew::Hello { version } => {
                return Err(format!(
                    "it speaks version {version} of the hand-over, this one {VERSION}; restart instead"
                ));
            }
            _ => return Err("it does not say what it wants".to_owned()),
        }
        match next(heard, READY_WITHIN).await? {
            FromNew::Release => {}
            _ => return Err("it does not ask for the store".to_owned()),
        }
        match &self.keeps {
            Keeps::Embedded(store, _) => {
                let moving = store.let_go().await;
                let asked = match open_elsewhere(heard, said, store).await {
                    Ok(()) => lend(moving),
                    Err(why) => {
                        moving.take_back().await;
                        return Err(why);
                    }
                };
                let outcome = self.until_taken(heard, said, asked).await;
                if outcome.is_err() {
                    store.take_back().await;
                }
                outcome
            }
            Keeps::Copies(file, _) => {
                file.let_go().await;
                let outcome = async {
                    say(said, &FromOld::Released(Vec::new())).await?;
                    match next(heard, PATIENCE).await? {
                        FromNew::Open => {}
                        _ => return Err("it does not open the store".to_owned()),
                    }
                    // Redis is asked by both.
                    let (_nobody_asks, asked) = mpsc::channel(1);
                    self.until_taken(heard, said, asked).await
                };
                let outcome = outcome.await;
                if outcome.is_err() {
                    file.take_back().await;
                }
                outcome
            }
        }
    }

    /// Asks the new process what is asked here. Once it is ready, this process begins to leave.
    async fn until_taken(
        &self,
        heard: &mut Heard,
        said: &mut OwnedWriteHalf,
        mut asked: mpsc::Receiver<Asked>,
    ) -> Result<(), String> {
        let mut taken = false;
        let mut waiting = HashMap::new();
        let mut number = 0;
        let late = tokio::time::sleep(READY_WITHIN);
        tokio::pin!(late);
        loop {
            tokio::select! {
                Some((call, reply)) = asked.recv(), if waiting.len() < WAITING_MAX => {
                    number += 1;
                    waiting.insert(number, reply);
                    if let Err(error) = say(said, &FromOld::Call(number, call)).await
                        && !taken
                    {
                        return Err(error);
                    }
                }
                said = heard.next_line() => match said.map_err(|error| error.to_string()).and_then(read) {
                    Ok(FromNew::Answer(number, answer)) => {
                        if let Some(reply) = waiting.remove(&number) {
                            // Its deadline may have passed.
                            let _ = reply.send(answer);
                        }
                    }
                    Ok(FromNew::Taken) => {
                        taken = true;
                        info!("handed over; this process leaves when its connections are over");
                        self.in_flight.hand_over();
                    }
                    Ok(_) if !taken => return Err("it says something that nobody asked".to_owned()),
                    Err(why) if !taken => return Err(why),
                    Ok(_) => {}
                    Err(_) => return Ok(()),
                },
                () = &mut late, if !taken => return Err(format!("it was not ready within {READY_WITHIN:?}")),
            }
        }
    }
}

/// The store is closed, and is to be open there.
async fn open_elsewhere(heard: &mut Heard, said: &mut OwnedWriteHalf, store: &Movable) -> Result<(), String> {
    say(said, &FromOld::Released(store.tickets())).await?;
    match next(heard, PATIENCE).await? {
        FromNew::Open => Ok(()),
        _ => Err("it does not open the store".to_owned()),
    }
}

fn lend(moving: Moving<'_>) -> mpsc::Receiver<Asked> {
    let (lent, asked) = Lent::new();
    moving.lend(lent);
    asked
}

async fn next(heard: &mut Heard, patience: Duration) -> Result<FromNew, String> {
    match tokio::time::timeout(patience, heard.next_line()).await {
        Ok(line) => read(line.map_err(|error| error.to_string())?),
        Err(_) => Err(format!("it said nothing for {patience:?}")),
    }
}

fn read(line: Option<String>) -> Result<FromNew, String> {
    let line = line.ok_or("it ended")?;
    serde_json::from_str(&line).map_err(|error| error.to_string())
}

async fn say(said: &mut OwnedWriteHalf, what: &FromOld) -> Result<(), String> {
    let text = line(what).map_err(|error| error.to_string())?;
    // Who does not read must not keep us from reading.
    match tokio::time::timeout(WRITE_WITHIN, said.write_all(&text)).await {
        Ok(written) => written.map_err(|error| error.to_string()),
        Err(_) => Err(format!("it did not read for {WRITE_WITHIN:?}")),
    }
}

fn line(what: &FromOld) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    Ok(line)
}
