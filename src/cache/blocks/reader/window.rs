//! Which blocks a reader looks up, and when: a window over the blocks that it needs, wider if it had to
//! wait for the store, and the blocks that are read ahead for the next request of its client.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::cache::blocks::object::Block;
use crate::cache::blocks::range_fetch::RangeFetch;
use crate::cache::blocks::reader::counter::count_one;
use crate::cache::blocks::reader::{BlockReader, PendingBlock};
use crate::cache::blocks::reserve::{BlockLookup, BlockRange, BlockReservation};

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
        while (self.pending.len() as u64) < self.window {
            let Some(index) = self.next_remaining() else { break };
            let range = BlockRange::needed_from(self.first_needed(index));
            match self.fetches.lookup(&self.request, &self.blocks, index, range) {
                BlockLookup::Cached(block) => {
                    let block = self.cached(index, block);
                    self.pending.push_back((index, block));
                }
                BlockLookup::InFlight(fetch) => {
                    self.pending
                        .push_back((index, PendingBlock::InFlight { fetch, on_disk: false }));
                }
                BlockLookup::Reserved(reservation) => {
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

    fn cached(&self, index: u64, block: Arc<Block>) -> PendingBlock {
        if self.arriving.contains(&index) {
            count_one(&self.counter.store);
        } else {
            count_one(&self.counter.memory);
            self.fetches.tiers.statistics().block_hits.inc();
        }
        PendingBlock::Cached(block)
    }

    /// The offset of the first byte of a block that is needed.
    fn first_needed(&self, index: u64) -> u64 {
        let bytes = self.blocks.layout.bytes(index);
        if bytes.contains(&self.start) { self.start - bytes.start } else { 0 }
    }

    /// Reads ahead for the next request of its client, when it has looked up all blocks of this one.
    fn read_ahead(&mut self, run: &mut VecDeque<BlockReservation>) {
        if !self.remaining.is_empty() {
            return;
        }
        for index in std::mem::take(&mut self.read_ahead) {
            let tiers = &self.fetches.tiers;
            if tiers.has_block(&self.blocks.key_of(&self.request.key, index)) {
                continue;
            }
            // Read-ahead never evicts anything.
            let range = BlockRange { evicts: false, ..BlockRange::needed_from(0) };
            match self.fetches.lookup(&self.request, &self.blocks, index, range) {
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

    pub(super) fn next_remaining(&mut self) -> Option<u64> {
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
        let (blocks, queue_timeout) = (Arc::clone(&self.blocks), self.queue_timeout());
        RangeFetch { fetches, request, blocks, reservations, queue_timeout }.begin();
    }
}
