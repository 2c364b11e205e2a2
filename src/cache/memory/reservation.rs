//! Room for an object or a block that is about to arrive: bytes of the budget, and the place in the
//! memory tier that other entries were evicted from to free those bytes.

use std::sync::Arc;

use crate::cache::key::CacheKey;
use crate::cache::memory::budget::{Budget, Held};
use crate::cache::memory::tier::MemoryTier;
use crate::cache::weight::entry_weight;

/// Reserved bytes. Dropping it frees the place in the tier; the bytes of the budget are free again
/// when the last owner of [`Reservation::held`] is gone.
#[derive(Debug)]
pub struct Reservation {
    held: Arc<Held>,
    room: Option<Room>,
}

/// A place in the memory tier that stays empty until this is dropped.
#[derive(Debug)]
struct Room {
    tier: Arc<MemoryTier>,
    key: CacheKey,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.tier.remove(self.key.as_bytes());
    }
}

impl Reservation {
    /// Reserves room for an entry with this key and `bytes` of head and body. If the budget has too
    /// few bytes left and `evicts` is set, entries that no client is reading are evicted.
    /// `None` if there is no room all the same.
    #[must_use]
    pub fn take(
        tier: &Arc<MemoryTier>,
        budget: &Arc<Budget>,
        key: &CacheKey,
        bytes: u64,
        evicts: bool,
    ) -> Option<Self> {
        let bytes = entry_weight(key).checked_add(bytes)?;
        if let Some(held) = budget.take(bytes) {
            return Some(Self { held: Arc::new(held), room: None });
        }
        if !evicts {
            return None;
        }
        let room = Room { tier: Arc::clone(tier), key: key.beside() };
        tier.reserve(&room.key, bytes);
        Some(Self { held: Arc::new(budget.take(bytes)?), room: Some(room) })
    }

    /// The bytes of the budget.
    #[must_use]
    pub fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// Frees the place in the tier: the entry is about to take it.
    pub fn free_room(&mut self) {
        self.room = None;
    }

    /// Frees the place in the tier, and returns the bytes of the budget.
    #[must_use]
    pub fn into_held(self) -> Arc<Held> {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::statistics::Statistics;

    #[test]
    fn a_dropped_reservation_leaves_neither_bytes_nor_a_place() {
        let tier = Arc::new(MemoryTier::new(1 << 20, Arc::new(Statistics::default())));
        let budget = Budget::new(100_000);
        let key = CacheKey::from_bytes(b"tile");
        let reserve = |bytes, evicts| Reservation::take(&tier, &budget, &key, bytes, evicts);

        let first = reserve(60_000, true).expect("the budget has room");
        assert_eq!(tier.entries(), 0, "nothing has to be evicted");
        assert!(reserve(60_000, false).is_none());
        assert_eq!(tier.entries(), 0);
        assert!(reserve(60_000, true).is_none(), "what is reserved cannot be evicted");
        assert_eq!(tier.entries(), 0, "a failed reservation leaves no place");
        drop(first);
        assert_eq!(budget.held(), 0);

        let held = reserve(60_000, true).expect("the budget has room again").into_held();
        assert!(budget.held() > 60_000, "bytes stay reserved as long as they have an owner");
        drop(held);
        assert_eq!(budget.held(), 0);
    }
}
