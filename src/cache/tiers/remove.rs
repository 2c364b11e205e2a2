//! Removing from the tiers: objects and blocks that a purge covers, versions that the store has
//! replaced, heads that are no longer right.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::cache::blocks::layout::grain;
use crate::cache::blocks::object::Blocks;
use crate::cache::clock::now;
use crate::cache::disk::DiskState;
use crate::cache::entry::{Entry, EntryContent};
use crate::cache::freshness::Freshness;
use crate::cache::key::CacheKey;
use crate::cache::object::ObjectBody;
use crate::cache::purge::pending::{Purge, PurgeScope};
use crate::cache::purge::scopes::Scopes;
use crate::cache::purge::sweeps::{Sweeps, Swept};
use crate::cache::tiers::Tiers;
use crate::profile::fingerprint::Fingerprint;

/// Blocks of a version that are looked for on disk by their names; for more blocks than these, all
/// files of blocks are looked through.
const MAX_BY_NAME: u64 = 4096;

// Purges.
impl Tiers {
    /// Adds a purge: entries that it covers are not served from now on.
    pub fn add_purge(&self, purge: &Purge) {
        self.purges.add(purge);
    }

    /// Ends a purge, when no tier holds an entry that it covers.
    pub fn end_purge(&self, purge: &Purge) {
        self.purges.remove(purge);
    }

    /// The purges that wait for a sweep of the memory.
    #[must_use]
    pub(in crate::cache) fn sweeps(&self) -> &Sweeps {
        &self.sweeps
    }

    /// Removes the entries in memory that these purges cover. Returns what was removed for each: an entry
    /// that several cover counts for each of them. Entries stored meanwhile may be left.
    pub(in crate::cache) fn sweep_memory(&self, purges: &[Purge]) -> Vec<Swept> {
        let mut scopes = Scopes::default();
        for (place, purge) in purges.iter().enumerate() {
            scopes.add(purge, (place, purge.at));
        }
        let is_covered =
            |entry: &Entry| scopes.any(entry.key.object(), |(_, at)| entry.requested_at <= *at);
        let mut swept = vec![Swept::default(); purges.len()];
        let mut count = |entry: &Entry, count: fn(&mut Swept) -> &mut u64| {
            scopes.any(entry.key.object(), |(place, at)| {
                if let Some(swept) = swept.get_mut(*place).filter(|_| entry.requested_at <= *at) {
                    *count(swept) += 1;
                }
                false
            });
        };
        self.blocks.memory().remove_where(is_covered, |entry| count(entry, |it| &mut it.blocks));
        if purges.iter().any(|purge| purge.scope == PurgeScope::Prefix) {
            self.memory.remove_where(is_covered, |entry| count(entry, |it| &mut it.memory));
        } else {
            for purge in purges {
                self.memory.remove_if(&purge.key, is_covered, |entry| {
                    count(entry, |it| &mut it.memory);
                });
            }
        }
        swept
    }

    /// Removes the records on disk that a purge covers, later; `None` without a disk tier.
    #[must_use]
    pub(in crate::cache) fn sweep_disk(&self, purge: &Purge) -> Option<DiskSweep> {
        let disk = self.disk.as_ref()?;
        let removed = Arc::new(AtomicU64::new(0));
        let (sweeping, swept) = oneshot::channel::<()>();
        let (of_all, counted) = (purge.clone(), Arc::clone(&removed));
        let covered = move |key: &[u8], requested_at| {
            let _dropped_after_the_sweep = &sweeping;
            let is_covered = of_all.covers(CacheKey::object_of(key), requested_at);
            counted.fetch_add(u64::from(is_covered), Ordering::Relaxed);
            is_covered
        };
        match purge.scope {
            PurgeScope::Prefix => disk.remove_where(covered),
            PurgeScope::Object => {
                disk.remove_blocks_where(&purge.key, covered);
                let key = CacheKey::from_bytes(&purge.key);
                removed.fetch_add(u64::from(disk.has(&key)), Ordering::Relaxed);
                disk.remove(&key);
            }
        }
        Some(DiskSweep { removed, swept })
    }
}

