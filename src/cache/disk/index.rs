//! The index of the records on disk, in memory: the name, size and last use of each file. A miss does
//! not touch the disk, and the record that was used longest ago is evicted first.
//!
//! An entry takes 32 bytes; its arrays, sorted by name, have up to an eighth of room to grow, so
//! 100,000 entries take 3.2 to 3.6 MB and the [`MAX_ENTRIES`] at most 144 MB.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cache::disk::name::FileName;

/// The largest number of entries, whatever the capacity: it bounds the memory of the index.
pub(in crate::cache) const MAX_ENTRIES: u64 = 4_000_000;

/// Of this many entries, the one that was used longest ago is evicted.
const SAMPLE: usize = 16;
/// The smallest growth of a full array, entries.
const ROOM: usize = 8;

#[derive(Debug, Clone, Copy)]
struct Slot {
    name: FileName,
    /// Bytes it takes on disk.
    size: u64,
    /// Its last use, microseconds since the Unix epoch.
    used: u64,
}

/// The entries on disk.
#[derive(Debug)]
pub(in crate::cache) struct Index {
    /// One for each folder, sorted by name.
    shards: Vec<Mutex<Vec<Slot>>>,
    bytes: AtomicU64,
    /// The bytes of blocks among them.
    block_bytes: AtomicU64,
    entries: AtomicU64,
}

impl Default for Index {
    fn default() -> Self {
        let shards = (0..=u8::MAX).map(|_| Mutex::default()).collect();
        Self {
            shards,
            bytes: AtomicU64::new(0),
            block_bytes: AtomicU64::new(0),
            entries: AtomicU64::new(0),
        }
    }
}

impl Index {
    /// Bytes of all entries on disk.
    #[must_use]
    pub(in crate::cache) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes of all blocks on disk.
    #[must_use]
    pub(in crate::cache) fn block_bytes(&self) -> u64 {
        self.block_bytes.load(Ordering::Relaxed)
    }

    fn add(&self, slot: Slot) {
        self.bytes.fetch_add(slot.size, Ordering::Relaxed);
        if slot.name.is_block() {
            self.block_bytes.fetch_add(slot.size, Ordering::Relaxed);
        }
    }

    fn take_off(&self, slot: Slot) {
        self.bytes.fetch_sub(slot.size, Ordering::Relaxed);
        if slot.name.is_block() {
            self.block_bytes.fetch_sub(slot.size, Ordering::Relaxed);
        }
    }

    /// The number of entries.
    #[must_use]
    pub(in crate::cache) fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Notes a file that was written.
    pub(in crate::cache) fn insert(&self, name: FileName, size: u64, used: u64) {
        self.place(Slot { name, size, used }, true);
    }

    /// Notes a file that was found, unless the index has it already with a later use.
    pub(in crate::cache) fn discover(&self, name: FileName, size: u64, used: u64) {
        self.place(Slot { name, size, used }, false);
    }

