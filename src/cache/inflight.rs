//! Fetches in flight: one for each key. Requests for the same object are coalesced: the first one leads
//! the fetch, the others follow it.

use std::collections::HashMap;
use std::collections::hash_map::{Entry as MapEntry, RandomState};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

use crate::cache::key::CacheKey;
use crate::profile::fingerprint::Fingerprint;
use crate::trace::span::SpanParent;

/// Maps that share the keys, so that requests seldom wait for each other.
const SHARDS: usize = 16;

/// The fetches in flight. `T` is the outcome that each publishes once its store has answered.
#[derive(Debug)]
pub(super) struct InFlightFetches<T> {
    shards: Box<[Mutex<FetchMap<T>>]>,
    hasher: RandomState,
}

type FetchMap<T> = HashMap<CacheKey, Arc<Fetch<T>>>;

/// One fetch.
#[derive(Debug)]
pub struct Fetch<T> {
    /// When it began. A later purge covers its outcome.
    pub began: SystemTime,
    /// The settings that shape its outcome, if any do.
    pub settings: Option<Fingerprint>,
    /// The span that others link to, and that its requests to the store are part of; `None` without traces.
    pub trace: Option<SpanParent>,
    /// Whether a purge has detached it: nothing that it brings is stored.
    purged: AtomicBool,
    outcome: watch::Sender<Progress<T>>,
}

#[derive(Debug, Clone)]
enum Progress<T> {
    Pending,
    Published(T),
    /// The fetch ended without an outcome: its task panicked, or the process ends.
    Abandoned,
}

/// How a request takes part in a fetch.
#[derive(Debug)]
pub(super) enum Role<T: Clone> {
    /// It begins the fetch, and has to end it.
    Lead(Leader<T>),
    /// It waits for the outcome of a fetch that another request leads.
    Follow(Arc<Fetch<T>>),
}

impl<T: Clone> Fetch<T> {
    /// Whether a purge covers its outcome, and what was cached before it.
    #[must_use]
    pub fn is_purged(&self) -> bool {
        self.purged.load(Ordering::Acquire)
    }

    /// Whether [`Fetch::outcome`] returns at once.
    #[must_use]
    pub fn is_published(&self) -> bool {
        !matches!(*self.outcome.borrow(), Progress::Pending)
    }

    /// The outcome, if it is published.
    #[must_use]
    pub fn published(&self) -> Option<T> {
        match &*self.outcome.borrow() {
            Progress::Published(outcome) => Some(outcome.clone()),
            Progress::Pending | Progress::Abandoned => None,
        }
    }

    /// The outcome, as soon as it is published; `None` if the fetch ended without one.
    pub async fn outcome(&self) -> Option<T> {
        let mut outcome = self.outcome.subscribe();
        let ended = outcome.wait_for(|outcome| !matches!(outcome, Progress::Pending)).await.ok()?;
        match &*ended {
            Progress::Published(outcome) => Some(outcome.clone()),
            Progress::Pending | Progress::Abandoned => None,
        }
    }
}

impl<T: Clone> Default for InFlightFetches<T> {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new() }
    }
}

impl<T: Clone> InFlightFetches<T> {
    fn shard(&self, key: &CacheKey) -> MutexGuard<'_, FetchMap<T>> {
        let hash = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or_default();
        // The index is below the number of shards, and a poisoned map is a map.
        #[expect(clippy::indexing_slicing, reason = "a remainder of the length is an index")]
        self.shards[hash].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the fetch of a key that is in flight and `usable`, or leads a new one. Before a new
    /// one begins, `cached` is called under the lock that fetches of the key begin and end under.
    ///
    /// # Errors
    /// The entry that `cached` returned: a fetch that ended a moment ago has stored it.
    pub(super) fn join<K>(
        self: &Arc<Self>,
        key: &CacheKey,
        now: SystemTime,
        settings: Option<Fingerprint>,
        trace: Option<SpanParent>,
        usable: impl Fn(&Fetch<T>) -> bool,
        cached: impl FnOnce() -> Option<K>,
    ) -> Result<Role<T>, K> {
        let mut shard = self.shard(key);
        match shard.entry(key.clone()) {
            MapEntry::Occupied(slot) if usable(slot.get()) => {
                Ok(Role::Follow(Arc::clone(slot.get())))
            }
            slot => {
                if let Some(cached) = cached() {
                    return Err(cached);
                }
                let outcome = watch::Sender::new(Progress::Pending);
                let purged = AtomicBool::new(false);
                let fetch = Arc::new(Fetch { began: now, settings, trace, purged, outcome });
                slot.insert_entry(Arc::clone(&fetch));
                Ok(Role::Lead(Leader { in_flight: Arc::clone(self), key: key.clone(), fetch }))
            }
        }
    }