/// A sweep of the disk in progress.
#[derive(Debug)]
pub(in crate::cache) struct DiskSweep {
    removed: Arc<AtomicU64>,
    swept: oneshot::Receiver<()>,
}

impl DiskSweep {
    /// Waits for its end. Returns the number of removed records.
    pub(in crate::cache) async fn removed(self) -> u64 {
        let _nothing_is_sent = self.swept.await;
        self.removed.load(Ordering::Relaxed)
    }
}

// Versions of objects in blocks.
impl Tiers {
    /// The version of an object whose blocks may be stored, whether or not it is served: it is about
    /// to be replaced.
    #[must_use]
    pub fn replaced_version(&self, key: &CacheKey) -> Option<Arc<Blocks>> {
        match self.memory.peek(key.as_bytes())?.source()? {
            ObjectBody::Blocks(blocks) => Some(blocks),
            ObjectBody::Stored(_)
            | ObjectBody::Streaming(_)
            | ObjectBody::Passing(_)
            | ObjectBody::Member(_) => None,
        }
    }

    /// Removes the head of an object if it is still the head of this version: the next request asks
    /// the store for it.
    pub fn remove_head(&self, key: &CacheKey, blocks: &Blocks, settings: Fingerprint) {
        match self.memory.peek(key.as_bytes()).map(|entry| entry.source()) {
            Some(Some(ObjectBody::Blocks(stored))) if stored.version == blocks.version => {
                self.memory.remove(key.as_bytes());
            }
            // There is something newer.
            Some(_) => return,
            None => {}
        }
        self.remove_record(key);
        self.hide_in_shared(key, Some(settings), now());
    }

    /// Replaces the head of an object by a hit-for-pass entry with this lifetime.
    pub fn hit_for_pass_instead_of(
        &self,
        key: &CacheKey,
        blocks: &Blocks,
        settings: Fingerprint,
        lifetime: Duration,
    ) {
        self.remove_head(key, blocks, settings);
        let Some(room) = self.reserve(key, 0) else { return };
        let requested_at = now();
        let freshness = Freshness::for_a_while(requested_at, lifetime);
        let (key, content) = (key.clone(), EntryContent::HitForPass(room.into_held()));
        if self.memory.peek(key.as_bytes()).is_none() {
            self.memory.insert(Arc::new(Entry {
                key,
                requested_at,
                settings: None,
                freshness,
                content,
                pin: None,
            }));
        }
    }

    /// Removes the head and the blocks of a version that the store has replaced or deleted.
    pub fn drop_version(self: &Arc<Self>, key: &CacheKey, blocks: &Blocks, settings: Fingerprint) {
        if !blocks.mark_dropped() {
            return;
        }
        self.statistics.versions_dropped.inc();
        self.remove_head(key, blocks, settings);
        let (tiers, object) = (Arc::clone(self), key.clone());
        let (layout, mark) = (blocks.layout, *blocks.version.mark());
        // There may be very many blocks.
        let _runs_on = tokio::task::spawn_blocking(move || {
            let version = object.blocks_of(&mark);
            let is_of = move |key: &[u8]| key.starts_with(version.as_bytes());
            tiers.blocks.memory().remove_where(|entry| is_of(entry.key.as_bytes()), |_| ());
            let Some(disk) = &tiers.disk else { return };
            let has_parts = grain(layout.size, 0) < layout.size;
            if has_parts || layout.count() > MAX_BY_NAME || disk.state() != DiskState::On {
                let covered = move |key: &[u8], _requested_at| is_of(key);
                return disk.remove_blocks_where(object.as_bytes(), covered);
            }
            for index in 0..layout.count() {
                let key = object.block(&mark, layout.size, index);
                if disk.has(&key) {
                    disk.remove(&key);
                }
            }
        });
    }
}
