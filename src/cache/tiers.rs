//! The tiers: objects and blocks in memory, both on disk. They know no fetch.
//!
//! Their fields are private to this module and its children, so these rules hold for every caller:
//!
//! - An entry that a purge covers is never served: every method that reads leaves it out.
//! - Memory and disk change together, under the lock of the fetch that brings the change:
//!   [`Tiers::store`], [`Tiers::remove`].
//! - Reserved room is free again when its [`Reservation`] is dropped.
//! - An entry or a record that other settings have shaped is not served: requests that began before a
//!   reload may store one after the reload's purge, and records outlive the process.
//! - A record on disk from the future is stale, and every purge covers it (`clock.rs`).
//!
//! The tier that replicas share is a field like the others (`tiers/shared.rs`): it is read where
//! [`Tiers::lookup_on_disk`] finds nothing, and written in [`Tiers::store`]. It has no sweep, because its
//! values know which purges cover them.

mod remove;
pub(super) mod report;
pub(super) mod shared;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderMap;

use crate::cache::blocks::object::Block;
use crate::cache::blocks::tier::{BlockLimits, BlockTier, share_of};
use crate::cache::body::StoredBody;
use crate::cache::disk::{Capacity, DiskRecord, DiskTier, NoRoom, Peeked};
use crate::cache::entry::{Entry, EntryContent};
use crate::cache::inflight::Leader;
use crate::cache::key::CacheKey;
use crate::cache::memory::budget::{Budget, Held};
use crate::cache::memory::pins::{Pin, Pins};
use crate::cache::memory::reservation::Reservation;
use crate::cache::memory::tier::MemoryTier;
use crate::cache::object::ObjectBody;
use crate::cache::purge::pending::PendingPurges;
use crate::cache::purge::sweeps::Sweeps;
use crate::cache::request::{CacheRequest, Extent};
use crate::cache::shared::SharedTier;
use crate::cache::statistics::Statistics;
use crate::cache::weight::MAX_WITHOUT_BODY;
use crate::config::CacheConfig;
use crate::engine::Engine;
use crate::profile::cache_rules::Rule;
use crate::profile::fingerprint::Fingerprint;

/// How often, and after which pause, room is looked for again while records wait for the disk: at most
/// 200 ms. Then those records are dropped.
const DISK_LOOKS: u32 = 20;
const DISK_PAUSE: Duration = Duration::from_millis(10);

/// Objects and blocks in memory, on disk and in the shared tier, within their limits.
#[derive(Debug)]
pub struct Tiers {
    memory: Arc<MemoryTier>,
    budget: Arc<Budget>,
    blocks: BlockTier,
    disk: Option<DiskTier>,
    shared: Option<Arc<SharedTier>>,
    purges: PendingPurges,
    sweeps: Sweeps,
    statistics: Arc<Statistics>,
}

/// What happens on disk while an entry is stored in memory.
#[derive(Debug)]
pub enum DiskChange {
    None,
    /// The entry is written, with these headers of the store and this body.
    Write {
        headers: HeaderMap,
        body: StoredBody,
    },
    /// The record gets the freshness of the entry.
    Freshen,
    Remove,
}

/// What happens in the shared tier while an entry is stored in memory.
#[derive(Debug)]
pub enum SharedChange {
    None,
    /// The entry is written, with these headers of the store and this body.
    Write {
        headers: HeaderMap,
        body: StoredBody,
    },
    /// There is no such object. `must_hide`: what it holds must not be served any more.
    Negative {
        must_hide: bool,
    },
    /// There is nothing to serve.
    Hide {
        must_hide: bool,
    },
}

/// Where a block is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockPlace {
    Memory,
    Disk,
    Nowhere,
}

impl Tiers {
    /// Tiers that take `memory` bytes of memory, with a disk tier if one is configured, and with a shared
    /// tier in this engine.
    #[must_use]
    pub fn new(memory: u64, config: &CacheConfig, engine: Option<Engine>) -> Arc<Self> {
        let statistics = Arc::new(Statistics::default());
        let blocks = BlockTier::new(memory, config.blocks, &statistics);
        let memory = memory - share_of(memory, config.blocks);
        let disk = config.disk.as_ref().map(|disk| {
            let blocks = share_of(disk.size, config.blocks);
            let capacity = Capacity { all: disk.size, blocks };
            DiskTier::open(&disk.path, capacity, Arc::clone(&statistics))
        });
        let shared = config.shared.as_ref().zip(engine).map(|(shared, engine)| {
            Arc::new(SharedTier::new(shared, engine, Arc::clone(&statistics)))
        });
        Arc::new(Self {
            // The rest is for bodies that are arriving, and for those that slow clients still read
            // after their eviction.
            memory: Arc::new(MemoryTier::with_pins(
                memory - memory / 8,
                memory / 100 * u64::from(config.pin_share),
                Arc::clone(&statistics),
            )),
            disk,
            shared,
            purges: PendingPurges::default(),
            sweeps: Sweeps::default(),
            budget: Budget::new(memory),
            blocks,
            statistics,
        })
    }

