//! Which blocks a reader looks up, and when: a window over the blocks that it needs, wider if it had to
//! wait for the store, and the blocks that are read ahead for the next request of its client.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::cache::blocks::arrival::{Arrival, BlockFetch};
use crate::cache::blocks::arriving_body::BlockReservation;
use crate::cache::blocks::object::Block;
use crate::cache::blocks::range_fetch::RangeFetch;
use crate::cache::blocks::reader::counter::count_one;
use crate::cache::blocks::reader::{BlockReader, PendingBlock};
use crate::cache::blocks::reserve::{BlockLookup, BlockRange};
use crate::cache::tiers::BlockPlace;

/// The most separate places of an object that are fetched at once for one client: it may leave before it
/// has read them.
const MAX_FETCHES: usize = 8;
/// The most blocks of one request, 4 GiB in blocks of 1 MiB: each is looked up before.
const MAX_GAP: u64 = 4096;

impl BlockReader {
    /// Looks up the next blocks, once half of those that it looked up before are read.
    pub(super) fn extend_window(&mut self) {
        let pending = self.pending.len() as u64;
        if pending > self.window / 2
            || pending > 0 && self.remaining.is_empty() && self.read_ahead.is_empty()
        {
            return;
        }
        if std::mem::take(&mut self.waited) {
            self.window = self.window.saturating_mul(2).min(self.max_window);
        }
        let mut run = VecDeque::new();
        let mut fetches = self.fetches_pending();
        let mut fetched = None;
        while (self.pending.len() as u64) < self.window {
            let Some(index) = self.next_remaining() else { break };
            let is_adjacent = fetched.is_some_and(|last: u64| last + 1 == index);
            if fetches >= MAX_FETCHES && !is_adjacent {
                self.put_back(index);
                break;
            }
            let range = BlockRange::needed_from(self.first_needed(index));
            self.join_arriving(index);
            match self.fetches.lookup(&self.request, &self.blocks, self.layout, index, range) {
                BlockLookup::Cached(block) => {
                    let block = self.cached(block);
                    self.pending.push_back((index, block));
                }
                BlockLookup::InFlight(fetch) => {
                    self.pending
                        .push_back((index, PendingBlock::InFlight { fetch, on_disk: false }));
                }
                BlockLookup::Reserved(reservation)
                    if !reservation.on_disk && self.is_long_gap(index) =>
                {
                    if self.pending.is_empty() {
                        let end = self.end_of_gap(index);
                        self.pending.push_back((index, PendingBlock::Gap(reservation, end)));
                    } else {
                        // When the reader is there: nothing waits for its store meanwhile.
                        drop(reservation);
                        self.put_back(index);
                    }
                    break;
                }
                BlockLookup::Reserved(reservation) => {
                    fetches += usize::from(!is_adjacent);
                    fetched = Some(index);
                    let (fetch, on_disk) = (Arc::clone(reservation.fetch()), reservation.on_disk);
                    self.pending.push_back((index, PendingBlock::InFlight { fetch, on_disk }));
                    self.add_to_run(&mut run, reservation);
                }
                BlockLookup::NoRoom => {
                    self.put_back(index);
                    break;
                }
            }
        }
        self.read_ahead(&mut run);
        self.fetch(run);
    }

    fn cached(&self, block: Arc<Block>) -> PendingBlock {
        count_one(&self.counter.memory);
        self.fetches.tiers.statistics().block_hits.inc();
        PendingBlock::Cached(block)
    }

    /// The fetches of separate blocks that it waits for.
    fn fetches_pending(&self) -> usize {
        let mut last = None;
        let mut count = 0;
        for (index, block) in &self.pending {
            if matches!(block, PendingBlock::InFlight { .. }) {
                count += usize::from(last.is_none_or(|last: u64| last + 1 != *index));
                last = Some(*index);
            }
        }
        count
    }

    /// Has the block reserved by a body that will bring it, if there is one that is near.
    fn join_arriving(&self, index: u64) {
        if !self.blocks.has_arriving()
            || self.fetches.tiers.has_block(&self.blocks.key_of(
                &self.request.key,
                self.layout,
                index,
            ))
        {
            return;
        }
        for body in self.blocks.arriving() {
            body.reserve_up_to(&self.fetches, self.layout, index);
        }
    }

    /// Whether the reader wants many blocks from this one on, which come as its own body, if they
    /// are missing: it names no end, or more than the largest window.
    fn is_long_gap(&self, index: u64) -> bool {
        let run = self.remaining.front().filter(|run| run.start == index + 1);
        let wanted = run.map_or(1, |run| run.end - index);
        !self.request.extent.is_bounded() || wanted > self.max_window
    }

    /// The end of the missing blocks from this one on, bytes.
    fn end_of_gap(&self, index: u64) -> u64 {
        let wanted = self.remaining.front().filter(|run| run.start == index + 1);
        let wanted = wanted.map_or(index + 1, |run| run.end).min(index + MAX_GAP);
        let is_missing = |index: &u64| {
            let key = self.blocks.key_of(&self.request.key, self.layout, *index);
            self.fetches.tiers.block_place(&key) == BlockPlace::Nowhere
                && self.fetches.in_flight.get(&key).is_none()
        };
        let end = (index + 1..wanted).find(|index| !is_missing(index)).unwrap_or(wanted);
        self.layout.bytes(end - 1).end
    }

