//! What the process and its operators ask of the cache, besides objects. What replicas share is in `sharing.rs`.

use crate::cache::{Cache, pinned};

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

    /// Refreshes pinned objects before they become stale. Never returns.
    pub async fn refresh_pinned(&self) {
        pinned::run(&self.tiers, &self.fetches).await;
    }

    /// Whether an object that is not in memory may be in a tier below.
    #[must_use]
    pub fn has_lower_tier(&self) -> bool {
        self.tiers.has_lower_tier()
    }

    /// Whether the disk tier is in service or about to be; `None` if there is none.
    #[must_use]
    pub fn disk_is_up(&self) -> Option<bool> {
        self.tiers.disk_is_up()
    }
}
