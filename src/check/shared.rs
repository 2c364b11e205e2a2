//! The check of the tier that replicas share: whether its engine can be reached and does what the tier needs.

use std::time::Duration;

use crate::cache::{EngineTrial, try_shared};
use crate::check::report::{CheckSection, CheckStep, Finding, Subject};
use crate::config::SharedConfig;
use crate::engine::error::EngineError;

/// The oldest version that has all commands.
const OLDEST: (u32, u32) = (6, 2);

/// Checks the shared tier of a configuration.
pub(super) async fn check_shared(config: &SharedConfig) -> CheckSection {
    let steps = match Box::pin(try_shared(config)).await {
        Ok(trial) => judge(config, &trial),
        Err(message) => {
            let fix = "the gateway does not start like this: correct cache.shared.ca_file";
            vec![CheckStep::new("connection", Finding::failed(message, fix))]
        }
    };
    CheckSection { subject: Subject::Shared, name: None, steps }
}

/// The steps of a trial.
fn judge(config: &SharedConfig, trial: &EngineTrial) -> Vec<CheckStep> {
    let url = &config.engine.url;
    let took = match &trial.connection {
        Ok(took) => *took,
        Err((error, details)) => {
            let details = if details.is_empty() { error.advice() } else { details };
            let finding = Finding::failed(format!("{url}: {details}"), fix(*error));
            let mut steps = vec![CheckStep::new("connection", finding)];
            for name in ["version", "commands", "messages", "memory", "latency", "replicas"] {
                steps.push(CheckStep::new(name, Finding::skipped("not connected")));
            }
            return steps;
        }
    };
    let password = if config.engine.password_file.is_some() { "with" } else { "without" };
    let connection = Finding::ok(format!("{url}, {password} a password"));
    let mut steps = vec![
        CheckStep::timed("connection", connection, took),
        CheckStep::new("version", version(trial)),
        CheckStep::new("commands", commands(trial)),
        CheckStep::new("messages", messages(trial)),
        CheckStep::new("memory", memory(trial)),
    ];
    steps.push(match trial.latency {
        Some(took) => CheckStep::timed("latency", latency(took, config.engine.timeout), took),
        None => CheckStep::new("latency", Finding::skipped("no value can be read")),
    });
    let replicas = match trial.replicas.as_slice() {
        [] => "none is there".to_owned(),
        names => format!("{}: {}", names.len(), names.join(", ")),
    };
    steps.push(CheckStep::new("replicas", Finding::ok(replicas)));
    steps
}

/// What an operator does about this fault.
fn fix(error: EngineError) -> &'static str {
    match error {
        EngineError::Connection => {
            "start it, correct cache.shared.url, or let the network pass (of the chart: cache.shared.peers); \
             rediss:// needs its certificate to be trusted: cache.shared.ca_file"
        }
        EngineError::Timeout => {
            "see whether it is overloaded or stopped; cache.shared.timeout is how long requests wait"
        }
        EngineError::Access => {
            "correct cache.shared.password_file, or the user in cache.shared.url, or give the user the rights \
             that docs/shared-cache.md lists; a new password needs no restart of the gateway"
        }
        EngineError::ReadOnly => {
            "let cache.shared.url lead to the primary, or use redis-sentinel:// or redis-cluster://, which find \
             it; a primary that cannot save its data has to be able to, or has to be told not to"
        }
        EngineError::Full => "set maxmemory-policy to volatile-lru, or give it more memory",
        EngineError::Unavailable => "wait until it has loaded its data, or repair the cluster",
        EngineError::Refused | EngineError::Reply => {
            "see its log; it has to be a Valkey or Redis of version 6.2 or later"
        }
    }
}

/// What the engine says about itself under this name.
fn said<'a>(trial: &'a EngineTrial, name: &str) -> Option<&'a str> {
    let about = trial.about.as_ref().ok()?;
    about.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn version(trial: &EngineTrial) -> Finding {
    let valkey = said(trial, "valkey_version").map(|version| ("Valkey", version));
    let redis = || said(trial, "redis_version").map(|version| ("Redis", version));
    let Some((name, version)) = valkey.or_else(redis) else {
        return Finding::skipped("it does not say: its user may not ask (INFO)");
    };
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
    let found = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let role = said(trial, "role").map_or_else(String::new, |role| format!(", {role}"));
    let text = format!("{name} {version}{role}");
    if found < OLDEST {
        return Finding::failed(text, "it has to be 6.2 or later");
    }
    Finding::ok(text)
}

