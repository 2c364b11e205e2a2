//! The engine of the shared tier: a Valkey or Redis, asked through two connections, one for what requests
//! wait for and one for values that are written; messages come through a third one (`listen.rs`). It knows names
//! and bytes, and nothing of the cache.
//!
//! No command outlives its time, none is sent a second time, and none is sent without a connection. After
//! failures in a row no request asks the engine for a while; the caller of [`Engine::probed`] tries it all the time.

mod breaker;
mod connect;
pub mod error;
mod listen;
mod reply;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface};
/// An argument of a command.
pub use fred::prelude::Value as Argument;
use fred::types::CustomCommand;
use fred::types::config::Options;
use fred::util::redis_keyslot;
use prometheus_client::metrics::counter::Counter;

use crate::config::EngineConfig;
use crate::engine::breaker::EngineBreaker;
use crate::engine::error::EngineError;
pub use crate::engine::listen::ChannelEvent;
use crate::engine::reply::Reply;

/// How long a value may take to be written, and what else no request waits for.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(1);

/// The position of an entry in a stream, which the engine gives: milliseconds and a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub u64, pub u64);

impl StreamId {
    /// Reads the text of an id, such as `1700000000000-0`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (time, number) = text.split_once('-')?;
        Some(Self(time.parse().ok()?, number.parse().ok()?))
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// An entry of a stream: its fields and values, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEntry {
    pub id: StreamId,
    pub fields: Vec<Bytes>,
}

/// A Valkey or Redis.
pub struct Engine {
    /// For what requests wait for.
    reads: Client,
    /// For values, which may be large.
    writes: Client,
    /// For messages.
    listens: Client,
    options: Options,
    breaker: Mutex<EngineBreaker>,
    /// Whether requests may ask: the breaker is closed.
    is_closed: AtomicBool,
    /// Why the last connection failed or ended, if there is none now.
    lost: Mutex<Option<(EngineError, String)>>,
    errors: [Counter; EngineError::ALL.len()],
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("is_closed", &self.is_closed).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// An engine that is not connected yet.
    ///
    /// # Errors
    /// The CA certificates cannot be read, in words.
    pub fn new(config: &EngineConfig) -> Result<Self, String> {
        let (reads, writes) = (connect::client(config)?, connect::client(config)?);
        let listens = connect::listener(config)?;
        let options = Options {
            max_attempts: Some(1),
            timeout: Some(config.timeout),
            fail_fast: true,
            ..Options::default()
        };
        Ok(Self {
            reads,
            writes,
            listens,
            options,
            breaker: Mutex::default(),
            is_closed: AtomicBool::new(false),
            lost: Mutex::default(),
            errors: Default::default(),
        })
    }

    /// Connects for what requests wait for, and again whenever the connection ends. Its answers are read by the
    /// threads of the Tokio runtime in which this is called: those that serve requests, so that no other thread has
    /// to be woken for an answer. Never returns.
    pub async fn keep_reading(&self) {
        let mut failures = self.reads.error_rx();
        let mut connects = self.reads.reconnect_rx();
        let reads = connect::keep(&self.reads);
        let notes = async {
            loop {
                tokio::select! {
                    Ok((error, _)) = failures.recv() => {
                        let why = (EngineError::from(&error), error.details().to_owned());
                        *locked(&self.lost) = Some(why);
                    }
                    Ok(_) = connects.recv() => *locked(&self.lost) = None,
                    else => return std::future::pending().await,
                }
            }
        };
        let ((), ()) = tokio::join!(reads, notes);
    }

    /// The same for values that are written, of which no request waits for an answer.
    pub async fn keep_writing(&self) {
        connect::keep(&self.writes).await;
    }

    /// Ends the connections.
    pub async fn close(&self) {
        for client in [&self.reads, &self.writes, &self.listens] {
            let _closed_already = client.quit().await;
        }
    }