    /// The offset of the first byte of a block that is needed.
    fn first_needed(&self, index: u64) -> u64 {
        let bytes = self.layout.bytes(index);
        if bytes.contains(&self.start) { self.start - bytes.start } else { 0 }
    }

    /// Reads ahead for the next request of its client, when it has looked up all blocks of this one.
    fn read_ahead(&mut self, run: &mut VecDeque<BlockReservation>) {
        if !self.remaining.is_empty() {
            return;
        }
        let ahead = std::mem::take(&mut self.read_ahead);
        if self.layout.size < self.blocks.layout.size && self.is_read_ahead(&ahead) {
            return;
        }
        for index in ahead {
            let tiers = &self.fetches.tiers;
            if tiers.has_block(&self.blocks.key_of(&self.request.key, self.layout, index)) {
                continue;
            }
            // Read-ahead never evicts anything.
            let range = BlockRange { evicts: false, ..BlockRange::needed_from(0) };
            match self.fetches.lookup(&self.request, &self.blocks, self.layout, index, range) {
                BlockLookup::Cached(_) => {}
                BlockLookup::InFlight(fetch) => self.read_ahead_fetches.push(fetch),
                BlockLookup::Reserved(reservation) => {
                    tiers.statistics().blocks_read_ahead.inc();
                    self.read_ahead_fetches.push(Arc::clone(reservation.fetch()));
                    self.add_to_run(run, reservation);
                }
                BlockLookup::NoRoom => break,
            }
        }
    }

    /// Whether the first half of these parts of blocks is there: the next request asks for more.
    fn is_read_ahead(&self, ahead: &Range<u64>) -> bool {
        let half = ahead.start..ahead.start + (ahead.end - ahead.start).div_ceil(2);
        half.into_iter().all(|index| {
            let key = self.blocks.key_of(&self.request.key, self.layout, index);
            self.fetches.tiers.has_block(&key) || self.fetches.in_flight.get(&key).is_some()
        })
    }

    fn next_remaining(&mut self) -> Option<u64> {
        let run = self.remaining.front_mut()?;
        let index = run.start;
        run.start += 1;
        if run.is_empty() {
            self.remaining.pop_front();
        }
        Some(index)
    }

    /// Looks the pending blocks up again: the first of them failed.
    pub(super) fn retry(&mut self) {
        // Followed until they are looked up, so that no fetch is abandoned that is still needed.
        let before = self.put_all_back();
        self.extend_window();
        drop(before);
    }

    /// Makes the pending blocks remaining ones.
    pub(super) fn put_all_back(&mut self) -> VecDeque<(u64, PendingBlock)> {
        let before = std::mem::take(&mut self.pending);
        for (index, _) in before.iter().rev() {
            self.put_back(*index);
        }
        before
    }

    fn put_back(&mut self, index: u64) {
        match self.remaining.front_mut() {
            Some(run) if run.start == index + 1 => run.start = index,
            _ => self.remaining.push_front(index..index + 1),
        }
    }

    /// Adds a block to those that one request to the store fetches, or begins the fetch of those and
    /// a new run.
    fn add_to_run(&self, run: &mut VecDeque<BlockReservation>, next: BlockReservation) {
        let is_adjacent = run
            .back()
            .is_some_and(|last| last.index + 1 == next.index && !last.on_disk && !next.on_disk);
        if !is_adjacent || run.len() as u64 >= self.max_window {
            self.fetch(std::mem::take(run));
        }
        run.push_back(next);
    }

    fn fetch(&self, reservations: VecDeque<BlockReservation>) {
        if reservations.is_empty() {
            return;
        }
        let (fetches, request) = (Arc::clone(&self.fetches), Arc::clone(&self.request));
        let (blocks, layout) = (Arc::clone(&self.blocks), self.layout);
        let queue_timeout = self.queue_timeout();
        RangeFetch { fetches, request, blocks, layout, reservations, queue_timeout }.begin();
    }
}

/// Follows these fetches until their blocks have arrived.
pub(super) async fn follow(fetches: Vec<Arc<BlockFetch>>) {
    for fetch in fetches {
        if let Some(Arrival::Filling { fill, .. }) = fetch.outcome().await {
            let last = fill.length().saturating_sub(1);
            let _arrived = fill.read(last, fill.length()).await;
        }
    }
}

/// Leaves out the blocks before this one. The store names the length of an object: this takes as long
/// for a petabyte as for one block.
pub(super) fn skip_before(runs: &mut VecDeque<Range<u64>>, index: u64) {
    while let Some(run) = runs.front_mut() {
        run.start = run.start.max(index);
        if !run.is_empty() {
            return;
        }
        runs.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_left_out_at_once_however_many_they_are() {
        const FAR: u64 = 1 << 60;
        let runs = [0..3, 5..FAR, FAR + 1..u64::MAX];
        for (index, left) in [
            (0, &[0..3, 5..FAR, FAR + 1..u64::MAX][..]),
            (2, &[2..3, 5..FAR, FAR + 1..u64::MAX]),
            (3, &[5..FAR, FAR + 1..u64::MAX]),
            (FAR - 1, &[FAR - 1..FAR, FAR + 1..u64::MAX]),
            (u64::MAX, &[]),
        ] {
            let mut runs = VecDeque::from(runs.clone());
            skip_before(&mut runs, index);
            assert_eq!(runs, left, "{index}");
        }
    }
}
