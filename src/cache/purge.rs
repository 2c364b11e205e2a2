//! Purging: entries that a purge covers are not served from its moment on, and removed from memory and
//! disk soon after.

pub(super) mod pending;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::cache::clock::now;
use crate::cache::key::CacheKey;
use crate::cache::purge::pending::{Purge, PurgeScope, Removed};
use crate::cache::tiers::Tiers;

/// How long a purge is pending after its sweep. A request that looked an entry up before the purge
/// compares it with the purge once more when the entry is at hand: at once in memory, at most two
/// seconds later where it is read from disk or from the shared tier.
const PENDING_AFTER_SWEEP: Duration = Duration::from_secs(3);
/// The same with memory alone.
const PENDING_IN_MEMORY: Duration = Duration::from_millis(100);

/// Purges one object, or every object whose key begins with this one. When this returns, they are no
/// longer served. They are removed in a task of its own. `detach` detaches the fetches in flight that
/// the purge covers, so that none of them stores an entry after the sweep.
pub(super) fn begin(
    tiers: &Arc<Tiers>,
    key: &CacheKey,
    scope: PurgeScope,
    detach: impl FnOnce(&Purge),
) -> watch::Receiver<Removed> {
    tiers.statistics().purges.inc();
    let purge = Purge { key: key.as_bytes().to_vec(), scope, at: now() };
    // In this order: a request either finds the purge, or its fetch is detached.
    tiers.add_purge(purge.clone());
    detach(&purge);
    let tiers = Arc::clone(tiers);
    let (sender, receiver) = watch::channel(Removed::default());
    let _runs_on = tokio::spawn(async move { finish(&tiers, &purge, &sender).await });
    receiver
}

/// Removes all entries that a purge covers, then ends it. This takes as long as the sweep: it waits for
/// no store.
async fn finish(tiers: &Tiers, purge: &Purge, removed: &watch::Sender<Removed>) {
    tiers.sweep(purge, removed).await;
    let reads = tiers.has_disk() || tiers.has_shared();
    let rest = if reads { PENDING_AFTER_SWEEP } else { PENDING_IN_MEMORY };
    tokio::time::sleep(rest).await;
    tiers.end_purge(purge);
}

#[cfg(test)]
mod tests;
