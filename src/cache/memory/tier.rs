//! The memory tier: entries within a number of bytes. Entries that were requested once are evicted
//! before entries that were requested again, and pinned ones not at all. `docs/decisions/memory-tier.md` has the
//! reasons.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

use crate::cache::entry::Entry;
use crate::cache::key::CacheKey;
use crate::cache::memory::pins::{Pin, Pins};
use crate::cache::memory::remembered::Remembered;
use crate::cache::statistics::Statistics;
use crate::cache::weight::entry_weight;
use prometheus_client::metrics::counter::Counter;

#[cfg(test)]
mod tests;

const MIB: u64 = 1024 * 1024;

/// The smallest shard, bytes. A shard has a lock of its own; in smaller ones an object of
/// [`PROBATION`] would evict tiles that are in use.
const SHARD: u64 = 128 * MIB;
/// The largest number of shards. More gain nothing: a request spends far longer elsewhere.
const MAX_SHARDS: u64 = 16;
/// Bytes of a shard for entries that were requested once: room for the largest object of the default
/// limit, 16 MiB, with its head.
const PROBATION: u64 = 17 * MIB;
/// The smallest part of a shard that is on probation, however large the shard.
const MIN_PROBATION: f64 = 0.05;
/// An entry has at most a shard's bytes divided by this, and so has probation.
const LARGEST_PART: u64 = 3;
/// The estimated weight of an entry, bytes. It decides nothing but the number of shards of a small tier.
const TYPICAL_ENTRY: u64 = 100_000;
/// The weight of the evicted entries whose keys are remembered, as a part of the capacity: 2 is a half.
const REMEMBERED_PART: u64 = 2;

/// Entries in memory, by key. Any number of threads read it at once.
pub struct MemoryTier {
    cache: Cache<CacheKey, Weighed, Weigh, RandomState, Evictions>,
    remembered: Mutex<Remembered>,
    /// Of the keys that are remembered.
    hash: RandomState,
    capacity: u64,
    largest: u64,
    pins: Arc<Pins>,
    statistics: Arc<Statistics>,
    /// The counter of its evictions.
    evictions: fn(&Statistics) -> &Counter,
}

/// An entry and its weight when it was inserted, bytes: the tier needs the weight often, and to add
/// up the headers each time costs.
#[derive(Clone)]
struct Weighed {
    /// `None`: the room is reserved for an entry that is arriving.
    entry: Option<Arc<Entry>>,
    weight: u64,
    pin: Option<Arc<Pin>>,
}

#[derive(Clone)]
struct Weigh;

impl Weighter<CacheKey, Weighed> for Weigh {
    fn weight(&self, _key: &CacheKey, weighed: &Weighed) -> u64 {
        weighed.weight
    }
}

/// Collects the entries that an insertion evicts, so that their bodies are freed after the lock is
/// released.
#[derive(Clone)]
struct Evictions;

impl Lifecycle<CacheKey, Weighed> for Evictions {
    type RequestState = Vec<(CacheKey, Weighed)>;

    fn is_pinned(&self, _key: &CacheKey, weighed: &Weighed) -> bool {
        weighed.pin.as_ref().is_some_and(|pin| pin.is_active())
    }

    fn on_evict(&self, evicted: &mut Self::RequestState, key: CacheKey, weighed: Weighed) {
        evicted.push((key, weighed));
    }
}

