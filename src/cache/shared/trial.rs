//! A trial of the engine: whether this gateway may do there what the shared tier does. It leaves nothing behind.

use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::cache::shared::{members, script};
use crate::config::SharedConfig;
use crate::engine::error::EngineError;
use crate::engine::{Argument, ChannelEvent, Engine, StreamId};

/// How long the connection may take; where there are several servers, the first may be down.
const CONNECTION: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(10);
/// How long a message may take, and how often one is sent: a subscription begins when it begins.
const MESSAGE: Duration = Duration::from_secs(2);
const MESSAGE_PAUSE: Duration = Duration::from_millis(50);
/// How often a missing value is read, to see how long that takes.
const READS: usize = 21;
/// How long values of the trial stay if it does not end, milliseconds.
const LIFETIME: u64 = 60_000;

/// What a trial has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineTrial {
    /// How long the connection took, or why there is none.
    pub connection: Result<Duration, (EngineError, String)>,
    /// What the engine says about itself: names and values.
    pub about: Result<Vec<(String, String)>, EngineError>,
    /// The commands of the tier, or what it was that failed.
    pub commands: Result<(), (&'static str, EngineError)>,
    /// Whether messages that it publishes come.
    pub messages: Result<(), EngineError>,
    /// The median of the times that reads take.
    pub latency: Option<Duration>,
    /// The replicas that have said that they are there.
    pub replicas: Vec<String>,
}

/// Tries the engine of the shared tier.
///
/// # Errors
/// The CA certificates cannot be read, in words.
pub async fn try_shared(config: &SharedConfig) -> Result<EngineTrial, String> {
    let engine = Engine::new(&config.engine)?;
    let own = format!("{}:{{check-{:016x}}}", config.prefix, fastrand::u64(..));
    let channel = format!("{}:messages:{own}", config.prefix);
    let heard = Notify::new();
    let hear = |what| {
        if what != ChannelEvent::Gap {
            heard.notify_one();
        }
    };
    let trial = async {
        let connection = connected(&engine).await;
        let nothing = EngineTrial {
            connection,
            about: Err(EngineError::Connection),
            commands: Err(("connect", EngineError::Connection)),
            messages: Err(EngineError::Connection),
            latency: None,
            replicas: Vec::new(),
        };
        if nothing.connection.is_err() {
            return nothing;
        }
        let prefix = &config.prefix;
        let list = engine.fields(&format!("{prefix}:replicas")).await.unwrap_or_default();
        EngineTrial {
            about: engine.about(&format!("{prefix}:purges")).await,
            commands: commands(&engine, &own).await,
            messages: messages(&engine, &channel, &heard).await,
            latency: latency(&engine, prefix).await,
            replicas: members::present(&list),
            ..nothing
        }
    };
    let channels = [channel.as_str()];
    let trial = tokio::select! {
        trial = trial => trial,
        () = engine.listen(&channels, hear) => {
            return Err("the connection was given up".to_owned());
        }
        () = engine.keep_writing() => return Err("the connection was given up".to_owned()),
        () = engine.keep_reading() => return Err("the connection was given up".to_owned()),
    };
    engine.close().await;
    Ok(trial)
}

async fn connected(engine: &Engine) -> Result<Duration, (EngineError, String)> {
    let started = Instant::now();
    loop {
        if engine.is_connected() {
            return Ok(started.elapsed());
        }
        let failure = engine.failure();
        let is_final = matches!(failure, Some((EngineError::Access, _)));
        if is_final || started.elapsed() >= CONNECTION {
            return Err(failure.unwrap_or((EngineError::Timeout, "no answer".to_owned())));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Does once what the tier does all the time, with names that begin like this.
async fn commands(engine: &Engine, own: &str) -> Result<(), (&'static str, EngineError)> {
    let [value, lease, purges, replicas] =
        ["value", "lease", "purges", "replicas"].map(|what| format!("{own}:{what}"));
    let tried = async {
        let failed = |what: &'static str| move |error| (what, error);
        let time = engine.time(own).await.map_err(failed("TIME"))?;
        let number = |number: u64| Argument::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        let arguments = vec![
            "check".into(),
            number(time),
            number(time + LIFETIME),
            Argument::from(""),
            Argument::from(own),
        ];
        let keys = [value.as_str(), lease.as_str()];
        let written = engine.write(script::WRITE, &keys, arguments).await;
        written.map_err(failed("writing a value (EVAL, GETRANGE, SET)"))?;
        engine.get(&value, 100).await.map_err(failed("reading a value (GETRANGE)"))?;
        // The second time it is somebody's.
        for what in ["taking a lease (EVAL, SET)", "waiting for a lease (EVAL, APPEND, PTTL)"] {
            let arguments = vec!["check".into(), number(LIFETIME)];
            engine.run(script::LEASE, &[&lease], arguments).await.map_err(failed(what))?;
        }
        let fields = vec!["by".into(), "check".into()];
        let appended = engine.append(&purges, 1, None, fields).await;
        appended.map_err(failed("recording a purge (XADD)"))?;
        let read = engine.entries(&purges, StreamId::default(), 1).await;
        read.map_err(failed("reading purges (XRANGE)"))?;
        members::greet(engine, &replicas, own, "check", "0-0")
            .await
            .map_err(failed("listing a replica (EVAL, HSET, TIME)"))?;
        engine.fields(&replicas).await.map_err(failed("reading the replicas (HGETALL)"))?;
        let removed = engine.remove_field(&replicas, "check").await;
        removed.map_err(failed("removing a replica (HDEL)"))
    };
    let result = tried.await;
    let mut removed = Ok(());
    for name in [&value, &lease, &purges, &replicas] {
        removed = removed.and(engine.remove(name).await);
    }
    result.and(removed.map_err(|error| ("removing a value (DEL)", error)))
}

/// Publishes until a message comes.
async fn messages(engine: &Engine, channel: &str, heard: &Notify) -> Result<(), EngineError> {
    let publish = async {
        loop {
            let arguments = vec![channel.into(), "check".into()];
            if engine.run_aside(script::PUBLISH, &[channel], arguments).await? == 0 {
                return Err(EngineError::Access);
            }
            if timeout(MESSAGE_PAUSE, heard.notified()).await.is_ok() {
                return Ok(());
            }
        }
    };
    timeout(MESSAGE, publish).await.unwrap_or(Err(EngineError::Timeout))
}

async fn latency(engine: &Engine, prefix: &str) -> Option<Duration> {
    let mut times = Vec::with_capacity(READS);
    let name = format!("{prefix}:{{check}}:none");
    for _ in 0..READS {
        let started = Instant::now();
        engine.get(&name, 100).await.ok()?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    times.get(READS / 2).copied()
}
