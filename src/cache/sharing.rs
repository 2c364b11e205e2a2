//! The face of the cache towards the process, as far as replicas share it.

use crate::cache::purge::pending::Purge;
use crate::cache::{Cache, ReplicaReport, SharedStatus, replicas};

impl Cache {
    /// Waits seconds until the replicas that share a tier obey the purges so far; `None` without one.
    pub async fn obeyed(&self) -> Option<ReplicaReport> {
        self.tiers.obeyed().await
    }

    /// Keeps the connection to the tier that replicas share, as far as requests wait for it; called in the threads
    /// that serve them. Never returns.
    pub async fn read_shared(&self) {
        self.tiers.read_shared().await;
    }

    /// Keeps this replica in step with those that share a tier. [`Cache::read_shared`] must be running.
    /// Never returns.
    pub async fn serve_replicas(&self) {
        Box::pin(replicas::run(&self.tiers, &|purge: &Purge| self.detach(purge))).await;
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
}