    /// The fetch of a key, if one is in flight.
    #[must_use]
    pub(super) fn get(&self, key: &CacheKey) -> Option<Arc<Fetch<T>>> {
        self.shard(key).get(key).cloned()
    }

    /// Detaches the fetches for which `covers` holds: they end for their followers and store nothing.
    /// Afterwards no fetch that began before can store an entry that a purge covers.
    pub(super) fn purge(&self, covers: impl Fn(&CacheKey, SystemTime) -> bool) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|key, fetch| {
                let is_covered = covers(key, fetch.began);
                if is_covered {
                    fetch.purged.store(true, Ordering::Release);
                }
                !is_covered
            });
        }
    }

    /// The number of fetches in flight.
    #[must_use]
    pub(super) fn count(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }
}

/// The leader of a fetch has to publish its outcome and to end it. Dropping this does both, however
/// the fetch ends.
#[derive(Debug)]
pub struct Leader<T: Clone> {
    in_flight: Arc<InFlightFetches<T>>,
    key: CacheKey,
    fetch: Arc<Fetch<T>>,
}

impl<T: Clone> Leader<T> {
    /// The fetch that it leads.
    #[must_use]
    pub fn fetch(&self) -> &Arc<Fetch<T>> {
        &self.fetch
    }

    /// Calls `change` under the lock of the key, unless another fetch has replaced this one after a
    /// purge. Returns whether it was called.
    pub fn if_current(&self, change: impl FnOnce()) -> bool {
        let shard = self.in_flight.shard(&self.key);
        let current = self.is_current(&shard);
        if current {
            change();
        }
        current
    }

    /// Whether the fetch has followers.
    #[must_use]
    pub fn has_followers(&self) -> bool {
        // The leader owns it, and the map until the fetch is detached.
        let listed = usize::from(self.is_current(&self.in_flight.shard(&self.key)));
        Arc::strong_count(&self.fetch) > 1 + listed
    }

    fn is_current(&self, shard: &FetchMap<T>) -> bool {
        shard.get(&self.key).is_some_and(|fetch| Arc::ptr_eq(fetch, &self.fetch))
    }

    /// Publishes the outcome to all followers; only the first outcome counts.
    pub fn publish(&self, outcome: T) {
        self.end(Progress::Published(outcome));
    }

    /// Ends the fetch, then publishes the outcome. A later request, or a follower that cannot use the
    /// outcome, begins another fetch.
    pub fn finish(&self, outcome: T) {
        self.detach();
        self.publish(outcome);
    }

    /// Lets no further request follow the fetch.
    pub fn detach(&self) {
        let mut shard = self.in_flight.shard(&self.key);
        if self.is_current(&shard) {
            shard.remove(&self.key);
        }
    }

    fn end(&self, end: Progress<T>) {
        self.fetch.outcome.send_if_modified(|outcome| {
            let first = matches!(outcome, Progress::Pending);
            if first {
                *outcome = end;
            }
            first
        });
    }
}

impl<T: Clone> Drop for Leader<T> {
    fn drop(&mut self) {
        self.detach();
        self.end(Progress::Abandoned);
    }
}

#[cfg(test)]
mod tests;
