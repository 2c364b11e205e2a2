//! This replica among those that share a tier: it learns their purges and obeys them, records its own, and
//! says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::cache::key::CacheKey;
use crate::cache::purge::{self, pending::Purge};
use crate::cache::tiers::Tiers;
use crate::engine::StreamId;
use crate::engine::error::EngineError;

/// Between two looks for purges.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the first connection may take before its failure is logged.
const FIRST_CONNECTION: Duration = Duration::from_secs(3);
/// The same while the engine fails.
const AFTER_FAILURE: Duration = Duration::from_millis(500);
/// How often a replica says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often replicas that are gone are looked for.
const TIDY: Duration = Duration::from_secs(60);

/// Policies under which a full engine makes room by itself.
const EVICTING: &[&str] = &["allkeys-", "volatile-"];

/// What is known of the engine.
#[derive(Debug, Default)]
struct Acquaintance {
    /// Whether requests use it.
    is_up: bool,
    /// Whether a failure has been logged since it was last in use.
    has_warned: bool,
    /// The last purge that the others were told that this replica obeys.
    said: Option<(StreamId, Instant)>,
    tidied: Option<Instant>,
    has_checked_memory: bool,
}

/// Keeps this replica in step with the others: `detach` detaches what a purge of theirs covers. Never returns.
pub(super) async fn run(tiers: &Arc<Tiers>, detach: &(impl Fn(&Purge) + Sync)) {
    if !tiers.has_shared() {
        return std::future::pending().await;
    }
    let in_step = async {
        let mut known = Acquaintance::default();
        let started = Instant::now();
        while !tiers.is_shared_connected() && started.elapsed() < FIRST_CONNECTION {
            tokio::time::sleep(PAUSE).await;
        }
        loop {
            let result = look(tiers, detach, &mut known).await;
            note(tiers, result, &mut known).await;
            tiers.rest_of_shared(if result.is_ok() { PAUSE } else { AFTER_FAILURE }).await;
        }
    };
    tokio::join!(tiers.serve_shared(), in_step);
}

/// Looks for purges of others, and obeys them.
async fn look(
    tiers: &Arc<Tiers>,
    detach: &(impl Fn(&Purge) + Sync),
    known: &mut Acquaintance,
) -> Result<(), EngineError> {
    // The first time, and whenever the engine was away, before it is looked at: who purges from now on
    // waits for this replica.
    if known.said.is_none() {
        tiers.say_obeyed(StreamId::default()).await?;
    }
    let polled = tiers.poll_shared().await?;
    if polled.has_lost {
        warn!(
            "shared cache: the engine has lost the purges that it had recorded; everything in it, and in this \
             replica, is purged"
        );
    }
    for purge in &polled.purges {
        let key = CacheKey::from_bytes(&purge.key);
        let _goes_on = purge::begin(tiers, &key, purge.scope, detach);
    }
    let is_due =
        known.said.is_none_or(|(said, at)| said != polled.last || at.elapsed() >= HEARTBEAT);
    if is_due {
        tiers.say_obeyed(polled.last).await?;
        known.said = Some((polled.last, Instant::now()));
        tiers.meet_replicas().await?;
    }
    if known.tidied.is_none_or(|at| at.elapsed() >= TIDY) {
        known.tidied = Some(Instant::now());
        tiers.forget_gone_replicas().await;
    }
    Ok(())
}

/// Notes and logs whether the engine is used.
async fn note(tiers: &Tiers, result: Result<(), EngineError>, known: &mut Acquaintance) {
    let is_up = tiers.shared_polled(result);
    if is_up && !known.is_up {
        info!("shared cache: in use");
        known.has_warned = false;
    }
    let was_up = std::mem::replace(&mut known.is_up, is_up);
    let error = match result {
        Ok(()) if is_up => {
            if !known.has_checked_memory {
                known.has_checked_memory = true;
                check_memory(tiers).await;
            }
            return;
        }
        // It answers, but not to requests.
        Ok(()) if was_up => EngineError::Timeout,
        Ok(()) => return,
        Err(error) => error,
    };
    if result.is_err() {
        known.said = None;
    }
    if !known.has_warned {
        known.has_warned = true;
        let (_, details) = tiers.about_engine().await;
        let details = details.map(|text| format!(" ({text})")).unwrap_or_default();
        warn!("shared cache: not used: {error}{details}; requests go on to the stores");
    }
}

/// Warns of an engine that refuses values when its memory is full.
async fn check_memory(tiers: &Tiers) {
    let (policy, _) = tiers.about_engine().await;
    let Some(policy) = policy else { return };
    if !EVICTING.iter().any(|start| policy.starts_with(start)) {
        warn!(
            "shared cache: the maxmemory-policy of the engine is {policy}: when its memory is full, it \
             takes no more objects; set volatile-lru"
        );
    }
}