    /// The counters of the cache.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The limits of blocks.
    #[must_use]
    pub fn blocks(&self) -> &BlockLimits {
        self.blocks.limits()
    }

    /// Whether there is a disk tier.
    #[must_use]
    pub fn has_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// Writes the records that are queued for the disk, within seconds. Blocks; for the end of the
    /// process.
    pub fn close(&self) {
        if let Some(disk) = &self.disk {
            disk.close();
        }
    }
}

// Reading.
impl Tiers {
    /// Whether a pending purge covers responses about this object whose requests were sent at this
    /// time. The key is that of the object or of one of its blocks.
    #[must_use]
    pub fn is_purged(&self, key: &CacheKey, requested_at: SystemTime) -> bool {
        self.purges.covers(key.object(), requested_at)
    }

    /// The same for a record on disk: a purge that another replica has made may cover it as well, before this
    /// one knows them.
    fn may_be_purged(&self, key: &CacheKey, requested_at: SystemTime) -> bool {
        self.is_purged(key, requested_at)
            || self.shared.as_ref().is_some_and(|shared| shared.may_be_purged(requested_at))
    }

    /// The entry in memory, if it is usable for this request.
    #[must_use]
    pub fn lookup(&self, request: &CacheRequest) -> Option<Arc<Entry>> {
        let entry = self.memory.get(request.key.as_bytes())?;
        let is_servable = !self.is_purged(&request.key, entry.requested_at);
        (is_servable && self.is_entry_usable_for(request, &entry)).then_some(entry)
    }

    /// The same. This does not count as use.
    #[must_use]
    pub fn peek_for(&self, request: &CacheRequest) -> Option<Arc<Entry>> {
        self.peek(&request.key).filter(|entry| self.is_entry_usable_for(request, entry))
    }

    /// The share of pinned entries.
    #[must_use]
    pub fn pins(&self) -> &Pins {
        self.memory.pins()
    }

    /// Waits until an entry is pinned.
    pub async fn any_pin(&self) {
        self.memory.pins().any().await;
    }

    /// Counts a second for the pinned entries. Returns those that are to be refreshed.
    #[must_use]
    pub fn pins_to_refresh(&self, now: SystemTime) -> Vec<(Arc<Pin>, Arc<Entry>)> {
        let due = self.memory.pins().tick(now).into_iter();
        due.filter_map(|pin| self.peek_for(&pin.request).map(|entry| (pin, entry))).collect()
    }

    /// The entry in memory. This does not count as use.
    #[must_use]
    pub fn peek(&self, key: &CacheKey) -> Option<Arc<Entry>> {
        let entry = self.memory.peek(key.as_bytes())?;
        (!self.is_purged(key, entry.requested_at)).then_some(entry)
    }

    /// The record on disk of the object, if it was made by the settings of this request. Must be called
    /// within a Tokio runtime; the disk is given two seconds.
    pub async fn lookup_on_disk(&self, request: &CacheRequest) -> Option<DiskRecord> {
        let room = |bytes| {
            let room = self.reserve(&request.key, bytes).ok_or(NoRoom)?;
            Ok(Some(room.into_held()))
        };
        let record = self.read_record(&request.key, room).await?;
        (record.settings == request.settings.profile).then_some(record)
    }

    /// The record on disk of a block, as [`Tiers::lookup_on_disk`]. Its room has been reserved.
    pub async fn lookup_block_on_disk(
        &self,
        key: &CacheKey,
        held: &Arc<Held>,
    ) -> Option<DiskRecord> {
        // Its file is a little larger than the block, unless it is damaged.
        let fits = |bytes: &u64| *bytes <= held.bytes() + MAX_WITHOUT_BODY;
        let room = |bytes| Some(bytes).filter(fits).map(|_| Some(Arc::clone(held))).ok_or(NoRoom);
        self.read_record(key, room).await
    }

    async fn read_record(
        &self,
        key: &CacheKey,
        room: impl FnOnce(u64) -> Result<Option<Arc<Held>>, NoRoom>,
    ) -> Option<DiskRecord> {
        let record = self.disk.as_ref()?.read(key, room).await?;
        (!self.may_be_purged(key, record.requested_at)).then_some(record)
    }

