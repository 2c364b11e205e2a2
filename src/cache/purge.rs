//! Removing objects by request: at once for whoever asks, and from memory and disk soon after.

pub mod pending;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::cache::entry::Entry;
use crate::cache::key::CacheKey;
use crate::cache::purge::pending::{Purge, PurgeScope};
use crate::cache::{Cache, now};

/// How often the end of older fetches is looked for.
const SWEEP_AGAIN: Duration = Duration::from_millis(100);

impl Cache {
    /// Removes one object, or everything whose key begins like this one. When this returns, nothing
    /// of it is served any more; the memory it takes is freed in the background.
    pub fn purge(self: &Arc<Self>, key: &CacheKey, reach: PurgeScope) {
        self.statistics.purges.inc();
        let purge = Purge { key: key.as_bytes().to_vec(), reach, at: now() };
        self.purges.add(purge.clone());
        let cache = Arc::clone(self);
        let _runs_on = tokio::spawn(async move { cache.sweep(&purge).await });
    }

    async fn sweep(&self, purge: &Purge) {
        let oldest = || self.flights.oldest().into_iter().chain(self.blocks.oldest()).min();
        let is_older = |than| oldest().is_some_and(|began| began <= than);
        let may_leave_more = is_older(purge.at);
        self.sweep_once(purge).await;
        // Who was looking meanwhile may have in hand what is gone now, and has to be told so.
        let swept = now();
        tokio::time::sleep(SWEEP_AGAIN).await;
        while is_older(swept) {
            tokio::time::sleep(SWEEP_AGAIN).await;
        }
        if may_leave_more {
            // Fetches that began before the purge have left behind what they brought.
            self.sweep_once(purge).await;
        }
        self.purges.swept(purge);
    }

    /// Returns when neither memory nor disk holds any of it, but for what came meanwhile.
    async fn sweep_once(&self, purge: &Purge) {
        let disk = self.disk.as_ref();
        let sweeping = disk.map(|disk| {
            let (sweeping, swept) = oneshot::channel::<()>();
            let purge = purge.clone();
            let reach = purge.reach;
            let doomed = move |key: &[u8], asked| {
                let _until_it_is_over = &sweeping;
                purge.covers(CacheKey::object_of(key), asked)
            };
            match reach {
                PurgeScope::Object => disk.remove_blocks_where(doomed),
                PurgeScope::Prefix => disk.remove_where(doomed),
            }
            swept
        });
        if let (Some(disk), PurgeScope::Object) = (disk, purge.reach) {
            disk.remove(&CacheKey::from_bytes(&purge.key));
        }
        let is_doomed = |entry: &Entry| purge.covers(entry.key.object(), entry.asked);
        self.blocks.memory().remove_where(is_doomed);
        match purge.reach {
            PurgeScope::Object => {
                let kept = self.memory.get(&purge.key);
                if kept.is_some_and(|entry| purge.covers(&purge.key, entry.asked)) {
                    self.memory.remove(&purge.key);
                }
            }
            PurgeScope::Prefix => {
                self.memory.remove_where(|entry| purge.covers(entry.key.as_bytes(), entry.asked));
            }
        }
        if let Some(swept) = sweeping {
            let _nothing_is_sent = swept.await;
        }
    }
}

#[cfg(test)]
mod tests;