    /// Whether all connections are there: that for what requests wait for, and that for values.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.reads.is_connected() && self.writes.is_connected()
    }

    /// Whether requests ask the engine: the breaker is closed.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Notes the result of a probe: it is used if the probe has succeeded, and no pause is in progress.
    pub fn probed(&self, result: Result<(), EngineError>) {
        let mut breaker = locked(&self.breaker);
        let now = Instant::now();
        let is_closed = result.is_ok() && breaker.close(now);
        self.is_closed.store(is_closed, Ordering::Release);
    }

    /// How often a command has failed for this reason.
    #[must_use]
    pub fn failures(&self, error: EngineError) -> u64 {
        self.errors.get(error as usize).map_or(0, Counter::get)
    }

    /// What the connection has failed of in the words of the engine or the system, if there is none.
    #[must_use]
    pub fn last_failure(&self) -> Option<String> {
        locked(&self.lost).as_ref().map(|(_, details)| details.clone())
    }

    /// The same with its kind.
    #[must_use]
    pub fn failure(&self) -> Option<(EngineError, String)> {
        locked(&self.lost).clone()
    }

    fn failed(&self, error: EngineError) -> EngineError {
        // A command that finds no connection does not know why there is none.
        let known = locked(&self.lost).as_ref().map(|(why, _)| *why);
        let error = known.filter(|_| error == EngineError::Connection).unwrap_or(error);
        if let Some(counter) = self.errors.get(error as usize) {
            counter.inc();
        }
        error
    }

    /// Counts the result of what a request has waited for.
    fn counted<T>(&self, result: Result<T, EngineError>) -> Result<T, EngineError> {
        let mut breaker = locked(&self.breaker);
        match &result {
            Ok(_) => breaker.worked(),
            Err(_) if breaker.failed(Instant::now()) => {
                self.is_closed.store(false, Ordering::Release);
            }
            Err(_) => {}
        }
        result
    }

    async fn send(
        &self,
        client: &Client,
        options: &Options,
        name: &'static str,
        key: &str,
        arguments: Vec<Argument>,
    ) -> Result<Reply, EngineError> {
        let command = CustomCommand::new_static(name, Some(redis_keyslot(key.as_bytes())), false);
        let sent = client.with_options(options).custom_raw(command, arguments).await;
        let reply = sent.map_err(|error| EngineError::from(&error)).and_then(Reply::of);
        reply.map_err(|error| self.failed(error))
    }

    /// Sends a command that a request waits for.
    async fn ask(
        &self,
        name: &'static str,
        key: &str,
        arguments: Vec<Argument>,
    ) -> Result<Reply, EngineError> {
        self.send(&self.reads, &self.options, name, key, arguments).await
    }

    /// Sends a command that no request waits for.
    async fn tell(
        &self,
        name: &'static str,
        key: &str,
        arguments: Vec<Argument>,
    ) -> Result<Reply, EngineError> {
        let timeout = self.options.timeout.map(|timeout| timeout.max(BACKGROUND_TIMEOUT));
        let options = Options { timeout, ..self.options.clone() };
        self.send(&self.reads, &options, name, key, arguments).await
    }
}

// What requests wait for.
impl Engine {
    /// The first `limit` bytes of a value; `None` if there is none.
    ///
    /// # Errors
    /// No answer, or another one.
    pub async fn get(&self, key: &str, limit: u64) -> Result<Option<Bytes>, EngineError> {
        let last = i64::try_from(limit.saturating_sub(1)).unwrap_or(i64::MAX);
        let arguments = vec![key.into(), Argument::Integer(0), Argument::Integer(last)];
        let reply = self.ask("GETRANGE", key, arguments).await;
        self.counted(reply)?.bytes().map(|value| value.filter(|value| !value.is_empty()))
    }

    /// Runs a script on these keys, all in the slot of the first, and returns its number.
    ///
    /// # Errors
    /// No answer, or another one.
    pub async fn run(
        &self,
        script: &'static str,
        keys: &[&str],
        arguments: Vec<Argument>,
    ) -> Result<i64, EngineError> {
        let sent = self.ask("EVAL", first(keys), with_script(script, keys, arguments)).await;
        self.counted(sent)?.number()
    }
}

// What no request waits for.
impl Engine {
    /// Runs a script that writes a value, and returns its number.
    ///
    /// # Errors
    /// No answer, or another one.
    pub async fn write(
        &self,
        script: &'static str,
        keys: &[&str],
        arguments: Vec<Argument>,
    ) -> Result<i64, EngineError> {
        let options = Options { timeout: Some(WRITE_TIMEOUT), ..self.options.clone() };
        let arguments = with_script(script, keys, arguments);
        self.send(&self.writes, &options, "EVAL", first(keys), arguments).await?.number()
    }

    /// Runs a script that no request waits for, and returns its number.
    ///
    /// # Errors
    /// No answer, or another one.
    pub async fn run_aside(
        &self,
        script: &'static str,
        keys: &[&str],
        arguments: Vec<Argument>,
    ) -> Result<i64, EngineError> {
        self.tell("EVAL", first(keys), with_script(script, keys, arguments)).await?.number()
    }

