//! Removing objects by request: at once for whoever asks, and from memory and disk soon after.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::cache::key::CacheKey;
use crate::cache::purges::{Purge, Reach};
use crate::cache::{Cache, now};

/// How often the end of older fetches is looked for.
const SWEEP_AGAIN: Duration = Duration::from_millis(100);

impl Cache {
    /// Removes one object, or everything whose key begins like this one. When this returns, nothing
    /// of it is served any more; the memory it takes is freed in the background.
    pub fn purge(self: &Arc<Self>, key: &CacheKey, reach: Reach) {
        self.statistics.purges.count();
        let purge = Purge { key: key.as_bytes().to_vec(), reach, at: now() };
        self.purges.add(purge.clone());
        let cache = Arc::clone(self);
        let _runs_on = tokio::spawn(async move { cache.sweep(&purge).await });
    }

    async fn sweep(&self, purge: &Purge) {
        self.memory.remove_where(|entry| purge.covers(entry.key.as_bytes(), entry.asked));
        // A fetch that began before the purge may still leave behind what it brings.
        while self.flights.oldest().is_some_and(|began| began <= purge.at) {
            tokio::time::sleep(SWEEP_AGAIN).await;
        }
        self.memory.remove_where(|entry| purge.covers(entry.key.as_bytes(), entry.asked));
        if let Some(disk) = &self.disk {
            let (until_swept, swept) = oneshot::channel::<()>();
            let doomed = purge.clone();
            // The disk drops this when it has looked through everything.
            disk.remove_where(move |key, asked| {
                let _held_until_then = &until_swept;
                doomed.covers(key, asked)
            });
            let _dropped = swept.await;
        }
        self.purges.swept(purge);
    }
}

#[cfg(test)]
mod tests;
