//! The memory tier: entries kept within a number of bytes, those asked for again before those that
//! were asked for once. `docs/decisions/memory-tier.md` says why it is built like this.

use std::hash::RandomState;
use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

use crate::cache::entry::Entry;
use crate::cache::key::CacheKey;
use crate::cache::statistics::Statistics;
use prometheus_client::metrics::counter::Counter;

#[cfg(test)]
mod tests;

const MIB: u64 = 1024 * 1024;

/// A part of the tier with a lock of its own has at least so many bytes: in smaller ones an object
/// of [`PROBATION`] would push out tiles that are in use.
const SHARD: u64 = 128 * MIB;
/// More locks than these gain nothing: a request spends far longer elsewhere.
const MAX_SHARDS: u64 = 16;
/// Bytes of a shard for entries asked for once: room for the largest object of the default limit,
/// 16 MiB, with its head.
const PROBATION: u64 = 17 * MIB;
/// The least part of a shard that is on probation, however large the shard.
const MIN_PROBATION: f64 = 0.05;
/// One entry has at most a shard's bytes divided by this. Probation takes no more either.
const LARGEST_PART: u64 = 3;
/// What an entry is guessed to weigh, bytes: sets how many keys are remembered of entries that are
/// gone. More than this remembers cost hits when measured.
const TYPICAL_ENTRY: u64 = 100_000;

/// Entries in memory, by key. Any number of threads read it at once.
pub struct MemoryTier {
    cache: Cache<CacheKey, Kept, Weigh, RandomState, Evictions>,
    capacity: u64,
    largest: u64,
    statistics: Arc<Statistics>,
    /// Which of the statistics counts what is pushed out.
    evictions: fn(&Statistics) -> &Counter,
}

/// An entry and its weight when it came, bytes: it is asked for often, and adds up many headers.
#[derive(Clone)]
struct Kept {
    entry: Arc<Entry>,
    weight: u64,
}

#[derive(Clone)]
struct Weigh;

impl Weighter<CacheKey, Kept> for Weigh {
    fn weight(&self, _key: &CacheKey, kept: &Kept) -> u64 {
        kept.weight
    }
}

/// Collects what an insertion pushes out, so that bodies are freed after the lock is released.
#[derive(Clone)]
struct Evictions;

impl Lifecycle<CacheKey, Kept> for Evictions {
    type RequestState = Vec<Kept>;

    fn on_evict(&self, gone: &mut Vec<Kept>, _key: CacheKey, kept: Kept) {
        gone.push(kept);
    }
}

impl std::fmt::Debug for MemoryTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryTier").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl MemoryTier {
    /// A tier of `capacity` bytes in all. Zero keeps nothing.
    #[must_use]
    pub fn new(capacity: u64, statistics: Arc<Statistics>) -> Self {
        Self::with(capacity, TYPICAL_ENTRY, statistics, |statistics| &statistics.memory_evictions)
    }

    /// A tier for blocks of so many bytes, of `capacity` bytes in all.
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
            .build();
        // A keyed hash: clients choose the keys, and missing objects are kept too.
        let hash = RandomState::new();
        let cache = match options {
            Ok(options) => Cache::with_options(options, Weigh, hash, Evictions),
            // Only where one of the two that are required were left out above.
            Err(_) => Cache::with(items, divided, Weigh, hash, Evictions),
        };
        Self { cache, capacity, largest: shard / LARGEST_PART, statistics, evictions }
    }

    /// The entry of a key, if it is here. It counts as used.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Arc<Entry>> {
        self.cache.get(key).map(|kept| kept.entry)
    }

    /// The entry of a key, if it is here, without using it.
    #[must_use]
    pub fn peek(&self, key: &[u8]) -> Option<Arc<Entry>> {
        self.cache.peek(key).map(|kept| kept.entry)
    }

    /// Keeps an entry in place of the one with its key. One heavier than [`MemoryTier::largest`] is
    /// not kept, and what had its key is gone all the same: it is out of date.
    pub fn insert(&self, entry: Arc<Entry>) {
        let weight = entry.weight();
        if weight > self.largest {
            self.remove(entry.key.as_bytes());
            return;
        }
        let key = entry.key.clone();
        let mut gone = Vec::new();
        self.cache.insert_with_lifecycle(key.clone(), Kept { entry, weight }, &mut gone);
        // What is replaced comes first, and is no eviction.
        let replaced = gone.first().is_some_and(|kept| kept.entry.key == key);
        (self.evictions)(&self.statistics).inc_by((gone.len() - usize::from(replaced)) as u64);
    }

    /// Removes the entry of a key; false if there is none.
    pub fn remove(&self, key: &[u8]) -> bool {
        self.cache.remove(key).is_some()
    }

    /// Removes all entries that are `doomed`, and returns their number. Looks at every entry, while
    /// others read and write; entries that come meanwhile may be looked at or not.
    pub fn remove_where(&self, doomed: impl Fn(&Entry) -> bool) -> usize {
        let listed = self.cache.iter().filter(|(_, kept)| doomed(&kept.entry));
        // Another may have taken its place since: ask again under the lock.
        let removed = listed.filter(|(key, _)| {
            self.cache.remove_if(key.as_bytes(), |kept| doomed(&kept.entry)).is_some()
        });
        removed.count()
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

    /// The bytes it may hold.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The heaviest entry it keeps, bytes: at least 21 MiB where the capacity is 64 MiB or more, a
    /// third of a smaller capacity.
    #[must_use]
    pub fn largest(&self) -> u64 {
        self.largest
    }
}

/// The part of a shard for entries asked for once.
fn probation(shard: u64) -> f64 {
    let part = PROBATION as f64 / shard.max(1) as f64;
    part.clamp(MIN_PROBATION, 1.0 / LARGEST_PART as f64)
}
