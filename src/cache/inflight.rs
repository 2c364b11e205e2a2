//! Fetches under way: one for a key, and everybody who wants its object meanwhile reads along.

use std::collections::HashMap;
use std::collections::hash_map::{Entry as Slot, RandomState};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

use crate::cache::key::CacheKey;

/// Maps that share the keys, so that requests seldom wait for each other.
const SHARDS: usize = 16;

/// The fetches under way. `T` is what each makes known once its store has answered.
#[derive(Debug)]
pub struct InFlightFetches<T> {
    shards: Box<[Mutex<Map<T>>]>,
    hasher: RandomState,
}

type Map<T> = HashMap<CacheKey, Arc<Fetch<T>>>;

/// One fetch.
#[derive(Debug)]
pub struct Fetch<T> {
    /// When it began; what is purged later does not end up in its hands.
    pub began: SystemTime,
    outcome: watch::Sender<Outcome<T>>,
}

#[derive(Debug, Clone)]
enum Outcome<T> {
    Unknown,
    Known(T),
    /// The fetch ended without a word: its task panicked, or the process ends.
    Never,
}

/// How a request takes part in a fetch.
#[derive(Debug)]
pub enum Part<T: Clone> {
    /// It has to make it.
    Lead(Leader<T>),
    /// Another one makes it.
    Follow(Arc<Fetch<T>>),
}

impl<T: Clone> Fetch<T> {
    /// Whether its outcome can be told at once.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !matches!(*self.outcome.borrow(), Outcome::Unknown)
    }

    /// What the fetch has made known, as soon as it has; `None` when it ended without a word.
    pub async fn outcome(&self) -> Option<T> {
        let mut outcome = self.outcome.subscribe();
        let known = outcome.wait_for(|outcome| !matches!(outcome, Outcome::Unknown)).await.ok()?;
        match &*known {
            Outcome::Known(outcome) => Some(outcome.clone()),
            Outcome::Unknown | Outcome::Never => None,
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
    fn shard(&self, key: &CacheKey) -> MutexGuard<'_, Map<T>> {
        let hash = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or_default();
        // The index is below the number of shards, and a poisoned map is a map.
        #[expect(clippy::indexing_slicing, reason = "a remainder of the length is an index")]
        self.shards[hash].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes part in the fetch of a key that began no earlier than `usable` allows, or begins one.
    /// `kept` is asked, while nobody can begin or end a fetch, whether there is anything to fetch.
    ///
    /// # Errors
    /// What `kept` returned: a fetch that ended a moment ago has left it.
    pub fn join<K>(
        self: &Arc<Self>,
        key: &CacheKey,
        now: SystemTime,
        usable: impl Fn(&Fetch<T>) -> bool,
        kept: impl FnOnce() -> Option<K>,
    ) -> Result<Part<T>, K> {
        let mut shard = self.shard(key);
        match shard.entry(key.clone()) {
            Slot::Occupied(slot) if usable(slot.get()) => Ok(Part::Follow(Arc::clone(slot.get()))),
            slot => {
                if let Some(kept) = kept() {
                    return Err(kept);
                }
                let flight =
                    Arc::new(Fetch { began: now, outcome: watch::Sender::new(Outcome::Unknown) });
                slot.insert_entry(Arc::clone(&flight));
                let flights = Arc::clone(self);
                Ok(Part::Lead(Leader { flights, key: key.clone(), flight }))
            }
        }
    }

    /// The fetch of a key, if one is under way.
    #[must_use]
    pub fn under_way(&self, key: &CacheKey) -> Option<Arc<Fetch<T>>> {
        self.shard(key).get(key).cloned()
    }

    /// When the oldest fetch under way began.
    #[must_use]
    pub fn oldest(&self) -> Option<SystemTime> {
        let shards = self.shards.iter();
        let oldest = shards.filter_map(|shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.values().map(|flight| flight.began).min()
        });
        oldest.min()
    }

    /// How many fetches are under way.
    #[must_use]
    pub fn count(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }
}

/// The duty of whoever makes a fetch: to make its outcome known, and to end it. Dropping it does
/// both, however the fetch ends.
#[derive(Debug)]
pub struct Leader<T: Clone> {
    flights: Arc<InFlightFetches<T>>,
    key: CacheKey,
    flight: Arc<Fetch<T>>,
}

impl<T: Clone> Leader<T> {
    /// The fetch this ends.
    #[must_use]
    pub fn flight(&self) -> &Arc<Fetch<T>> {
        &self.flight
    }

    /// Lets `keep` keep what the fetch has brought, unless another one has taken its place after a
    /// purge. Returns whether it was kept.
    pub fn keep(&self, keep: impl FnOnce()) -> bool {
        let shard = self.flights.shard(&self.key);
        let current = self.is_current(&shard);
        if current {
            keep();
        }
        current
    }

    /// Whether anybody takes part but who makes it.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        // One is here, one in the map until the fetch has left it.
        let listed = usize::from(self.is_current(&self.flights.shard(&self.key)));
        Arc::strong_count(&self.flight) > 1 + listed
    }

    fn is_current(&self, shard: &Map<T>) -> bool {
        shard.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight))
    }

    /// Tells everybody who takes part what has become of it; only the first word counts.
    pub fn make_known(&self, outcome: T) {
        self.end_unknown(Outcome::Known(outcome));
    }

    /// Ends the fetch, then tells everybody who takes part: who comes later, or has no use for the
    /// outcome, begins another.
    pub fn end_with(&self, outcome: T) {
        self.leave();
        self.make_known(outcome);
    }

    /// Lets nobody else take part.
    pub fn leave(&self) {
        let mut shard = self.flights.shard(&self.key);
        if self.is_current(&shard) {
            shard.remove(&self.key);
        }
    }

    fn end_unknown(&self, end: Outcome<T>) {
        self.flight.outcome.send_if_modified(|outcome| {
            let first = matches!(outcome, Outcome::Unknown);
            if first {
                *outcome = end;
            }
            first
        });
    }
}

impl<T: Clone> Drop for Leader<T> {
    fn drop(&mut self) {
        self.leave();
        self.end_unknown(Outcome::Never);
    }
}

#[cfg(test)]
mod tests;