impl std::fmt::Debug for MemoryTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryTier").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl MemoryTier {
    /// A tier of `capacity` bytes in all. Zero stores nothing.
    #[must_use]
    pub fn new(capacity: u64, statistics: Arc<Statistics>) -> Self {
        Self::with_pins(capacity, 0, statistics)
    }

    /// The same, of which pinned entries may hold `pinned` bytes.
    #[must_use]
    pub fn with_pins(capacity: u64, pinned: u64, statistics: Arc<Statistics>) -> Self {
        let evictions: fn(&Statistics) -> &Counter = |statistics| &statistics.memory_evictions;
        let tier = Self::with(capacity, TYPICAL_ENTRY, statistics, evictions);
        Self { pins: Pins::new(pinned), ..tier }
    }

    /// A tier for blocks of `block` bytes, of `capacity` bytes in all.
    #[must_use]
    pub fn of_blocks(capacity: u64, block: u64, statistics: Arc<Statistics>) -> Self {
        Self::with(capacity, block.max(1), statistics, |statistics| &statistics.block_evictions)
    }

    fn with(
        capacity: u64,
        typical: u64,
        statistics: Arc<Statistics>,
        evictions: fn(&Statistics) -> &Counter,
    ) -> Self {
        let shards = 1_u64 << (capacity / SHARD).clamp(1, MAX_SHARDS).ilog2();
        // The crate rounds a shard's bytes up; these divide evenly.
        let shard = capacity / shards;
        let (divided, items) = (shard * shards, capacity / typical);
        let items = usize::try_from(items).unwrap_or(usize::MAX);
        let options = OptionsBuilder::new()
            .shards(usize::try_from(shards).unwrap_or(1))
            .weight_capacity(divided)
            .estimated_items_capacity(items)
            .hot_allocation(1.0 - probation(shard))
            .ghost_allocation(0.0)
            .build();
        // A keyed hash: clients choose the keys, also of negative entries.
        let hash = RandomState::new();
        let cache = match options {
            Ok(options) => Cache::with_options(options, Weigh, hash, Evictions),
            // Only if one of the two required options were missing above.
            Err(_) => Cache::with(items, divided, Weigh, hash, Evictions),
        };
        Self {
            cache,
            remembered: Mutex::new(Remembered::new(capacity / REMEMBERED_PART)),
            hash: RandomState::new(),
            capacity,
            largest: shard / LARGEST_PART,
            pins: Pins::new(0),
            statistics,
            evictions,
        }
    }

    /// The entry of a key. This counts as use.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Arc<Entry>> {
        let Weighed { entry, pin, .. } = self.cache.get(key)?;
        if let Some(pin) = pin {
            pin.note_use();
        }
        entry
    }

    /// The entry of a key. This does not count as use.
    #[must_use]
    pub fn peek(&self, key: &[u8]) -> Option<Arc<Entry>> {
        self.cache.peek(key)?.entry
    }

    /// Inserts an entry, in place of the one with its key. An entry heavier than
    /// [`MemoryTier::largest`] is not inserted, and the one it replaces is removed all the same,
    /// because it is out of date. Returns whether it was inserted.
    pub fn insert(&self, entry: Arc<Entry>) -> bool {
        let (key, weight) = (entry.key.clone(), entry.weight());
        let before = || self.cache.peek(&key).and_then(|weighed| weighed.pin);
        let before = entry.pin.as_ref().and_then(|_| before());
        let pin = self.pins.pin(&entry, weight, before.as_deref());
        self.place(&key, Weighed { entry: Some(entry), weight, pin })
    }

    /// Reserves room for an entry of `bytes` that is arriving: a place without an entry, which
    /// evicts others as an entry would. The key is none of an entry's, see [`CacheKey::beside`];
    /// its removal frees the room.
    pub(super) fn reserve(&self, key: &CacheKey, bytes: u64) {
        let weight = entry_weight(key).saturating_add(bytes);
        self.place(key, Weighed { entry: None, weight, pin: None });
    }

    fn place(&self, key: &CacheKey, weighed: Weighed) -> bool {
        if weighed.weight > self.largest {
            self.remove(key.as_bytes());
            return false;
        }
        let mut gone = Vec::new();
        self.cache.insert_with_lifecycle(key.clone(), weighed, &mut gone);
        // A replaced entry comes first, and is no eviction.
        let replaced = gone.first().is_some_and(|(first, _)| first == key);
        let evicted = gone.get(usize::from(replaced)..).unwrap_or_default();
        (self.evictions)(&self.statistics).inc_by(evicted.len() as u64);
        if self.remember(key, evicted) {
            // It was evicted too early. A use keeps it longer this time.
            let _used = self.cache.get(key.as_bytes());
        }
        true
    }

    /// Remembers the keys of evicted entries, and returns whether this key was remembered.
    fn remember(&self, key: &CacheKey, evicted: &[(CacheKey, Weighed)]) -> bool {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, weighed) in evicted {
            if weighed.entry.is_some() {
                remembered.add(self.hash.hash_one(key), weighed.weight);
            }
        }
        remembered.take(self.hash.hash_one(key))
    }

    /// Removes the entry of a key; false if there is none.
    pub fn remove(&self, key: &[u8]) -> bool {
        self.cache.remove(key).is_some()
    }

    /// Removes all entries that this covers, and passes each to `removed`. Looks at every entry, while
    /// others read and write; entries inserted meanwhile may be missed.
    pub fn remove_where(&self, covered: impl Fn(&Entry) -> bool, mut removed: impl FnMut(&Entry)) {
        for (key, weighed) in self.cache.iter() {
            // Another entry may have replaced it since: ask again under the lock.
            if weighed.entry.as_deref().is_some_and(&covered) {
                self.remove_if(key.as_bytes(), &covered, &mut removed);
            }
        }
    }

    /// Removes the entry of a key if this covers it, and passes it to `removed`.
    pub fn remove_if(
        &self,
        key: &[u8],
        covered: impl Fn(&Entry) -> bool,
        mut removed: impl FnMut(&Entry),
    ) {
        let is_covered = |weighed: &Weighed| weighed.entry.as_deref().is_some_and(&covered);
        let gone = self.cache.remove_if(key, is_covered);
        if let Some(entry) = gone.and_then(|(_, weighed)| weighed.entry) {
            removed(&entry);
        }
    }

    /// The share of pinned entries.
    #[must_use]
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// The weight of all entries, bytes; never above the capacity.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    /// How many entries there are.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.cache.len() as u64
    }

    /// The capacity, bytes.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The weight of the heaviest entry that is stored, bytes: at least 21 MiB if the capacity is 64
    /// MiB or more, a third of a smaller capacity.
    #[must_use]
    pub fn largest(&self) -> u64 {
        self.largest
    }
}

/// The part of a shard for entries that were requested once.
fn probation(shard: u64) -> f64 {
    let part = PROBATION as f64 / shard.max(1) as f64;
    part.clamp(MIN_PROBATION, 1.0 / LARGEST_PART as f64)
}
