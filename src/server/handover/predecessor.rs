//! The process whose place this one takes.

use std::io::{self, BufRead, BufReader, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::{AsyncBufReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::{FromNew, FromOld, TakeOverError, VERSION, WRITE_WITHIN, socket};
use crate::proxy::InFlight;
use crate::server::listeners::Named;
use crate::store::lending::{Call, Lender};

/// How long the running process may be silent.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to become ready. The running process waits longer.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// As many listeners come at once, and as many bytes of their names.
const LISTENERS_MAX: usize = 250;
const NAMES_BYTES_MAX: usize = 64 * 1024;

/// The running process, as long as it has not handed over.
pub(in crate::server) struct Predecessor {
    stream: BufReader<UnixStream>,
    process: u32,
    /// The file in which it keeps sessions.
    store: PathBuf,
}

impl Predecessor {
    /// Asks the process that runs with this data folder for its listeners.
    pub(in crate::server) fn call(data_dir: &Path) -> Result<(Predecessor, Vec<Named>), TakeOverError> {
        let path = socket(data_dir);
        let stream = UnixStream::connect(&path).map_err(|source| TakeOverError::Nobody { path, source })?;
        let other = rustix::net::sockopt::socket_peercred(&stream).map_err(io::Error::from)?.uid;
        if !other.is_root() && other != rustix::process::geteuid() {
            return Err(TakeOverError::Refused("it runs as somebody else".to_owned()));
        }
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        say(&stream, &FromNew::Hello { version: VERSION })?;
        let (line, listeners) = receive_with_listeners(&stream)?;
        match read(&line)? {
            FromOld::Listeners { process, names, store } if names.len() == listeners.len() => {
                let listeners = names.into_iter().zip(listeners).collect();
                Ok((Predecessor { stream: BufReader::new(stream), process, store }, listeners))
            }
            FromOld::Refused(why) => Err(TakeOverError::Refused(why)),
            _ => Err(odd().into()),
        }
    }

    /// Has it close the file of its store, which must be `ours`. What it has only in memory comes back.
    pub(in crate::server) fn release(&mut self, ours: &Path) -> Result<Vec<Call>, TakeOverError> {
        let ours = std::path::absolute(ours)?;
        if ours != self.store {
            return Err(TakeOverError::OtherStore { theirs: self.store.clone(), ours });
        }
        say(self.stream.get_ref(), &FromNew::Release)?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match read(&line)? {
            FromOld::Released(kept) => Ok(kept),
            FromOld::Refused(why) => Err(TakeOverError::Refused(why)),
            _ => Err(odd().into()),
        }
    }

    /// The file is open here. From now on the running process is answered by `lender`, for as long as it lives; what it left
    /// in memory is kept first.
    pub(in crate::server) fn opened(self, lender: Lender, kept: Vec<Call>, in_flight: &InFlight) -> io::Result<Taking> {
        let Predecessor { stream, process, .. } = self;
        // Nothing was said that has not been read.
        let stream = stream.into_inner();
        stream.set_nonblocking(true)?;
        let (ready, is_ready) = oneshot::channel();
        // This process does not leave before the other one has.
        let flying = in_flight.begin();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("hand-over".to_owned()).spawn(move || {
            let _flying = flying;
            runtime.block_on(async {
                for call in kept {
                    drop(lender.answer(call).await);
                }
                let ended = match tokio::net::UnixStream::from_std(stream) {
                    Ok(stream) => accompany(stream, Arc::new(lender), is_ready, process).await,
                    Err(error) => Err(error),
                };
                match ended {
                    Ok(()) => info!("process {process} has left"),
                    Err(error) => info!(%error, "process {process} has gone"),
                }
            });
        })?;
        Ok(Taking { ready: Some(ready) })
    }
}

/// The place is being taken.
pub(in crate::server) struct Taking {
    ready: Option<oneshot::Sender<()>>,
}

impl Taking {
    /// This process accepts connections: the other one can stop.
    pub(in crate::server) fn taken(&mut self) {
        if let Some(ready) = self.ready.take() {
            // It may have died, and then there is nobody to tell.
            let _ = ready.send(());
        }
    }
}

/// Who does not read must not keep us from reading.
async fn tell(writer: &mut (impl AsyncWrite + Unpin), what: &FromNew) -> io::Result<()> {
    let text = line(what)?;
    tokio::time::timeout(WRITE_WITHIN, writer.write_all(&text)).await?
}

/// Answers the old process until it has left. If this process cannot take over, it ends here, and the old one goes on.
async fn accompany(
    mut stream: tokio::net::UnixStream,
    lender: Arc<Lender>,
    mut is_ready: oneshot::Receiver<()>,
    process: u32,
) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = tokio::io::BufReader::new(reader).lines();
    tell(&mut writer, &FromNew::Open).await?;
    let (answers, mut answered) = mpsc::channel(1024);
    let mut taking = true;
    let late = tokio::time::sleep(READY_WITHIN);
    tokio::pin!(late);
    loop {
        tokio::select! {
            told = &mut is_ready, if taking => {
                taking = false;
                if told.is_ok() {
                    info!("taken over from process {process}");
                    tell(&mut writer, &FromNew::Taken).await?;
                }
            }
            () = &mut late, if taking => {
                give_up(&format!("this process was not ready within {READY_WITHIN:?}"), process);
            }
            Some((number, answer)) = answered.recv() => {
                tell(&mut writer, &FromNew::Answer(number, answer)).await?;
            }
            said = lines.next_line() => match said?.as_deref().map(read) {
                Some(Ok(FromOld::Call(number, call))) => {
                    let (lender, answers) = (Arc::clone(&lender), answers.clone());
                    tokio::spawn(async move {
                        let answer = lender.answer(call).await;
                        // Nobody waits for it any more.
                        let _ = answers.send((number, answer)).await;
                    });
                }
                Some(Ok(FromOld::Refused(why))) => give_up(&why, process),
                Some(_) => return Err(odd()),
                None => {
                    if taking {
                        // It did not give up, it is gone. All that it had is here.
                        warn!("process {process} ended while it handed over; this one goes on");
                    }
                    return Ok(());
                }
            },
        }
    }
}

/// The old process goes on, and with it everything that this one was to do.
fn give_up(why: &str, process: u32) {
    error!("this process does not take over, and ends: {why}; process {process} goes on");
    std::process::exit(1);
}

fn receive_with_listeners(stream: &UnixStream) -> io::Result<(String, Vec<OwnedFd>)> {
    let mut listeners = Vec::new();
    let mut text = Vec::new();
    while !text.ends_with(b"\n") {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = vec![0; NAMES_BYTES_MAX];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags)?;
        if received.bytes == 0 || text.len() > NAMES_BYTES_MAX {
            return Err(odd());
        }
        text.extend_from_slice(&bytes[..received.bytes]);
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                listeners.extend(some);
            }
        }
    }
    String::from_utf8(text).map(|text| (text, listeners)).map_err(|_| odd())
}

fn say(mut stream: &UnixStream, what: &FromNew) -> io::Result<()> {
    stream.write_all(&line(what)?)
}

fn line(what: &FromNew) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    Ok(line)
}

fn read(line: &str) -> io::Result<FromOld> {
    match line.is_empty() {
        true => Err(io::ErrorKind::UnexpectedEof.into()),
        false => Ok(serde_json::from_str(line)?),
    }
}

fn odd() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it says something that this version does not understand")
}
