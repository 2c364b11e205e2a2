//! Removing from the tiers: objects and blocks that a purge covers, versions that the store has
//! replaced, heads that are no longer right.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::cache::blocks::layout::grain;
use crate::cache::blocks::object::Blocks;
use crate::cache::clock::now;
use crate::cache::disk::DiskState;
use crate::cache::entry::{Entry, EntryContent};
use crate::cache::freshness::Freshness;
use crate::cache::key::CacheKey;
use crate::cache::object::ObjectBody;
use crate::cache::purge::pending::{Purge, PurgeScope, Removed};
use crate::cache::tiers::Tiers;
use crate::profile::fingerprint::Fingerprint;

/// Blocks of a version that are looked for on disk by their names; for more blocks than these, all
/// files of blocks are looked through.
const MAX_BY_NAME: u64 = 4096;

// Purges.
impl Tiers {
    /// Adds a purge: entries that it covers are not served from now on.
    pub fn add_purge(&self, purge: Purge) {
        self.purges.add(purge);
    }

    /// Ends a purge, when no tier holds an entry that it covers.
    pub fn end_purge(&self, purge: &Purge) {
        self.purges.remove(purge);
    }

    /// Removes the entries that a purge covers, and counts them in `removed`. Entries stored meanwhile may
    /// be left.
    pub async fn sweep(&self, purge: &Purge, removed: &watch::Sender<Removed>) {
        let disk = self.disk.as_ref();
        let on_disk = Arc::new(AtomicU64::new(0));
        let sweeping = disk.map(|disk| {
            let (sweeping, swept) = oneshot::channel::<()>();
            let (purge, on_disk) = (purge.clone(), Arc::clone(&on_disk));
            let (scope, object) = (purge.scope, purge.key.clone());
            let covered = move |key: &[u8], requested_at| {
                let _dropped_after_the_sweep = &sweeping;
                let is_covered = purge.covers(CacheKey::object_of(key), requested_at);
                on_disk.fetch_add(u64::from(is_covered), Ordering::Relaxed);
                is_covered
            };
            match scope {
                PurgeScope::Object => disk.remove_blocks_where(&object, covered),
                PurgeScope::Prefix => disk.remove_where(covered),
            }
            swept
        });
        if let (Some(disk), PurgeScope::Object) = (disk, purge.scope) {
            let key = CacheKey::from_bytes(&purge.key);
            on_disk.fetch_add(u64::from(disk.has(&key)), Ordering::Relaxed);
            disk.remove(&key);
        }
        let is_covered = |entry: &Entry| purge.covers(entry.key.object(), entry.requested_at);
        let blocks = self.blocks.memory().remove_where(is_covered) as u64;
        let memory = match purge.scope {
            PurgeScope::Object => {
                let is_held = self.memory.get(&purge.key).is_some_and(|entry| is_covered(&entry));
                u64::from(is_held && self.memory.remove(&purge.key))
            }
            PurgeScope::Prefix => self.memory.remove_where(is_covered) as u64,
        };
        removed.send_replace(Removed { memory, blocks, disk: None, complete: false });
        let has_disk = sweeping.is_some();
        if let Some(swept) = sweeping {
            let _nothing_is_sent = swept.await;
        }
        let disk = has_disk.then(|| on_disk.load(Ordering::Relaxed));
        removed.send_replace(Removed { memory, blocks, disk, complete: true });
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
            ObjectBody::Stored(_) | ObjectBody::Streaming(_) | ObjectBody::Passing(_) => None,
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
            tiers.blocks.memory().remove_where(|entry| is_of(entry.key.as_bytes()));
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