    fn place(&self, slot: Slot, replace: bool) {
        let Some(mut shard) = self.shard(slot.name.folder()) else { return };
        match shard.binary_search_by_key(&slot.name, |slot| slot.name) {
            Ok(at) => {
                if let Some(old) = shard.get_mut(at).filter(|_| replace) {
                    self.take_off(*old);
                    self.add(slot);
                    *old = slot;
                }
            }
            Err(at) => {
                if shard.len() == shard.capacity() {
                    let room = ROOM + shard.len() / 8;
                    shard.reserve_exact(room);
                }
                shard.insert(at, slot);
                self.add(slot);
                self.entries.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The size of an entry, which counts as used now.
    pub(in crate::cache) fn touch(&self, name: FileName, now: u64) -> Option<u64> {
        let mut shard = self.shard(name.folder())?;
        let at = shard.binary_search_by_key(&name, |slot| slot.name).ok()?;
        let slot = shard.get_mut(at)?;
        slot.used = slot.used.max(now);
        Some(slot.size)
    }

    /// The size of an entry. This does not count as use.
    #[must_use]
    pub(in crate::cache) fn size(&self, name: FileName) -> Option<u64> {
        self.touch(name, 0)
    }

    /// Removes an entry.
    pub(in crate::cache) fn remove(&self, name: FileName) {
        let Some(mut shard) = self.shard(name.folder()) else { return };
        if let Ok(at) = shard.binary_search_by_key(&name, |slot| slot.name) {
            let slot = shard.remove(at);
            self.take_off(slot);
            self.entries.fetch_sub(1, Ordering::Relaxed);
            if shard.capacity() > 2 * shard.len() + 2 * ROOM {
                let room = shard.len() + ROOM;
                shard.shrink_to(room);
            }
        }
    }

    /// Removes all entries.
    pub(in crate::cache) fn clear(&self) {
        for folder in 0..=u8::MAX {
            for name in self.names(folder) {
                self.remove(name);
            }
        }
    }

    /// The names in a folder.
    #[must_use]
    pub(in crate::cache) fn names(&self, folder: u8) -> Vec<FileName> {
        self.names_where(folder, |_| true)
    }

    /// The names in a folder for which this holds.
    #[must_use]
    pub(in crate::cache) fn names_where(
        &self,
        folder: u8,
        holds: impl Fn(FileName) -> bool,
    ) -> Vec<FileName> {
        let Some(shard) = self.shard(folder) else { return Vec::new() };
        shard.iter().map(|slot| slot.name).filter(|name| holds(*name)).collect()
    }

    /// The entry that was used longest ago of a few, either blocks or others, from a random position
    /// on. Names are hashes, so neighbours are a random sample.
    #[must_use]
    pub(in crate::cache) fn least_used(&self, random: u64, blocks: bool) -> Option<FileName> {
        let [folder, rest @ ..] = random.to_le_bytes();
        let mut sample: Vec<Slot> = Vec::with_capacity(SAMPLE);
        // The first folder comes twice: from the position on, and at last up to it.
        for nth in 0..=self.shards.len() {
            let step = u8::try_from(nth % self.shards.len()).unwrap_or_default();
            let Some(shard) = self.shard(folder.wrapping_add(step)) else { continue };
            let place = usize::from(u16::from_le_bytes([rest[0], rest[1]]));
            let skip = if nth == 0 { place.checked_rem(shard.len()).unwrap_or(0) } else { 0 };
            let eligible = shard.iter().skip(skip).filter(|slot| slot.name.is_block() == blocks);
            sample.extend(eligible.take(SAMPLE - sample.len()));
            if sample.len() == SAMPLE {
                break;
            }
        }
        sample.iter().min_by_key(|slot| slot.used).map(|slot| slot.name)
    }

    fn shard(&self, folder: u8) -> Option<MutexGuard<'_, Vec<Slot>>> {
        let shard = self.shards.get(usize::from(folder))?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::CacheKey;

    fn name(number: u32) -> FileName {
        FileName::of(&CacheKey::from_bytes(&number.to_le_bytes()))
    }

    #[test]
    fn a_slot_is_as_small_as_documented() {
        assert_eq!(size_of::<Slot>(), 32);
        let index = Index::default();
        for number in 0..20_000 {
            index.insert(name(number), 4096, 1);
        }
        let slots: usize = index.shards.iter().map(|s| s.lock().unwrap().capacity()).sum();
        assert!(slots <= 20_000 * 9 / 8 + 256 * ROOM, "{slots}");
        (0..20_000).for_each(|number| index.remove(name(number)));
        let slots: usize = index.shards.iter().map(|s| s.lock().unwrap().capacity()).sum();
        assert!(slots <= 256 * 2 * ROOM, "{slots}");
    }

    #[test]
    fn bytes_and_entries_are_those_of_what_is_there() {
        let index = Index::default();
        index.insert(name(1), 10, 1);
        index.insert(name(2), 20, 1);
        index.insert(name(1), 30, 1);
        index.discover(name(1), 1000, 1);
        index.discover(name(3), 5, 1);
        assert_eq!((index.bytes(), index.entries()), (55, 3));
        index.remove(name(2));
        index.remove(name(2));
        assert_eq!((index.bytes(), index.entries()), (35, 2));
        assert_eq!((index.touch(name(1), 9), index.touch(name(2), 9)), (Some(30), None));
        index.clear();
        assert_eq!((index.bytes(), index.entries()), (0, 0));
    }

    #[test]
    fn of_a_few_the_least_used_goes_whatever_the_random_number() {
        let index = Index::default();
        assert_eq!(index.least_used(7, false), None);
        for number in 0..10 {
            index.insert(name(number), 1, 100 + u64::from(number));
        }
        index.touch(name(0), 200);
        for random in (0..u64::MAX).step_by(usize::MAX / 1000) {
            assert_eq!(index.least_used(random, false), Some(name(1)), "{random}");
        }
    }

    #[test]
    fn blocks_and_others_are_counted_and_found_apart() {
        let index = Index::default();
        let block =
            |number: u64| FileName::of(&CacheKey::from_bytes(b"object").block(&[0; 16], 1, number));
        for number in 0..100_u32 {
            index.insert(name(number), 1, 50 + u64::from(number));
            index.insert(block(number.into()), 10, 10 + u64::from(number));
        }
        assert_eq!((index.bytes(), index.block_bytes(), index.entries()), (1100, 1000, 200));
        for random in (0..u64::MAX).step_by(usize::MAX / 100) {
            assert!(index.least_used(random, true).is_some_and(FileName::is_block));
            assert!(index.least_used(random, false).is_some_and(|name| !name.is_block()));
        }
        index.insert(block(0), 30, 1);
        index.remove(block(1));
        assert_eq!((index.bytes(), index.block_bytes()), (1110, 1010));
        (0..100).for_each(|number| index.remove(block(number)));
        assert_eq!((index.block_bytes(), index.least_used(1, true)), (0, None));
    }

    #[test]
    fn of_many_the_recently_used_stay() {
        let index = Index::default();
        for number in 0..2000 {
            index.insert(name(number), 1, u64::from(number));
        }
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..1000 {
            index.remove(index.least_used(random.u64(..), false).unwrap());
        }
        let kept = (1900..2000).filter(|number| index.size(name(*number)).is_some()).count();
        assert_eq!(kept, 100, "none of the last hundred went");
        let old = (0..500).filter(|number| index.size(name(*number)).is_some()).count();
        assert!(old < 25, "{old} of the oldest 500 stayed");
    }

    #[test]
    fn the_blocks_of_an_object_are_found_by_name_among_those_of_others() {
        use crate::cache::disk::name::ObjectMark;
        let index = Index::default();
        let block = |object: u32, number| {
            FileName::of(&CacheKey::from_bytes(&object.to_le_bytes()).block(&[0; 16], 1, number))
        };
        for number in 0..3000 {
            index.insert(block(1, number), 10, 1);
        }
        (0..5).for_each(|number| index.insert(block(2, number), 10, 1));
        index.insert(name(2), 10, 1);
        let of = |object: u32| {
            let mark = ObjectMark::of(&object.to_le_bytes());
            let found = |folder| index.names_where(folder, |name| name.is_block_of(mark)).len();
            (0..=u8::MAX).map(found).sum::<usize>()
        };
        assert_eq!((of(1), of(2), of(3)), (3000, 5, 0), "a purge reads no other file");
    }
}
