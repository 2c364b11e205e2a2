//! What the process and its operators ask of the cache, besides objects.

use crate::cache::shared::{ReplicaReport, SharedStatus};
use crate::cache::{Cache, pinned, replicas};

impl Cache {
    /// The number of objects that are being fetched.
    #[must_use]
    pub fn fetches_under_way(&self) -> u64 {
        self.fetches.count()
    }

    /// Bytes of pinned objects in memory.
    #[must_use]
    pub fn pinned_bytes(&self) -> u64 {
        self.tiers.pins().held()
    }

    /// Waits seconds until the replicas that share a tier obey the purges so far; `None` without one.
    pub async fn obeyed(&self) -> Option<ReplicaReport> {
        self.tiers.obeyed().await
    }

    /// Keeps this replica in step with those that share a tier. Never returns.
    pub async fn serve_replicas(&self) {
        replicas::run(&self.tiers, &self.fetches).await;
    }

    /// Refreshes pinned objects before they become stale. Never returns.
    pub async fn refresh_pinned(&self) {
        pinned::run(&self.tiers, &self.fetches).await;
    }

    /// Says good-bye to the replicas that share a tier.
    pub async fn leave_replicas(&self) {
        self.tiers.leave_shared().await;
    }

    /// How the tier does that replicas share; `None` if there is none.
    #[must_use]
    pub fn shared_status(&self) -> Option<SharedStatus> {
        self.tiers.shared_status()
    }

    /// Whether the disk tier is in service or about to be; `None` if there is none.
    #[must_use]
    pub fn disk_is_up(&self) -> Option<bool> {
        self.tiers.disk_is_up()
    }
}