    /// The record on disk without its body, if it was made by these settings. This does not count as use. Must be called within a
    /// Tokio runtime; the disk is given two seconds.
    pub async fn peek_on_disk(&self, key: &CacheKey, settings: Fingerprint) -> Option<Peeked> {
        let peeked = self.disk.as_ref()?.peek(key).await?;
        let is_served =
            peeked.settings == settings.profile && !self.may_be_purged(key, peeked.requested_at);
        is_served.then_some(peeked)
    }

    /// The block in memory.
    #[must_use]
    pub fn lookup_block(&self, key: &CacheKey) -> Option<Arc<Block>> {
        let entry = self.blocks.memory().get(key.as_bytes())?;
        match &entry.content {
            EntryContent::Block(block) if !self.is_purged(key, entry.requested_at) => {
                Some(Arc::clone(block))
            }
            _ => None,
        }
    }

    /// Whether the block is in memory. This does not count as use.
    #[must_use]
    pub fn has_block(&self, key: &CacheKey) -> bool {
        let entry = self.blocks.memory().peek(key.as_bytes());
        entry.is_some_and(|entry| !self.is_purged(key, entry.requested_at))
    }

    /// Whether the disk has a record of this key, as far as is known without reading it.
    #[must_use]
    pub fn has_on_disk(&self, key: &CacheKey) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.has(key))
    }

    /// Where the block would be read from. This does not count as use.
    #[must_use]
    pub fn block_place(&self, key: &CacheKey) -> BlockPlace {
        if self.has_block(key) {
            BlockPlace::Memory
        } else if self.has_on_disk(key) {
            BlockPlace::Disk
        } else {
            BlockPlace::Nowhere
        }
    }

    /// Whether this object is usable for the request: an object that is small enough to be stored
    /// whole is not served from blocks when all of it is requested.
    #[must_use]
    pub fn is_usable_for(&self, request: &CacheRequest, source: &ObjectBody) -> bool {
        request.extent != Extent::Whole
            || !matches!(source, ObjectBody::Blocks(_))
            || source.length() > self.max_object(&request.rule)
    }

    /// The same for an entry. An entry that other settings have shaped is not usable: a request that
    /// began before a reload may have stored it after the reload's purge. An entry without an object is
    /// usable for every other request.
    #[must_use]
    pub fn is_entry_usable_for(&self, request: &CacheRequest, entry: &Entry) -> bool {
        let same_settings = entry.settings.is_none_or(|made_by| made_by == request.settings);
        same_settings && entry.source().is_none_or(|source| self.is_usable_for(request, &source))
    }
}

// Room.
impl Tiers {
    /// [`Tiers::max_object`] of tiers with `memory` bytes.
    #[must_use]
    pub fn max_object_of(memory: u64, config: &CacheConfig, rule: &Rule) -> u64 {
        // Without a disk tier: its folder belongs to the running gateway.
        let tiers = Self::new(memory, &CacheConfig { disk: None, ..config.clone() }, None);
        tiers.max_object_with(rule, config.disk.is_some())
    }

    /// The largest object that is stored whole although it could be stored in blocks, bytes: memory
    /// holds it.
    #[must_use]
    pub fn max_object(&self, rule: &Rule) -> u64 {
        self.max_object_with(rule, self.disk.is_some())
    }

    fn max_object_with(&self, rule: &Rule, disk: bool) -> u64 {
        let blocks = self.blocks().are_cached() && self.memory_holds_block(self.blocks().size());
        if disk && !blocks { rule.max_object } else { rule.max_object.min(self.max_in_memory()) }
    }

    /// The largest object that is stored whole if it cannot be stored in blocks, bytes.
    #[must_use]
    pub fn max_whole(&self, rule: &Rule) -> u64 {
        let disk = self.disk.is_some();
        if disk { rule.max_object } else { rule.max_object.min(self.max_in_memory()) }
    }

    /// The largest body that the memory tier takes, bytes: an entry weighs more than its body.
    fn max_in_memory(&self) -> u64 {
        self.memory.largest().saturating_sub(MAX_WITHOUT_BODY)
    }

    /// Whether a tier would take an object of this many bytes now.
    #[must_use]
    pub fn takes_object(&self, bytes: u64) -> bool {
        bytes <= self.max_in_memory() || self.disk_takes(bytes)
    }

    /// Whether a block of this many bytes would be stored in any tier.
    #[must_use]
    pub fn stores_block(&self, bytes: u64) -> bool {
        self.blocks().are_cached() && (self.disk.is_some() || self.memory_holds_block(bytes))
    }