    /// The time of day of the server that has this key, milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// No answer, or another one.
    pub async fn time(&self, key: &str) -> Result<u64, EngineError> {
        let texts = self.tell("TIME", key, Vec::new()).await?.texts()?;
        let number = |at: usize| texts.get(at).and_then(|text| text.parse::<u64>().ok());
        let (seconds, micros) = number(0).zip(number(1)).ok_or(EngineError::Reply)?;
        Ok(seconds.saturating_mul(1000).saturating_add(micros / 1000))
    }

    /// The entries of a stream from this one on, at most `count`.
    ///
    /// # Errors
    /// No answer, or another one.
    pub async fn entries(
        &self,
        stream: &str,
        from: StreamId,
        count: u32,
    ) -> Result<Vec<StreamEntry>, EngineError> {
        let arguments = vec![
            stream.into(),
            from.to_string().into(),
            "+".into(),
            "COUNT".into(),
            Argument::Integer(count.into()),
        ];
        self.tell("XRANGE", stream, arguments).await?.entries()
    }

    /// Appends an entry to a stream of at most `most` entries, at this position or at one that the engine
    /// chooses, and returns its position.
    ///
    /// # Errors
    /// No answer, or another one.
    pub async fn append(
        &self,
        stream: &str,
        most: u32,
        id: Option<StreamId>,
        fields: Vec<Argument>,
    ) -> Result<StreamId, EngineError> {
        let id = id.map_or_else(|| "*".to_owned(), |id| id.to_string());
        let mut arguments: Vec<Argument> =
            vec![stream.into(), "MAXLEN".into(), Argument::Integer(most.into()), id.into()];
        arguments.extend(fields);
        let texts = self.tell("XADD", stream, arguments).await?.texts()?;
        texts.first().and_then(|id| StreamId::parse(id)).ok_or(EngineError::Reply)
    }

    /// Removes a field of a hash.
    ///
    /// # Errors
    /// No answer, or another one.
    pub async fn remove_field(&self, hash: &str, field: &str) -> Result<(), EngineError> {
        let arguments = vec![hash.into(), field.into()];
        self.tell("HDEL", hash, arguments).await?.number().map(|_| ())
    }

    /// The fields of a hash with their values.
    ///
    /// # Errors
    /// No answer, or another one.
    pub async fn fields(&self, hash: &str) -> Result<Vec<(String, String)>, EngineError> {
        let texts = self.tell("HGETALL", hash, vec![hash.into()]).await?.texts()?;
        let pairs = texts.chunks_exact(2);
        let pairs = pairs.filter_map(|pair| Some((pair.first()?.clone(), pair.get(1)?.clone())));
        Ok(pairs.collect())
    }

    /// What the server that has this key says about itself: names and values.
    ///
    /// # Errors
    /// No answer, or another one; users of some services may not ask.
    pub async fn about(&self, key: &str) -> Result<Vec<(String, String)>, EngineError> {
        let texts = self.tell("INFO", key, Vec::new()).await?.texts()?;
        let lines = texts.iter().flat_map(|text| text.lines());
        let pairs = lines.filter_map(|line| line.split_once(':'));
        Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// What the engine does when its memory is full; `None` if it does not say.
    pub async fn memory_policy(&self, key: &str) -> Option<String> {
        let about = self.about(key).await.ok()?;
        about.into_iter().find(|(name, _)| name == "maxmemory_policy").map(|(_, policy)| policy)
    }

    /// Removes a value.
    ///
    /// # Errors
    /// No answer, or another one.
    pub async fn remove(&self, key: &str) -> Result<(), EngineError> {
        self.tell("DEL", key, vec![key.into()]).await?.number().map(|_| ())
    }
}

fn first<'a>(keys: &[&'a str]) -> &'a str {
    keys.first().copied().unwrap_or_default()
}

fn with_script(script: &'static str, keys: &[&str], arguments: Vec<Argument>) -> Vec<Argument> {
    let count = Argument::Integer(i64::try_from(keys.len()).unwrap_or_default());
    let mut all: Vec<Argument> = vec![script.into(), count];
    all.extend(keys.iter().map(|key| Argument::from(*key)));
    all.extend(arguments);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_id_reads_back() {
        for id in [StreamId(0, 0), StreamId(1_700_000_000_000, 7), StreamId(u64::MAX, u64::MAX)] {
            assert_eq!(StreamId::parse(&id.to_string()), Some(id));
        }
        for text in ["", "1", "-", "1-", "a-1", "1-2-3"] {
            assert_eq!(StreamId::parse(text), None, "{text}");
        }
        assert!(StreamId(1, 9) < StreamId(2, 0) && StreamId(2, 0) < StreamId(2, 1));
    }
}
