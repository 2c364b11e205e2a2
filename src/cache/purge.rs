//! Purging: entries that a purge covers are not served from its moment on, and removed from memory and
//! disk soon after.

pub(super) mod pending;
pub(super) mod scopes;
pub(super) mod sweeps;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::cache::clock::now;
use crate::cache::key::CacheKey;
use crate::cache::purge::pending::{Purge, PurgeScope, Removed};
use crate::cache::purge::sweeps::{SweepTurn, Swept};
use crate::cache::tiers::Tiers;

/// How long a purge is pending after its sweep. A request that looked an entry up before the purge
/// compares it with the purge once more when the entry is at hand: at once in memory, at most two
/// seconds later where it is read from disk or from the shared tier.
const PENDING_AFTER_SWEEP: Duration = Duration::from_secs(3);
/// The same with memory alone.
const PENDING_IN_MEMORY: Duration = Duration::from_millis(100);
/// Between two sweeps passes this many times the time that the first took: sweeps take at most a fifth of
/// one processor, however many purges come.
const PAUSE: u32 = 4;

/// Purges one object, or every object whose key begins with this one. When this returns, they are no
/// longer served. They are removed in a task of its own. `detach` detaches the fetches in flight that
/// the purge covers, so that none of them stores an entry after the sweep.
pub(super) fn begin(
    tiers: &Arc<Tiers>,
    key: &CacheKey,
    scope: PurgeScope,
    detach: impl FnOnce(&Purge),
) -> watch::Receiver<Removed> {
    let purge = Purge { key: key.as_bytes().to_vec(), scope, at: now() };
    // In this order: a request either finds the purge, or its fetch is detached.
    tiers.add_purge(&purge);
    detach(&purge);
    let tiers = Arc::clone(tiers);
    let (sender, receiver) = watch::channel(Removed::default());
    let _runs_on = tokio::spawn(async move { finish(&tiers, &purge, &sender).await });
    receiver
}

/// Removes all entries that a purge covers, then ends it. This takes as long as the sweeps: it waits for
/// no store.
async fn finish(tiers: &Arc<Tiers>, purge: &Purge, removed: &watch::Sender<Removed>) {
    let disk = tiers.sweep_disk(purge);
    // Without a sweep the purge stays pending: what it covers is not served.
    let Some(Swept { memory, blocks }) = sweep(tiers, purge, removed).await else { return };
    let swept = Removed { memory, blocks, ..Removed::default() };
    removed.send_replace(swept);
    let disk = match disk {
        Some(disk) => Some(disk.removed().await),
        None => None,
    };
    removed.send_replace(Removed { disk, complete: true, ..swept });
    let reads = tiers.has_disk() || tiers.has_shared();
    let rest = if reads { PENDING_AFTER_SWEEP } else { PENDING_IN_MEMORY };
    tokio::time::sleep(rest).await;
    tiers.end_purge(purge);
}

/// Removes from memory what this purge covers. Entries stored meanwhile may be left. `None` if the sweep
/// has failed.
async fn sweep(
    tiers: &Arc<Tiers>,
    purge: &Purge,
    removed: &watch::Sender<Removed>,
) -> Option<Swept> {
    let (swept, turn) = tiers.sweeps().add(purge.clone());
    match turn {
        SweepTurn::Now => drop(tokio::spawn(run(Arc::clone(tiers)))),
        SweepTurn::Soon => {}
        SweepTurn::Deferred => removed.send_modify(|removed| removed.deferred = true),
    }
    swept.await.ok()
}

/// Sweeps until no purge waits.
async fn run(tiers: Arc<Tiers>) {
    while let Some(waiting) = tiers.sweeps().take() {
        let began = Instant::now();
        let sweeping = Arc::clone(&tiers);
        let (purges, senders): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
        // It looks at all entries: a thread that answers requests would pause them.
        let swept = tokio::task::spawn_blocking(move || sweeping.sweep_memory(&purges)).await;
        for (sender, swept) in senders.into_iter().zip(swept.unwrap_or_default()) {
            let _listened_to_or_not = sender.send(swept);
        }
        let took = began.elapsed();
        tiers.sweeps().ended(took);
        tokio::time::sleep(took * PAUSE).await;
    }
}

#[cfg(test)]
mod tests;
