//! Commands that are asked for at the same moment go to Redis in one write.
//!
//! To write, to wake up and to read cost Redis and a proxy more than a command does. A proxy that is busy has many requests
//! that are ready to ask; each of them has its turn before what they ask is sent, so that a crowd costs one write and one
//! who is alone does not wait.
//!
//! What must never happen in here: a command waits for others to come; one who gives up takes away the answers of others.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, Value, from_redis_value};
use tokio::sync::oneshot;

/// As many commands are answered together, at most: the first of them waits for the answer to the last.
const COMMANDS_MAX: usize = 64;

/// A connection to Redis that many ask over.
#[derive(Clone)]
pub(super) struct Shared {
    /// For what is more than a command.
    pub connection: MultiplexedConnection,
    waiting: Arc<Mutex<Vec<Asked>>>,
}

/// A command, and who waits for the answer.
struct Asked {
    command: Cmd,
    reply: oneshot::Sender<RedisResult<Value>>,
}

impl Shared {
    pub(super) fn new(connection: MultiplexedConnection) -> Shared {
        Shared { connection, waiting: Arc::default() }
    }

    /// Sends the command with those that others ask for now.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: Cmd) -> RedisResult<T> {
        let (reply, answer) = oneshot::channel();
        let is_first = {
            let mut waiting = self.waiting();
            waiting.push(Asked { command, reply });
            waiting.len() == 1
        };
        if is_first {
            // A task of its own: this caller may give up.
            tokio::spawn(self.clone().send());
        }
        let gone = |_| RedisError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        Ok(from_redis_value(answer.await.map_err(gone)??)?)
    }

    /// Sends what has been asked for, once everybody who is ready has asked.
    async fn send(self) {
        tokio::task::yield_now().await;
        let mut asked = std::mem::take(&mut *self.waiting());
        // Who has given up does not want to know any more.
        asked.retain(|asked| !asked.reply.is_closed());
        while asked.len() > COMMANDS_MAX {
            let rest = asked.split_off(COMMANDS_MAX);
            tokio::spawn(exchange(self.connection.clone(), asked));
            asked = rest;
        }
        exchange(self.connection, asked).await;
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends the commands, and gives each its answer.
async fn exchange(mut connection: MultiplexedConnection, asked: Vec<Asked>) {
    if asked.is_empty() {
        return;
    }
    let mut pipe = Pipeline::with_capacity(asked.len());
    let replies: Vec<_> = asked
        .into_iter()
        .map(|Asked { command, reply }| {
            pipe.add_command(command);
            reply
        })
        .collect();
    match connection.req_packed_commands(&pipe, 0, replies.len()).await {
        Ok(answers) => {
            for (reply, answer) in replies.into_iter().zip(answers) {
                drop(reply.send(answer.extract_error()));
            }
        }
        Err(error) => {
            for reply in replies {
                drop(reply.send(Err(error.clone())));
            }
        }
    }
}