    fn memory_holds_block(&self, bytes: u64) -> bool {
        bytes < self.blocks.memory().largest()
    }

    /// Whether the disk would take a record with a body of this many bytes.
    #[must_use]
    pub fn disk_takes(&self, bytes: u64) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.takes(bytes))
    }

    /// Whether the disk would take a block of this many bytes now.
    #[must_use]
    pub fn disk_takes_block(&self, bytes: u64) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.takes_block(bytes))
    }

    /// Reserves room for an object with `bytes` of head and body; entries that no client is reading
    /// are evicted for it.
    #[must_use]
    pub fn reserve(&self, key: &CacheKey, bytes: u64) -> Option<Reservation> {
        let take = || Reservation::take(&self.memory, &self.budget, key, bytes, true);
        take().or_else(|| self.shed(bytes, &self.budget).then(take)?)
    }

    /// The same, after waiting a moment for the disk if records that wait to be written hold the memory.
    /// Must be called within a Tokio runtime.
    pub async fn reserve_soon(&self, key: &CacheKey, bytes: u64) -> Option<Reservation> {
        let Some(disk) = &self.disk else { return self.reserve(key, bytes) };
        for _ in 0..DISK_LOOKS {
            let room = Reservation::take(&self.memory, &self.budget, key, bytes, true);
            if room.is_some() {
                return room;
            }
            if !disk.holds_memory() {
                break;
            }
            tokio::time::sleep(DISK_PAUSE).await;
        }
        self.reserve(key, bytes)
    }

    /// Reserves room for a block of `bytes`; if it `evicts`, blocks that no client is reading are
    /// evicted for it.
    #[must_use]
    pub fn reserve_block(&self, key: &CacheKey, bytes: u64, evicts: bool) -> Option<Reservation> {
        let (memory, budget) = (self.blocks.memory(), self.blocks.budget());
        let take = || Reservation::take(memory, budget, key, bytes, evicts);
        take().or_else(|| (evicts && self.shed(bytes, budget)).then(take)?)
    }

    /// Frees memory that only records hold which wait to be written: what clients read comes first.
    fn shed(&self, bytes: u64, budget: &Arc<Budget>) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.shed(bytes, budget))
    }
}

// Changes.
impl Tiers {
    /// Stores the entry that a fetch has brought in memory, and changes disk and shared tier with it,
    /// unless another fetch has replaced this one after a purge. Returns whether a tier took it. Both happen
    /// under the lock of the fetch, so that no purge comes in between.
    pub fn store<T: Clone>(
        &self,
        leader: &Leader<T>,
        entry: Arc<Entry>,
        change: DiskChange,
        shared: SharedChange,
    ) -> bool {
        let mut stored = false;
        leader.if_current(|| {
            self.share(&entry, shared);
            let on_disk = self.disk.as_ref().map(|disk| (disk, entry.key.clone()));
            let (requested_at, freshness) = (entry.requested_at, entry.freshness);
            let held = Some(Arc::clone(entry.held()));
            let settings = entry.settings.map_or(0, |settings| settings.profile);
            stored = match entry.content {
                EntryContent::Block(_) => self.blocks.memory().insert(entry),
                _ => self.memory.insert(entry),
            };
            let Some((disk, key)) = on_disk else { return };
            match change {
                // It came from the disk.
                DiskChange::None => stored = true,
                DiskChange::Write { headers, body } => {
                    stored |= disk.put(DiskRecord {
                        key,
                        requested_at,
                        settings,
                        freshness,
                        headers,
                        body,
                        held,
                    });
                }
                DiskChange::Freshen => {
                    disk.freshen(&key, freshness);
                    stored |= disk.has(&key);
                }
                DiskChange::Remove => disk.remove(&key),
            }
        });
        stored
    }

    /// Removes an object, unless another fetch has replaced this one after a purge.
    pub fn remove<T: Clone>(&self, leader: &Leader<T>, key: &CacheKey) {
        leader.if_current(|| {
            self.memory.remove(key.as_bytes());
            self.remove_record(key);
            self.hide_in_shared(key, leader.fetch().settings, leader.fetch().began);
        });
    }

    /// Removes the record of an object from disk, unless another fetch has replaced this one after a
    /// purge.
    pub fn remove_from_disk<T: Clone>(&self, leader: &Leader<T>, key: &CacheKey) {
        leader.if_current(|| {
            self.remove_record(key);
            self.hide_in_shared(key, leader.fetch().settings, leader.fetch().began);
        });
    }

    fn remove_record(&self, key: &CacheKey) {
        if let Some(disk) = &self.disk {
            disk.remove(key);
        }
    }
}
