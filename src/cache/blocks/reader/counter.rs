//! Where the blocks of a response have come from, for the log.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::protocol::cache_status::BlockCounts;

/// Counts where the blocks of a response come from while it is read.
#[derive(Debug, Default)]
pub struct BlockCounter {
    pub(super) memory: AtomicU64,
    pub(super) disk: AtomicU64,
    pub(super) shared: AtomicU64,
    pub(super) store: AtomicU64,
}

impl BlockCounter {
    /// The numbers so far.
    #[must_use]
    pub fn so_far(&self) -> BlockCounts {
        let [memory, disk, shared, store] = [&self.memory, &self.disk, &self.shared, &self.store]
            .map(|count| count.load(Ordering::Relaxed));
        BlockCounts { memory, disk, shared, store, uncounted: 0 }
    }
}

pub(super) fn count(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

pub(super) fn count_one(counter: &AtomicU64) {
    count(counter, 1);
}
