//! Leases: one replica at a time fetches an object, the others wait for its value. A lease ends when the
//! value is written, when there will be none, or after its time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cache::key::CacheKey;
use crate::cache::shared::queue::lease_name;
use crate::cache::shared::{SharedTier, script};
use crate::engine::Argument;

/// How long a lease lasts, milliseconds: after this time another replica fetches the object.
pub(super) const LEASE: i64 = 3000;
/// For how long replicas go to the store without a lease after a fetch without an object, milliseconds.
pub(super) const WITHOUT_LEASE: i64 = 1000;

/// The leases of this replica, by the names of their values.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<String, HeldLease>>);

#[derive(Debug)]
struct HeldLease {
    token: String,
    /// The value is queued, and ends the lease.
    is_writing: bool,
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, HeldLease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token of the lease of this value, which is about to be written.
    pub(super) fn writing(&self, name: &str) -> Option<String> {
        let mut leases = self.lock();
        let lease = leases.get_mut(name)?;
        lease.is_writing = true;
        Some(lease.token.clone())
    }
}

/// A lease that this replica has. Dropping it ends the lease, unless the value is about to be written.
#[derive(Debug)]
pub(in crate::cache) struct LeaseHeld {
    tier: Arc<SharedTier>,
    name: String,
}

impl Drop for LeaseHeld {
    fn drop(&mut self) {
        if let Some(lease) = self.tier.leases.lock().remove(&self.name)
            && !lease.is_writing
        {
            self.tier.queue.release(std::mem::take(&mut self.name), lease.token);
        }
    }
}

/// What came of asking for a lease.
#[derive(Debug)]
pub(in crate::cache) enum LeaseResult {
    /// This replica fetches the object.
    Taken(LeaseHeld),
    /// Another replica fetches it, and has so much time left.
    Elsewhere(Duration),
    /// There is none to wait for: the engine fails, or another replica has found nothing to share.
    None,
}

impl SharedTier {
    /// Asks for the lease of an object.
    pub(in crate::cache) async fn lease(
        self: &Arc<Self>,
        key: &CacheKey,
        settings: u64,
    ) -> LeaseResult {
        if !self.is_up() || !self.is_for(key) {
            return LeaseResult::None;
        }
        let name = self.name(key, settings);
        let token = format!("{}/{:x}", self.id, fastrand::u64(..));
        let arguments = vec![token.as_str().into(), Argument::Integer(LEASE)];
        match self.engine.run(script::LEASE, &[&lease_name(&name)], arguments).await {
            Ok(1) => {
                let held = HeldLease { token, is_writing: false };
                self.leases.lock().insert(name.clone(), held);
                LeaseResult::Taken(LeaseHeld { tier: Arc::clone(self), name })
            }
            Ok(left) if left <= 0 => {
                LeaseResult::Elsewhere(Duration::from_millis(left.unsigned_abs()))
            }
            Ok(_) | Err(_) => LeaseResult::None,
        }
    }
}