fn commands(trial: &EngineTrial) -> Finding {
    match &trial.commands {
        Ok(()) => Finding::ok("values, leases and purges can be written and read"),
        Err((what, error)) => Finding::failed(format!("{what}: {error}"), fix(*error)),
    }
}

fn messages(trial: &EngineTrial) -> Finding {
    match trial.messages {
        Ok(()) => Finding::ok("replicas hear of objects and purges at once"),
        Err(error) => {
            let fix = match error {
                EngineError::Access | EngineError::Timeout => {
                    "give the user the rights that docs/shared-cache.md lists: publish, subscribe, and the channels"
                }
                other => fix(other),
            };
            Finding::warning(
                "messages do not come: replicas look for objects and purges instead",
                fix,
            )
        }
    }
}

fn memory(trial: &EngineTrial) -> Finding {
    let Some(policy) = said(trial, "maxmemory_policy") else {
        return Finding::skipped("it does not say: its user may not ask (INFO)");
    };
    let limit = said(trial, "maxmemory").and_then(|bytes| bytes.parse::<u64>().ok());
    let used = said(trial, "used_memory_human").unwrap_or("unknown");
    let size = match limit {
        Some(0) => "no limit".to_owned(),
        Some(bytes) => format!("{} MiB", bytes >> 20),
        None => "an unknown limit".to_owned(),
    };
    let text = format!("maxmemory-policy {policy}, {size}, {used} used");
    match policy {
        "noeviction" => Finding::warning(
            format!("{text}: when its memory is full, it takes no more objects"),
            "set maxmemory-policy to volatile-lru",
        ),
        "allkeys-random" => Finding::warning(
            format!("{text}: it may remove the recorded purges, whereupon everything is purged"),
            "set maxmemory-policy to volatile-lru, which leaves them alone",
        ),
        _ if limit == Some(0) => {
            Finding::warning(format!("{text}: it takes all memory of its machine"), "set maxmemory")
        }
        _ => Finding::ok(text),
    }
}

fn latency(took: Duration, timeout: Duration) -> Finding {
    let text = format!(
        "a value takes {:.1} ms, requests wait at most {} ms",
        took.as_secs_f64() * 1000.0,
        timeout.as_millis()
    );
    if took * 3 > timeout {
        let fix = "move it closer to the gateway, or raise cache.shared.timeout";
        return Finding::warning(text, fix);
    }
    Finding::ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::report::StepState;

    fn trial(about: &[(&str, &str)]) -> EngineTrial {
        let about = about.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        EngineTrial {
            connection: Ok(Duration::from_millis(1)),
            about: Ok(about.collect()),
            commands: Ok(()),
            messages: Ok(()),
            latency: Some(Duration::from_millis(1)),
            replicas: Vec::new(),
        }
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (about, state, text) in [
            (
                &[("redis_version", "7.0.15"), ("role", "master")][..],
                StepState::Ok,
                "Redis 7.0.15, master",
            ),
            (
                &[("redis_version", "7.2.4"), ("valkey_version", "8.1.0")],
                StepState::Ok,
                "Valkey 8.1.0",
            ),
            (&[("redis_version", "6.2.0")], StepState::Ok, "Redis 6.2.0"),
            (&[("redis_version", "6.0.20")], StepState::Failed, "Redis 6.0.20"),
            (&[("redis_version", "10.0.1")], StepState::Ok, "Redis 10.0.1"),
        ] {
            let found = version(&trial(about));
            assert_eq!((found.state, found.detail.as_str()), (state, text));
        }
        assert_eq!(version(&trial(&[])).state, StepState::Skipped);
    }

    #[test]
    fn a_memory_that_fills_up_is_a_warning() {
        for (policy, limit, state) in [
            ("volatile-lru", "1048576", StepState::Ok),
            ("allkeys-lru", "1048576", StepState::Ok),
            ("allkeys-lru", "0", StepState::Warning),
            ("noeviction", "1048576", StepState::Warning),
            ("allkeys-random", "1048576", StepState::Warning),
        ] {
            let found = memory(&trial(&[("maxmemory_policy", policy), ("maxmemory", limit)]));
            assert_eq!(found.state, state, "{policy} {limit}: {}", found.detail);
            assert_eq!(found.fix.is_some(), state == StepState::Warning, "{policy}");
        }
        assert_eq!(memory(&trial(&[])).state, StepState::Skipped);
    }

    #[test]
    fn an_engine_that_is_slow_for_its_timeout_is_a_warning() {
        let of = |took| latency(Duration::from_millis(took), Duration::from_millis(150)).state;
        assert_eq!((of(1), of(50), of(51)), (StepState::Ok, StepState::Ok, StepState::Warning));
    }
}
