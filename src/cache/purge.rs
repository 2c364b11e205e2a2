//! Purging: entries that a purge covers are not served from its moment on, and removed from memory and
//! disk soon after.

pub(super) mod pending;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::cache::clock::now;
use crate::cache::key::CacheKey;
use crate::cache::purge::pending::{Purge, PurgeScope};
use crate::cache::tiers::Tiers;

/// The pause before it is checked again whether older fetches have ended.
const SWEEP_PAUSE: Duration = Duration::from_millis(100);

/// Purges one object, or every object whose key begins with this one. When this returns, they are no
/// longer served. They are removed in a task of its own; `oldest` is when the oldest fetch in flight
/// began.
pub(super) fn begin(
    tiers: &Arc<Tiers>,
    key: &CacheKey,
    scope: PurgeScope,
    oldest: impl Fn() -> Option<SystemTime> + Send + Sync + 'static,
) {
    tiers.statistics().purges.inc();
    let purge = Purge { key: key.as_bytes().to_vec(), scope, at: now() };
    tiers.add_purge(purge.clone());
    let tiers = Arc::clone(tiers);
    let _runs_on = tokio::spawn(async move { finish(&tiers, &purge, oldest).await });
}

/// Removes all entries that a purge covers, then ends it.
async fn finish(tiers: &Tiers, purge: &Purge, oldest: impl Fn() -> Option<SystemTime>) {
    let is_any_older_than = |time| oldest().is_some_and(|began| began <= time);
    let may_store_more = is_any_older_than(purge.at);
    tiers.sweep(purge).await;
    // A request that looked up an entry during the sweep still has to be checked against the purge.
    let swept = now();
    tokio::time::sleep(SWEEP_PAUSE).await;
    while is_any_older_than(swept) {
        tokio::time::sleep(SWEEP_PAUSE).await;
    }
    if may_store_more {
        // Fetches that began before the purge may have stored more entries that it covers.
        tiers.sweep(purge).await;
    }
    tiers.end_purge(purge);
}

#[cfg(test)]
mod tests;
