//! Where the blocks of a response are expected to come from when it begins, for `Cache-Status`.

use crate::cache::blocks::reader::{BlockReader, PendingBlock, count_of};
use crate::cache::tiers::BlockPlace;
use crate::protocol::cache_status::BlockCounts;

/// At most this many blocks of a response are looked up for `Cache-Status`, about 1 µs each where there
/// is a disk tier: a client that requests a huge object and leaves must not cost more than one that
/// reads. They are the first 4 GiB in blocks of 1 MiB. Blocks after them are uncounted.
const MAX_COUNTED: u64 = 4096;
/// Blocks that are looked up before other tasks of the thread get a turn.
const TURN: u64 = 512;

impl BlockReader {
    /// Where the blocks of the whole response come from, as far as known when it begins.
    #[must_use]
    pub fn expected(&self) -> BlockCounts {
        self.expected
    }

    /// Looks up where all blocks of the response come from.
    pub(super) async fn count_expected(&mut self) {
        self.expected = self.counter.so_far();
        for (_, block) in &self.pending {
            match block {
                PendingBlock::InFlight { on_disk: true, .. } => self.expected.disk += 1,
                PendingBlock::InFlight { on_disk: false, .. } | PendingBlock::Gap(..) => {
                    self.expected.store += 1;
                }
                PendingBlock::Cached(_) | PendingBlock::Filling { .. } => {}
            }
        }
        if let Some(own) = &self.own_body {
            let bytes = self.start..own.bytes().end.min(self.end);
            let blocks = self.layout.touched(&bytes);
            self.expected.store += blocks.end - blocks.start;
        }
        let left = count_of(&self.remaining);
        if left > TURN {
            Box::pin(self.count_remaining_in_turns()).await;
        } else {
            self.count_remaining(0, left);
        }
        self.expected.uncounted = left.saturating_sub(MAX_COUNTED);
    }

    async fn count_remaining_in_turns(&mut self) {
        let all = count_of(&self.remaining).min(MAX_COUNTED);
        let mut counted = 0;
        while counted < all {
            let next = TURN.min(all - counted);
            self.count_remaining(counted, next);
            counted += next;
            tokio::task::yield_now().await;
        }
    }

    /// Looks up `number` of the remaining blocks after the first `skip`.
    fn count_remaining(&mut self, skip: u64, number: u64) {
        let bounded = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let indexes = self.remaining.iter().cloned().flatten();
        for index in indexes.skip(bounded(skip)).take(bounded(number)) {
            let key = self.blocks.key_of(&self.request.key, self.layout, index);
            match self.fetches.tiers.block_place(&key) {
                BlockPlace::Memory => self.expected.memory += 1,
                BlockPlace::Disk => self.expected.disk += 1,
                BlockPlace::Nowhere => self.expected.store += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests;
